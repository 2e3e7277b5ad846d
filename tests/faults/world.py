"""One app with its whole life at hand, and the oracle that knows what it must answer.

Each method is something that may happen; all of them are told to the oracle too. A crash is the data folder
as it lies on the disk at that moment, opened elsewhere: whatever was acknowledged is in its files, and
nothing was closed.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from tests.faults.killed import killed

import headrace as hr
from headrace.errors import VersionGone
from headrace.history.copies import copy_folder
from headrace.results import RowStatus
from headrace.testing import ManualClock, Oracle, difference

TURNOVERS = (
    "SELECT shop, sum(amount) AS amount, count(*) AS n FROM events GROUP BY shop",
    "SELECT shop, sum(amount) AS amount, count(*) AS n FROM events WHERE amount > 0 GROUP BY shop",
    "SELECT shop, max(amount) AS amount, count(DISTINCT id) AS n FROM events GROUP BY shop",
)
VIEWS = {
    "best": "SELECT shop, amount FROM turnover ORDER BY amount DESC LIMIT 2",
    "carried": "SELECT tag, count(*) AS n, sum(quantity) AS quantity FROM tags JOIN stock USING (shop) "
    "GROUP BY tag",
    "unsold": "SELECT item FROM stock LEFT JOIN events USING (shop) WHERE events.id IS NULL",
    "per_minute": "SELECT window_start, count(DISTINCT shop) AS shops, median(amount) AS middle "
    "FROM TUMBLE(events, placed, INTERVAL 1 MINUTE) GROUP BY window_start",
    "recent": "SELECT id, amount FROM events WHERE placed > now() - INTERVAL 5 MINUTE",
    "ratio": "SELECT item, 100 // quantity AS share FROM stock",
}
EXTRA = "SELECT shop, max(quantity) AS most FROM stock GROUP BY shop"
LOOKED_BACK_AT = ("turnover", "best", "carried", "stock")


def shop(turnover: str) -> hr.App:
    """Return the app; nothing of it depends on how long a stream is silent."""
    app = hr.App("shop")
    app.stream(
        "events", "id BIGINT, shop TEXT, amount BIGINT, placed TIMESTAMP",
        event_id="id", event_time="placed", lateness="1m", max_ahead="365d", idle_after="365d",
    )  # fmt: skip
    app.table("stock", "item TEXT, shop TEXT, quantity BIGINT", key="item")
    app.table("tags", "shop TEXT, tag TEXT", key=None)
    app.view("turnover", turnover)
    for name, sql in VIEWS.items():
        app.view(name, sql)
    return app


class World:
    """A run, its folder, and the journal from which an oracle can be made anew."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lives = 0
        self.clock = ManualClock()
        self.noon = self.clock()
        self.turnover = TURNOVERS[0]
        self.has_extra = False
        self.stood = {(self.turnover, False)}
        self.journal: list[tuple[str, tuple[Any, ...]]] = []
        self.oracle = Oracle(shop(self.turnover))
        self.version = 0
        self.seen: dict[int, dict[str, list[str]]] = {}
        self.backup_of: tuple[Path, int, str, bool] | None = None
        self.checks = 0
        self.run = self._opened()

    def _opened(self) -> hr.Run:
        run = shop(self.turnover).open(self._data, clock=self.clock)
        assert run.version.number >= self.version
        self.version = run.version.number
        return run

    @property
    def _data(self) -> Path:
        return self._folder / f"data-{self._lives}"

    def end(self) -> None:
        """Close everything."""
        self.run.close()
        self.oracle.close()

    def _told(self, method: str, *arguments: Any) -> Any:
        """Tell the oracle, and the journal."""
        self.journal.append((method, arguments))
        return getattr(self.oracle, method)(*arguments)

    # --- rows -------------------------------------------------------------------------------------
    def append(self, chance: random.Random) -> None:
        rows = self._events(chance)
        self._same(self.run.append("events", rows), self._told("append", "events", rows, self.clock()))

    def upsert(self, chance: random.Random) -> None:
        name, rows = chance.choice([("stock", self._stock(chance)), ("tags", self._tags(chance))])
        self._same(self.run.upsert(name, rows), self._told("upsert", name, rows))

    def delete(self, chance: random.Random) -> None:
        name, rows = chance.choice(
            [("stock", [{"item": row["item"]} for row in self._stock(chance)]), ("tags", self._tags(chance))]
        )
        self._same(self.run.delete(name, rows), self._told("delete", name, rows))

    def transact(self, chance: random.Random) -> None:
        stock, events, tags = self._stock(chance), self._events(chance), self._tags(chance)
        with self.run.transaction("feed", len(self.journal)) as together:
            together.upsert("stock", stock)
            together.append("events", events)
            together.upsert("tags", tags)
        position = len(self.journal)
        wanted = [
            self._told("upsert", "stock", stock),
            self._told("append", "events", events, self.clock()),
            self._told("upsert", "tags", tags),
        ]
        for answer, statuses in zip(together.results, wanted, strict=True):
            self._same(answer, statuses)
        assert self.run.position("feed") == position

    def _same(self, answer: hr.AppendResult, wanted: list[RowStatus]) -> None:
        assert [RowStatus(int(status)) for status in answer.statuses] == wanted

    def _events(self, chance: random.Random) -> list[dict[str, Any]]:
        return [
            {"id": number, "shop": f"s{number % 4}", "amount": number % 23 - 5,
             "placed": (self.noon + timedelta(seconds=number % 400)).replace(tzinfo=None)}
            for number in (chance.randrange(300) for _ in range(chance.randrange(1, 9)))
        ]  # fmt: skip

    def _stock(self, chance: random.Random) -> list[dict[str, Any]]:
        return [
            {"item": f"i{item}", "shop": f"s{chance.randrange(6)}", "quantity": chance.randrange(5)}
            for item in chance.sample(range(6), chance.randrange(1, 3))
        ]

    def _tags(self, chance: random.Random) -> list[dict[str, Any]]:
        return [{"shop": f"s{chance.randrange(4)}", "tag": chance.choice("ab")}]

    # --- time -------------------------------------------------------------------------------------
    def advance(self, chance: random.Random) -> None:
        self.check()

    def move_clock(self, chance: random.Random) -> None:
        """On, far on, or back: the versions' clocks must only grow."""
        self.clock.advance(timedelta(seconds=chance.choice([1, 30, 120, 3_600, -60, -7_200])))

    def check(self) -> None:
        """Compare every view with the oracle, at the present version."""
        version = self.run.advance()
        assert version.number >= self.version
        self.version = version.number
        for name, wanted in self.oracle.answers(clock=version.clock).items():
            if isinstance(wanted, Exception):
                assert next(info for info in self.run.relations() if info.name == name).error is not None
                continue
            told = difference(self.run.snapshot(name)[1], wanted)
            assert not told, f"{name} at version {version.number}: {told}"
        self.seen[version.number] = {name: listed(self.run.snapshot(name)[1]) for name in LOOKED_BACK_AT}
        asked = LOOKED_BACK_AT[self.checks % len(LOOKED_BACK_AT)]
        assert listed(self.run.query(f"FROM {asked}")) == self.seen[version.number][asked]
        self.checks += 1

    def look_back(self, chance: random.Random) -> None:
        """Read a version as it was; after a restore the past may be gone."""
        if not self.seen:
            return
        version = chance.choice(sorted(self.seen))
        try:
            found = {name: listed(self.run.query(f"FROM {name}", as_of=version)) for name in LOOKED_BACK_AT}
        except VersionGone:
            assert self.backup_of is not None
            return
        assert found == self.seen[version]

    # --- definitions ------------------------------------------------------------------------------
    def apply(self, chance: random.Random) -> None:
        wanted = chance.choice([sql for sql in TURNOVERS if sql != self.turnover])
        self.run.apply(shop(wanted), share=1.0)
        self._defined(wanted, self.has_extra)

    def preview(self, chance: random.Random) -> None:
        wanted = chance.choice([sql for sql in TURNOVERS if sql != self.turnover])
        change = self.run.apply(shop(wanted), share=1.0, preview=True)
        self.run.query("SELECT count(*) FROM turnover__new")
        if chance.random() < 0.5:
            change.cancel()
            return
        change.switch()
        self._defined(wanted, self.has_extra)

    def roll_back(self, chance: random.Random) -> None:
        """Go back to definitions that stood before, where there is a way back."""
        try:
            self.run.rollback()
        except hr.errors.ChangeFailed:
            return
        found = self.run.app.view_decls["turnover"].sql, any(i.name == "extra" for i in self.run.relations())
        assert found in self.stood
        self._defined(*found)

    def create_or_drop(self, chance: random.Random) -> None:
        if self.has_extra:
            self.run.drop_view("extra")
        else:
            self.run.create_view("extra", EXTRA)
        self._defined(self.turnover, not self.has_extra)

    def _defined(self, turnover: str, has_extra: bool) -> None:
        """Tell which definitions are in force now."""
        self._told("define", "turnover", turnover)
        if has_extra and not self.has_extra:
            self._told("define", "extra", EXTRA)
        elif self.has_extra and not has_extra:
            self._told("drop", "extra")
        self.turnover, self.has_extra = turnover, has_extra
        self.stood.add((turnover, has_extra))

    # --- life -------------------------------------------------------------------------------------
    def checkpoint(self, chance: random.Random) -> None:
        self.run.checkpoint()

    def reopen(self, chance: random.Random) -> None:
        self.run.close()
        self.run = self._opened()

    def crash(self, chance: random.Random) -> None:
        """Go on from the files as they lie there."""
        before = self._data
        self._lives += 1
        killed(before, self._data)
        self.run.close()
        shutil.rmtree(before)
        self.run = self._opened()

    def lose_checkpoints(self, chance: random.Random) -> None:
        self.run.close()
        shutil.rmtree(self._data / "state")
        self.run = self._opened()

    def back_up(self, chance: random.Random) -> None:
        target = self._folder / f"backup-{len(self.journal)}-{self._lives}"
        if target.exists():
            return
        copy_folder(self._data, target)
        self.backup_of = (target, len(self.journal), self.turnover, self.has_extra)

    def restore(self, chance: random.Random) -> None:
        """Begin again where the backup was taken; what came after it never was."""
        if self.backup_of is None:
            return
        source, length, self.turnover, self.has_extra = self.backup_of
        self.run.close()
        shutil.rmtree(self._data)
        self._lives += 1
        copy_folder(source, self._data)
        self.oracle.close()
        self.oracle = Oracle(shop(TURNOVERS[0]))
        journal, self.journal = self.journal[:length], []
        for method, arguments in journal:
            self._told(method, *arguments)
        self.version, self.seen = 0, {}
        self.run = self._opened()
        self.check()


def listed(rows: pa.Table) -> list[str]:
    """Return rows in an order of their own."""
    return sorted(map(repr, rows.to_pylist()))


HAPPENINGS: dict[str, Callable[[World, random.Random], None]] = {
    "append": World.append, "upsert": World.upsert, "delete": World.delete, "transact": World.transact,
    "advance": World.advance, "move_clock": World.move_clock, "look_back": World.look_back,
    "apply": World.apply, "preview": World.preview, "roll_back": World.roll_back,
    "create_or_drop": World.create_or_drop, "checkpoint": World.checkpoint, "reopen": World.reopen,
    "crash": World.crash, "lose_checkpoints": World.lose_checkpoints, "back_up": World.back_up,
    "restore": World.restore,
}  # fmt: skip
