"""Every expression that the compiler takes, over the corner values of every type, against DuckDB.

The compiler's own table of operators decides what is tried: an operator without a template here fails the
test, so that a new kernel cannot come without its corner values. A template is tried with every type that
DuckDB lets it have, also those for which no kernel was meant, because a kernel that takes a type by accident
is how wrong answers come in. A kernel may leave rows to DuckDB, it may not differ.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from itertools import product
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import sqlglot
from tests.engine.kernels.test_compile import CORNERS, answers, arrow_of, evaluated
from tests.engine.test_types import corners
from tests.engine.world import schema

from headrace.contracts.schema import Column
from headrace.engine.duck import Duck
from headrace.engine.kernels.compile import _BUILDERS, compile_expression

OTHERS = [
    "HUGEINT", "UHUGEINT", "UTINYINT", "USMALLINT", "UBIGINT", "FLOAT", "DECIMAL(4,1)", "DECIMAL(24,12)",
    "DECIMAL(38,2)", "BLOB", "UUID", "TIME", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS",
    "TIMESTAMP WITH TIME ZONE", "INTERVAL", "ENUM('z', 'a', 'm')", "JSON", "INTEGER[]",
    "STRUCT(a INTEGER, b VARCHAR)",
]  # fmt: skip
"""Types beside those of `CORNERS`."""
MIXED = [
    ("INTEGER", "BIGINT"), ("TINYINT", "UINTEGER"), ("BIGINT", "DOUBLE"), ("BIGINT", "DECIMAL(18,3)"),
    ("DECIMAL(9,2)", "DECIMAL(18,3)"), ("DECIMAL(9,2)", "DOUBLE"), ("DATE", "TIMESTAMP"),
    ("BOOLEAN", "INTEGER"), ("VARCHAR", "BIGINT"), ("FLOAT", "DOUBLE"), ("HUGEINT", "BIGINT"),
    ("UBIGINT", "BIGINT"), ("TIMESTAMP", "INTERVAL"), ("DATE", "TINYINT"),
    ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE"), ("TIMESTAMP", "INTEGER"), ("TIMESTAMP", "BIGINT"),
    ("DATE", "INTEGER"),
    ("TIMESTAMP_NS", "TIMESTAMP"), ("DECIMAL(38,2)", "BIGINT"),
    ("DECIMAL(24,12)", "BIGINT"), ("DECIMAL(24,12)", "DECIMAL(9,2)"), ("HUGEINT", "DECIMAL(24,12)"),
]  # fmt: skip

WIDE: dict[str, list[Any]] = {
    "HUGEINT": [
        Decimal(one)
        for one in (
            5, -1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**38 - 1, 1 - 10**38, 3_037_000_500, 10**20, 0
        )
    ] + [None],
    "DECIMAL(24,12)": [
        Decimal(one)
        for one in (
            "1.5", "-0.000000000001", "0.000000000005", "9223372.036854775807", "9223372.036854775808",
            "-9223372.036854775808", "-9223372.036854775809", "999999999999.999999999999",
            "-999999999999.999999999999", "123456789.5", "0",
        )
    ] + [None],
}  # fmt: skip
"""Corner values around 64 bits."""

UNITS = ("year", "quarter", "month", "week", "day", "hour", "minute", "second")
PAIRED = [
    "x AND y", "x OR y", "x = y", "x <> y", "x < y", "x <= y", "x > y", "x >= y",
    "x IS NOT DISTINCT FROM y", "x IS DISTINCT FROM y", "x BETWEEN y AND x", "x IN (y, NULL)",
    "x + y", "x - y", "x * y", "x / y", "x // y", "x % y",
    "CAST(sign(x) * ((2 * CAST(abs(x) AS HUGEINT) * y + 7) // 14) AS BIGINT)",
    "CAST(x * 1000000000000 AS HUGEINT) * y",
    "CASE WHEN x = y THEN x ELSE y END", "CASE x WHEN y THEN 1 END", "if(x > y, x, y)",
    "coalesce(x, y)", "nullif(x, y)", "greatest(x, y)", "least(x, y)",
    "x || y", "contains(x, y)", "starts_with(x, y)", "prefix(x, y)", "concat(x, y)", "replace(x, y, 'q')",
    "split_part(x, y, 1)", "x LIKE y", "x + to_days(CAST(y AS INTEGER))",
    "x - to_days(y)", "x + to_months(CAST(y AS INTEGER))", "x - to_months(y)",
]  # fmt: skip
"""Templates over two columns."""
SINGLE = [
    "NOT x", "x IS NULL", "x IS NOT NULL", "-x", "abs(x)", "sign(x)", "x + 1", "1 - x", "x * 2", "x / 3",
    "x // 3", "x % 3", "x AND x > 1", "x * 1.5", "x > 1", "x = 0", "x IN (1, 2)", "x IN ('a', '')",
    "(x).a", "(x).B",
    "if(x IS NULL, NULL, x)",
    *[f"CAST(x AS {kind})" for kind in (*CORNERS, "HUGEINT", "FLOAT", "UBIGINT", "TIMESTAMP_S")],
    "lower(x)", "upper(x)", "length(x)", "x LIKE 'a%'", "x LIKE '%b%'", "x LIKE '_'", "left(x, 2)",
    "left(x, -1)", "substring(x, 2, 3)", "substring(x, -2)", "substring(x, 0, 2)", "split_part(x, '/', -1)",
    "replace(x, '', 'z')",
    "regexp_replace(x, 'a', 'b')", "regexp_replace(x, '[a-z]', '', 'g')", "regexp_extract(x, '([a-z])', 1)",
    "regexp_matches(x, '^a')", "regexp_full_match(x, '[a-z]+')",
    *[f"{unit}(x)" for unit in UNITS], *[f"date_trunc('{unit}', x)" for unit in UNITS],
    *[f"date_part('{unit}', x)" for unit in (*UNITS, "epoch", "dow", "isodow", "doy", "century")],
    "strftime(x, '%Y-%m-%d %H:%M:%S')", "epoch_ms(x)", "x + INTERVAL 1 DAY", "x - INTERVAL 1 MONTH",
    *[f"time_bucket(INTERVAL '{length}', x)" for length in ("15 minutes", "5 days", "7 seconds", "1 month")],
    "timezone('Europe/Berlin', timezone('UTC', x))",
]  # fmt: skip
"""Templates over one column."""


def values(kind: str) -> list[Any]:
    """Return corner values; the day after the last one of Python's calendar could not be shown."""
    known = CORNERS | WIDE
    found = known[kind] if kind in known else corners(kind)
    return [value for value in found if not (isinstance(value, date) and value.year == date.max.year)]


def test_every_operator_of_the_compiler_has_a_template() -> None:
    trees = [sqlglot.parse_one(sql, dialect="duckdb") for sql in (*PAIRED, *SINGLE)]
    seen = {type(part) for tree in trees for part in tree.walk()}
    known = {kind for kinds, _ in _BUILDERS for kind in (kinds if isinstance(kinds, tuple) else (kinds,))}
    assert {kind.__name__ for kind in known - seen} == set()


@pytest.mark.parametrize(
    ("left", "right", "templates"),
    [
        *[(kind, "BOOLEAN", SINGLE) for kind in (*CORNERS, *OTHERS)],
        *[(kind, kind, PAIRED) for kind in (*CORNERS, *OTHERS)],
        *[(one, other, PAIRED) for pair in MIXED for one, other in (pair, pair[::-1])],
    ],
)
def test_equals_duckdb(left: str, right: str, templates: list[str]) -> None:
    duck = Duck()
    source = schema(x=left, y=right)
    others = values(right)[:9] if templates is PAIRED else [True]
    pairs = [{"x": x, "y": y} for x, y in product(values(left)[:12], others)]
    rows = pa.RecordBatch.from_pylist(pairs, schema=source.arrow)
    for sql in templates:
        try:
            kind = duck.types([sql], source)[0]
        except duckdb.Error:
            continue
        output = Column("r", kind, arrow_of(kind))
        kernel = compile_expression(sql, source, output, duck)
        if kernel is None:
            continue
        wanted = answers(duck, sql, rows, source, output)
        found = evaluated(kernel, rows)
        assert found is None or found == wanted, f"{sql} over {left}, {right}"
        for at in range(len(pairs)) if found is None else ():
            alone = evaluated(kernel, rows.slice(at, 1))
            assert alone is None or alone == [wanted[at]], f"{sql} over {pairs[at]}: {left}, {right}"
