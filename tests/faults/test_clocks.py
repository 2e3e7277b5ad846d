"""The machine's clock jumps forth and back: nothing that was decided is undone, and no row goes for it.

A stream falls silent and its watermark passes with a clock that was wrong; the clock is set right, rows come,
the folder is opened again; rows that only seem old are not let go. Every view is compared with DuckDB's
answer over the rows that were accepted.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.test_retention import START, content, day, fill, opened

import headrace as hr
from headrace import retention
from headrace.testing import ManualClock

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PER_SHOP = "SELECT shop, count(*) AS n FROM orders GROUP BY shop"


def shop() -> hr.App:
    app = hr.App("shop")
    app.stream(
        "orders", "id BIGINT, shop TEXT, placed TIMESTAMP", event_id="id", event_time="placed", lateness="1m",
        idle_after="5m",
    )  # fmt: skip
    app.view("per_shop", PER_SHOP)
    app.view(
        "per_minute",
        "SELECT window_start, window_end, count(*) AS n FROM TUMBLE(orders, placed, INTERVAL 1 MINUTE) "
        "GROUP BY ALL",
        emit="final",
    )
    return app


def order(number: int, placed: datetime) -> dict[str, object]:
    return {"id": number, "shop": f"s{number % 2}", "placed": placed}


def check(run: hr.Run) -> None:
    assert run.query("FROM per_shop ORDER BY ALL") == run.query(f"FROM ({PER_SHOP}) ORDER BY ALL")


def watermark(run: hr.Run) -> datetime:
    at: datetime = run.version.watermarks["orders"]
    return at


@pytest.mark.parametrize("reopened", [False, True])
def test_a_jump_forth_and_back_moves_a_silent_stream_once_and_takes_nothing_back(
    tmp_path: Path, reopened: bool
) -> None:
    clock = ManualClock(NOON)
    run = shop().open(tmp_path, clock=clock)
    try:
        run.append("orders", [order(n, NOON - timedelta(seconds=n)) for n in range(6)])
        run.advance()
        before = watermark(run)
        assert before == NOON - timedelta(minutes=1)
        clock.advance(timedelta(days=1))
        run.advance()
        ahead = watermark(run)
        assert before + timedelta(hours=23) < ahead <= NOON + timedelta(days=1)
        assert run.query("SELECT sum(n) AS n FROM per_minute").to_pylist() == [{"n": 6}]
        clock.advance(timedelta(days=-1))
        if reopened:
            run.close()
            run = shop().open(tmp_path, clock=clock)
        late = run.append("orders", [order(10, NOON), order(11, NOON + timedelta(hours=1))])
        assert late.late == 2
        again = run.append("orders", [order(1, NOON - timedelta(seconds=1))])
        assert again.repeated == 1
        version = run.advance()
        assert watermark(run) == ahead
        assert version.clock is not None
        assert version.clock >= NOON + timedelta(days=1)
        assert run.query("SELECT count(*) AS n FROM orders__late").to_pylist() == [{"n": 2}]
        check(run)
        clock.advance(timedelta(days=1, minutes=1))
        assert run.append("orders", [order(12, NOON + timedelta(days=1))]).accepted == 1
        run.advance()
        check(run)
        there = [run.query(f"FROM {name} ORDER BY ALL") for name in ("per_shop", "per_minute")]
    finally:
        run.close()
    with shop().open(tmp_path, clock=ManualClock(NOON - timedelta(days=400))) as run:
        run.advance()
        assert [run.query(f"FROM {name} ORDER BY ALL") for name in ("per_shop", "per_minute")] == there


def test_times_are_judged_by_the_clock_that_stands(tmp_path: Path) -> None:
    """What is too far ahead of a clock that went back was not too far ahead of the append clock."""
    clock = ManualClock(NOON)
    with shop().open(tmp_path, clock=clock) as run:
        run.append("orders", [order(1, NOON)])
        clock.advance(timedelta(days=-30))
        assert run.append("orders", [order(2, NOON + timedelta(minutes=30))]).accepted == 1
        assert run.append("orders", [order(3, NOON + timedelta(hours=2))]).rejected == 1
        run.advance()
        check(run)


def test_rows_that_only_seem_old_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from tests.intake.samples import Clock

    passed_s = 0.0
    monkeypatch.setattr(retention, "steady_s", lambda: passed_s)
    clock = Clock(START)
    with opened(tmp_path, clock) as run:
        for number in range(10):
            fill(run, clock, number, number + 1)
            run._log.seal()
            passed_s += 86_400.0
        run.checkpoint()
        run.checkpoint()
        before, kept = content(run), run.query("SELECT count(*) AS n FROM orders").to_pylist()
        clock.now = day(4_000)
        run.append("visits", [{"customer": 1}])
        run.advance()
        run._log.seal()
        run.checkpoint()
        run.checkpoint()
        assert not run._trimmer.trim_unless_jumped().relations
        assert "the clock has jumped ahead" in caplog.text
        assert run.query("SELECT count(*) AS n FROM orders").to_pylist() == kept
        clock.now = day(10)
        passed_s += 86_400.0
        assert content(run)["customers"] == before["customers"]
        run._trimmer.trim_unless_jumped()
        assert content(run)["spent"] == before["spent"]
