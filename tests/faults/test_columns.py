"""Columns that change while the power fails or a kill comes: every acknowledged row is there, with its value.

A stream is declared in three shapes, each a change of the one before: a column that is wider and one more; a
column that has another name and one that goes. The app appends, steps, writes checkpoints, goes on to the
next shape and back, until the power fails at the n-th operation on the disk, or SIGKILL ends it at any time;
then the folder is opened again.
It stands in one of the shapes that were told or on their way, and the view is what DuckDB answers over the
rows.
"""

from __future__ import annotations

import random
import shutil
import signal
from pathlib import Path

import pytest
from tests.conftest import Torture
from tests.faults.columns import Life, Orders, Told, check
from tests.faults.life import told as frames_of
from tests.faults.lives import Zygote
from tests.log.faulty import PowerCutFiles
from tests.test_crash import lived

import headrace as hr
from headrace.log.files import Files


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


def killed_through(zygote: Zygote, folder: Path, seed: int, lives: int) -> int:
    """Live so many times on one folder, each until a kill; return how many came in time."""
    told, chance, kills = Told(), random.Random(seed), 0
    folder.mkdir(parents=True)
    for life in range(lives):
        report = folder / f"report-{life}"
        orders = Orders(str(folder / "data"), str(report), seed * 100 + life, told)
        kills += zygote.born(orders, 0.03 + chance.expovariate(3.0)) == signal.SIGKILL
        for kind, facts in frames_of(report):
            assert kind != "failed", facts["text"]
            told = facts["told"]
        check(folder / "data", told)
    return kills


@pytest.mark.parametrize("seed", range(4))
def test_a_power_cut_while_columns_change_loses_no_value(tmp_path: Path, seed: int) -> None:
    told = live_through(tmp_path / "data", seed)
    assert len(told.rows) > 0


@pytest.mark.torture(weight=1.5, least=50)
def test_many_power_cuts_while_columns_change(tmp_path: Path, torture: Torture) -> None:
    def case(seed: int) -> None:
        live_through(tmp_path / str(seed), seed)
        shutil.rmtree(tmp_path / str(seed))

    torture.play(case)


def test_a_kill_while_columns_change_loses_no_value(tmp_path: Path, zygote: Zygote) -> None:
    killed_through(zygote, tmp_path / "killed", 1, 4)


@pytest.mark.torture(weight=1, least=100)
def test_many_kills_while_columns_change(tmp_path: Path, torture: Torture, zygote: Zygote) -> None:
    """A seed is a folder of eight lives; what counts are the kills."""

    def case(seed: int) -> None:
        torture.cases += killed_through(zygote, tmp_path / str(seed), seed, 8)
        shutil.rmtree(tmp_path / str(seed))

    torture.play(case, worth=0)


def test_without_a_fault_all_shapes_are_reached(tmp_path: Path) -> None:
    told = Told()
    for seed in range(3):
        assert lived(Life(tmp_path / "data", Files(), told, seed)) is None  # type: ignore[arg-type]
        check(tmp_path / "data", told)
    assert told.changes > 3
    assert len(told.rows) > 50
