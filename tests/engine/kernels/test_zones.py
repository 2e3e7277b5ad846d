"""Local times of real zones against DuckDB, around every kind of change of their clocks.

Zones with half hours and quarters, on either side of the day's edge, with summer time in either half of the
year, one that left a day out (Apia, 2011) and one whose winter is the exception (Dublin); times from local
mean time to the year 9000, before and after each change.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from tests.engine.kernels.test_compile import answers, arrow_of, evaluated
from tests.engine.world import schema

from headrace.contracts.schema import Column
from headrace.engine.duck import Duck
from headrace.engine.kernels.compile import compile_expression

ZONES = [
    "UTC", "Europe/Berlin", "Europe/Dublin", "America/New_York", "Asia/Tokyo", "Asia/Kathmandu",
    "Pacific/Apia", "Australia/Lord_Howe", "America/St_Johns", "Africa/Monrovia", "Antarctica/Troll",
    "Etc/GMT+12",
]  # fmt: skip
LOCAL = "timezone(zone, timezone('UTC', moment))"
SQL = [LOCAL, f"CAST({LOCAL} AS DATE)", f"CAST(date_trunc('month', {LOCAL}) AS DATE)"]
DAYS = [
    datetime.fromisoformat(day)
    for day in (
        "1880-01-01", "1919-03-31", "1972-01-07", "2011-12-30", "2024-02-29", "2026-03-08", "2026-03-29",
        "2026-04-04", "2026-10-25", "2026-11-01", "2027-01-01", "9000-06-30",
    )
]  # fmt: skip


@pytest.mark.parametrize("zone", ZONES)
def test_local_times_are_those_of_duckdb(zone: str) -> None:
    minutes = [
        timedelta(minutes=15 * step, microseconds=edge) for step in range(-64, 160) for edge in (-1, 0)
    ]
    known = check([{"zone": zone, "moment": day + step} for day in DAYS[3:] for step in minutes])
    assert known == len(SQL)
    check([{"zone": zone, "moment": day + step} for day in DAYS[:3] for step in minutes])


def test_zones_and_times_may_be_mixed_or_missing() -> None:
    rng = random.Random(7)
    rows = [
        {
            "zone": rng.choice([None, *ZONES]),
            "moment": rng.choice([None, *DAYS[3:]]),
        }
        for _ in range(300)
    ]
    assert check(rows) == len(SQL)
    assert check([{"zone": None, "moment": DAYS[5]}, {"zone": None, "moment": None}]) == len(SQL)


def test_zones_that_nobody_knows_are_left_to_duckdb() -> None:
    assert check([{"zone": "Nowhere/Here", "moment": DAYS[3]}], wanted=False) == 0


def check(rows: list[dict[str, Any]], *, wanted: bool = True) -> int:
    """Hold the kernels against DuckDB; return how many of them answered."""
    duck, source = Duck(), schema(zone="VARCHAR", moment="TIMESTAMP")
    batch = pa.RecordBatch.from_pylist(rows, schema=source.arrow)
    known = 0
    for sql in SQL:
        kind = duck.types([sql], source)[0]
        output = Column("r", kind, arrow_of(kind))
        kernel = compile_expression(sql, source, output, duck)
        assert kernel is not None
        found = evaluated(kernel, batch)
        assert found is None or not wanted or found == answers(duck, sql, batch, source, output)
        known += found is not None
    return known
