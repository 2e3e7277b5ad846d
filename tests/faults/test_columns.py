"""Columns that change while the power fails: every row that was acknowledged is there, with its value.

A stream is declared in three shapes, each a change of the one before: a column that is wider and one more; a
column that has another name and one that goes. The app appends, steps, writes checkpoints, goes on to the
next shape and back, until the power fails at the n-th operation on the disk; then the folder is opened again.
It stands in one of the shapes that were told or on their way, and the view is what DuckDB answers over the
rows.
"""

from __future__ import annotations

import random
import shutil
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.conftest import Torture
from tests.log.faulty import PowerCutFiles
from tests.test_crash import lived

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
    """One life: opens the folder and works until the power fails or enough has been done."""

    def __init__(self, folder: Path, files: Files, told: Told, seed: int) -> None:
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

    def _append(self, run: Run) -> None:
        first = len(self._told.sent)
        rows = {first + n: self._random.randrange(-50, 50) for n in range(self._random.randrange(1, 9))}
        self._told.sent |= rows
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
            run.apply(shop(told.shape + 1), share=1.0)
            self._stands(run)

    def _go_back(self, run: Run) -> None:
        """The way back may be none: from a wider column, or where nothing was changed."""
        self._told.possible |= set(range(len(SHAPES)))
        with suppress(ChangeFailed):
            run.rollback()
        self._stands(run)

    def _stands(self, run: Run) -> None:
        self._told.changes += 1
        self._told.shape = shape_of(run)
        self._told.possible = {self._told.shape}


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


def live_through(folder: Path, seed: int) -> Told:
    told, chance = Told(), random.Random(seed)
    for life in range(4):
        files = PowerCutFiles(chance.randrange(5, 200), seed * 5 + life)
        error = lived(Life(folder, files, told, seed * 5 + life))  # type: ignore[arg-type]
        assert files.is_off or error is None, repr(error)
        assert error is None or isinstance(error, hr.HeadraceError | OSError), repr(error)
        files.settle()
        check(folder, told)
    return told


@pytest.mark.parametrize("seed", range(4))
def test_a_power_cut_while_columns_change_loses_no_value(tmp_path: Path, seed: int) -> None:
    told = live_through(tmp_path / "data", seed)
    assert len(told.rows) > 0


@pytest.mark.torture(weight=2, least=50)
def test_many_power_cuts_while_columns_change(tmp_path: Path, torture: Torture) -> None:
    def case(seed: int) -> None:
        live_through(tmp_path / str(seed), seed)
        shutil.rmtree(tmp_path / str(seed))

    torture.play(case)


def test_without_a_fault_all_shapes_are_reached(tmp_path: Path) -> None:
    told = Told()
    for seed in range(3):
        assert lived(Life(tmp_path / "data", Files(), told, seed)) is None  # type: ignore[arg-type]
        check(tmp_path / "data", told)
    assert told.changes > 3
    assert len(told.rows) > 50
