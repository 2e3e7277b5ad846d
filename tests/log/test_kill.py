"""`kill -9` at any moment: every acknowledged commit is there after the next start, whole and in place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.log.samples import commit, same

from headrace.log import Commit, Log

KILLS = 3


def test_killed_again_and_again_nothing_acknowledged_is_lost(tmp_path: Path, root: Path) -> None:
    folder = tmp_path / "data"
    acknowledged = 0
    for life in range(KILLS):
        acknowledged = max(acknowledged, run_and_kill(folder, root, lines=10 + 23 * life))
        with Log.open(folder) as log:
            read = [record for record in log.records() if isinstance(record, Commit)]
            assert log.last_commit >= acknowledged
            assert [record.number for record in read] == list(range(1, log.last_commit + 1))
            assert all(same(record, commit(record.number, record.number % 7 + 1)) for record in read)
    assert acknowledged > 10 * KILLS


def run_and_kill(folder: Path, root: Path, lines: int) -> int:
    """Start the program, kill it once it has acknowledged so many commits; return the highest it told of."""
    command = [sys.executable, "-m", "tests.log.killed", str(folder)]
    child = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE)
    with child:
        assert child.stdout is not None
        told = [int(child.stdout.readline()) for _ in range(lines)]
        child.kill()
        rest = child.stdout.read().split(b"\n")[:-1]
    return max([*told, *(int(line) for line in rest)])
