"""A whole app whose power fails at the n-th operation on the disk: nothing acknowledged is lost or counted
twice.

The app takes events with ids and rows by key, steps, writes checkpoints, and changes the definition of a view
forth and back, until the power fails: between two operations or inside of a write. The disk is then left as a
machine may find it (unsynced bytes partly missing, unsynced renames undone), and the folder is opened again,
up to three times. Whatever happened, at the end:

- every acknowledged row is there once, and no row that was never sent;
- every view is what DuckDB answers over what is there, under one definition, the last one that was told to
be in
  force or the one that was on its way;
- versions have only grown.
"""

from __future__ import annotations

import random
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.conftest import Torture
from tests.log.faulty import PowerCutFiles

import headrace as hr
from headrace.log.files import Files
from headrace.runtime import Run
from headrace.testing import ManualClock

GROSS = "SELECT shop, sum(amount) AS amount, count(*) AS n FROM orders WHERE amount > 0 GROUP BY shop"
NET = "SELECT shop, sum(amount) AS amount, count(*) AS n FROM orders GROUP BY shop"
BEST = "SELECT country, max(amount) AS amount FROM turnover JOIN shops USING (shop) GROUP BY country"
PATIENCE_S = 60.0


def shop(turnover: str) -> hr.App:
    app = hr.App("shop")
    app.stream("orders", "id BIGINT, shop TEXT, amount BIGINT", event_id="id")
    app.table("shops", "shop TEXT, country TEXT", key="shop")
    app.view("turnover", turnover)
    app.view("best", BEST)
    return app


@dataclass
class Told:
    """What the app has answered so far, over all its lives."""

    orders: dict[int, tuple[str, int]] = field(default_factory=dict)
    shops: dict[str, str] = field(default_factory=dict)
    sent: set[int] = field(default_factory=set)
    wanted: dict[str, set[str]] = field(default_factory=dict)
    version: int = 0
    turnover: str = GROSS
    possible: set[str] = field(default_factory=lambda: {GROSS})


class Life:
    """One life: opens the folder and works until the power fails or enough has been done."""

    def __init__(self, folder: Path, files: Files, told: Told, seed: int) -> None:
        self._folder = folder
        self._files = files
        self._told = told
        self._random = random.Random(seed)
        self.run: Run | None = None

    def live(self) -> None:
        clock = ManualClock()
        self.run = run = Run(
            shop(self._told.turnover), self._folder, clock=clock, on_change="keep", files=self._files
        )
        self._see(run)
        for _ in range(40):
            getattr(self, f"_{self._random.choice(STEPS)}")(run)

    def _see(self, run: Run) -> None:
        assert run.version.number >= self._told.version
        self._told.version = run.version.number

    def _append(self, run: Run) -> None:
        told = self._told
        numbers = [self._random.randrange(400) for _ in range(self._random.randrange(1, 30))]
        rows = {n: (f"s{n % 5}", n % 13 - 4) for n in numbers}
        told.sent |= rows.keys()
        answer = run.append("orders", [{"id": n, "shop": s, "amount": a} for n, (s, a) in rows.items()])
        assert answer.rejected == 0
        told.orders |= rows

    def _upsert(self, run: Run) -> None:
        shops = {f"s{self._random.randrange(5)}": self._random.choice(["DK", "PT", "SE"]) for _ in range(2)}
        for name, country in shops.items():
            self._told.wanted.setdefault(name, set()).add(country)
        run.upsert("shops", [{"shop": name, "country": country} for name, country in shops.items()])
        self._told.shops |= shops
        for name, country in shops.items():
            self._told.wanted[name] = {country}

    def _advance(self, run: Run) -> None:
        run.advance()
        self._see(run)

    def _checkpoint(self, run: Run) -> None:
        run.checkpoint()

    def _change(self, run: Run) -> None:
        told = self._told
        other = NET if told.turnover == GROSS else GROSS
        told.possible.add(other)
        change = run.apply(shop(other), share=1.0)
        told.turnover, told.possible = other, {other}
        self._see(run)
        if self._random.random() < 0.3:
            told.possible.add(GROSS if other == NET else NET)
            run.rollback()
            told.turnover = GROSS if other == NET else NET
            told.possible = {told.turnover}
            self._see(run)
        assert change.version is not None


STEPS = ["append"] * 6 + ["upsert"] * 2 + ["advance"] * 4 + ["checkpoint"] * 2 + ["change"]


def lived(life: Life) -> BaseException | None:
    """Live in a thread of its own, so that what waits for a dead disk can be ended; return what went
    wrong.
    """
    failed: list[BaseException] = []

    def work() -> None:
        try:
            life.live()
        except BaseException as error:  # noqa: BLE001 - told to the test
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    files = life._files
    while thread.is_alive() and not (isinstance(files, PowerCutFiles) and files.is_off):
        thread.join(0.02)
    if life.run is not None:
        life.run.close()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    if life.run is not None:  # it may have come to be after the power was off
        life.run.close()
    return failed[0] if failed else None


def check(folder: Path, told: Told) -> None:
    with shop(told.turnover).open(folder, on_change="keep", clock=ManualClock()) as run:
        assert run.version.number >= told.version
        run.advance()
        orders = run.query("SELECT id, shop, amount FROM orders").to_pylist()
        there = {row["id"]: (row["shop"], row["amount"]) for row in orders}
        assert len(there) == len(orders)
        assert told.orders.items() <= there.items()
        assert there.keys() <= told.sent
        shops = {row["shop"]: row["country"] for row in run.query("FROM shops").to_pylist()}
        assert all(country in told.wanted[name] for name, country in shops.items())
        assert told.shops.keys() <= shops.keys()
        in_force = run.app.view_decls["turnover"].sql
        assert in_force in told.possible
        for view, sql in (("turnover", in_force), ("best", BEST)):
            got = run.query(f"SELECT * FROM {view} ORDER BY ALL").to_pylist()
            assert got == run.query(f"SELECT * FROM ({sql}) ORDER BY ALL").to_pylist(), view
        told.orders, told.shops, told.version = there, shops, run.version.number
        told.wanted = {name: {country} for name, country in shops.items()}
        told.turnover, told.possible = in_force, {in_force}


def live_through(folder: Path, seed: int) -> None:
    told = Told()
    chance = random.Random(seed)
    for life in range(3):
        files = PowerCutFiles(chance.randrange(1, 220), seed * 3 + life)
        error = lived(Life(folder, files, told, seed * 3 + life))
        assert files.is_off or error is None, error
        assert error is None or isinstance(error, hr.HeadraceError | OSError), repr(error)
        files.settle()
        check(folder, told)


@pytest.mark.parametrize("seed", range(6))
def test_a_power_cut_loses_nothing_and_doubles_nothing(tmp_path: Path, seed: int) -> None:
    live_through(tmp_path / "data", seed)


@pytest.mark.torture(weight=0.3)
def test_many_power_cuts(tmp_path: Path, torture: Torture) -> None:
    def case(seed: int) -> None:
        live_through(tmp_path / str(seed), seed)
        shutil.rmtree(tmp_path / str(seed))

    torture.play(case)


def test_what_a_caller_kept_is_no_surprise(tmp_path: Path) -> None:
    """Without a fault the lives go to their ends, and the check compares something."""
    told = Told()
    error = lived(Life(tmp_path / "data", Files(), told, 5))
    assert error is None
    check(tmp_path / "data", told)
    assert len(told.orders) > 50
    assert told.version > 5
