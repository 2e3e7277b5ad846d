"""Killed with SIGKILL at random instants and at every named point, over and over, and right each time.

Two writers, a reader, and one who takes checkpoints and changes definitions work on one data folder in a
child process until it is killed; the next child opens the folder, says all that it finds, and works on. What
was answered must be there once, what was not answered wholly or not at all; every view must be what DuckDB
answers over the rows that are there; and a version that a reader saw before a kill must be the same after it.
The points are those of `headrace.points` and of the file system, before, inside and after each operation;
which there are is found by a life that is left alone.
"""

from __future__ import annotations

import pickle
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import ROOT, Torture
from tests.faults.ledger import Ledger
from tests.faults.life import WRITERS, Orders, told

from headrace.points import POINTS

FOLDER_LIVES = 12
"""Lives on one folder; then a new one begins, so that opening stays cheap."""
RANDOM_KILLS = 10
KILLS_IN_TORTURE = 1_000
EXPECTED = {
    "before sync log/*.seg", "inside write log/*.seg", "after write log/*.seg", "before rename log/*.seg",
    "after create state/*.pack", "inside write state/*.pack", "before sync state/*.pack",
    "before rename state/*.json", "after rename state/*.json", "before sync state/",
    "after remove state/*.pack",
}  # fmt: skip


class Lives:
    """Life after life on data folders, and the ledger of the present one."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._chance = random.Random(seed)
        self._seed = seed
        self._lives = 0
        self.kills = 0
        self.checked = 0
        self.visits: Counter[str] = Counter()
        self._ledger: Ledger | None = None
        self._zygote = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.zygote"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def close(self) -> None:
        self._end_folder()
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        self._zygote.stdin.close()
        self._zygote.wait()
        self._zygote.stdout.close()

    def live(
        self,
        *,
        point: str | None = None,
        visit: int = 1,
        delay_s: float | None = None,
        calls: int,
        turns: int = 0,
    ) -> bool:
        """Live once, killed at a point or after a while; return whether it was killed."""
        ledger = self._current()
        self._lives += 1
        chance = self._chance
        again = {
            w: [writer.again, writer.calls[writer.again]]
            for w, writer in enumerate(ledger.writers)
            if writer.again is not None and chance.random() < 0.7
        }
        orders = Orders(
            str(self._place / "data"), str(self._place / f"report-{self._lives}"),
            self._seed * 1_000_000 + self._lives, point, visit, calls, turns,
            tuple(writer.next_call for writer in ledger.writers), again,
            sorted(ledger.turnover)[0], chance.random() < 0.5,
        )  # fmt: skip
        status = self._born(orders, delay_s)
        ledger.read(told(Path(orders.report)))
        killed = status == signal.SIGKILL
        assert killed or status == 0
        assert killed or point is not None or delay_s is not None or ledger.checked >= 2
        self.kills += killed
        return killed

    def _born(self, orders: Orders, delay_s: float | None) -> int:
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        pickle.dump((orders, delay_s), self._zygote.stdin)
        self._zygote.stdin.flush()
        return int(self._zygote.stdout.readline())

    def _current(self) -> Ledger:
        if self._lives % FOLDER_LIVES == 0:
            self._end_folder()
        if self._ledger is None:
            self._ledger = Ledger()
            self._place = self._folder / str(self._lives)
            self._place.mkdir(parents=True)
        return self._ledger

    def _end_folder(self) -> None:
        """Look once more at what the last life left."""
        ledger, self._ledger = self._ledger, None
        if ledger is None:
            return
        self._ledger = ledger
        if self._zygote.poll() is None:
            self._lives += 1
            orders = Orders(
                str(self._place / "data"), str(self._place / "last"), 0, None, 1, 0, 0, (0,) * WRITERS,
                {}, sorted(ledger.turnover)[0], is_clean=True,
            )  # fmt: skip
            assert self._born(orders, None) == 0
            ledger.read(told(Path(orders.report)))
        self.checked += ledger.checked
        self.visits += ledger.visits
        ledger.close()
        self._ledger = None


@pytest.fixture
def lives(tmp_path: Path) -> Iterator[Lives]:
    found = Lives(tmp_path, seed=1)
    yield found
    found.close()


def points_of(lives: Lives, calls: int) -> Counter[str]:
    """Return the points that lives reach that are left alone, and how often."""
    for _ in range(2):
        assert not lives.live(calls=calls, turns=7)
    lives._end_folder()
    return lives.visits.copy()


def killed_at(lives: Lives, point: str, visits: int, *, calls: int) -> bool:
    """Kill at one of a point's early visits; a life may pass by without it, but hardly three."""
    for attempt in range(3):
        visit = lives._chance.randrange(1, 2 + visits // 4) if attempt == 0 else 1
        if lives.live(point=point, visit=visit, calls=calls, turns=7):
            return True
    return False


def test_a_kill_at_each_named_point_loses_nothing_and_doubles_nothing(lives: Lives) -> None:
    points = points_of(lives, calls=6)
    assert points.keys() >= {*POINTS, *EXPECTED}
    missed = [
        point for point, visits in sorted(points.items()) if not killed_at(lives, point, visits, calls=6)
    ]
    assert missed == []


def test_a_kill_at_a_random_instant_loses_nothing_and_doubles_nothing(lives: Lives) -> None:
    chance = random.Random(5)
    for _ in range(RANDOM_KILLS):
        lives.live(delay_s=chance.uniform(0.01, 0.7), calls=60, turns=60)
    lives._end_folder()
    assert lives.kills > RANDOM_KILLS // 2
    assert lives.checked > 0


@pytest.mark.torture
def test_a_thousand_kills(tmp_path: Path, torture: Torture, capsys: pytest.CaptureFixture[str]) -> None:
    lives = Lives(tmp_path, torture.seed)
    try:
        points = points_of(lives, calls=12)
        chance = random.Random(torture.seed)
        while lives.kills < min(torture.cases, KILLS_IN_TORTURE):
            if chance.random() < 0.5:
                lives.live(delay_s=chance.uniform(0.0, 1.5), calls=100, turns=100)
            else:
                point = chance.choice(sorted(points))
                lives.live(point=point, visit=chance.randrange(1, 2 + points[point]), calls=12, turns=9)
        lives._end_folder()
    finally:
        lives.close()
    with capsys.disabled():
        sys.stdout.write(f"{lives.kills} kills, {lives.checked} times compared, seed {torture.seed}\n")
