"""Killed with SIGKILL at random instants and at every named point, over and over, and right each time.

Two writers, a reader, and one who takes checkpoints and changes definitions work on one data folder in a
child process until it is killed; the next child opens the folder, says all that it finds, and works on. What
was answered must be there once, what was not answered wholly or not at all; every view must be what DuckDB
answers over the rows that are there; and a version that a reader saw before a kill must be the same after it.
The points are those of `headrace.points` and of the file system, before, inside and after each operation;
which there are is found by a life that is left alone. `make test` takes those of the run, of the log and of
the checkpoints, and draws some of the others; `make torture` draws from all.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from tests.conftest import Torture
from tests.faults.lives import Lives, Zygote

from headrace.points import POINTS

FOLDER_LIVES = 12
"""Lives on one folder; then a new one begins, so that opening stays cheap."""
RANDOM_KILLS = 10
OTHER_POINTS = 12
"""Points of the file system that are drawn beside those expected; `make torture` draws from all."""
EXPECTED = {
    "before sync log/*.seg", "inside write log/*.seg", "after write log/*.seg", "before rename log/*.seg",
    "after create state/*.pack", "inside write state/*.pack", "before sync state/*.pack",
    "before rename state/*.json", "after rename state/*.json", "before sync state/",
    "after remove state/*.pack",
}  # fmt: skip


def points_of(zygote: Zygote, folder: Path, calls: int, *, seals: bool = False) -> Counter[str]:
    """Return the points that lives reach that are left alone, and how often."""
    lives = Lives(zygote, folder, 1, seals=seals)
    for _ in range(2):
        assert not lives.live(calls=calls, turns=7)
    points = lives.ledger.visits.copy()
    lives.end()
    return points


def drawn(chance: random.Random, points: Counter[str]) -> tuple[str, int]:
    """Return a point and one of its visits, more often an early one: a life that passes by is no kill."""
    point = chance.choice(sorted(points))
    return point, 1 + int(chance.random() ** 2 * points[point] / 3)


def killed_at(lives: Lives, point: str, visits: int) -> bool:
    """Kill at one of a point's early visits; a life may pass by without it, but hardly three."""
    for attempt in range(3):
        visit = lives.chance.randrange(1, 2 + visits // 4) if attempt == 0 else 1
        if lives.live(point=point, visit=visit, calls=6, turns=7):
            return True
    return False


def test_a_kill_at_a_named_point_loses_nothing_and_doubles_nothing(tmp_path: Path, zygote: Zygote) -> None:
    points = points_of(zygote, tmp_path / "points", calls=6)
    assert points.keys() >= {*POINTS, *EXPECTED}
    others = sorted(points.keys() - {*POINTS, *EXPECTED})
    names = [*POINTS, *sorted(EXPECTED), *random.Random(1).sample(others, min(len(others), OTHER_POINTS))]
    for first in range(0, len(names), FOLDER_LIVES):
        lives = Lives(zygote, tmp_path / str(first), first)
        for name in names[first : first + FOLDER_LIVES]:
            assert killed_at(lives, name, points[name]), name
        lives.end()


def test_a_kill_at_a_random_instant_loses_nothing_and_doubles_nothing(tmp_path: Path, zygote: Zygote) -> None:
    lives = Lives(zygote, tmp_path / "data", 5, seals=True)
    for _ in range(RANDOM_KILLS):
        lives.live(delay_s=lives.chance.uniform(0.01, 0.7), calls=60, turns=60)
    assert lives.kills > RANDOM_KILLS // 2
    lives.end()


@pytest.mark.torture(weight=12, least=1_000)
def test_many_kills(tmp_path: Path, torture: Torture, zygote: Zygote) -> None:
    """A seed is a folder of a dozen lives; what counts are the kills."""
    points = points_of(zygote, tmp_path / "points", calls=12, seals=True)

    def case(seed: int) -> None:
        lives = Lives(zygote, tmp_path / str(seed), seed, seals=True)
        try:
            for _ in range(FOLDER_LIVES):
                if lives.chance.random() < 0.5:
                    delay_s = min(0.03 + lives.chance.expovariate(2.5), 2.0)
                    lives.live(delay_s=delay_s, calls=100, turns=100)
                else:
                    point, visit = drawn(lives.chance, points)
                    lives.live(point=point, visit=visit, calls=12, turns=9)
            lives.end()
        finally:
            torture.cases += lives.kills

    torture.play(case, worth=0)
