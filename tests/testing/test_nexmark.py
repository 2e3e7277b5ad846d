"""Nexmark's queries against DuckDB over the same events, fed in steps of uneven size."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from headrace.testing import ManualClock, Oracle, difference
from headrace.testing.nexmark import QUERIES, app, make_events, side_input

SIZES = (1, 299, 1_700, 1_000)


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_equals_duckdb(name: str) -> None:
    built = app(name)
    oracle = Oracle(built)
    first = 0
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    with built.open(None, clock=clock) as run:
        if "side_input" in built.tables:
            run.upsert("side_input", side_input())
            oracle.upsert("side_input", side_input().to_pylist())
        for size in SIZES:
            clock.advance(timedelta(seconds=7))
            events = make_events(first, size, rate_per_s=100)
            first += size
            for stream in ("person", "auction", "bid"):
                rows = getattr(events, stream)
                if name == "q12" and stream == "bid":
                    arrived = pa.repeat(
                        pa.scalar(clock().replace(tzinfo=None), pa.timestamp("us")), len(rows)
                    )
                    rows = rows.append_column("arrived_at", arrived)
                if rows.num_rows:
                    assert run.append(stream, rows).accepted == rows.num_rows
                    oracle.rows(stream).extend(rows.to_pylist())
            run.advance()
        got = run.query(f"SELECT * FROM {name}")
        assert got.num_rows > 0
        wrong = difference(got, oracle.expected(name))
        assert wrong is None, f"{name}\n{wrong}"


def test_any_range_of_events_can_be_made_anywhere() -> None:
    whole, part = make_events(0, 1_000, seed=3), make_events(500, 500, seed=3)
    assert whole.bid.slice(whole.bid.num_rows - part.bid.num_rows).equals(part.bid)
    assert (whole.person.num_rows, whole.auction.num_rows, whole.bid.num_rows) == (20, 60, 920)
    assert not make_events(0, 1_000, seed=4).bid.equals(whole.bid)
