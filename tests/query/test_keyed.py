"""What a statement can see at all: rows are left out only where its own conditions leave them out again.

Every statement is asked of a run, which reads only the rows of the keys that it names, and of DuckDB over
all rows; the relations are large enough to be read by key. Bugs to fear: a condition that is read where it
does not hold (an ON of an outer join, an OR, another place of the relation), and a chunk that has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

import duckdb
import pyarrow as pa
import pytest

import headrace as hr
from headrace.contracts.schema import Schema
from headrace.query import Reader
from headrace.query.guard import parse
from headrace.query.keyed import Rows, seen_rows

ROWS = 6_000
SALES = "id BIGINT, shop TEXT, area TEXT, amount BIGINT"
SHOPS = "shop TEXT, owner TEXT"

CASES: list[tuple[str, Any, Rows]] = [
    ("FROM sales WHERE shop = 's7'", (), {"shop": ["s7"]}),
    ("FROM sales WHERE 's7' = shop AND amount > 3", (), {"shop": ["s7"]}),
    ("FROM sales WHERE SHOP = $shop", {"shop": "s7"}, {"shop": ["s7"]}),
    ("FROM sales WHERE shop = CAST(? AS TEXT)", ["s7"], {"shop": ["s7"]}),
    ("FROM sales WHERE id = CAST($id AS BIGINT) AND shop = 's1'", {"id": "41"}, {"id": [41], "shop": ["s1"]}),
    ("FROM sales WHERE id = 41", (), {"id": [41]}),
    ("FROM sales WHERE (shop = 's7' AND area = 'north') AND amount = 5", (),
     {"shop": ["s7"], "area": ["north"], "amount": [5]}),
    ("SELECT s.id FROM sales s JOIN shops o ON o.shop = s.shop WHERE s.shop = 's7'", (), {"shop": ["s7"]}),
    ("SELECT o.shop, s.id FROM shops o LEFT JOIN sales s ON s.shop = o.shop AND s.area = 'north'", (),
     {"area": ["north"]}),
    ("SELECT o.shop, s.id FROM shops o LEFT JOIN sales s ON s.shop = o.shop WHERE s.area = 'north'", (),
     {"area": ["north"]}),
    ("SELECT s.id FROM sales s RIGHT JOIN shops o ON s.shop = o.shop WHERE s.area = 'north'", (),
     {"area": ["north"]}),
    ("SELECT s.id, o.owner FROM sales s FULL JOIN shops o ON s.shop = o.shop WHERE s.area = 'north'", (),
     {"area": ["north"]}),
    ("SELECT a.id FROM sales a JOIN sales b ON b.id = a.amount WHERE a.shop = 's7' AND b.shop = 's8'", (),
     {"shop": ["s7", "s8"]}),
    ("SELECT (SELECT sum(id) FROM sales WHERE shop = 's3') - sum(id) FROM sales WHERE shop = 's4'", (),
     {"shop": ["s4", "s3"]}),
    ("WITH one AS (SELECT * FROM sales WHERE shop = 's7') SELECT area, sum(amount) FROM one GROUP BY ALL", (),
     {"shop": ["s7"]}),
    ("SELECT id, row_number() OVER (ORDER BY id) AS n FROM sales WHERE shop = 's7' QUALIFY n > 2", (),
     {"shop": ["s7"]}),
    ("FROM sales WHERE shop = 'nobody'", (), {"shop": ["nobody"]}),
    # conditions that say less than they seem to
    ("FROM sales WHERE shop = 's7' OR amount = 5", (), {}),
    ("FROM sales WHERE NOT shop = 's7'", (), {}),
    ("FROM sales WHERE shop = NULL", (), {}),
    ("FROM sales WHERE shop = $shop", {"shop": None}, {}),
    ("FROM sales WHERE id = '41'", (), {}),
    ("FROM sales WHERE id = 41.0", (), {}),
    ("FROM sales WHERE shop = 'S7' COLLATE NOCASE", (), {}),
    ("SELECT lower(area) AS shop FROM sales WHERE shop = 's7'", (), {}),
    ("SELECT sum(amount) FROM sales WHERE shop = 's7' UNION ALL SELECT sum(amount) FROM sales", (), {}),
    ("SELECT s.id, o.shop FROM sales s LEFT JOIN shops o ON s.shop = o.shop AND s.area = 'north'", (), {}),
    ("SELECT s.id, o.shop FROM sales s FULL JOIN shops o ON s.shop = o.shop AND s.area = 'north'", (), {}),
    ("SELECT s.id FROM (SELECT 100 AS at) o ASOF JOIN sales s ON o.at >= s.id WHERE s.shop = 's7'", (), {}),
    ("SELECT count(*) FROM shops o POSITIONAL JOIN sales s WHERE s.shop = 's7'", (), {}),
    ("SELECT count(*) FROM sales s (a, shop, c, d) WHERE s.shop = 's7'", (), {}),
]  # fmt: skip


BY = "SELECT shop AS part, amount FROM sales WHERE $by = 'shop' AND area = 'north'"
BY_AREA = (
    "SELECT area, sum(amount) FROM (SELECT * FROM sales WHERE amount > 2) AS big WHERE $by IS NULL GROUP BY 1"
)
JOINED = "SELECT o.shop, s.id FROM shops o LEFT JOIN sales s ON s.shop = o.shop"
UNSEEN: list[tuple[str, Any, bool]] = [
    (BY, {"by": "area"}, False),
    (BY, {"by": None}, False),
    (BY, {"by": "shop"}, True),
    (BY_AREA, {"by": "area"}, False),
    (BY_AREA, {"by": None}, True),
    (f"{BY} UNION ALL {BY_AREA}", {"by": "none of them"}, False),
    (f"{BY} UNION ALL {BY_AREA}", {"by": "shop"}, True),
    ("SELECT count(*), sum(amount) FROM sales WHERE FALSE", {}, False),
    ("WITH s AS (FROM sales WHERE $by = 'a') SELECT o.shop, s.id FROM shops o LEFT JOIN s ON s.shop = o.shop",
     {"by": "area"}, False),
    (f"{JOINED} WHERE $by = 'shop'", {"by": "x"}, False),
    ("SELECT * FROM sales s, (SELECT max(b.amount) AS m FROM sales b) AS top WHERE s.amount = m AND NOT $all",
     {"all": True}, False),
    # conditions that leave something to be seen
    (f"{JOINED} AND $by = 'shop'", {"by": "x"}, True),
    ("SELECT shop FROM shops WHERE $by = 'shop' OR shop IN (SELECT shop FROM sales)", {"by": "x"}, True),
    ("SELECT count(*) FILTER (WHERE $by = 'shop') AS a, count(*) AS b FROM sales", {"by": "x"}, True),
    ("SELECT area, count(*) FROM sales GROUP BY 1 HAVING $by = 'shop' OR area = 'north'", {"by": "x"}, True),
    (BY.replace("AND", "OR"), {"by": "x"}, True),
]  # fmt: skip


def row(number: int) -> dict[str, Any]:
    area = None if number % 11 == 0 else ("north", "south", "north-west")[number % 3]
    return {"id": number, "shop": f"s{number % 40}", "area": area, "amount": number % 17}


@pytest.fixture(scope="module")
def run() -> Iterator[hr.Run]:
    app = hr.App("keyed")
    app.table("sales", SALES, key="id")
    app.table("shops", SHOPS, key="shop")
    app.view("by_shop", "SELECT shop, area, count(*) AS n, sum(amount) AS amount FROM sales GROUP BY ALL")
    with app.open(None) as opened:
        opened.upsert("sales", [row(number) for number in range(ROWS)])
        opened.upsert(
            "shops", [{"shop": f"s{number}", "owner": f"o{number % 5}"} for number in range(35, 60)]
        )
        opened.advance()
        yield opened


def duck_answer(run: hr.Run, sql: str, params: Any) -> list[tuple[Any, ...]]:
    con = duckdb.connect()
    for name in ("sales", "shops"):
        con.register(name, run.snapshot(name)[1])
    return sorted(con.execute(sql, params or None).fetchall(), key=repr)


def answer(run: hr.Run, sql: str, params: Any) -> list[tuple[Any, ...]]:
    return sorted((tuple(found.values()) for found in run.query(sql, params).to_pylist()), key=repr)


@pytest.mark.parametrize(("sql", "params", "seen"), CASES, ids=[case[0] for case in CASES])
def test_only_rows_that_a_statement_can_see_are_read(run: hr.Run, sql: str, params: Any, seen: Rows) -> None:
    parsed = parse(duckdb.connect(), sql, ["sales", "shops"])
    named = params if isinstance(params, Mapping) else {str(at): one for at, one in enumerate(params, 1)}
    schema = next(Schema(info.schema.columns) for info in run.relations() if info.name == "sales")
    found = seen_rows(parsed.places["sales"], schema, named)
    assert {column: set(values) for column, values in found.items()} == {
        column: set(values) for column, values in seen.items()
    }
    assert answer(run, sql, params) == duck_answer(run, sql, params)


@pytest.mark.parametrize(("sql", "params", "is_seen"), UNSEEN)
def test_nothing_is_read_of_what_no_row_is_seen_of(
    run: hr.Run, sql: str, params: Any, *, is_seen: bool
) -> None:
    relations = ("sales", "shops")
    rows = {name: run.snapshot(name)[1] for name in relations}
    schemas = {info.name: info.schema for info in run.relations() if info.name in relations}
    read: list[str] = []

    def source(name: str) -> Callable[[], pa.Table]:
        def loaded() -> pa.Table:
            read.append(name)
            return rows[name]

        return loaded

    with closing(Reader()) as reader:
        table, _ = reader.run(sql, params, {name: source(name) for name in relations}, schemas)
    assert ("sales" in read) is is_seen
    found = sorted((tuple(one.values()) for one in table.to_pylist()), key=repr)
    assert found == duck_answer(run, sql, params) == answer(run, sql, params)


def test_rows_that_came_went_and_changed_are_read_by_key() -> None:
    app = hr.App("keyed")
    app.table("sales", SALES, key="id")
    asked = "FROM sales WHERE shop = 's7'"
    with app.open(None) as run:
        for round_ in range(4):
            run.upsert("sales", [row(number) | {"amount": round_} for number in range(round_, ROWS, 3)])
            run.delete("sales", [{"id": number} for number in range(round_ * 7, round_ * 7 + 90, 3)])
            run.advance()
            assert answer(run, asked, ()) == duck_answer_of(run.snapshot("sales")[1], asked)


def duck_answer_of(sales: pa.Table, sql: str) -> list[tuple[Any, ...]]:
    con = duckdb.connect()
    con.register("sales", sales)
    return sorted(con.execute(sql).fetchall(), key=repr)
