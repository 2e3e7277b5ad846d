"""The power of a real disk fails while the app works: what was answered is there, once, after the next start.

The data folder lies on an ext4 of its own. `FS_IOC_SHUTDOWN` makes it lose what it has not yet written: files
that were not fsynced are empty, renames whose folder was not fsynced are undone. The process is stopped
just before and killed after it: an fsync that races with the shutdown may return as if it had succeeded, also
to a program of ten lines (15 of 534 trials). Then the disk is mounted again, and the ledger of
`test_kills.py` looks at what the next life finds.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.conftest import Torture
from tests.faults.lives import Lives, Zygote
from tests.faults.mounts import PoweredDisk

CUTS = 3


def cut_and_cut_again(zygote: Zygote, folder: Path, seed: int, cuts: int) -> int:
    """Live on a disk whose power fails again and again; return how often it did."""
    disk = PoweredDisk(folder / "machine")
    try:
        chance = random.Random(seed)
        lives = Lives(zygote, folder / "reports", seed, disk.place / "data")
        for _ in range(cuts):
            lives.live(delay_s=chance.uniform(0.1, 0.9), calls=1_000, turns=1_000, power_of=disk.place)
            disk.unmount()
            disk.mount()
        lives.end()
        return lives.kills
    finally:
        disk.unmount()


def test_a_power_cut_loses_nothing_and_doubles_nothing(tmp_path: Path, zygote: Zygote) -> None:
    assert cut_and_cut_again(zygote, tmp_path, 3, CUTS) == CUTS


@pytest.mark.torture(weight=1.5, least=100)
def test_many_power_cuts(tmp_path: Path, torture: Torture, zygote: Zygote) -> None:
    """A seed is a disk whose power fails eight times; what counts are the cuts."""

    def case(seed: int) -> None:
        torture.cases += cut_and_cut_again(zygote, tmp_path / str(seed), seed, 8)

    torture.play(case, worth=0)
