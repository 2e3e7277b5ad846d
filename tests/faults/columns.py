"""The app whose columns change over and over, until its power fails or it is killed, and what it leaves.

A stream is declared in three shapes, each a change of the one before: a column that is wider and one more; a
column that has another name and one that goes.
"""

from __future__ import annotations

import os
import random
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.life import Report

import headrace as hr
from headrace.errors import ChangeFailed
from headrace.log.files import Files
from headrace.runtime import Run
from headrace.testing import ManualClock

SHAPES: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("id BIGINT, size INTEGER, note TEXT", "size", {}),
    ("id BIGINT, size BIGINT, note TEXT, kind TEXT", "size", {}),
    ("id BIGINT, amount BIGINT, kind TEXT", "amount", {"size": "amount"}),
)
STEPS = ["append"] * 5 + ["advance"] * 3 + ["checkpoint", "go_on", "go_back"]


def shop(shape: int) -> hr.App:
    """Return the app in one of the shapes."""
    columns, measure, renamed = SHAPES[shape]
    app = hr.App("shop")
    app.stream("visits", columns, event_id="id", renamed=renamed)
    app.view("sizes", f"SELECT id % 5 AS part, sum({measure}) AS total, count(*) AS n FROM visits GROUP BY 1")
    return app


def shape_of(run: Run) -> int:
    """Return the shape in which a run stands."""
    columns = [column.name for column in run.relation("visits").schema]
    return next(at for at, (text, _, _) in enumerate(SHAPES) if text.count(",") == len(columns) - 1
                and [part.split()[0] for part in text.split(", ")] == columns)  # fmt: skip


@dataclass
class Told:
    """What the app has answered so far, over all its lives."""

    rows: dict[int, int] = field(default_factory=dict)
    sent: dict[int, int] = field(default_factory=dict)
    shape: int = 0
    possible: set[int] = field(default_factory=lambda: {0})
    changes: int = 0


class Life:
    """One life: opens the folder and works until the power fails or enough has been done.

    `tell` is called with what was answered so far, and before each call with what may come of it.
    """

    def __init__(
        self,
        folder: Path,
        files: Files,
        told: Told,
        seed: int,
        tell: Callable[[Told], object] = lambda _: None,
    ) -> None:
        self._tell = tell
        self._folder = folder
        self._files = files
        self._told = told
        self._random = random.Random(seed)
        self.run: Run | None = None

    def live(self) -> None:
        self.run = run = Run(
            shop(self._told.shape), self._folder, clock=ManualClock(), on_change="keep", files=self._files
        )
        for _ in range(30):
            getattr(self, f"_{self._random.choice(STEPS)}")(run)
            self._tell(self._told)

    def _append(self, run: Run) -> None:
        first = len(self._told.sent)
        rows = {first + n: self._random.randrange(-50, 50) for n in range(self._random.randrange(1, 9))}
        self._told.sent |= rows
        self._tell(self._told)
        answer = run.append("visits", [{"id": n, "size": size} for n, size in rows.items()]
                            if self._told.shape < 2 or self._random.random() < 0.5 else
                            [{"id": n, "amount": size} for n, size in rows.items()])  # fmt: skip
        assert answer.rejected == 0
        self._told.rows |= rows

    def _advance(self, run: Run) -> None:
        run.advance()

    def _checkpoint(self, run: Run) -> None:
        run.checkpoint()

    def _go_on(self, run: Run) -> None:
        told = self._told
        if told.shape + 1 < len(SHAPES):
            told.possible.add(told.shape + 1)
            self._tell(told)
            run.apply(shop(told.shape + 1), share=1.0)
            self._stands(run)

    def _go_back(self, run: Run) -> None:
        """The way back may be none: from a wider column, or where nothing was changed."""
        self._told.possible |= set(range(len(SHAPES)))
        self._tell(self._told)
        with suppress(ChangeFailed):
            run.rollback()
        self._stands(run)

    def _stands(self, run: Run) -> None:
        self._told.changes += 1
        self._told.shape = shape_of(run)
        self._told.possible = {self._told.shape}


@dataclass(frozen=True)
class Orders:
    """What a life is told that SIGKILL ends: where, what was answered so far, and where it tells more."""

    folder: str
    report: str
    seed: int
    told: Told

    def live(self) -> None:
        """Live in the child; never returns."""
        report = Report(self.report)
        try:
            Life(
                Path(self.folder), Files(), self.told, self.seed, lambda told: report.tell("told", told=told)
            ).live()
        except BaseException:  # noqa: BLE001 - told to the test
            report.tell("failed", text=traceback.format_exc())
        finally:
            os._exit(0)


def check(folder: Path, told: Told) -> None:
    """Open the folder again, and compare it with what was told."""
    with shop(told.shape).open(folder, on_change="keep", clock=ManualClock()) as run:
        run.advance()
        shape = shape_of(run)
        assert shape in told.possible
        measure = SHAPES[shape][1]
        rows = run.query(f"SELECT id, {measure} AS size FROM visits").to_pylist()
        there = {row["id"]: row["size"] for row in rows}
        assert len(there) == len(rows)
        assert told.rows.items() <= there.items() <= told.sent.items()
        view = run.query("SELECT * FROM sizes ORDER BY ALL").to_pylist()
        asked = f"SELECT id % 5 AS part, sum({measure}) AS total, count(*) AS n FROM visits GROUP BY 1"
        assert view == run.query(f"SELECT * FROM ({asked}) ORDER BY ALL").to_pylist()
        told.rows, told.shape, told.possible = there, shape, {shape}
