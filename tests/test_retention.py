"""Retention: old rows go, what stands on them goes on, and every answer says from when on it is whole.

Each test fills a shop over several days of a clock that it sets, takes checkpoints, and lets rows go; then it
opens the folder again, with its checkpoints and without them.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.intake.samples import Clock

import headrace as hr
from headrace.log.log import Log
from headrace.retention import compact
from headrace.runtime import Run
from headrace.state.checkpoint import Checkpoints

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 10


def shop(retention: str | None = "3d", history_from: str | None = "kept") -> hr.App:
    app = hr.App("shop")
    app.stream(
        "orders", "id BIGINT, customer BIGINT, amount BIGINT", event_id="id", event_id_window="2d",
        retention=retention,
    )  # fmt: skip
    app.stream("visits", "customer BIGINT")
    app.table("customers", "id BIGINT, name VARCHAR", key="id")
    app.table("prices", "sku VARCHAR, price BIGINT, seq BIGINT", key="sku", sequence="seq")
    app.table("tags", "word VARCHAR")
    app.view(
        "spent",
        "SELECT c.name, sum(o.amount) AS n FROM orders o JOIN customers c ON c.id = o.customer GROUP BY 1",
        history_from=history_from,
    )  # fmt: skip
    app.view("visitors", "SELECT customer, count(*) AS n FROM visits GROUP BY 1")
    app.view("names", "SELECT count(*) AS n FROM customers")
    return app


def day(number: int) -> datetime:
    return START + timedelta(days=number)


def fill(run: Run, clock: Clock, first: int, last: int) -> None:
    for number in range(first, last):
        clock.now = day(number)
        run.append("orders", [{"id": number, "customer": number % 3, "amount": 1}, {"id": None}])
        run.append("visits", [{"customer": number % 2}])
        run.upsert("customers", [{"id": number % 3, "name": f"name {number % 3}"}])
        run.upsert(
            "prices",
            [{"sku": "a", "price": number, "seq": number}, {"sku": f"b{number}", "price": 1, "seq": 5}],
        )
        run.delete("prices", [{"sku": f"b{number}"}])
        run.upsert("tags", [{"word": "x"}, {"word": "x"}])
        run.delete("tags", [{"word": "x"}])
        with run.transaction(source="file", position=number):
            pass
        run.advance()


def opened(folder: Path, clock: Clock, app: hr.App | None = None) -> Run:
    return Run(app or shop(), folder, clock=clock)


def rows(run: Run, sql: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run.query(sql).to_pylist()
    return sorted(found, key=str)


def content(run: Run) -> dict[str, list[dict[str, Any]]]:
    names = ("spent", "visitors", "names", "customers", "prices", "tags", "visits")
    return {name: rows(run, f"SELECT * FROM {name}") for name in names}


def aged(folder: Path, *, checkpoints: bool = True) -> tuple[Clock, dict[str, list[dict[str, Any]]]]:
    """Fill a folder over ten days, a sealed stretch a day; return what a reader saw at the end."""
    clock = Clock(START)
    with opened(folder, clock) as run:
        for number in range(DAYS):
            fill(run, clock, number, number + 1)
            run._log.seal()
        if checkpoints:
            run.checkpoint()
        return clock, content(run)


def trimmed(folder: Path, now: datetime) -> None:
    with Log.open(folder) as log:
        compact(log, Checkpoints(folder).needed_from(), now)


def test_old_rows_go_and_the_views_go_on(tmp_path: Path) -> None:
    clock, before = aged(tmp_path)
    trimmed(tmp_path, clock.now)
    with opened(tmp_path, clock) as run:
        assert content(run) == before
        assert rows(run, "SELECT count(*) AS n FROM orders") == [{"n": 4}]
        assert run.history_from("spent") == run.history_from("orders") is not None
        assert run.history_from("names", "customers", "visitors") is None
        answer = run.answer("SELECT * FROM spent")
        assert answer.history_from is not None
        assert answer.history_from <= day(6)
        assert run.answer("SELECT * FROM visitors").history_from is None
        fill(run, clock, DAYS, DAYS + 1)
        assert run.position("file") == DAYS


def test_without_checkpoints_views_are_built_from_what_is_kept(tmp_path: Path) -> None:
    clock, before = aged(tmp_path)
    trimmed(tmp_path, clock.now)
    shutil.rmtree(tmp_path / "state")
    with opened(tmp_path, clock) as run:
        after = content(run)
        assert {name: after[name] for name in after if name != "spent"} == {
            name: before[name] for name in before if name != "spent"
        }
        assert sum(row["n"] for row in after["spent"]) == 4
        assert rows(run, "SELECT count(*) AS n FROM orders__rejected") == [{"n": 4}]


@pytest.mark.parametrize("checkpoints", [True, False])
def test_the_door_decides_as_before(tmp_path: Path, checkpoints: bool) -> None:
    """Event ids in their window, sequences of deleted keys, copies in a bag, keys and positions."""
    clock, _ = aged(tmp_path, checkpoints=checkpoints)
    with opened(tmp_path, clock) as run:
        run.append("visits", [{"customer": 7}], idempotency_key="k")
        run.advance()
    trimmed(tmp_path, clock.now)
    if not checkpoints:
        shutil.rmtree(tmp_path / "state", ignore_errors=True)
    with opened(tmp_path, clock) as run:
        assert run.append("orders", [{"id": 9, "customer": 0, "amount": 1}]).repeated == 1
        assert run.append("orders", [{"id": 9, "customer": 0, "amount": 2}]).rejected == 1
        assert run.append("orders", [{"id": 5, "customer": 5, "amount": 1}]).accepted == 1
        assert run.upsert("prices", [{"sku": "a", "price": 0, "seq": 3}]).repeated == 1
        assert run.upsert("prices", [{"sku": "b2", "price": 0, "seq": 4}]).repeated == 1
        assert run.upsert("prices", [{"sku": "b2", "price": 0, "seq": 6}]).accepted == 1
        assert run.delete("tags", [{"word": "x"}] * 11).rejected == 1
        assert run.append("visits", [{"customer": 7}], idempotency_key="k").replayed
        assert run.position("file") == DAYS - 1


def test_a_size_keeps_the_newest(tmp_path: Path) -> None:
    clock = Clock(START)
    with opened(tmp_path, clock, shop("1 KB")) as run:
        for number in range(6):
            fill(run, clock, number * 2, number * 2 + 2)
            run._log.seal()
    trimmed(tmp_path, clock.now)
    with opened(tmp_path, clock, shop("1 KB")) as run:
        kept = [row["id"] for row in rows(run, "SELECT id FROM orders")]
        assert 0 < len(kept) < 12
        assert max(kept) == 11


def test_a_run_lets_rows_go_by_itself(tmp_path: Path) -> None:
    clock, before = aged(tmp_path)
    with opened(tmp_path, clock) as run:
        told = run._trimmer.trim()
        assert set(told.relations) == {"orders", "orders__rejected"}
        assert content(run) == before
        assert run._trimmer.trim().relations == {}
    with opened(tmp_path, clock) as run:
        assert content(run) == before


def test_nothing_goes_that_a_checkpoint_needs(tmp_path: Path) -> None:
    clock = Clock(START)
    with opened(tmp_path, clock) as run:
        fill(run, clock, 0, 3)
        run.checkpoint()
        needed = run.version.commit
        run._log.seal()
        fill(run, clock, 3, DAYS)
        run._log.seal()
        run._trimmer.trim()
        assert run._log.trimmed()["orders"][0] <= needed
        before = content(run)
    with opened(tmp_path, clock) as run:
        assert content(run) == before


def test_a_view_that_needs_what_goes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(hr.DeclarationError, match=r"reads all of 'orders'.* kept for 3d only"):
        opened(tmp_path, Clock(START), shop(history_from=None))
    clock, _ = aged(tmp_path / "a")
    trimmed(tmp_path / "a", clock.now)
    with opened(tmp_path / "a", clock) as run:
        with pytest.raises(hr.DeclarationError, match="history_from='kept'"):
            run.create_view("all_orders", "SELECT count(*) AS n FROM orders")
        run.create_view("late", "SELECT count(*) AS n FROM orders\n-- history_from: kept")
        assert rows(run, "SELECT * FROM late") == [{"n": 4}]
        with pytest.raises(hr.DeclarationError, match=r"rows before 2026-01-0. .* are gone"):
            run.plan(shop(retention=None, history_from=None))
        run.apply(shop(retention=None))
        assert run.history_from("spent") is not None


def test_a_difference_is_not_told_from_what_is_gone(tmp_path: Path) -> None:
    clock, _ = aged(tmp_path)
    trimmed(tmp_path, clock.now)
    with opened(tmp_path, clock) as run:
        last = run.version.number
        assert run.difference("spent", last - 1, last).table.num_rows > 0
        for view in ("spent", "names"):
            with pytest.raises(hr.VersionGone, match="begins after commit"):
                run.difference(view, 1, last)


def test_a_stream_is_not_read_as_of_what_is_gone(tmp_path: Path) -> None:
    clock, _ = aged(tmp_path)
    trimmed(tmp_path, clock.now)
    with opened(tmp_path, clock) as run, pytest.raises(hr.VersionGone):
        run.query("SELECT * FROM orders", as_of=2)
