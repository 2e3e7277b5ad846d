"""`kill -9` while rows are sent, sent again after the next start: each is there exactly once.

A retry must be told *repeated*, or, with an idempotency key, the first answer again; never accepted twice.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import Torture
from tests.intake.samples import STREAMS, TABLES, Clock, total

from headrace.intake import Intake
from headrace.log import Log

LINES = 40


def live(folder: Path, root: Path, lines: int) -> list[tuple[int, str]]:
    """Start the program, kill it after some answers; return every answer it told of."""
    command = [sys.executable, "-m", "tests.intake.killed", str(folder)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        told = [child.stdout.readline() for _ in range(lines)]
        child.kill()
        told += [line for line in child.stdout.read().splitlines(keepends=True) if line.endswith(b"\n")]
    return [(int(number), answer) for number, answer in (line.decode().split() for line in told)]


def check(folder: Path, acknowledged: set[int]) -> None:
    """Every acknowledged row is in the log once, in both relations, and the recovered table holds it."""
    with Log.open(folder) as log:
        for relation, column in (("orders", "id"), ("keyed", "a")):
            change = total(log, relation)
            assert change is not None
            held = change.rows.column(column).to_pylist()
            assert len(set(held)) == len(held)
            assert acknowledged <= set(held)
        intake = Intake(STREAMS, TABLES, log, Clock())
        for record in log.records():
            intake.recover(record)
        assert acknowledged <= set(intake.contents("keyed").column("a").to_pylist())


def run_lives(folder: Path, root: Path, lives: int, seed: int) -> None:
    acknowledged: set[int] = set()
    for life in range(lives):
        answers = live(folder, root, LINES * (life + 1) + random.Random(seed + life).randrange(20))
        for number, answer in answers:
            keyed = number % 2 == 1
            known = number in acknowledged
            assert answer in (("00",) if keyed else ("11",) if known else ("00", "11"))
        acknowledged |= {number for number, _ in answers}
        check(folder, acknowledged)
    assert len(acknowledged) >= LINES


def test_killed_and_started_again_each_row_is_there_once(tmp_path: Path, root: Path) -> None:
    run_lives(tmp_path / "data", root, lives=3, seed=1)


@pytest.mark.torture(weight=0.5)
def test_killed_again_and_again(tmp_path: Path, root: Path, torture: Torture) -> None:
    def case(seed: int) -> None:
        run_lives(tmp_path / f"data{seed}", root, lives=5, seed=seed)
        shutil.rmtree(tmp_path / f"data{seed}")

    torture.play(case, worth=5)
