"""TUMBLE, HOP and SESSION against a tally in plain Python, also before 1970 and at the edges of windows."""

from __future__ import annotations

import datetime as dt

import duckdb
import pytest
from tests.sql.naive import Naive

from headrace.sql import plan_view
from headrace.sql.duck import schema_of
from headrace.sql.plan import Hop

CATALOG = {"x": schema_of([("id", "INTEGER"), ("seen", "TIMESTAMP")])}
TIMES_US = [
    -60_000_001,
    -60_000_000,
    -1,
    0,
    1,
    9_999_999,
    10_000_000,
    59_999_999,
    60_000_000,
    1_700_000_000_123_456,
]


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute("CREATE TABLE x (id INTEGER, seen TIMESTAMP)")
    for number, micros in enumerate(TIMES_US):
        con.execute("INSERT INTO x VALUES (?, make_timestamp(?))", [number, micros])
    con.execute("INSERT INTO x VALUES (98, NULL), (99, 'infinity'), (97, '-infinity')")
    return con


@pytest.mark.parametrize(
    ("text", "slide_us", "size_us"),
    [
        ("TUMBLE(x, seen, '10s')", 10_000_000, 10_000_000),
        ("TUMBLE(x, seen, INTERVAL 1 MINUTE)", 60_000_000, 60_000_000),
        ("TUMBLE(x, seen, '7 us')", 7, 7),
        ("HOP(x, seen, '10s', '1m')", 10_000_000, 60_000_000),
        ("HOP(x, seen, '7s', '10s')", 7_000_000, 10_000_000),
        ("HOP(x, seen, '1m', '10s')", 60_000_000, 10_000_000),
        ("HOP(x, seen, slide => '2s', size => INTERVAL '3.5 seconds')", 2_000_000, 3_500_000),
    ],
)
def test_windows_hold_what_they_should(
    con: duckdb.DuckDBPyConnection, text: str, slide_us: int, size_us: int
) -> None:
    plan = plan_view("v", f"SELECT id, epoch_us(window_start), epoch_us(window_end) FROM {text}", CATALOG)
    hop = next(node for node in plan.root.walk() if isinstance(node, Hop))
    assert (hop.slide_us, hop.size_us) == (slide_us, size_us)
    expected = sorted(
        (number, start, start + size_us)
        for number, micros in enumerate(TIMES_US)
        for start in range((micros // slide_us) * slide_us, micros - size_us, -slide_us)
    )
    assert sorted(con.sql(plan.reference_sql).fetchall()) == expected
    assert sorted(map(_numbers, Naive(con).rows(plan.root))) == expected


def _numbers(row: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(int(value) for value in row)


@pytest.mark.parametrize(
    "kind", ["DATE", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE"]
)
def test_every_time_type_has_windows(kind: str) -> None:
    catalog = {"x": schema_of([("seen", kind)])}
    plan = plan_view("v", "SELECT window_start FROM HOP(x, seen, '12h', '1d')", catalog)
    assert plan.schema["window_start"].sql_type == (kind if "ZONE" in kind else "TIMESTAMP")
    con = duckdb.connect()
    con.execute(f"CREATE TABLE x AS SELECT CAST('2020-01-02 00:00:00' AS {kind}) AS seen")
    starts = con.sql(
        f"SELECT CAST(window_start AS VARCHAR)[:16] FROM ({plan.reference_sql}) ORDER BY 1"
    ).fetchall()
    if "ZONE" not in kind:
        assert starts == [("2020-01-01 12:00",), ("2020-01-02 00:00",)]
    assert len(Naive(con).rows(plan.root)) == len(starts) == 2


def test_sessions_end_with_silence() -> None:
    con = duckdb.connect()
    con.execute("CREATE TABLE x (id INTEGER, seen TIMESTAMP)")
    start = dt.datetime(2020, 1, 1)  # noqa: DTZ001  (TIMESTAMP has no zone)
    seconds = {1: [0, 5, 15, 26], 2: [0, 100], 3: [7]}
    for key, offsets in seconds.items():
        for offset in offsets:
            con.execute("INSERT INTO x VALUES (?, ?)", [key, start + dt.timedelta(seconds=offset)])
    sql = "SELECT id, window_start, window_end, count(*) FROM SESSION(x, seen, '10s', id) GROUP BY 1, 2, 3"
    plan = plan_view("v", sql, CATALOG)
    found = [
        (key, (first - start).total_seconds(), (last - start).total_seconds(), rows)
        for key, first, last, rows in con.sql(plan.reference_sql).fetchall()
    ]
    assert sorted(found) == [(1, 0, 25, 3), (1, 26, 36, 1), (2, 0, 10, 1), (2, 100, 110, 1), (3, 7, 17, 1)]
    assert len(Naive(con).rows(plan.root)) == len(found)
