"""Bounds of expressions against DuckDB: no value above a bound may give a result below the bound's own."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import duckdb
import pytest

from headrace.engine.monotone import constant_us, follow

EPOCH = datetime.fromisoformat("1970-01-01")
EXPRESSIONS = [
    '"t"',
    '("t" + INTERVAL 5 MINUTE)',
    "(\"t\" - CAST('1 day 2 hours' AS INTERVAL))",
    '(to_minutes(3) + "t")',
    "date_trunc('hour', \"t\")",
    "date_trunc('week', \"t\")",
    "date_trunc('month', \"t\")",
    "time_bucket(CAST('7 days' AS INTERVAL), \"t\")",
    "time_bucket(CAST('10 minutes' AS INTERVAL), (\"t\" - INTERVAL 1 SECOND))",
    'CAST("t" AS DATE)',
    '(CAST("t" AS DATE) + 3)',
    "date_trunc('day', CAST(\"t\" AS TIMESTAMP WITH TIME ZONE))",
    'greatest("t", "u")',
    'least("t", ("u" + INTERVAL 1 DAY))',
]
NOTHING_FOLLOWS = [
    '("t" - "u")',
    'epoch_ms("t")',
    '("t" + INTERVAL 1 MONTH)',
    "time_bucket(CAST('1 month' AS INTERVAL), \"t\")",
    "time_bucket(CAST('1 day' AS INTERVAL), \"t\", INTERVAL 2 HOUR)",
    "date_part('hour', \"t\")",
    'coalesce("t", "u")',
    "date_trunc('fortnight', \"t\")",
    '(- "t")',
    'CASE WHEN "t" > "u" THEN "t" END',
]


def times(rng: random.Random) -> list[int]:
    """Return times around the edges of days, hours and weeks, before and after 1970."""
    edges = [rng.randrange(-40_000, 60_000) * 3_600_000_000 for _ in range(6)]
    return [edge + shift for edge in edges for shift in (-1, 0, 1, 1_799_999_999)]


@pytest.mark.parametrize("sql", EXPRESSIONS)
def test_no_later_value_gives_less(sql: str) -> None:
    rule = follow(sql)
    assert rule is not None
    rng = random.Random(sql)
    with duckdb.connect(config={"threads": 1}) as con:
        con.execute("SET TimeZone = 'UTC'")
        con.execute("CREATE TABLE p (t TIMESTAMP, u TIMESTAMP)")
        for t_us, u_us in zip(times(rng), times(rng), strict=True):
            con.execute("DELETE FROM p")
            later = [t_us, t_us + 1, t_us + rng.randrange(10**12), t_us + 86_400_000_000]
            for at in later:
                rows = (EPOCH + timedelta(microseconds=at), EPOCH + timedelta(microseconds=u_us + at - t_us))
                con.execute("INSERT INTO p VALUES (?, ?)", rows)
            least = con.execute(f"SELECT epoch_us(CAST(min({sql}) AS TIMESTAMP)) FROM p").fetchall()[0][0]
            bound = rule({"t": t_us, "u": u_us})
            assert bound is not None
            assert bound <= least if "greatest" in sql else bound == least


@pytest.mark.parametrize("sql", NOTHING_FOLLOWS)
def test_other_expressions_have_no_bound(sql: str) -> None:
    rule = follow(sql)
    assert rule is None or rule({"t": 0}) is None


def test_a_bound_is_missing_where_a_column_has_none() -> None:
    rule = follow('greatest("t", "u")')
    assert rule is not None
    assert rule({"t": 5}) is None
    assert rule({"t": 5, "u": 3}) == 3


def test_lengths_of_time() -> None:
    assert constant_us("INTERVAL '1 day 2 seconds'") == 86_402_000_000
    assert constant_us("2") == 2 * 86_400_000_000
    assert constant_us("INTERVAL 1 MONTH") is None
    assert constant_us("'x'") is None
    assert constant_us("CAST(NULL AS INTERVAL)") is None
