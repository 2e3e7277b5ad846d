"""Rows as JSON: exact, and readable again by the door they came in by.

The round trip runs DuckDB's corner values of every type through the encoder and back through validation, and
compares what DuckDB holds before and after.
"""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.contracts.column_list import parse_columns
from headrace.contracts.encode import json_schema, ndjson, rows_json, to_json_rows
from headrace.contracts.schema import Schema
from headrace.contracts.types import column, scratch_query
from headrace.contracts.validate import validate

CORNERS: list[tuple[str, str, list[Any]]] = [
    ("BOOLEAN", "true, false, NULL", [True, False, None]),
    ("TINYINT", "-128, 127", [-128, 127]),
    (
        "BIGINT",
        "9007199254740992, 9007199254740993, -9223372036854775808",
        [2**53, str(2**53 + 1), str(-(2**63))],
    ),
    ("UBIGINT", "18446744073709551615", ["18446744073709551615"]),
    ("HUGEINT", "5, 99999999999999999999999999999999999999", [5, "9" * 38]),
    ("DOUBLE", "0.1, -0.0, 'NaN', 'inf', '-inf', 1e308", [0.1, -0.0, "NaN", "Infinity", "-Infinity", 1e308]),
    ("FLOAT", "0.1, 3.4028234e38, 'inf'", [0.1, 3.4028235e38, "Infinity"]),
    ("DECIMAL(18,2)", "1.5, -0.01, 9999999999999999.99", ["1.50", "-0.01", "9999999999999999.99"]),
    ("DECIMAL(38,20)", "0.00000000000000000001", ["0.00000000000000000001"]),
    ("DECIMAL(5,0)", "12345", ["12345"]),
    ("VARCHAR", "'', 'ü€😀', 'a\"b', NULL", ["", "ü€😀", 'a"b', None]),
    ("BLOB", r"'\x00\xFF', ''", ["AP8=", ""]),
    ("DATE", "'0001-01-01', '9999-12-31'", ["0001-01-01", "9999-12-31"]),
    ("TIME", "'00:00:00', '23:59:59.999999'", ["00:00:00", "23:59:59.999999"]),
    (
        "TIMESTAMP",
        "'0001-01-01', '2024-02-29 10:30:00.5', '9999-12-31 23:59:59.999999'",
        ["0001-01-01T00:00:00Z", "2024-02-29T10:30:00.500000Z", "9999-12-31T23:59:59.999999Z"],
    ),
    ("TIMESTAMP_S", "'2024-02-29 10:30:00'", ["2024-02-29T10:30:00Z"]),
    ("TIMESTAMP_NS", "'2024-02-29 10:30:00.123456789'", ["2024-02-29T10:30:00.123456789Z"]),
    ("TIMESTAMPTZ", "'2024-02-29 10:30:00+02'", ["2024-02-29T08:30:00Z"]),
    ("INTERVAL", "'1 year 2 months 3 days 04:05:06.5', '-1 second'", ["P1Y2M3DT4H5M6.5S", "PT-1S"]),
    ("UUID", "'00000000-0000-0000-0000-0000000000FF'", ["00000000-0000-0000-0000-0000000000ff"]),
    ("JSON", """'{"a": [1, null]}', '[]', '5', 'null'""", [{"a": [1, None]}, [], 5, None]),
    ("ENUM('b', 'a')", "'a', 'b', NULL", ["a", "b", None]),
    ("TIME_NS", "'10:00:00.123456789'", ["10:00:00.123456789"]),
    ("BIGINT[]", "[1, NULL, 9007199254740993], [], NULL", [[1, None, str(2**53 + 1)], [], None]),
    ("INTEGER[2]", "[1, 2], NULL", [[1, 2], None]),
    (
        "STRUCT(a DECIMAL(4,1), b DATE)",
        "{'a': 1, 'b': '2024-01-01'}, NULL",
        [{"a": "1.0", "b": "2024-01-01"}, None],
    ),
    ("STRUCT(x BLOB)[]", r"[{'x': '\xFF'}, NULL]", [[{"x": "/w=="}, None]]),
    ("MAP(VARCHAR, DOUBLE)", "MAP {'a': 'NaN'::DOUBLE}, MAP {}, NULL", [{"a": "NaN"}, {}, None]),
    (
        "MAP(DATE, TIMESTAMP[])",
        "MAP {'2024-01-01': ['2024-01-01']}",
        [{"2024-01-01": ["2024-01-01T00:00:00Z"]}],
    ),
    ("MAP(BIGINT, BOOLEAN)", "MAP {5: true}", [{"5": True}]),
]


def duckdb_column(kind: str, items: str) -> pa.Table:
    return scratch_query(f"SELECT unnest(CAST([{items}] AS {kind}[])) AS x")


@pytest.mark.parametrize(("kind", "items", "expected"), CORNERS, ids=[corner[0] for corner in CORNERS])
def test_corner_values_are_written_exactly_and_read_back(kind: str, items: str, expected: list[Any]) -> None:
    table = duckdb_column(kind, items)
    schema = Schema.of([column("x", kind)])
    rows = to_json_rows(table, schema)
    assert [row["x"] for row in rows] == expected
    assert orjson.loads(rows_json(table, schema)) == rows
    assert [orjson.loads(line) for line in ndjson(table, schema).splitlines()] == rows
    again = validate(schema, orjson.loads(rows_json(table, schema)))
    assert again.rejections == ()
    if kind != "JSON":  # a JSON null in a column comes back as NULL
        assert to_json_rows(pa.Table.from_batches([again.batch]), schema) == rows


def test_infinite_times_have_names() -> None:
    for kind in ("TIMESTAMP", "DATE", "TIMESTAMPTZ"):
        table = duckdb_column(kind, "'infinity', '2024-01-01', '-infinity', NULL")
        found = [row["x"] for row in to_json_rows(table, Schema.of([column("x", kind)]))]
        assert (found[0], found[2], found[3]) == ("infinity", "-infinity", None)
        assert found[1].startswith("2024-01-01")


def test_types_that_only_views_have_are_written_by_duckdb() -> None:
    table = scratch_query("SELECT 5::BIGNUM AS a, union_value(k := 1) AS b, '010111011'::BIT AS c")
    schema = Schema.of([column("a", "BIGNUM"), column("b", "UNION(k INTEGER)"), column("c", "BIT")])
    assert to_json_rows(table, schema) == [{"a": "5", "b": "1", "c": "010111011"}]


def test_json_that_only_duckdb_allows_stays_text() -> None:
    table = pa.table({"x": ['{"a": NaN}', '{"big": 123456789012345678901234567890}', "nonsense"]})
    schema = Schema.of([column("x", "JSON")])
    assert rows_json(table, schema) == (
        b'[{"x":"{\\"a\\": NaN}"},{"x":{"big": 123456789012345678901234567890}},{"x":"nonsense"}]'
    )


def test_no_rows_and_no_columns() -> None:
    schema = parse_columns("a INT, b MAP(VARCHAR, INT), c INT[]")
    empty = pa.Table.from_batches([], schema=schema.arrow)
    assert to_json_rows(empty, schema) == []
    assert rows_json(empty, schema) == b"[]"
    assert ndjson(empty, schema) == b""


def test_other_arrow_types_of_the_same_meaning_are_written_alike() -> None:
    schema = parse_columns("a VARCHAR, t TIMESTAMP, d DECIMAL(9,2), n BIGINT")
    table = pa.table(
        {
            "a": pa.array(["x"]).dictionary_encode(),
            "t": pa.array([dt.date(2024, 1, 1)]).cast(pa.timestamp("ms")),
            "d": pa.array([Decimal("1.50")], pa.decimal256(40, 2)),
            "n": pa.nulls(1),
        }
    )
    assert to_json_rows(table, schema) == [{"a": "x", "t": "2024-01-01T00:00:00Z", "d": "1.50", "n": None}]


def test_chunks_are_one_column() -> None:
    schema = parse_columns("a BIGINT")
    table = pa.table({"a": pa.chunked_array([[1], [], [2**60]])})
    assert rows_json(table, schema) == b'[{"a":1},{"a":"1152921504606846976"}]'


@given(
    st.lists(st.one_of(st.none(), st.floats()), max_size=5),
    st.lists(st.one_of(st.none(), st.text()), max_size=5),
)
def test_json_is_always_valid_and_exact(floats: list[float | None], texts: list[str | None]) -> None:
    count = min(len(floats), len(texts))
    table = pa.table({"f": pa.array(floats[:count], pa.float64()), "t": pa.array(texts[:count], pa.string())})
    schema = parse_columns("f DOUBLE, t VARCHAR")
    found = json.loads(
        rows_json(table, schema), parse_constant=lambda word: pytest.fail(f"{word} is no JSON")
    )
    assert [row["t"] for row in found] == texts[:count]
    again = validate(schema, found).batch.column(0).to_pylist()
    assert [repr(value) for value in again] == [repr(value) for value in floats[:count]]


def test_the_json_schema_says_what_is_sent() -> None:
    found = json_schema(
        parse_columns(
            "id BIGINT NOT NULL, n INT, m DECIMAL(9,2), e ENUM('a'), s STRUCT(x DATE), l BOOLEAN[], j JSON"
        )
    )
    null = {"type": "null"}
    parts = {
        name: {k: v for k, v in part.items() if k != "x-sql-type"}
        for name, part in found["properties"].items()
    }
    assert found["required"] == ["id", "n", "m", "e", "s", "l", "j"]
    assert {kind["type"] for kind in parts["id"]["anyOf"]} == {"integer", "string"}
    assert parts["n"] == {"anyOf": [{"type": "integer"}, null]}
    assert parts["m"]["anyOf"][0]["type"] == "string"
    assert parts["e"] == {"anyOf": [{"type": "string", "enum": ["a"]}, null]}
    assert parts["s"]["anyOf"][0]["properties"] == {
        "x": {"anyOf": [{"type": "string", "format": "date"}, null]}
    }
    assert parts["l"]["anyOf"][0]["items"] == {"anyOf": [{"type": "boolean"}, null]}
    assert parts["j"] == {}
    assert found["properties"]["m"]["x-sql-type"] == "DECIMAL(9,2)"


@given(st.lists(st.datetimes(), min_size=1, max_size=20))
def test_times_are_written_alike_with_and_without_a_null_beside_them(times: list[dt.datetime]) -> None:
    schema = parse_columns("t TIMESTAMP")
    plain, mixed = (pa.table({"t": pa.array(rows, pa.timestamp("us"))}) for rows in (times, [*times, None]))
    assert to_json_rows(plain, schema) == to_json_rows(mixed, schema)[:-1]


def test_what_stands_beside_rows_is_their_last_member() -> None:
    schema = parse_columns("n BIGINT")
    batch = pa.record_batch({"n": pa.array([1, 2**60])})
    assert rows_json(batch, schema, {"w": [1, -1]}) == b'[{"n":1,"w":1},{"n":"1152921504606846976","w":-1}]'
