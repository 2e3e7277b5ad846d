"""What DuckDB has answered serves again for rows of the same values, and for no others.

Every answer is compared with DuckDB's for the same rows, asked anew. Rows come again in other batches and
at other places; they differ in the last bit of what an expression can tell apart: the sign of zero, NULL and
nothing, a list within a list. How often DuckDB is asked is counted, as answers cannot tell.
"""

from __future__ import annotations

import pickle
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from tests.engine.world import schema

from headrace.contracts.schema import Column, Schema
from headrace.engine.answered import ANSWERS_MAX, BYTES_MAX, ROWS_MAX
from headrace.engine.duck import Duck
from headrace.engine.expr import Expressions
from headrace.errors import ViewInError
from headrace.sql.plan import Expr

_AT = datetime.fromisoformat
VALUES: dict[str, list[Any]] = {
    "BIGINT": [0, 1, -1, None, 2**63 - 1],
    "BOOLEAN": [True, False, None],
    "VARCHAR": ["", "a", "A", None, "é", "a\0b"],
    "BLOB": [b"", b"\0", b"a", None],
    "DECIMAL(9,2)": [Decimal("0.00"), Decimal("-0.01"), None],
    "HUGEINT": [Decimal(2**100), Decimal(2**100 + 1), None],
    "TIMESTAMP": [_AT("1970-01-01T00:00:00"), _AT("1969-12-31T23:59:59.999999"), None],
    "DATE": [date(1970, 1, 1), date(1, 1, 1), None],
    "DOUBLE": [0.0, -0.0, float("nan"), 1.5, None],
    "INTEGER[]": [[], [None], [0], [1], [0, 1], None],
    "BOOLEAN[]": [[True], [False], []],
    "STRUCT(a INTEGER, b VARCHAR[])": [
        {"a": 1, "b": ["x, y"]}, {"a": 1, "b": ["x", "y"]}, {"a": None, "b": None}, None,
    ],
    "STRUCT(a DOUBLE)": [{"a": 0.0}, {"a": -0.0}, None],
    "MAP(VARCHAR, INTEGER)": [[("a", 1)], [], None],
    "ENUM('one', 'two')": ["one", "two", None],
}  # fmt: skip


class Asked(Duck):
    """Counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def query(self, *args: Any, **named: Any) -> pa.RecordBatch:
        self.count += 1
        return super().query(*args, **named)


@pytest.fixture
def duck() -> Asked:
    return Asked()


def expressions(source: Schema, *texts: str) -> Expressions:
    """Return expressions that answer texts."""
    read = [tuple(name for name in source.names if f'"{name}"' in text) for text in texts]
    exprs = [Expr(text, names, "VARCHAR") for text, names in zip(texts, read, strict=True)]
    output = Schema.of(Column(f"r{at}", "VARCHAR", pa.string()) for at in range(len(texts)))
    return Expressions(exprs, source, output)


def batch(source: Schema, *rows: dict[str, Any]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(list(rows), schema=source.arrow)


@pytest.mark.parametrize("kind", VALUES)
def test_equals_duckdb_for_every_type(duck: Asked, kind: str) -> None:
    source = schema(x=kind)
    sql = 'md5(CAST("x" AS VARCHAR)) || to_json("x")' if kind != "BLOB" else 'md5(CAST("x" AS VARCHAR))'
    kept = expressions(source, sql)
    rows = [{"x": value} for value in VALUES[kind]]
    for number in range(3):
        for some in ([row] for row in rows) if number < 2 else (rows, rows[::-1], rows[:1] * 3):
            fresh = expressions(source, sql).evaluate(batch(source, *some), duck)
            assert kept.evaluate(batch(source, *some), duck) == fresh


def test_rows_that_came_before_ask_nothing(duck: Asked) -> None:
    source = schema(x="VARCHAR", y="INTEGER")
    kept = expressions(source, 'md5("x")', 'md5(CAST("y" AS VARCHAR))')
    one, other = {"x": "a", "y": 1}, {"x": "b", "y": 2}
    kept.evaluate(batch(source, one, other), duck)
    assert duck.count == 1
    for rows in ((one,), (other, one), ({"x": "a", "y": 2}, {"x": "b", "y": 1})):
        kept.evaluate(batch(source, *rows), duck)
    assert duck.count == 1
    kept.evaluate(batch(source, {"x": "a", "y": 3}), duck)
    assert duck.count == 2


def test_an_error_is_not_remembered(duck: Asked) -> None:
    source = schema(x="VARCHAR")
    kept = expressions(source, """md5(CAST(CAST("x" AS UUID) AS VARCHAR))""")
    for _ in range(2):
        with pytest.raises(ViewInError):
            kept.evaluate(batch(source, {"x": "no"}), duck)
    assert kept.evaluate(batch(source), duck)[0].to_pylist() == []


def test_many_rows_and_long_ones_are_asked_again(duck: Asked) -> None:
    source = schema(x="VARCHAR")
    kept = expressions(source, 'md5("x")')
    many = batch(source, *({"x": str(at)} for at in range(ROWS_MAX + 1)))
    long = batch(source, {"x": "x" * (BYTES_MAX + 1)})
    for rows in (many, long):
        for _ in range(2):
            kept.evaluate(rows, duck)
    assert duck.count == 4
    repeated = expressions(source, 'repeat("x", 10000)')
    for _ in range(2):
        repeated.evaluate(batch(source, {"x": "abc"}), duck)
    assert duck.count == 6


def test_the_oldest_answers_go(duck: Asked) -> None:
    source = schema(x="INTEGER")
    kept = expressions(source, 'md5(CAST("x" AS VARCHAR))')
    for at in range(ANSWERS_MAX + 1):
        kept.evaluate(batch(source, {"x": at}), duck)
    before = duck.count
    kept.evaluate(batch(source, {"x": ANSWERS_MAX}), duck)
    assert duck.count == before
    kept.evaluate(batch(source, {"x": 0}), duck)
    assert duck.count == before + 1


def test_answers_are_not_written_down(duck: Asked) -> None:
    source = schema(x="VARCHAR")
    kept = expressions(source, 'md5("x")')
    kept.evaluate(batch(source, {"x": "a"}), duck)
    before = duck.count
    again = pickle.loads(pickle.dumps(kept))
    assert again.evaluate(batch(source, {"x": "a"}), duck) == kept.evaluate(batch(source, {"x": "a"}), duck)
    assert duck.count == before + 1
