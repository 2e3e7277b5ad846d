"""Time in a run: rows that leave by themselves, silence that closes windows, streams that lag, restarts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import headrace as hr
from headrace import stepper
from headrace.change import VERSION, WEIGHT
from headrace.testing import ListOutlet, ManualClock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
COLUMNS = "id BIGINT, t TIMESTAMP"
RECENT = "SELECT id FROM e WHERE t > now() - INTERVAL 1 MINUTE"


def recent() -> hr.App:
    app = hr.App("recent")
    app.stream("e", COLUMNS, event_time="t", lateness="10s")
    app.view("recent", RECENT)
    app.view("counted", "SELECT count(*) AS n FROM recent")
    return app


def ids(run: hr.Run, view: str = "recent") -> list[int]:
    return sorted(run.query(f"SELECT id FROM {view}")["id"].to_pylist())


def test_rows_leave_when_their_time_comes_and_an_empty_step_makes_no_version() -> None:
    clock = ManualClock(NOON)
    outlet = ListOutlet()
    with recent().open(None, clock=clock) as run:
        run.attach(outlet)
        run.append("e", [{"id": 1, "t": NOON}, {"id": 2, "t": NOON + timedelta(seconds=30)}])
        assert run.advance().number == 1
        clock.advance(timedelta(seconds=59))
        assert run.advance().number == 1
        clock.advance(timedelta(seconds=1))
        version = run.advance()
        assert (version.number, version.commit, version.clock) == (2, 1, NOON + timedelta(minutes=1))
        assert ids(run) == [2]
        assert run.query("FROM counted").to_pylist() == [{"n": 1}]
        clock.advance(timedelta(days=1))
        assert run.advance().number == 3
        assert ids(run) == []
        assert run.advance().number == 3
    assert sorted(changes["recent"].weights.tolist() for _, changes in outlet.versions) == [
        [-1],
        [-1],
        [1, 1],
    ]


def test_the_clock_never_goes_back() -> None:
    clock = ManualClock(NOON)
    with recent().open(None, clock=clock) as run:
        run.append("e", [{"id": 1, "t": NOON - timedelta(seconds=30)}])
        first = run.advance()
        clock.set(NOON - timedelta(hours=1))
        run.append("e", [{"id": 2, "t": NOON - timedelta(seconds=20)}])
        assert run.advance().clock == first.clock == NOON


@pytest.mark.parametrize("seconds", [30, 61])
def test_a_restart_shows_the_rows_of_the_last_recorded_clock(tmp_path: Path, seconds: int) -> None:
    clock = ManualClock(NOON)
    with recent().open(tmp_path, clock=clock) as run:
        run.append("e", [{"id": 1, "t": NOON}, {"id": 2, "t": NOON + timedelta(seconds=40)}])
        run.advance()
        clock.advance(timedelta(seconds=seconds))
        before, shown = run.advance(), ids(run)
    clock.advance(timedelta(days=1))
    with recent().open(tmp_path, clock=clock) as run:
        assert (run.version, ids(run)) == (before, shown)
        run.advance()
        assert ids(run) == []


def test_the_stepping_thread_looks_at_the_clock_by_itself() -> None:
    clock = ManualClock(NOON)
    with recent().open(None, auto=True, clock=clock) as run:
        run.append("e", [{"id": 1, "t": NOON}])
        shown = run.wait_for(1)
        clock.advance(timedelta(minutes=1))
        gone = next(run.changes("recent", since=shown, follow=True))
        assert gone.to_pylist() == [{"id": 1, WEIGHT: -1, VERSION: shown.number + 1}]
        assert ids(run) == []


def windows(lateness: str = "10s") -> hr.App:
    app = hr.App("windows")
    app.stream("e", COLUMNS, event_time="t", lateness=lateness, idle_after="1m")
    app.stream("f", COLUMNS, event_time="t", lateness="1m", idle_after="10m")
    app.view(
        "closed",
        "SELECT window_end, count(*) AS n FROM TUMBLE(e, t, '1m') GROUP BY window_end",
        emit="final",
    )
    app.view("pairs", "SELECT e.id, f.id AS other, e.t FROM e JOIN f ON e.t = f.t", emit="final")
    return app


def counts(run: hr.Run) -> list[int]:
    return [row["n"] for row in run.query("SELECT n FROM closed ORDER BY window_end").to_pylist()]


def test_final_windows_appear_once_and_never_change() -> None:
    clock = ManualClock(NOON)
    outlet = ListOutlet()
    with windows().open(None, clock=clock) as run:
        run.attach(outlet)
        run.append("e", [{"id": at, "t": NOON + timedelta(seconds=20 * at)} for at in range(4)])
        run.advance()
        assert counts(run) == []
        run.append("e", [{"id": 9, "t": NOON + timedelta(seconds=69)}])
        run.advance()
        assert counts(run) == []
        run.append("e", [{"id": 10, "t": NOON + timedelta(seconds=59)}])
        run.append("e", [{"id": 11, "t": NOON + timedelta(seconds=70)}])
        run.advance()
        assert counts(run) == [4]
        late = run.append("e", [{"id": 12, "t": NOON + timedelta(seconds=59)}])
        assert late.late == 1
        run.advance()
        assert counts(run) == [4]
    weights = [changes["closed"].weights.tolist() for _, changes in outlet.versions if "closed" in changes]
    assert weights == [[1]]


def test_silence_closes_windows_once_what_waits_is_computed() -> None:
    clock = ManualClock(NOON)
    with windows().open(None, clock=clock) as run:
        run.append("e", [{"id": 1, "t": NOON}])
        run.advance()
        clock.advance(timedelta(minutes=1, seconds=69))
        run.advance()
        assert counts(run) == []
        clock.advance(timedelta(seconds=1))
        version = run.advance()
        assert version.watermarks["e"] == NOON + timedelta(minutes=1)
        assert counts(run) == [1]
        answer = run.append("e", [{"id": 2, "t": NOON + timedelta(seconds=59)}])
        assert answer.late == 1


def test_a_silent_watermark_waits_for_rows_that_were_decided_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepper, "STEP_ROWS_MAX", 1)
    clock = ManualClock(NOON)
    with windows().open(None, clock=clock) as run:
        run.append("e", [{"id": 1, "t": NOON}])
        run.append("e", [{"id": 2, "t": NOON + timedelta(seconds=1)}])
        run.append("e", [{"id": 3, "t": NOON + timedelta(seconds=2)}])
        clock.advance(timedelta(hours=1))
        run.advance()
        assert run.version.number == 3
        run.advance()
        assert counts(run) == [3]


def test_a_join_waits_for_the_slower_stream() -> None:
    clock = ManualClock(NOON)
    with windows().open(None, clock=clock) as run:
        run.append("e", [{"id": 1, "t": NOON}, {"id": 2, "t": NOON + timedelta(minutes=5)}])
        run.append("f", [{"id": 7, "t": NOON}])
        run.advance()
        assert run.query("FROM pairs").num_rows == 0
        run.append("f", [{"id": 8, "t": NOON + timedelta(seconds=61)}])
        run.advance()
        assert run.query("SELECT id, other FROM pairs").to_pylist() == [{"id": 1, "other": 7}]


def test_times_far_ahead_are_rejected_and_move_no_watermark() -> None:
    clock = ManualClock(NOON)
    with windows().open(None, clock=clock) as run:
        run.append("e", [{"id": 1, "t": NOON}])
        far = run.append("e", [{"id": 2, "t": NOON + timedelta(days=400)}])
        assert far.rejected == 1
        assert run.advance().watermarks["e"] == NOON - timedelta(seconds=10)
        assert run.append("e", [{"id": 3, "t": NOON}]).accepted == 1


def test_final_answers_survive_a_restart(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    with windows().open(tmp_path, clock=clock) as run:
        run.append("e", [{"id": at, "t": NOON + timedelta(seconds=50 * at)} for at in range(4)])
        run.advance()
        assert counts(run) == [2, 1]
    with windows().open(tmp_path, clock=clock) as run:
        assert counts(run) == [2, 1]
        run.append("e", [{"id": 9, "t": NOON + timedelta(seconds=200)}])
        run.advance()
        assert counts(run) == [2, 1, 1]


@pytest.mark.parametrize(
    ("sql", "lateness"),
    [
        ("SELECT id, count(*) AS n FROM e GROUP BY id", "1s"),
        ("SELECT t, count(*) AS n FROM e GROUP BY t", None),
        ("SELECT max(t) AS t FROM e", "1s"),
        ("SELECT e.t, name FROM e JOIN names USING (id)", "1s"),
    ],
)
def test_final_is_refused_without_a_time_that_watermarks_pass(sql: str, lateness: str | None) -> None:
    app = hr.App("no")
    app.stream("e", COLUMNS, event_time="t", lateness=lateness)
    app.table("names", "id BIGINT, name TEXT", key="id")
    app.view("v", sql, emit="final")
    with pytest.raises(hr.UnsupportedSql, match="no column"):
        app.open(None)


def test_late_rows_are_counted_for_every_view_behind_which_they_are(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    with recent().open(tmp_path, clock=clock) as run:
        run.append("e", [{"id": 1, "t": NOON}])
        run.append("e", [{"id": at, "t": NOON - timedelta(minutes=1)} for at in (2, 3)])
        run.advance()
        assert run.stats()["late_rows"] == {"recent": {"e": 2}, "counted": {"e": 2}}
    with recent().open(tmp_path, clock=clock) as run:
        assert run.stats()["late_rows"] == {"recent": {"e": 2}, "counted": {"e": 2}}
        told = str(run.explain("counted")).splitlines()
        assert told[0].startswith("aggregate · accumulators · 1 row kept, ")
        assert told[-1].strip() == "2 late rows are not in it"
        assert "│  keeps all: no key follows event time" in told


def test_options_stand_in_sql_files_too() -> None:
    app = hr.App("options")
    app.stream("e", COLUMNS, event_time="t", lateness="1s")
    with app.open(None, clock=ManualClock(NOON)) as run:
        run.create_view("v", "-- emit: final\nSELECT t, id FROM e")
        run.append("e", [{"id": 1, "t": NOON}, {"id": 2, "t": NOON - timedelta(seconds=2)}])
        run.advance()
        assert ids(run, "v") == [2]


@pytest.mark.parametrize("options", ["-- emit: sometimes\n", "-- emit: final\n-- emit: final\n"])
def test_options_that_make_no_sense_are_refused(options: str) -> None:
    app = hr.App("options")
    app.stream("e", COLUMNS, event_time="t", lateness="1s")
    with pytest.raises(hr.DeclarationError, match="emit"):
        app.view("v", f"{options}SELECT t FROM e")
    with app.open(None) as run, pytest.raises(hr.DeclarationError, match="emit"):
        run.create_view("v", f"{options}SELECT t FROM e")


def test_a_checkpoint_keeps_what_is_to_leave_and_what_is_not_final_yet(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    app = windows()
    app.view("recent", "SELECT id FROM e WHERE t > now() - INTERVAL 1 MINUTE")
    app.view("apart", "SELECT count(*) AS n FROM recent", refresh="10s")
    with app.open(tmp_path, clock=clock) as run:
        run.append("e", [{"id": at, "t": NOON + timedelta(seconds=40 * at)} for at in range(3)])
        clock.advance(timedelta(seconds=10))
        run.advance()
        run.checkpoint()
    with app.open(tmp_path, clock=clock) as run:
        assert (ids(run), counts(run)) == ([0, 1, 2], [2])
        assert run.query("FROM apart").to_pylist() == [{"n": 3}]
        clock.advance(timedelta(seconds=50))
        run.append("e", [{"id": 9, "t": NOON + timedelta(seconds=130)}])
        run.advance()
        assert (ids(run), counts(run)) == ([1, 2, 9], [2, 1])
        run.advance()
        assert run.query("FROM apart").to_pylist() == [{"n": 3}]


def test_a_switch_of_definitions_shows_no_row_whose_time_has_passed(tmp_path: Path) -> None:
    """Found by killing: the version of a switch had a later clock than its views had followed."""
    clock = ManualClock(NOON)
    with recent().open(tmp_path, clock=clock) as run:
        run.append("e", [{"id": 1, "t": NOON}, {"id": 2, "t": NOON + timedelta(seconds=30)}])
        run.advance()
        clock.advance(timedelta(seconds=70))
        changed = recent()
        changed.view("all_ids", "SELECT id FROM e")
        version = run.apply(changed).version
        assert version is not None
        assert version.clock == NOON + timedelta(seconds=70)
        assert ids(run) == [2]
