"""Kernels against DuckDB, bit for bit, over the corner values of each type.

Every expression is evaluated over all pairs of corner values: NULL, zero, the ends of the range, NaN, both
zeros, infinities, empty and non-ASCII text, times before the epoch. A kernel may pass a batch on to DuckDB
(`Miss`), so each pair is tried alone, and then together with all others that the kernel took.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from functools import cache
from itertools import product
from typing import Any

import pyarrow as pa
import pytest
from tests.engine.world import schema

from headrace.contracts.schema import Column, Schema
from headrace.engine.duck import Duck
from headrace.engine.kernels.compile import Compiled, compile_expression
from headrace.engine.kernels.vec import WIDE_ROWS_MAX, Miss

_AT = datetime.fromisoformat
CORNERS: dict[str, list[Any]] = {
    "TINYINT": [None, 0, 1, -1, 127, -128],
    "SMALLINT": [None, 0, 7, 32767, -32768],
    "INTEGER": [None, 0, 1, -1, 3, 2**31 - 1, -(2**31)],
    "BIGINT": [None, 0, 1, -1, 7, 10**9, 2**53 + 1, 2**63 - 1, -(2**63)],
    "UINTEGER": [None, 0, 5, 2**32 - 1],
    "DOUBLE": [
        None,
        0.0,
        -0.0,
        1.5,
        -2.5,
        2.5,
        1e18,
        1e300,
        5e-324,
        float("nan"),
        float("inf"),
        float("-inf"),
        0.1,
    ],
    "DECIMAL(9,2)": [None, Decimal("0.00"), Decimal("0.05"), Decimal("-1.25"), Decimal("9999999.99")],
    "DECIMAL(18,3)": [
        None,
        Decimal("0.000"),
        Decimal("1.125"),
        Decimal("-7.500"),
        Decimal("999999999999999.999"),
    ],
    "VARCHAR": [
        None,
        "",
        "a",
        "ab",
        "A/b//c",
        "é",
        "e\u0301x",
        "a%b",
        "line\nbreak",
        "żółw/ß",
        "日本語 text longer than eight",
    ],
    "BOOLEAN": [None, True, False],
    "TIMESTAMP": [
        None,
        _AT("1970-01-01T00:00:00"),
        _AT("1969-12-31T23:59:59.999999"),
        _AT("2024-02-29T12:34:56.789123"),
        _AT("0001-02-03T00:00:00"),
        _AT("9999-12-30T23:59:59"),
        _AT("2023-12-31T23:00:00"),
        _AT("1900-03-01T00:00:00"),
        _AT("1969-12-31T23:59:59.999500"),
        _AT("2000-01-01T00:00:00.001500"),
        _AT("1970-01-01T00:00:00.000499"),
    ],
    "DATE": [
        None,
        date(1970, 1, 1),
        date(1969, 12, 31),
        date(2024, 2, 29),
        date(1, 1, 1),
        date(9999, 12, 31),
    ],
}

LOGIC = [
    "x AND y",
    "x OR y",
    "NOT x",
    "x IS NULL",
    "x IS NOT NULL",
    "x = y",
    "x < y",
    "CASE WHEN x THEN y END",
    "if(x, y, NOT y)",
]
COMPARE = [
    "x = y",
    "x <> y",
    "x < y",
    "x <= y",
    "x > y",
    "x >= y",
    "x IS DISTINCT FROM y",
    "x IS NOT DISTINCT FROM y",
]
CHOICE = [
    "coalesce(x, y)",
    "nullif(x, y)",
    "CASE WHEN x > y THEN x ELSE y END",
    "x IS NULL",
    "x BETWEEN y AND x",
]
EXTREMES = ["greatest(x, y)", "least(x, y)"]
INTEGERS = [
    "x + y",
    "x - y",
    "x * y",
    "x // y",
    "x % y",
    "x / y",
    "-x",
    "abs(x)",
    "x + 1",
    "x * 3",
    "x IN (1, 3)",
    "x > 2",
]
CASTS = ["CAST(x AS BIGINT)", "CAST(x AS DOUBLE)", "CAST(x AS SMALLINT)", "CAST(x AS DECIMAL(18,2))"]
DECIMALS = [
    "x + y",
    "x - y",
    "x * y",
    "x / y",
    "-x",
    "abs(x)",
    "x * 1.1",
    "x > 1.2",
    "x + 1",
    "x = 0",
    "CAST(x AS DECIMAL(9,1))",
]
DOUBLES = [
    "x + y",
    "x - y",
    "x * y",
    "x / y",
    "-x",
    "abs(x)",
    "x * 2",
    "x > 1",
    "x = 0",
    "CAST(x AS INTEGER)",
    "CAST(x AS BIGINT)",
]
TEXTS = [
    "lower(x)",
    "upper(x)",
    "length(x)",
    "x || y",
    "x || '!'",
    "x = 'a'",
    "x IN ('a', 'é')",
    "x NOT IN ('a', NULL)",
    "x LIKE 'a%'",
    "x LIKE '%b'",
    "x LIKE '%b%'",
    "x NOT LIKE 'a%'",
    "x LIKE 'a%b'",
    "x LIKE 'ab'",
    "x LIKE '%'",
    "x LIKE '%i%b%'",
    "contains(x, 'b')",
    "starts_with(x, 'a')",
    "split_part(x, '/', 1)",
    "split_part(x, '/', 3)",
    "split_part(x, '/', 2)",
    "split_part(x, '//', 2)",
    "split_part(x, 'b', 2)",
    "CASE WHEN x = 'a' THEN 'one' WHEN x IS NULL THEN y ELSE x END",
    "x > 'a'",
    "left(x, 1)",
    "x = 'a' OR regexp_matches(x, 'b') OR y IS NULL",
    "regexp_matches(x, '[ab]') AND length(y) > 1 AND x LIKE '%b%'",
    "CASE WHEN length(x) > 1 THEN y WHEN y = 'a' THEN x ELSE replace(x, 'a', 'q') END",
    "CASE WHEN length(x) < 3 THEN 1 ELSE length(regexp_extract(x, '[a-z]+')) END",
    "substring(x, 2, 3)",
    "substring(x, 2)",
    "replace(x, 'a', 'zz')",
    "concat(x, '-', y)",
    "greatest(x, y)",
    "regexp_matches(x, '[a-c]/')",
    "regexp_full_match(x, 'a.*')",
    "regexp_replace(x, '[^/]+$', 'x')",
    "regexp_replace(x, '[a-z]', '.', 'g')",
    "regexp_extract(x, '[a-z]+')",
    "regexp_extract(x, '(^|/)([a-z]+)(x)?', 2)",
    "regexp_extract(x, '([é])|(b)', 2)",
]
TIMES = [
    *[f"date_trunc('{unit}', x)" for unit in ("second", "minute", "hour", "day", "week", "month", "year")],
    *[
        f"date_part('{part}', x)"
        for part in (
            "year",
            "quarter",
            "month",
            "day",
            "hour",
            "minute",
            "second",
            "dow",
            "isodow",
            "doy",
            "epoch",
            "millisecond",
            "microsecond",
        )
    ],
    "CAST(x AS DATE)",
    "epoch_ms(x)",
    "x + INTERVAL 90 SECOND",
    "x - INTERVAL 1 HOUR",
    "x >= TIMESTAMP '1970-01-01'",
    "x = y",
    "x < y",
    "hour(x)",
    "year(x)",
    "month(x)",
    "greatest(x, y)",
    "least(x, y)",
    "strftime(x, '%Y-%m-%d')",
    "strftime(x, '%H:%M:%S')",
    "strftime(x, '%d.%m. at %H')",
]
DATES = [
    "CAST(x AS TIMESTAMP)",
    "date_part('year', x)",
    "x = y",
    "x < DATE '2000-01-01'",
    "date_trunc('month', x)",
]

CASES: list[tuple[str, str, list[str]]] = [
    ("BOOLEAN", "BOOLEAN", LOGIC),
    *[
        (kind, kind, [*COMPARE, *CHOICE])
        for kind in ("BIGINT", "INTEGER", "DOUBLE", "DECIMAL(9,2)", "VARCHAR", "TIMESTAMP", "DATE")
    ],
    *[
        (kind, kind, INTEGERS + CASTS + EXTREMES)
        for kind in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UINTEGER")
    ],
    ("INTEGER", "BIGINT", INTEGERS[:6] + COMPARE),
    ("BIGINT", "DOUBLE", INTEGERS[:3] + COMPARE),
    ("BIGINT", "DECIMAL(9,2)", ["x + y", "x * y", "x * 0.908", "x = y", "x < y"]),
    ("INTEGER", "DECIMAL(18,3)", ["x + y", "x * y", "x / y", "x < y", "coalesce(x, y)"]),
    *[(kind, kind, DECIMALS) for kind in ("DECIMAL(9,2)", "DECIMAL(18,3)")],
    ("DECIMAL(9,2)", "DECIMAL(18,3)", ["x + y", "x * y", "x > y", "CASE WHEN x > y THEN x ELSE y END"]),
    ("DOUBLE", "DOUBLE", DOUBLES),
    ("DECIMAL(9,2)", "DOUBLE", ["x * y", "x > y"]),
    ("VARCHAR", "VARCHAR", TEXTS),
    ("TIMESTAMP", "TIMESTAMP", TIMES),
    ("TIMESTAMP", "DATE", ["x < y", "x = y"]),
    ("DATE", "DATE", DATES),
    ("BIGINT", "INTEGER", ["CAST(x AS VARCHAR)", "CAST(x AS INTEGER)", "CAST(x AS BOOLEAN)"]),
    ("BOOLEAN", "BIGINT", ["CAST(x AS INTEGER)", "if(x, y, 0)"]),
]


@pytest.fixture(scope="module")
def duck() -> Duck:
    return Duck()


def answers(duck: Duck, sql: str, rows: pa.RecordBatch, source: Schema, output: Column) -> list[str]:
    """Return DuckDB's answer per row; `error` where it has none."""
    flag = Column("bad", "BOOLEAN", pa.bool_())
    items = [f"TRY({sql})", f"TRY(({sql}) IS NULL) IS NULL"]
    found = duck.careful.select(rows, source, items, Schema((output, flag)))
    values, bad = shown(found.column(0)), found.column(1).to_pylist()
    return ["error" if failed else repr(value) for value, failed in zip(values, bad, strict=True)]


@pytest.mark.parametrize(
    ("left", "right", "expressions"),
    CASES,
    ids=[f"{left}-{right}-{at}" for at, (left, right, _) in enumerate(CASES)],
)
def test_kernels_equal_duckdb(duck: Duck, left: str, right: str, expressions: list[str]) -> None:
    source = schema(x=left, y=right)
    pairs = [{"x": x, "y": y} for x, y in product(CORNERS[left], CORNERS[right])]
    rows = pa.RecordBatch.from_pylist(pairs, schema=source.arrow)
    kinds = duck.types(expressions, source)
    for sql, kind in zip(expressions, kinds, strict=True):
        kernel = compile_expression(sql, source, output := Column("r", kind, arrow_of(kind)), duck)
        assert kernel is not None, f"{sql} over {left}, {right} has no kernel"
        wanted = answers(duck, sql, rows, source, output)
        taken = 0
        for at, pair in enumerate(pairs):
            found = evaluated(kernel, rows.slice(at, 1))
            assert found is None or found == [wanted[at]], f"{sql} over {pair}"
            taken += found is not None
        assert taken > len(pairs) / 4, (
            f"{sql} over {left}, {right}: the kernel took only {taken} of {len(pairs)}"
        )
        fine = [at for at in range(len(pairs)) if evaluated(kernel, rows.slice(at, 1)) is not None]
        together = evaluated(kernel, rows.take(pa.array(fine)))
        assert together in (None, [wanted[at] for at in fine]), f"{sql} over {left}, {right}"


def evaluated(kernel: Compiled, rows: pa.RecordBatch) -> list[str] | None:
    """Return the kernel's answer per row, or None where it leaves the batch to DuckDB."""
    try:
        return [repr(value) for value in shown(kernel.evaluate(rows, {}))]
    except Miss:
        return None


def shown(values: pa.Array) -> list[Any]:
    """Return values as Python's; times and dates as numbers, as its calendar is shorter than DuckDB's."""
    number = {pa.date32(): pa.int32()}.get(values.type, pa.int64())
    is_time = pa.types.is_timestamp(values.type) or pa.types.is_date(values.type)
    found: list[Any] = (values.cast(number) if is_time else values).to_pylist()
    return found


@cache
def arrow_of(kind: str) -> pa.DataType:
    return schema(r=kind).columns[0].arrow


@pytest.mark.parametrize("kind", [*CORNERS, "HUGEINT"])
def test_fields_of_structs(duck: Duck, kind: str) -> None:
    source = schema(x=f'STRUCT("A b" {kind}, other VARCHAR)')
    corners = CORNERS.get(kind, [Decimal(2**100), Decimal(-1), None])
    pairs = [{"x": None}, *({"x": {"A b": value, "other": "q"}} for value in corners)]
    rows = pa.RecordBatch.from_pylist(pairs, schema=source.arrow)
    sql, output = '(x)."a B"', Column("r", kind, arrow_of(kind))
    kernel = compile_expression(sql, source, output, duck)
    assert kernel is not None
    wanted = answers(duck, sql, rows, source, output)
    for count in (0, 1, len(pairs)):
        for part in (rows.slice(0, count), rows.slice(len(pairs) - count)):
            first = 0 if part.equals(rows.slice(0, count)) else len(pairs) - count
            assert evaluated(kernel, part) == wanted[first : first + count]


def test_fields_that_one_name_may_mean_are_left_to_duckdb(duck: Duck) -> None:
    source = schema(x="STRUCT(a INTEGER, b INTEGER)")
    output = Column("r", "INTEGER", pa.int32())
    assert compile_expression("(struct_pack(a := 1, b := x)).a", source, output, duck) is None
    assert compile_expression("(x).c", source, output, duck) is None


@pytest.mark.parametrize(
    "sql", ["md5(x)", "x ILIKE 'a'", "regexp_matches(x, 'a*')", "CAST(x AS INTEGER)", "x LIKE y"]
)
def test_what_has_no_kernel_is_left_to_duckdb(duck: Duck, sql: str) -> None:
    source = schema(x="VARCHAR", y="VARCHAR")
    kind = duck.types([sql], source)[0]
    kernel = compile_expression(sql, source, Column("r", kind, arrow_of(kind)), duck)
    rows = pa.RecordBatch.from_pylist([{"x": "1", "y": "1"}], schema=source.arrow)
    if kernel is not None:
        with pytest.raises(Miss):
            kernel.evaluate(rows, {})


def test_constants_are_folded_and_broadcast(duck: Duck) -> None:
    source = schema(x="INTEGER")
    rows = pa.RecordBatch.from_pylist([{"x": 1}, {"x": None}], schema=source.arrow)
    for sql, wanted in (("1 + 1", [2, 2]), ("'a' || 'b'", ["ab", "ab"]), ("NULL::INTEGER", [None, None])):
        kind = duck.types([sql], source)[0]
        kernel = compile_expression(sql, source, Column("r", kind, arrow_of(kind)), duck)
        assert kernel is not None
        assert kernel.evaluate(rows, {}).to_pylist() == wanted


@pytest.mark.parametrize("count", [0, 1, 50])
def test_costly_parts_are_computed_where_they_are_needed(duck: Duck, count: int) -> None:
    source = schema(x="VARCHAR")
    sql = "x = 'a' OR regexp_matches(x, 'b')"
    kernel = compile_expression(sql, source, Column("r", "BOOLEAN", pa.bool_()), duck)
    assert kernel is not None
    for texts in (["a"] * count, ["a"] * (count - 1) + ["b"] * min(count, 1), [None] * count):
        rows = pa.RecordBatch.from_pylist([{"x": text} for text in texts], schema=source.arrow)
        assert kernel.evaluate(rows, {}).to_pylist() == [None if text is None else True for text in texts]


def test_wide_numbers_are_python_s_in_few_rows_and_duckdb_s_in_many(duck: Duck) -> None:
    source, output = schema(x="BIGINT"), Column("r", "HUGEINT", arrow_of("HUGEINT"))
    kernel = compile_expression("CAST(x AS HUGEINT) * 1000000000000 // 7", source, output, duck)
    assert kernel is not None
    few = pa.RecordBatch.from_pylist([{"x": 2**62}, {"x": None}, {"x": -5}], schema=source.arrow)
    assert kernel.evaluate(few, {}).to_pylist() == [
        Decimal(2**62 * 10**12 // 7),
        None,
        Decimal(-(5 * 10**12 // 7)),
    ]
    many = few.take(pa.array([0] * (WIDE_ROWS_MAX + 1)))
    with pytest.raises(Miss):
        kernel.evaluate(many, {})
    narrow = few.take(pa.array([2] * (WIDE_ROWS_MAX + 1)))
    assert set(kernel.evaluate(narrow, {}).to_pylist()) == {Decimal(-(5 * 10**12 // 7))}
