"""A setting that reaches too far for a step: held back, computed aside, and in all views at once.

Tenant 0 has many events, the others few, and a table of settings weighs them. The point `aside computed` is
where the copy stands with its answer and nobody has seen it; tests stop it there, so that what others get
meanwhile does not depend on how fast anything is. What a version shows is held against what the settings and
events of the same version say: a version that had the change in one view and not in another would differ.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.faults.killed import killed
from tests.serve.conftest import serving

import headrace as hr
from headrace import points
from headrace.change import VERSION, WEIGHT
from headrace.runtime import Run, open_run
from headrace.testing import CrashOnCue

ROOT = Path(__file__).resolve().parents[1]
MANY = 400
WEIGHED = (
    "SELECT e.tenant, e.n, e.amount * s.weight AS v FROM events e JOIN settings s ON s.tenant = e.tenant"
)
REPORT = "SELECT tenant, sum(v) AS v, count(*) AS n FROM weighed GROUP BY tenant"
TOTAL = "SELECT sum(v) AS v, sum(n) AS n FROM report"
OTHERS = "SELECT r.tenant, s.weight, r.v FROM settings s LEFT JOIN report r ON r.tenant = s.tenant"
LIST = "(SELECT string_agg(t.tenant || ' ' || t.v || ' ' || t.n, ',' ORDER BY t.tenant) FROM {source} t)"
ASKED = ", ".join(
    [
        LIST.format(source="report") + " AS report",
        LIST.format(source=f"({REPORT.replace('weighed', f'({WEIGHED})')})") + " AS anew",
        "(SELECT v || ' ' || n FROM total) AS total",
        "(SELECT sum(v) || ' ' || sum(n) FROM report) AS summed",
        "(SELECT string_agg(weight || ' ' || v, ',' ORDER BY tenant) FROM sets WHERE v IS NOT NULL) AS sets",
        "(SELECT string_agg(s.weight || ' ' || r.v, ',' ORDER BY r.tenant) FROM {joined}) AS joined",
    ]
).replace("{joined}", "settings s JOIN report r USING (tenant)")


def app() -> hr.App:
    app = hr.App("settings")
    app.stream("events", "tenant BIGINT, n BIGINT, amount BIGINT")
    app.table("settings", "tenant BIGINT, weight BIGINT", key="tenant")
    app.view("weighed", WEIGHED)
    app.view("report", REPORT)
    app.view("total", TOTAL)
    app.view("sets", OTHERS)
    return app


def opened(folder: Path | None = None, *, auto: bool = True, **options: Any) -> Run:
    return open_run(app(), folder, auto=auto, reach_rows_max=100, **options)


def fill(run: Run) -> None:
    run.upsert("settings", [{"tenant": tenant, "weight": 1} for tenant in range(4)])
    run.append("events", [event(0, n) for n in range(MANY)] + [event(tenant, 0) for tenant in (1, 2)])
    run.advance()


def event(tenant: int, n: int) -> dict[str, int]:
    return {"tenant": tenant, "n": n, "amount": 1 + n % 7}


def weigh(run: Run, weight: int, tenant: int = 0) -> int:
    commit = run.upsert("settings", [{"tenant": tenant, "weight": weight}]).commit
    assert commit is not None
    return commit


def sell(run: Run, tenant: int, n: int) -> int:
    commit = run.append("events", [event(tenant, n)]).commit
    assert commit is not None
    return commit


def wrong(run: Run) -> str | None:
    """What of an answer does not fit the rest of it; None: all is of one moment."""
    row = run.query(f"SELECT {ASKED}").to_pylist()[0]
    pairs = (("report", "anew"), ("total", "summed"), ("sets", "joined"))
    return next((f"{one} is not {other}: {row}" for one, other in pairs if row[one] != row[other]), None)


def reported(run: Run, tenant: int = 0) -> tuple[int, int]:
    row = run.query(f"SELECT v, n FROM report WHERE tenant = {tenant}").to_pylist()[0]
    return int(row["v"]), row["n"]


SUM = sum(event(0, n)["amount"] for n in range(MANY))


class Stop:
    """Stops what is computed aside when its answer stands."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self.times = 0

    def listen(self, point: str) -> None:
        if point == "aside computed":
            self.times += 1
            self.reached.set()
            self.go_on.wait(60)


@contextmanager
def stopped() -> Iterator[Stop]:
    stop = Stop()
    points.listen(stop.listen)
    try:
        yield stop
    finally:
        stop.go_on.set()
        points.listen(None)


# --- others go on ------------------------------------------------------------------------------------


def test_events_of_others_are_in_the_answer_while_a_large_change_is_computed() -> None:
    with opened() as run, stopped() as stop:
        fill(run)
        before = run.version
        change = weigh(run, 3)
        assert stop.reached.wait(100)
        mine, theirs = sell(run, 0, 1_000), sell(run, 1, 1)
        version = run.wait_for(theirs, 100)
        assert version.has(theirs)
        assert version.has(mine)
        assert not version.has(change)
        assert version.held == (change,)
        assert reported(run, 1) == (3, 2)
        assert reported(run) == (SUM + event(0, 1_000)["amount"], MANY + 1)
        assert run.query("SELECT weight FROM settings WHERE tenant = 0").to_pylist() == [{"weight": 1}]
        assert wrong(run) is None
        assert run.freshness.pending_commits == 1
        (held,) = run.held
        assert (held.commit, held.tables, held.state) == (change, ("settings",), "computing")
        assert held.rows > 100
        assert run.stats()["held"][0]["commit"] == change
        stop.go_on.set()
        version = run.wait_for(change, 100)
        assert version.held == ()
        assert run.held == ()
        assert run.freshness.quiet
        assert reported(run) == (3 * (SUM + event(0, 1_000)["amount"]), MANY + 1)
        assert wrong(run) is None
        assert summed(run, "report", before.number) == expected(run, "report", before.number)


def summed(run: Run, view: str, since: int) -> dict[tuple[Any, ...], int]:
    """The sum of a view's changes since a version."""
    found: dict[tuple[Any, ...], int] = {}
    for table in run.changes(view, since=since):
        for row in table.to_pylist():
            key = tuple(value for name, value in row.items() if name not in (WEIGHT, VERSION))
            found[key] = found.get(key, 0) + row[WEIGHT]
    return {key: weight for key, weight in found.items() if weight}


def expected(run: Run, view: str, since: int) -> dict[tuple[Any, ...], int]:
    """The difference of a view's rows between a version and now."""
    found: dict[tuple[Any, ...], int] = {}
    for sign, table in ((-1, run.query(f"FROM {view}", as_of=since)), (1, run.query(f"FROM {view}"))):
        for row in table.to_pylist():
            found[tuple(row.values())] = found.get(tuple(row.values()), 0) + sign
    return {key: weight for key, weight in found.items() if weight}


def test_followers_get_the_whole_change_in_one_version() -> None:
    with opened() as run, stopped() as stop:
        fill(run)
        change = weigh(run, 3)
        assert stop.reached.wait(100)
        run.wait_for(sell(run, 1, 1), 100)
        before = run.version.number
        stop.go_on.set()
        after = run.wait_for(change, 100).number
        assert after == before + 1
        for view in ("weighed", "report", "total", "sets", "settings"):
            assert summed(run, view, before) == expected(run, view, before)
            assert summed(run, view, before)


def test_a_small_change_and_a_run_that_is_stepped_by_hand_hold_nothing_back() -> None:
    with stopped() as stop:
        with opened() as run:
            fill(run)
            run.wait_for(weigh(run, 9, tenant=1), 100)
            assert reported(run, 1) == (9, 1)
        with opened(auto=False) as run:
            fill(run)
            weigh(run, 3)
            run.advance()
            assert reported(run) == (3 * SUM, MANY)
        assert stop.times == 0


def test_advance_waits_for_what_is_held_back() -> None:
    with opened() as run:
        fill(run)
        change = weigh(run, 3)
        assert run.advance().has_all(change)
        assert reported(run) == (3 * SUM, MANY)


def test_a_server_tells_what_is_computed_aside_and_after_waits_for_it() -> None:
    with opened() as run, serving(run=run) as served, hr.connect(served.url) as remote, stopped() as stop:
        fill(run)
        change = remote.upsert("settings", [{"tenant": 0, "weight": 3}]).commit
        assert change is not None
        assert stop.reached.wait(100)
        sold = remote.append("events", [event(1, 1)]).commit
        assert sold is not None
        assert remote.wait_for(sold, 100).commit >= sold
        status = remote.status()
        assert status["held"] == [change]
        assert status["stats"]["held"][0]["tables"] == ["settings"]
        served.get("/v1/views/report", status=429, params={"after": change, "after_s": 0.05})
        stop.go_on.set()
        remote.advance()
        assert remote.status()["held"] == []
        assert reported(run) == (3 * SUM, MANY)
        served.get("/v1/views/report", params={"after": change})


# --- several changes ---------------------------------------------------------------------------------


def test_changes_of_one_key_stay_in_order_and_those_of_two_go_together() -> None:
    with opened() as run, stopped() as stop:
        fill(run)
        run.append("events", [event(3, n) for n in range(MANY)])
        run.advance()
        first = weigh(run, 2)
        assert stop.reached.wait(100)
        again, other = weigh(run, 5), weigh(run, 7, tenant=3)
        small = weigh(run, 4, tenant=1)
        version = run.wait_for(small, 100)
        assert reported(run, 1) == (4, 1)
        assert version.held == (first, again, other)
        run.wait_for(sell(run, 2, 5), 100)
        assert [one.commit for one in run.held] == [first, again, other]
        assert wrong(run) is None
        stop.go_on.set()
        run.wait_for(first, 100)
        assert wrong(run) is None
        run.wait_for(again, 100)
        run.wait_for(other, 100)
        assert reported(run) == (5 * SUM, MANY)
        assert reported(run, 3) == (7 * SUM, MANY)
        assert wrong(run) is None


def test_more_than_may_be_held_back_waits_with_all_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.holding.HELD_ROWS_MAX", 4)
    with opened() as run, stopped() as stop:
        fill(run)
        held = [weigh(run, weight) for weight in (2, 3)]
        assert stop.reached.wait(100)
        run.wait_for(sell(run, 2, 1), 100)
        weigh(run, 4)
        last = sell(run, 1, 1)
        run.wait_for(last, 0.2)
        assert run.version.held == tuple(held)
        assert not run.version.has(last)
        stop.go_on.set()
        assert run.wait_for(last, 100).has(last)
        run.advance()
        assert reported(run) == (4 * SUM, MANY)
        assert wrong(run) is None


def test_a_row_that_is_deleted_while_its_change_is_computed_is_gone() -> None:
    with opened() as run, stopped() as stop:
        fill(run)
        weigh(run, 2)
        assert stop.reached.wait(100)
        gone = run.delete("settings", [{"tenant": 0}]).commit
        assert gone is not None
        run.wait_for(sell(run, 1, 1), 100)
        assert reported(run) == (SUM, MANY)
        stop.go_on.set()
        run.wait_for(gone, 100)
        assert run.query("FROM report WHERE tenant = 0").num_rows == 0
        assert wrong(run) is None


def test_a_transaction_with_such_a_key_waits_and_all_after_it() -> None:
    with opened() as run, stopped() as stop:
        fill(run)
        weigh(run, 2)
        assert stop.reached.wait(100)
        with run.transaction() as together:
            together.upsert("settings", [{"tenant": 0, "weight": 3}])
            together.append("events", [event(0, 1)])
        later = sell(run, 1, 1)
        before = run.version
        assert not run.wait_for(later, 0.05).has(later)
        assert run.version.number == before.number
        stop.go_on.set()
        run.wait_for(later, 100)
        assert reported(run) == (3 * (SUM + 2), MANY + 1)
        assert wrong(run) is None


# --- beside definitions, checkpoints and errors ------------------------------------------------------


def test_definitions_change_while_a_change_is_computed() -> None:
    with opened() as run, stopped() as stop:
        fill(run)
        change = weigh(run, 2)
        assert stop.reached.wait(100)
        run.create_view("best", "SELECT max(v) AS v FROM report")
        run.replace_view("total", "SELECT sum(v) AS v, sum(n) AS n FROM report WHERE tenant >= 0")
        assert run.query("FROM best").to_pylist() == [{"v": SUM}]
        assert run.query("FROM total").to_pylist() == [{"v": SUM + 2, "n": MANY + 2}]
        stop.go_on.set()
        run.wait_for(change, 100)
        assert run.query("FROM best").to_pylist() == [{"v": 2 * SUM}]
        assert wrong(run) is None
        assert stop.times >= 2  # the views that were copied were no longer those that run
        run.rollback()
        assert wrong(run) is None


def test_what_was_before_a_change_of_definitions_takes_it_too() -> None:
    with opened() as run, stopped() as stop:
        fill(run)
        run.replace_view("report", REPORT.replace("sum(v)", "sum(v) + 1"))
        change = weigh(run, 2)
        assert stop.reached.wait(100)
        stop.go_on.set()
        run.wait_for(change, 100)
        assert reported(run) == (2 * SUM + 1, MANY)
        run.rollback()
        assert reported(run) == (2 * SUM, MANY)
        assert wrong(run) is None


def test_a_change_that_leaves_a_view_without_an_answer_is_left_to_a_step() -> None:
    declared = app()
    declared.view("texts", "SELECT CAST(CASE v WHEN 14 THEN 'x' ELSE '1' END AS BIGINT) AS one FROM weighed")
    with open_run(declared, None, auto=True, reach_rows_max=100) as run:
        fill(run)
        assert run.query("SELECT sum(one) AS n FROM texts").to_pylist() == [{"n": MANY + 2}]
        run.wait_for(weigh(run, 2), 100)
        with pytest.raises(hr.ViewInError):
            run.query("FROM texts")
        assert reported(run) == (2 * SUM, MANY)
        assert run.held == ()
        assert wrong(run) is None
        run.wait_for(weigh(run, 3), 100)  # aside is not asked where a view has no answer
        assert run.query("SELECT sum(one) AS n FROM texts").to_pylist() == [{"n": MANY + 2}]
        run.wait_for(weigh(run, 4), 100)
        assert reported(run) == (4 * SUM, MANY)
        assert wrong(run) is None


def test_a_checkpoint_and_the_past_know_what_a_version_lacks(tmp_path: Path) -> None:
    folder, copy = tmp_path / "data", tmp_path / "copy"
    with opened(folder) as run, stopped() as stop:
        fill(run)
        change = weigh(run, 2)
        assert stop.reached.wait(100)
        then = run.wait_for(sell(run, 1, 1), 100)
        run.checkpoint()
        killed(folder, copy)
        stop.go_on.set()
        run.wait_for(change, 100)
        assert run.query("SELECT v FROM report WHERE tenant = 0", as_of=then).to_pylist() == [{"v": SUM}]
        found = run.difference("report", then)
        weights = zip(found.table["_weight"].to_pylist(), found.table["v"].to_pylist(), strict=True)
        assert sorted(weights) == [(-1, SUM), (1, 2 * SUM)]
    with opened(copy, auto=False) as run:
        assert run.version.number == then.number
        assert run.version.held == (change,)
        assert reported(run) == (SUM, MANY)
        assert wrong(run) is None
        assert run.advance().held == ()
        assert reported(run) == (2 * SUM, MANY)
        assert wrong(run) is None


def test_histories_of_versions_are_held_back_too() -> None:
    declared = hr.App("kept")
    declared.stream("events", "tenant BIGINT, n BIGINT, amount BIGINT")
    declared.table("settings", "tenant BIGINT, weight BIGINT, at TIMESTAMP", key="tenant", effective="at")
    declared.view("weighed", WEIGHED)
    with open_run(declared, None, auto=True, reach_rows_max=100) as run, stopped() as stop:
        run.upsert("settings", [{"tenant": tenant, "weight": 1, "at": "2026-01-01"} for tenant in range(4)])
        run.append("events", [event(0, n) for n in range(MANY)])
        run.advance()
        change = run.upsert("settings", [{"tenant": 0, "weight": 2, "at": "2026-02-01"}]).commit
        assert change is not None
        assert stop.reached.wait(100)
        then = run.wait_for(sell(run, 1, 1), 100)
        assert not then.has(change)
        sql = "SELECT count(*) AS n FROM {} WHERE tenant = 0"
        for name in ("settings__history", "settings__versions"):
            assert run.query(sql.format(name)).to_pylist() == [{"n": 1}]
        stop.go_on.set()
        run.wait_for(change, 100)
        for name, rows in (("settings__history", 2), ("settings__versions", 2)):
            assert run.query(sql.format(name)).to_pylist() == [{"n": rows}]
            assert run.query(sql.format(name), as_of=then).to_pylist() == [{"n": 1}]


# --- readers, and kills ------------------------------------------------------------------------------


def test_no_answer_is_of_two_versions_however_often_one_reads() -> None:
    found: list[str] = []
    done = threading.Event()
    seen: set[int] = set()
    with opened() as run:
        fill(run)

        def read() -> None:
            while not done.is_set():
                problem = wrong(run)
                if problem is not None:
                    found.append(problem)
                seen.add(reported(run)[0])

        reader = threading.Thread(target=read)
        reader.start()
        for weight in range(2, 12):
            change = weigh(run, weight)
            sell(run, 1, weight)
            run.wait_for(change, 60)
        done.set()
        reader.join()
        assert found == []
        assert reported(run) == (11 * SUM, MANY)
        assert {value % SUM for value in seen} == {0}


def live(folder: str, point: str) -> None:
    """A life that ends at a point: two changes, and events of others between."""
    cue = CrashOnCue(point)
    with cue.armed(), opened(Path(folder), files=cue.files) as run:
        if run.version.number == 0:
            fill(run)
        weigh(run, 1 + run.query("SELECT weight FROM settings WHERE tenant = 0").to_pylist()[0]["weight"])
        sell(run, 1, 1)
        run.advance()
        sys.stdout.write("alive")


@pytest.mark.parametrize("point", ["aside computed", "aside recorded", "aside exchanged", "version shown"])
def test_a_kill_loses_nothing_and_no_version_means_two_things(tmp_path: Path, point: str) -> None:
    folder = tmp_path / "data"
    with opened(folder) as run:
        fill(run)
    code = f"from tests.test_holding import live; live({str(folder)!r}, {point!r})"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == -9, ended.stderr
    with opened(folder, auto=False) as run:
        assert wrong(run) is None
        weight, version = reported(run)[0] // SUM, run.version
        assert weight == (1 if version.held or not version.has_all(3) else 2)
    with opened(folder) as run:
        run.advance()
        assert run.version.held == ()
        assert wrong(run) is None
        assert reported(run)[0] == 2 * SUM
    with opened(folder, auto=False) as run:
        assert reported(run)[0] == 2 * SUM
        assert wrong(run) is None
