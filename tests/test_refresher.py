"""Views that refresh apart: of an older version, which answers name; and what must refresh apart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import headrace as hr
from headrace.errors import ViewInError
from headrace.testing import ManualClock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SPREAD = "SELECT count(*) AS n, (SELECT count(*) FROM e AS o WHERE o.v > avg(e.v)) AS above FROM e"


def shop(**options: str) -> hr.App:
    app = hr.App("shop")
    app.stream("e", "id BIGINT, v BIGINT")
    app.view("plain", "SELECT count(*) AS n FROM e")
    app.view("apart", "SELECT n, n * 2 AS twice FROM plain", refresh="10s", **options)
    app.view("reader", "SELECT max(twice) AS t FROM apart")
    return app


def add(run: hr.Run, *ids: int) -> None:
    run.append("e", [{"id": at, "v": at} for at in ids])
    run.advance()


def test_it_moves_when_it_is_due_and_answers_name_its_version() -> None:
    clock = ManualClock(NOON)
    with shop().open(None, clock=clock) as run:
        add(run, 1, 2)
        assert run.query("FROM apart").to_pylist() == [{"n": 0, "twice": 0}]
        clock.advance(timedelta(seconds=9))
        assert run.advance().number == 1
        clock.advance(timedelta(seconds=1))
        assert run.advance().number == 2
        assert run.query("FROM apart").to_pylist() == [{"n": 2, "twice": 4}]
        assert run.query("FROM reader").to_pylist() == [{"t": 4}]
        add(run, 3)
        answer = run.answer("SELECT * FROM reader, plain")
        assert answer.table.to_pylist() == [{"t": 4, "n": 3}]
        assert (answer.version.number, answer.refreshed) == (3, {"apart": hr.Version(1)})
        assert run.answer("FROM plain").refreshed == {}
        changes = [row for table in run.changes("apart", since=1) for row in table.to_pylist()]
        assert sorted(row["n"] * row["_weight"] for row in changes) == [0, 2]


def test_a_refresh_that_changes_nothing_makes_no_version() -> None:
    clock = ManualClock(NOON)
    with shop().open(None, clock=clock) as run:
        add(run, 1)
        clock.advance(timedelta(seconds=10))
        assert run.advance().number == 2
        clock.advance(timedelta(seconds=10))
        assert run.advance().number == 2
        assert run.refreshed("apart") == {"apart": hr.Version(2)}


def test_it_is_there_after_a_restart(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    with shop().open(tmp_path, clock=clock) as run:
        add(run, 1, 2)
    with shop().open(tmp_path, clock=clock) as run:
        assert run.query("FROM apart").to_pylist() == [{"n": 2, "twice": 4}]
        assert run.query("FROM reader").to_pylist() == [{"t": 4}]


def test_the_thread_refreshes_by_itself() -> None:
    app = hr.App("quick")
    app.stream("e", "id BIGINT, v BIGINT")
    app.view("apart", "SELECT id FROM e", refresh="100ms")
    with app.open(None, auto=True) as run:
        run.append("e", [{"id": 1, "v": 1}])
        table = next(run.changes("apart", since=0, follow=True))
        assert table["id"].to_pylist() == [1]


def test_it_is_in_error_while_duckdb_answers_one() -> None:
    clock = ManualClock(NOON)
    app = hr.App("bad")
    app.table("t", "k BIGINT, s TEXT", key="k")
    app.view("apart", "SELECT CAST(s AS BIGINT) AS v FROM t", refresh="10s")
    with app.open(None, clock=clock) as run:
        run.upsert("t", [{"k": 1, "s": "x"}])
        run.advance()
        clock.advance(timedelta(seconds=10))
        run.advance()
        with pytest.raises(ViewInError, match="Could not convert"):
            run.query("FROM apart")
        run.upsert("t", [{"k": 1, "s": "7"}])
        clock.advance(timedelta(seconds=10))
        run.advance()
        assert run.query("FROM apart").to_pylist() == [{"v": 7}]


def test_what_has_no_rule_must_refresh_apart_beyond_a_bound() -> None:
    clock = ManualClock(NOON)
    app = hr.App("large")
    app.stream("e", "id BIGINT, v BIGINT")
    app.view("whole", "SELECT v::TEXT COLLATE NOCASE AS s, id FROM e")
    app.view("apart", "SELECT v::TEXT COLLATE NOCASE AS s FROM e", refresh="10s")
    with app.open(None, clock=clock, recompute_rows_max=2) as run:
        add(run, 1, 2)
        assert run.query("FROM whole").num_rows == 2
        add(run, 3)
        with pytest.raises(ViewInError, match="declare refresh"):
            run.query("FROM whole")
        clock.advance(timedelta(seconds=10))
        run.advance()
        assert run.query("FROM apart").num_rows == 3


@pytest.mark.parametrize("refresh", ["soon", "0s", "10"])
def test_a_period_that_makes_no_sense_is_refused(refresh: str) -> None:
    app = hr.App("no")
    app.stream("e", "id BIGINT")
    with pytest.raises(hr.DeclarationError, match="refresh"):
        app.view("v", "SELECT id FROM e", refresh=refresh)


def test_refresh_and_emit_exclude_each_other() -> None:
    with pytest.raises(hr.DeclarationError, match="beside emit"):
        shop(emit="final")
