"""Ad-hoc answers: right, of the right types, within limits, and nothing of one query left for the next."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from tests.fatal import end, that_can_end

from headrace.contracts.schema import Column, Schema
from headrace.errors import Closed, QueryStopped, SqlError, UnknownName
from headrace.functions import PythonFunction
from headrace.query import QueryLimits, Reader
from headrace.query import reader as module
from headrace.query.guard import parse

GMV = Schema(
    (Column("category", "VARCHAR", pa.string()), Column("amount", "DECIMAL(18,2)", pa.decimal128(18, 2)))
)
WIDE = Schema(
    (
        Column("big", "HUGEINT", pa.decimal128(38, 0)),
        Column("id", "UUID", pa.string()),
        Column("extra", "JSON", pa.string()),
    )
)
TABLES: dict[str, Any] = {
    "gmv": pa.table(
        {
            "category": ["tea", "jam", "tea"],
            "amount": pa.array([Decimal("1.50"), None, Decimal("2")], pa.decimal128(18, 2)),
        }
    ),
    "wide": pa.table(
        {
            "big": pa.array([Decimal(10**30), None], pa.decimal128(38, 0)),
            "id": ["ddfe5e1b-5160-4cc0-8eb2-38f75758491b", None],
            "extra": ['{"a": [1, 2]}', None],
        }
    ),
}
SCHEMAS = {"gmv": GMV, "wide": WIDE}


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    reader = Reader(memory_limit_bytes=256 << 20)
    yield reader
    reader.close()


def ask(reader: Reader, sql: str, params: Any = (), **limits: Any) -> list[dict[str, Any]]:
    table, schema = reader.run(sql, params, TABLES, SCHEMAS, QueryLimits(**limits) if limits else None)
    assert tuple(table.schema.names) == schema.names
    assert tuple(table.schema.types) == tuple(column.arrow for column in schema)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def test_a_question_over_a_table(reader: Reader) -> None:
    found = ask(reader, "SELECT category, sum(amount) AS total FROM GMV GROUP BY ALL ORDER BY 1")
    assert found == [{"category": "jam", "total": None}, {"category": "tea", "total": Decimal("3.50")}]


def test_the_answer_has_sql_types(reader: Reader) -> None:
    _, schema = reader.run("SELECT sum(amount) AS a, 1 AS b, [1] AS c FROM gmv", (), TABLES, SCHEMAS)
    assert [column.sql_type for column in schema] == ["DECIMAL(38,2)", "INTEGER", "INTEGER[]"]


def test_types_that_arrow_would_lose_keep_their_meaning(reader: Reader) -> None:
    found = ask(
        reader,
        "SELECT big + 1 AS big, typeof(id) AS t, extra->'a'->>1 AS second FROM wide WHERE big IS NOT NULL",
    )
    assert found == [{"big": Decimal(10**30 + 1), "t": "UUID", "second": "2"}]


def test_tables_are_loaded_only_where_they_are_read(reader: Reader) -> None:
    loaded = []

    def load() -> pa.Table:
        loaded.append("gmv")
        return TABLES["gmv"]

    reader.run("SELECT 1", (), {"gmv": load}, {"gmv": GMV})
    assert loaded == []
    table, _ = reader.run("SELECT count(*) AS n FROM gmv a, gmv b", (), {"gmv": load}, {"gmv": GMV})
    assert table.to_pylist() == [{"n": 9}]
    assert loaded == ["gmv"]


def test_parameters_by_position_and_by_name(reader: Reader) -> None:
    assert ask(reader, "SELECT category AS c FROM gmv WHERE amount > ? AND category = ?", [1.6, "tea"]) == [
        {"c": "tea"}
    ]
    assert ask(reader, "SELECT $n + 1 AS n, $text AS t", {"n": 1, "text": "'; DROP"}) == [
        {"n": 2, "t": "'; DROP"}
    ]


@pytest.mark.parametrize(
    ("sql", "params"),
    [
        ("SELECT ?", []),
        ("SELECT ?", [1, 2]),
        ("SELECT $a", {"b": 1}),
        ("SELECT 1", [1]),
        ("SELECT ?", [object()]),
    ],
)
def test_parameters_that_do_not_fit(reader: Reader, sql: str, params: Any) -> None:
    with pytest.raises(SqlError):
        ask(reader, sql, params)


def test_repeated_column_names_are_told_apart(reader: Reader) -> None:
    assert ask(reader, "SELECT 1 AS a, 2 AS A, 3 AS a_1, 4 AS a") == [
        {"a": 1, "A_1": 2, "a_1_1": 3, "a_2": 4}
    ]


def test_show_and_describe(reader: Reader) -> None:
    assert ask(reader, "SHOW TABLES") == [{"name": "gmv"}, {"name": "wide"}]
    described = ask(reader, "SELECT column_name, column_type FROM (DESCRIBE wide)")
    assert [row["column_type"] for row in described] == ["HUGEINT", "UUID", "JSON"]


@pytest.mark.parametrize(
    "sql", ["SELECT 'x'::INT", "SELECT nope FROM gmv", "SELECT 1 // 0", "SELECT sum(category) FROM gmv"]
)
def test_what_duckdb_refuses_is_an_sql_error(reader: Reader, sql: str) -> None:
    with pytest.raises(SqlError) as caught:
        ask(reader, sql)
    assert "Did you mean" not in caught.value.problem


def test_a_statement_is_read_again_where_other_names_are_known(reader: Reader) -> None:
    sql = "SELECT count(*) AS n FROM wide"
    assert ask(reader, sql) == ask(reader, sql) == [{"n": 2}]
    with pytest.raises(UnknownName):
        reader.run(sql, (), {}, {"gmv": GMV})


def test_a_statement_that_is_asked_again_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time with rows, columns and values of its own, of several threads, and by another DuckDB."""
    handed: list[Any] = []
    one = Reader(memory_limit_bytes=310 << 20)

    def told(con: Any, sql: Any, *rest: Any) -> Any:
        handed.append(sql)
        return answered(con, sql, *rest)

    answered = module._answer
    monkeypatch.setattr(module, "_answer", told)
    sql = "SELECT a + $more AS a FROM t ORDER BY ALL  -- $more"

    def asked(values: list[Any], kind: str, more: Any) -> list[Any]:
        arrow = {"INTEGER": pa.int32(), "DATE": pa.date32()}[kind]
        rows, schema = pa.table({"a": pa.array(values, arrow)}), Schema((Column("a", kind, arrow),))
        found: list[Any] = one.run(sql, {"more": more}, {"t": rows}, {"t": schema})[0].column("a").to_pylist()
        return found

    assert asked([1, 2], "INTEGER", 1) == [2, 3]
    assert asked([5], "INTEGER", 2) == [7]
    assert asked([date(2026, 1, 30)], "DATE", 1) == [date(2026, 1, 31)]
    assert asked([1], "INTEGER", None) == [None]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda n: asked([n], "INTEGER", 1), range(40))) == [[n + 1] for n in range(40)]
    assert one._con is not None
    one._forget(one._con)
    assert asked([4], "INTEGER", 1) == [5]
    one.close()
    assert [isinstance(found, str) for found in handed] == [True] + [False] * 44


def test_python_variables_are_not_seen(reader: Reader) -> None:
    secret = pa.table({"x": [1]})
    assert secret.num_rows == 1
    with pytest.raises(UnknownName):
        ask(reader, "SELECT * FROM secret")


def test_one_query_leaves_nothing_for_the_next(reader: Reader) -> None:
    ask(reader, "SELECT * FROM wide")
    for sql in ("SELECT * FROM wide", "SELECT * FROM __rows_0"):
        with pytest.raises(UnknownName):
            reader.run(sql, (), {"gmv": TABLES["gmv"]}, {"gmv": GMV})


ENDLESS = [
    "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
    "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range % 7 = b.range % 5",
    "SELECT max(sqrt(a.range * b.range)) FROM range(100000000) a, range(1000) b",
]


@pytest.mark.parametrize("sql", ENDLESS)
def test_endless_queries_are_stopped(reader: Reader, sql: str) -> None:
    with pytest.raises(QueryStopped, match="too long"):
        ask(reader, sql, timeout_s=0.2)


GREEDY = [
    "SELECT list(a.range::VARCHAR || b.range) FROM range(1000000) a, range(1000000) b",
    "SELECT a.range::VARCHAR || b.range AS x FROM range(10000) a, range(10000) b ORDER BY x",
    "SELECT count(DISTINCT a.range * 1000000 + b.range) FROM range(100000) a, range(10000) b",
]


@pytest.mark.parametrize("sql", GREEDY)
def test_greedy_queries_are_stopped(sql: str) -> None:
    small = Reader(memory_limit_bytes=24 << 20)
    with pytest.raises(QueryStopped, match="memory"):
        ask(small, sql, timeout_s=60)
    small.close()


OVERSIZED = [
    "SELECT repeat('x', 1000000000)",
    "SELECT repeat(repeat('x', 90000), 90000)",
    "SELECT 'x'.repeat(1000000000)",
    "SELECT lpad('x', 1000000000, 'y')",
    "SELECT rpad('x', 1000000000, 'y')",
    "SELECT list_resize([1], 1000000000)",
    "SELECT replace(repeat('x', 90000), 'x', repeat('y', 90000))",
    "SELECT regexp_replace(repeat('x', 90000), 'x', repeat('y', 90000), 'g')",
    "SELECT repeat('x', n) FROM (SELECT 1000000000 AS n)",
]


@pytest.mark.parametrize("sql", OVERSIZED)
def test_values_of_any_size_are_refused_before_they_are_made(reader: Reader, sql: str) -> None:
    with pytest.raises(SqlError, match="would make a value of more than"):
        ask(reader, sql)


def test_the_bounded_functions_work_as_ever(reader: Reader) -> None:
    found = ask(
        reader,
        "SELECT repeat('ab', 2) AS a, lpad('x', 3, 'y') AS b, replace('abc', 'b', 'xx') AS c, "
        "regexp_replace('aaa', 'a', 'b', 'g') AS d, list_resize([1], 2) AS e, replace(NULL, 'a', 'b') AS f, "
        "repeat([1], 2) AS g, regexp_replace('aaa', 'a', 'b') AS h",
    )
    assert found == [
        {"a": "abab", "b": "yyx", "c": "axxc", "d": "bbb", "e": [1, None], "f": None, "g": [1, 1], "h": "baa"}
    ]


def test_the_bounded_functions_stand_wherever_others_may(reader: Reader) -> None:
    sql = """SELECT k, lag(x) OVER (PARTITION BY replace(k, 'a', 'b') ORDER BY lpad(k, 2, 'z'), x) AS before
             FROM (VALUES ('a', 1), ('b', 2), ('a', 3)) rows(k, x)
             JOIN (VALUES ('bb')) twice(y) ON repeat(replace(k, 'a', 'b'), 2) = y ORDER BY x"""
    assert [row["before"] for row in ask(reader, sql)] == [None, 3, 1]


def test_answers_are_bounded_in_rows_and_bytes(reader: Reader) -> None:
    assert len(ask(reader, "SELECT * FROM range(100)", rows_max=100)) == 100
    with pytest.raises(QueryStopped, match="too many rows"):
        ask(reader, "SELECT * FROM range(101)", rows_max=100)
    with pytest.raises(QueryStopped, match="too many rows"):
        ask(reader, "SELECT * FROM range(1000000000000)", rows_max=100)
    with pytest.raises(QueryStopped, match="too large"):
        ask(reader, "SELECT repeat('x', 10000) FROM range(10000)", result_bytes_max=1 << 20)


def test_a_stopped_query_does_not_spoil_the_next(reader: Reader) -> None:
    with pytest.raises(QueryStopped):
        ask(reader, ENDLESS[0], timeout_s=0.1)
    assert ask(reader, "SELECT count(*) AS n FROM gmv") == [{"n": 3}]


def test_queries_run_side_by_side(reader: Reader) -> None:
    answers: list[Any] = []

    def work(number: int) -> None:
        sql = "SELECT count(*) + ? AS n FROM gmv"
        answers.extend(ask(reader, sql, [number])[0]["n"] - number for _ in range(10))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [3] * 60


def test_one_stopped_query_does_not_stop_its_neighbour(reader: Reader) -> None:
    found: list[Any] = []
    slow = threading.Thread(
        target=lambda: found.append(
            ask(reader, "SELECT sum(a.range) AS s FROM range(60000000) a", timeout_s=60)
        )
    )
    slow.start()
    for _ in range(3):
        with pytest.raises(QueryStopped):
            ask(reader, ENDLESS[0], timeout_s=0.05)
    slow.join()
    assert found == [[{"s": 60000000 * (60000000 - 1) // 2}]]


def test_a_closed_reader_says_so() -> None:
    reader = Reader()
    assert reader.mentioned("SELECT * FROM gmv", ["gmv", "wide"]) == ["gmv"]
    reader.close()
    reader.close()
    with pytest.raises(Closed):
        reader.run("SELECT 1", (), {}, {})


def test_configuration_is_locked(reader: Reader) -> None:
    for sql in ("SET threads = 1", "SET enable_external_access = true", "PRAGMA threads = 4"):
        with pytest.raises(SqlError):
            ask(reader, sql)


def test_the_next_reader_finds_nothing_of_a_closed_one() -> None:
    def shout(text: str) -> str:
        return text.upper()

    declared: dict[str, PythonFunction] = {
        "shout": PythonFunction("shout", shout, ("VARCHAR",), "VARCHAR", "rowwise", "1")
    }
    for functions in ({}, declared, {}):
        one = Reader(memory_limit_bytes=300 << 20, functions=functions.copy)
        assert ask(one, "SELECT count(*) AS n FROM gmv") == [{"n": TABLES["gmv"].num_rows}]
        with pytest.raises(UnknownName):
            ask(one, "SELECT * FROM __rows_0")
        if functions:
            assert ask(one, "SELECT shout('a') AS a") == [{"a": "A"}]
        else:
            with pytest.raises(SqlError):
                ask(one, "SELECT shout('a') AS a")
        one.close()
        one.close()


def test_a_fatal_error_ends_no_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB answers nobody any more after a fatal error of one; the next question opens another one."""
    opened: list[duckdb.DuckDBPyConnection] = []

    def hardened(*_: object) -> duckdb.DuckDBPyConnection:
        opened.append(that_can_end(tmp_path / str(len(opened))))
        return opened[-1]

    monkeypatch.setattr(module, "_hardened", hardened)
    shout = PythonFunction("shout", str.upper, ("VARCHAR",), "VARCHAR", "rowwise", "1")
    one = Reader(memory_limit_bytes=301 << 20, functions=lambda: {"shout": shout})
    assert ask(one, "SELECT shout('a') AS a") == [{"a": "A"}]
    end(opened[0])
    assert ask(one, "SELECT shout('b') AS a, count(*) AS n FROM gmv") == [{"a": "B", "n": 3}]
    end(opened[1])
    assert sorted(one.mentioned("SELECT * FROM gmv, wide", list(SCHEMAS))) == ["gmv", "wide"]
    end(opened[2])
    assert set(one.seen("SELECT * FROM wide", (), SCHEMAS, list(SCHEMAS))) <= {"wide"}
    end(opened[-1])
    assert ask(one, "SELECT 1 AS x") == [{"x": 1}]
    one.close()


def test_a_reader_leaves_no_ended_duckdb_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(module, "_hardened", lambda *_: that_can_end(tmp_path))
        one = Reader(memory_limit_bytes=302 << 20)
        assert ask(one, "SELECT 1 AS x") == [{"x": 1}]
        assert one._con is not None
        end(one._con.cursor())
        one.close()
    other = Reader(memory_limit_bytes=302 << 20)
    assert ask(other, "SELECT 2 AS x") == [{"x": 2}]
    other.close()


def test_questions_at_once_all_have_their_answers_after_a_fatal_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = that_can_end(tmp_path)
    opened = iter([first])
    original = module._hardened
    monkeypatch.setattr(module, "_hardened", lambda *kind: next(opened, None) or original(*kind))
    one = Reader(memory_limit_bytes=303 << 20)
    assert ask(one, "SELECT 1 AS x") == [{"x": 1}]
    end(first.cursor())
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda x: ask(one, f"SELECT {x} AS x FROM gmv LIMIT 1"), range(24)))
    assert found == [[{"x": x}] for x in range(24)]
    one.close()


def test_a_long_statement_is_parsed_once_and_what_is_remembered_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A page asked a text just over the bound there was, and it was parsed at each request."""
    asked: list[int] = []

    def counted(con: Any, sql: str, known: Any, **flags: Any) -> Any:
        asked.append(len(sql))
        return parse(con, sql, known, **flags)

    monkeypatch.setattr("headrace.query.reader.parse", counted)
    monkeypatch.setattr("headrace.query.reader.PARSED_CHARS_MAX", 9_000)
    one = Reader(memory_limit_bytes=300 << 20)
    texts = [f"SELECT count(*) AS n FROM gmv -- {at}{'x' * 4_000}" for at in range(3)]
    for at in (0, 0, 1, 0, 1, 2, 2, 0):
        assert ask(one, texts[at]) == [{"n": 3}]
    assert ask(one, texts[0] + "x" * 9_000) == [{"n": 3}]
    assert ask(one, texts[0] + "x" * 9_000) == [{"n": 3}]
    one.close()
    assert [size // 4_000 for size in asked] == [1, 1, 1, 1, 3, 3]
