"""Life after life of an app on one data folder, each in a process of its own that may be killed."""

from __future__ import annotations

import pickle
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.faults.ledger import Ledger
from tests.faults.life import Orders, told
from tests.faults.zygote import Mortal


class Zygote:
    """The process that forks lives."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.zygote"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def born(self, orders: Mortal, delay_s: float | None, power_of: Path | None = None) -> int:
        """Let one life be lived; return how its process ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump((orders, delay_s, power_of and str(power_of)), self._process.stdin)
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class Lives:
    """Life after life on one data folder.

    Args:
        zygote: what forks them.
        folder: for the reports, and the data.
        seed: of everything that is drawn.
        data: the data folder, where it lies elsewhere.
        seals: whether segments are sealed while the lives go on.
    """

    def __init__(
        self, zygote: Zygote, folder: Path, seed: int, data: Path | None = None, *, seals: bool = False
    ) -> None:
        self._seals = seals
        self._zygote = zygote
        self._folder = folder
        self._data = data or folder / "data"
        self._seed = seed
        self.chance = random.Random(seed)
        self.ledger = Ledger()
        self.lives = 0
        self.kills = 0
        folder.mkdir(parents=True)

    def live(
        self,
        *,
        point: str | None = None,
        visit: int = 1,
        delay_s: float | None = None,
        calls: int,
        turns: int = 0,
        power_of: Path | None = None,
    ) -> bool:
        """Live once, killed at a point or after a while, by a power cut where a file system is named; return
        whether it was killed.
        """
        self.lives += 1
        again = {
            w: [writer.unanswered, writer.calls[writer.unanswered]]
            for w, writer in enumerate(self.ledger.writers)
            if writer.unanswered is not None and self.chance.random() < 0.7
        }
        report = self._folder / f"report-{self.lives}"
        orders = Orders(
            str(self._data), str(report), self._seed * 100 + self.lives, point, visit, calls,
            turns,
            tuple(writer.next_call for writer in self.ledger.writers), again,
            sorted(self.ledger.turnover)[0], self.chance.random() < 0.5, self.lives % 3 == 0,
            self._seals,
        )  # fmt: skip
        status = self._zygote.born(orders, delay_s, power_of)
        self.ledger.read(told(report), is_disk_dead=power_of is not None)
        assert status in (0, signal.SIGKILL)
        self.kills += status == signal.SIGKILL
        return status == signal.SIGKILL

    def end(self) -> None:
        """Look once more at what the last life left, and forget the folder."""
        assert not self.live(calls=0, turns=0)
        assert self.ledger.checked >= 2
        self.ledger.close()
        shutil.rmtree(self._folder)
