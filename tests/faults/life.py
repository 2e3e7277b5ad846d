"""One life of the app in a process of its own: it works until it is killed, and says what it does.

Everything is told to a file, in frames that a kill may cut: before a call what it is about to do, after it
that it was answered; and every version that a reader saw, with a digest of each relation. A file and no pipe:
what a process has written stays when it is killed, and nobody has to read along.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import random
import signal
import struct
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any

from tests.faults.shop import BASES, EXTRA, GROSS, NET, OTHERS, shop

import headrace as hr
from headrace.log.log import Log
from headrace.runtime import open_run
from headrace.state import checkpoint, frozen
from headrace.testing import CrashOnCue

REACH_ROWS_MAX = 3
"""Few enough that changes of `stock` are held back and computed aside all the time."""
WRITERS = 2
SEGMENT_BYTES = 30_000
"""Small, so that segments are sealed and begun while the app lives."""
FRAME = struct.Struct("<I")


@dataclass(frozen=True)
class Orders:
    """What a life is told.

    Attributes:
        folder: the data folder.
        report: the file that it tells.
        seed: of everything that it draws.
        point: where it ends; None: nowhere.
        visit: at which visit of the point.
        calls: how many calls each writer makes before the life ends by itself.
        turns: how many checkpoints and changes of definitions it does; every kind comes once at first.
        next_call: per writer the number of its next call.
        again: per writer a call that was never answered and is to be made again, with its key.
        turnover: the definition that the app is opened with.
        forks: whether checkpoints are written by a copy of the process, however small they are.
        seals: whether segments are sealed as soon as there are two.
        is_clean: whether it ends by closing; otherwise as if it were killed.
    """

    folder: str
    report: str
    seed: int
    point: str | None
    visit: int
    calls: int
    turns: int
    next_call: tuple[int, ...]
    again: dict[int, list[Any]] = field(default_factory=dict)
    turnover: str = GROSS
    is_clean: bool = False
    forks: bool = False
    seals: bool = False

    def live(self) -> None:
        """Live so; called in the child."""
        live(self)


class Report:
    """Frames at the end of a file; one `write` each."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def tell(self, kind: str, **facts: Any) -> None:
        payload = pickle.dumps((kind, facts))
        os.write(self._descriptor, FRAME.pack(len(payload)) + payload)


def told(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return what a life has told; a frame that was cut was never told."""
    data = path.read_bytes() if path.exists() else b""
    found, at = [], 0
    while at + FRAME.size <= len(data):
        (length,) = FRAME.unpack_from(data, at)
        at += FRAME.size + length
        if at <= len(data):
            found.append(pickle.loads(data[at - length : at]))
    return found


def live(orders: Orders) -> None:
    """Live; called in the child, which never returns."""
    report = Report(orders.report)
    os.setpgid(0, 0)
    cue = CrashOnCue(orders.point, orders.visit, end=lambda: os.killpg(0, signal.SIGKILL))
    if orders.forks:
        checkpoint.COPY_BYTES_MAX, frozen.INLINE_BYTES_MAX = -1, 0
    try:
        with cue.armed():
            Life(orders, report, cue).live()
        report.tell("ended", points=dict(cue.visits))
    except BaseException:  # noqa: BLE001 - told to the test
        report.tell("failed", text=traceback.format_exc())
    finally:
        os._exit(0)


class Life:
    """Writers, a reader, and one who takes checkpoints and changes definitions."""

    def __init__(self, orders: Orders, report: Report, cue: CrashOnCue) -> None:
        self._orders = orders
        self._report = report
        defaults = Log.open.__func__.__kwdefaults__  # type: ignore[attr-defined]
        defaults["segment_bytes"] = SEGMENT_BYTES
        if orders.seals:
            defaults["seal_bytes"] = 2 * SEGMENT_BYTES
        self.run = open_run(
            shop(orders.turnover), Path(orders.folder), auto=True, on_change="keep", files=cue.files,
            reach_rows_max=REACH_ROWS_MAX,
        )  # fmt: skip
        self._ending = Event()
        self._failed: list[str] = []
        self._turnover = self.run.app.view_decls["turnover"].sql
        self._has_extra = any(info.name == "extra" for info in self.run.relations())

    def live(self) -> None:
        self._see("seen")  # the version of before the kill, perhaps; commits after it are in the next one
        self.run.advance()
        self._see("opened")
        works = [partial(self._write, w) for w in range(WRITERS)]
        workers = [Thread(target=self._guarded, args=(work,)) for work in (*works, self._turn_round)]
        reader = Thread(target=self._guarded, args=(self._look_on,))
        for thread in (*workers, reader):
            thread.start()
        for thread in workers:
            thread.join()
        self._ending.set()
        reader.join()
        if self._failed:
            raise AssertionError(self._failed[0])
        self.run.advance()
        self._see("last")
        if self._orders.is_clean:
            self.run.close()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException:  # noqa: BLE001 - told to the test
            self._failed.append(traceback.format_exc())
            self._ending.set()

    # --- reading ----------------------------------------------------------------------------------
    def _see(self, kind: str) -> None:
        """Read everything at one version, and tell it: as a whole at the opening, else as digests."""
        names = [*BASES, "turnover", *OTHERS, "billed", *(["extra"] if self._has_extra else [])]
        sql = " UNION ALL ".join(
            f"SELECT '{name}' AS name, to_json(r)::VARCHAR AS r FROM {name} r" for name in names
        )
        answer = self.run.answer(sql)
        rows: dict[str, list[str]] = {name: [] for name in names}
        for name, row in zip(*(column.to_pylist() for column in answer.table.columns), strict=True):
            rows[name].append(row)
        for listed in rows.values():
            listed.sort()
        digests = {name: hashlib.md5("\n".join(listed).encode()).hexdigest() for name, listed in rows.items()}
        facts: dict[str, Any] = {"version": answer.version, "digests": digests}
        if kind != "seen":
            facts |= {
                "rows": rows,
                "turnover": self._turnover,
                "created": {"extra": EXTRA} if self._has_extra else {},
                "positions": [self.run.position(f"w{w}") for w in range(WRITERS)],
            }
        self._report.tell(kind, **facts)

    def _look_on(self) -> None:
        while not self._ending.wait(0.05):
            with suppress(hr.errors.UnknownName):
                self._see("seen")

    # --- writing ----------------------------------------------------------------------------------
    def _write(self, w: int) -> None:
        chance = random.Random(self._orders.seed * 10 + w)
        number = self._orders.next_call[w]
        if w in self._orders.again:
            key, call = self._orders.again[w]
            self._call(w, key, call)
        own = self._own(w)
        for _ in range(self._orders.calls):
            if self._ending.is_set():
                return
            call = drawn(chance, w, number, own)
            self._call(w, number, call)
            own.take(call)
            number += 1

    def _own(self, w: int) -> Own:
        self.run.advance()
        tags = self.run.query("SELECT * FROM tags").to_pylist()
        stock = self.run.query("SELECT item, w FROM stock").to_pylist()
        return Own({r["item"] for r in stock if r["w"] == w}, Counter(_key(r) for r in tags if r["w"] == w))

    def _call(self, w: int, number: int, call: list[Any]) -> None:
        self._report.tell("begun", w=w, number=number, call=call)
        key = f"{w}-{number}"
        if len(call) == 1:
            kind, relation, rows = call[0]
            results = [getattr(self.run, kind)(relation, rows, idempotency_key=key)]
        else:
            with self.run.transaction(f"w{w}", number, idempotency_key=key) as together:
                for kind, relation, rows in call:
                    getattr(together, kind)(relation, rows)
            results = list(together.results)
        rejections = [one for result in results for one in result.rejections]
        self._report.tell("answered", w=w, number=number, rejections=rejections)

    # --- checkpoints and definitions --------------------------------------------------------------
    def _turn_round(self) -> None:
        chance = random.Random(self._orders.seed * 10 + 9)
        first = chance.sample(TURNS, len(TURNS))
        for turn in [*first, *chance.choices(TURNS, k=max(0, self._orders.turns - len(TURNS)))]:
            if not self._ending.wait(chance.random() * 0.02):
                getattr(self, turn)(chance)

    def _checkpoint(self, _: random.Random) -> None:
        self.run.checkpoint()

    def _advance(self, _: random.Random) -> None:
        self.run.advance()

    def _apply(self, chance: random.Random) -> None:
        other = NET if self._turnover == GROSS else GROSS
        self._report.tell("turning", turnover=other)
        self.run.apply(shop(other), share=1.0)
        self._report.tell("turned", turnover=other)
        before, self._turnover = self._turnover, other
        if chance.random() < 0.4:
            self._report.tell("turning", turnover=before)
            self.run.rollback()
            self._report.tell("turned", turnover=before)
            self._turnover = before

    def _preview(self, _: random.Random) -> None:
        other = NET if self._turnover == GROSS else GROSS
        change = self.run.apply(shop(other), share=1.0, preview=True)
        self.run.query("SELECT count(*) FROM turnover__new")
        change.cancel()

    def _extra(self, _: random.Random) -> None:
        wanted = not self._has_extra
        self._report.tell("creating", extra=wanted)
        if wanted:
            self.run.create_view("extra", EXTRA)
        else:
            self._has_extra = False
            self.run.drop_view("extra")
        self._has_extra = wanted
        self._report.tell("created", extra=wanted)


TURNS = ["_checkpoint", "_checkpoint", "_checkpoint", "_advance", "_apply", "_preview", "_extra"]


@dataclass
class Own:
    """What a writer may delete: its keys, and its rows of the bag."""

    items: set[str]
    tags: Counter[tuple[tuple[str, Any], ...]]

    def take(self, call: list[Any]) -> None:
        for kind, relation, rows in call:
            for row in rows:
                if relation == "stock":
                    (self.items.add if kind == "upsert" else self.items.discard)(row["item"])
                elif relation == "tags":
                    self.tags[_key(row)] += 1 if kind == "upsert" else -1
        self.tags = +self.tags


def _key(row: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(row.items())


def drawn(chance: random.Random, w: int, number: int, own: Own) -> list[Any]:
    """Return one call, or the calls of one transaction: (method, relation, rows)."""
    made = {
        "events": lambda: ["append", "events", events(chance, w, number)],
        "upsert": lambda: ["upsert", "stock", stock(chance, w, number)],
        "delete": lambda: ["delete", "stock", [{"item": chance.choice(sorted(own.items))}]],
        "tag": lambda: ["upsert", "tags", [tag(chance, w)]],
        "untag": lambda: ["delete", "tags", [dict(chance.choice(sorted(own.tags)))]],
    }
    kinds = ["events"] * 3 + ["upsert", "tag", "all"]
    kinds += ["delete"] if own.items else []
    kinds += ["untag"] if own.tags else []
    kind = chance.choice(kinds)
    return [made[one]() for one in (("events", "upsert", "tag") if kind == "all" else (kind,))]


def events(chance: random.Random, w: int, number: int) -> list[dict[str, Any]]:
    """New events, some of them late, at times a repeat within the call."""
    now = datetime.now(UTC)
    rows = [
        {
            "id": (number * 100 + n) * WRITERS + w, "w": w, "call": number,
            "shop": f"s{chance.randrange(6)}", "amount": chance.randrange(-5, 30),
            "placed": now - timedelta(milliseconds=chance.randrange(1_500)),
        }
        for n in range(chance.randrange(1, 12))
    ]  # fmt: skip
    return rows + rows[:1] if chance.random() < 0.1 else rows


def stock(chance: random.Random, w: int, number: int) -> list[dict[str, Any]]:
    """Rows by key, each key once."""
    items = chance.sample(range(12), chance.randrange(1, 4))
    return [
        {"item": f"{w}-{n}", "w": w, "call": number, "shop": f"s{chance.randrange(8)}",
         "quantity": chance.randrange(50)}
        for n in items
    ]  # fmt: skip


def tag(chance: random.Random, w: int) -> dict[str, Any]:
    """A row of the bag; equal ones are meant to meet."""
    return {"w": w, "shop": f"s{chance.randrange(6)}", "tag": chance.choice("abc")}
