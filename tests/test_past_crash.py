"""The past of an app whose power fails at the n-th operation on the disk: a version means what was read then.

The app appends, upserts, steps, lets time pass, writes checkpoints and its past, changes, replaces, creates
and drops views (also their columns), until the power fails: between two operations or inside of a write. The
disk is then left as a machine may find it, and the folder is opened again. At every version that was shown,
all views were read. Whatever happened, `as_of` of a kept version answers those rows again, at any later time
and in any later life, an error where there was an error; and the changes since a kept version lead from its
rows to those of now.
"""

from __future__ import annotations

import random
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.conftest import Torture
from tests.log.faulty import PowerCutFiles
from tests.test_crash import lived

import headrace as hr
from headrace.errors import ChangeFailed, DeclarationError, VersionGone, ViewInError
from headrace.log.files import Files
from headrace.runtime import Run
from headrace.testing import ManualClock

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TURNOVER = (
    "SELECT shop, sum(amount) AS amount, count(*) AS n FROM orders WHERE amount > 0 GROUP BY shop",
    "SELECT shop, sum(amount) AS amount, count(*) AS n FROM orders GROUP BY shop",
    "SELECT shop, sum(amount) AS amount, count(*) AS n, avg(amount) AS mean FROM orders GROUP BY shop",
    "SELECT shop, sum(amount)::DOUBLE / 3 AS amount, count(*) AS n FROM orders GROUP BY shop",
)
VIEWS = {
    "best": "SELECT country, max(amount) AS amount FROM turnover JOIN shops USING (shop) GROUP BY country",
    "middle": "SELECT shop, median(amount) AS middle, sum(weight) AS weight FROM orders GROUP BY shop",
    "recent": "SELECT id, shop FROM orders WHERE placed > now() - INTERVAL 30 MINUTE",
    "ratio": "SELECT id, 100 // (amount - 7) AS share FROM orders WHERE shop = 's1'",
    "top": "SELECT * FROM orders ORDER BY amount DESC, id LIMIT 3",
}
EXTRA = (
    "SELECT shop, count(*) AS n FROM orders GROUP BY shop",
    "SELECT country, count(*) AS n, min(shop) AS first FROM shops GROUP BY country",
)
READ = [*VIEWS, "turnover", "extra", "orders", "shops"]
Read = dict[str, Any]


def shop(turnover: str) -> hr.App:
    app = hr.App("shop")
    app.stream(
        "orders", "id BIGINT, shop TEXT, amount BIGINT, weight DOUBLE, placed TIMESTAMP", event_id="id"
    )
    app.table("shops", "shop TEXT, country TEXT", key="shop")
    app.view("turnover", turnover)
    for name, sql in VIEWS.items():
        app.view(name, sql)
    return app


def rows_of(table: pa.Table) -> list[str]:
    return sorted(repr(row) for row in table.to_pylist())


def read(run: Run, name: str, as_of: int | None = None) -> Any:
    """Return the rows and columns of a relation, or why it has none."""
    try:
        table = run.query(f"FROM {name}", as_of=as_of)
    except ViewInError:
        return "in error"
    except (hr.UnknownName, VersionGone) as error:
        if isinstance(error, VersionGone) and "there is no" not in error.problem:
            raise
        return "not there"
    return table.column_names, rows_of(table)


class Memory:
    """What was read over all lives: relation by relation, at every version that was shown."""

    def __init__(self) -> None:
        self.read: dict[int, Read] = {}
        self.turnover = TURNOVER[0]
        self.possible = {TURNOVER[0]}
        self.orders = 0
        self.hours = 0


class Life:
    def __init__(self, folder: Path, files: Files, memory: Memory, seed: int) -> None:
        self._folder = folder
        self._files = files
        self._memory = memory
        self._random = random.Random(seed)
        self._clock = ManualClock(NOON + timedelta(hours=memory.hours))
        self.run: Run | None = None

    def live(self) -> None:
        self._memory.hours += 1
        self.run = run = Run(
            shop(self._memory.turnover), self._folder, clock=self._clock, on_change="keep", files=self._files
        )
        self._see(run)
        for _ in range(30):
            step = self._random.choice(STEPS)
            getattr(self, f"_{step}")(run)
            if getattr(self._files, "is_off", False):
                return
            if step in SHOWING:
                self._see(run)

    def _see(self, run: Run) -> None:
        version = run.version.number
        found = {name: read(run, name) for name in READ}
        if version == run.version.number:  # what a definition did without a version counts as of then
            self._memory.read[version] = found

    def _append(self, run: Run) -> None:
        rows = []
        for _ in range(self._random.randrange(1, 12)):
            self._memory.orders += 1
            n = self._memory.orders
            at = self._clock() - timedelta(minutes=n % 50)
            rows.append({"id": n, "shop": f"s{n % 4}", "amount": n % 13 - 4, "weight": n / 7, "placed": at})
        run.append("orders", rows)

    def _upsert(self, run: Run) -> None:
        name = f"s{self._random.randrange(5)}"
        run.upsert("shops", [{"shop": name, "country": self._random.choice(["DK", "PT", "SE"])}])

    def _advance(self, run: Run) -> None:
        run.advance()

    def _wait(self, run: Run) -> None:
        self._clock.advance(timedelta(minutes=self._random.randrange(1, 20)))
        run.advance()

    def _flush(self, run: Run) -> None:
        run._past.flush()

    def _checkpoint(self, run: Run) -> None:
        run.checkpoint()

    def _change(self, run: Run) -> None:
        memory = self._memory
        other = self._random.choice([sql for sql in TURNOVER if sql != memory.turnover])
        memory.possible.add(other)
        try:
            run.apply(shop(other), share=1.0)
        except ChangeFailed:  # a view is in error
            return
        memory.turnover, memory.possible = other, {other}

    def _create(self, run: Run) -> None:
        if any(info.name == "extra" for info in run.relations()):
            run.replace_view("extra", self._random.choice(EXTRA))
        else:
            run.create_view("extra", self._random.choice(EXTRA))

    def _drop(self, run: Run) -> None:
        try:
            run.drop_view("extra")
        except (hr.UnknownName, DeclarationError):
            return


STEPS = ["append"] * 6 + ["upsert"] * 3 + ["advance"] * 7 + ["wait"] * 2 + [
    "flush", "flush", "checkpoint", "change", "create", "drop",
]  # fmt: skip

SHOWING = {"advance", "wait", "change", "create", "drop"}
"""What may show a version, or its views otherwise; after all else the same would be read again."""


def check(folder: Path, memory: Memory, chance: random.Random) -> int:
    """Compare what is kept with what was read; return how many versions could be asked for."""
    checked = 0
    clock = ManualClock(NOON + timedelta(hours=memory.hours))
    with shop(memory.turnover).open(folder, on_change="keep", clock=clock) as run:
        memory.turnover = run.app.view_decls["turnover"].sql
        assert memory.turnover in memory.possible
        memory.possible = {memory.turnover}
        oldest = run._past.oldest.number
        asked = [version for version in sorted(memory.read) if version >= oldest]
        for version in chance.sample(asked, min(len(asked), 12)):
            for name in READ:
                assert read(run, name, version) == memory.read[version][name], (version, name)
            checked += 1
        for version in chance.sample(asked, min(len(asked), 4)):
            for name in ("turnover", "best", "shops", "recent"):
                check_changes(run, name, version, memory.read[version][name])
        memory.read = {n: found for n, found in memory.read.items() if n <= run.version.number}
    return checked


def check_changes(run: Run, name: str, version: int, before: Any) -> None:
    """The changes since a version lead from its rows to those of now, where both have rows."""
    now = read(run, name)
    if isinstance(before, str) or isinstance(now, str) or before[0] != now[0]:
        return
    try:
        tables = list(run.changes(name, since=version))
    except VersionGone as error:
        assert "columns" in error.problem or "not as old" in error.problem, error  # noqa: PT017
        return
    counts: dict[str, int] = {}
    for row in before[1]:
        counts[row] = counts.get(row, 0) + 1
    last = version
    for table in tables:
        numbers = set(table.column("_version").to_pylist())
        assert len(numbers) == 1
        assert min(numbers) > last
        last = min(numbers)
        for row in table.to_pylist():
            weight = row.pop("_weight")
            row.pop("_version")
            counts[repr(row)] = counts.get(repr(row), 0) + weight
    assert sorted(row for row, count in counts.items() for _ in range(count)) == now[1]
    assert min(counts.values(), default=0) >= 0


def live_through(folder: Path, seed: int, lives: int = 3) -> int:
    memory, chance, checked = Memory(), random.Random(seed), 0
    for life in range(lives):
        files = PowerCutFiles(chance.randrange(10, 260), seed * 7 + life)
        error = lived(Life(folder, files, memory, seed * 7 + life))  # type: ignore[arg-type]
        assert files.is_off or error is None, repr(error)
        assert error is None or isinstance(error, hr.HeadraceError | OSError), repr(error)
        files.settle()
        checked += check(folder, memory, chance)
    return checked


@pytest.mark.parametrize("seed", range(5))
def test_after_a_power_cut_the_past_is_what_was_read(tmp_path: Path, seed: int) -> None:
    live_through(tmp_path / "data", seed)


@pytest.mark.torture(weight=4, least=30)
def test_many_power_cuts(tmp_path: Path, torture: Torture) -> None:
    def case(seed: int) -> None:
        live_through(tmp_path / str(seed), seed)
        shutil.rmtree(tmp_path / str(seed))

    torture.play(case)


def test_without_a_fault_nothing_is_missing(tmp_path: Path) -> None:
    """The lives go to their ends, every version that was read is there, and there are many."""
    memory = Memory()
    for seed in range(3):
        assert lived(Life(tmp_path / "data", Files(), memory, seed)) is None  # type: ignore[arg-type]
    assert check(tmp_path / "data", memory, random.Random(1)) == 12
    assert len(memory.read) > 15
    assert min(memory.read) == 0
