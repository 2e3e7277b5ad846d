"""The append clock as a column: logged with the row, so that a replay and a row sent again change nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import headrace as hr
from headrace.results import RowStatus
from headrace.testing import ManualClock

START = datetime(2026, 1, 1, tzinfo=UTC)
COLUMNS = "id BIGINT, seen TIMESTAMP, arrived TIMESTAMP"
ACCEPTED, REPEATED, LATE, REJECTED = RowStatus


def shop() -> hr.App:
    app = hr.App("shop")
    app.stream("clicks", COLUMNS, event_id="id", event_time="seen", lateness="5s", append_time="arrived")
    app.view("per_second", "SELECT date_trunc('second', arrived) AS s, count(*) AS n FROM clicks GROUP BY 1")
    return app


def click(number: int, second: int = 0, **more: object) -> dict[str, object]:
    return {"id": number, "seen": START + timedelta(seconds=second), **more}


def test_the_clock_is_logged_and_a_row_sent_again_later_is_still_the_same_row(tmp_path: Path) -> None:
    clock = ManualClock(START)
    with shop().open(tmp_path, clock=clock) as run:
        assert run.append("clicks", [click(1), click(2, arrived=START - timedelta(days=9))]).accepted == 2
        clock.advance(timedelta(seconds=7))
        assert list(run.append("clicks", [click(1), click(3, 20)]).statuses) == [REPEATED, ACCEPTED]
        run.advance()
        before = run.query("SELECT * FROM per_second ORDER BY s").to_pylist()
        naive = START.replace(tzinfo=None)
        assert before == [{"s": naive, "n": 2}, {"s": naive + timedelta(seconds=7), "n": 1}]
    clock.advance(timedelta(days=1))
    with shop().open(tmp_path, clock=clock) as run:
        assert list(run.append("clicks", [click(2)]).statuses) == [REPEATED]
        run.advance()
        assert run.query("SELECT * FROM per_second ORDER BY s").to_pylist() == before


def test_late_rows_have_the_clock_too() -> None:
    clock = ManualClock(START)
    with shop().open(None, clock=clock) as run:
        run.append("clicks", [click(1, 60)])
        assert list(run.append("clicks", [click(2, 0)]).statuses) == [LATE]
        run.advance()
        assert run.query("SELECT arrived FROM clicks__late").to_pylist() == [
            {"arrived": START.replace(tzinfo=None)}
        ]


@pytest.mark.parametrize("name", ["id", "seen", "nothing"])
def test_only_a_free_column_of_time_can_be_filled(name: str) -> None:
    with pytest.raises(hr.DeclarationError, match="append_time"):
        hr.App("shop").stream("clicks", COLUMNS, event_id="id", event_time="seen", append_time=name)
