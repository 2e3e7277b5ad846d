"""A log under a random life, held against a list: appended to, sealed, trimmed, rewritten, opened again, and
now and then without power.

The model knows every record that was acknowledged, up to where the stream's rows may be gone, and which
commits were rewritten. After each step the log must read as the model says, from any commit.
"""

from __future__ import annotations

import random
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from tests.conftest import Torture
from tests.log.faulty import PowerCutFiles, QuickFiles
from tests.log.samples import START, same
from tests.log.test_rewriting import empty
from tests.log.test_trimming import content, fold, made

from headrace.change import Change
from headrace.errors import StorageError, VersionGone
from headrace.log import Commit, Log, Step
from headrace.log.copies import checked
from headrace.log.files import Files
from headrace.log.trimming import Wish

STREAMS = ("orders", "orders__late")


class Life:
    """One random life of a log in a folder."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.chance = random.Random(seed)
        self.acknowledged = 0
        self.may_be_gone = 0
        self.may_be_empty = 0
        self.step = 0

    def live(self, turns: int) -> None:
        for _ in range(turns):
            files: Files = QuickFiles()
            if self.chance.random() < 0.4:
                files = PowerCutFiles(self.chance.randrange(3, 160), self.chance.randrange(1 << 30))
            try:
                with Log.open(self.folder, files=files, segment_bytes=5_000, seal_bytes=9_000) as log:
                    self.check(log)
                    for _ in range(self.chance.randrange(1, 8)):
                        self.act(log)
                    if isinstance(files, QuickFiles):
                        self.check(log)
            except StorageError:
                assert isinstance(files, PowerCutFiles)
                assert files.is_off
            if isinstance(files, PowerCutFiles):
                files.settle()
        assert checked(self.folder) >= self.acknowledged

    def act(self, log: Log) -> None:
        kind = self.chance.choice(["append", "append", "append", "seal", "trim", "rewrite"])
        if kind == "append":
            for _ in range(self.chance.randrange(1, 12)):
                number = log.last_commit + 1
                log.append(made(number)).wait(60)
                self.acknowledged = number
            self.step = (log.last_step.version if log.last_step else 0) + 1
            log.append(Step(self.step, self.acknowledged, START + timedelta(seconds=number))).wait(60)
        elif kind == "seal":
            log.seal()
        elif kind == "trim":
            upto = self.chance.randrange(log.last_commit + 1)
            self.may_be_gone = max(self.may_be_gone, upto)
            log.trim(Wish(dict.fromkeys(STREAMS, upto), {"customers": fold}, upto, upto))
        elif self.chance.random() < 0.3:
            self.may_be_empty = log.last_commit
            log.rewrite("orders", empty, note={})

    def check(self, log: Log) -> None:
        assert log.last_commit >= self.acknowledged
        self.acknowledged = last = log.last_commit
        gone = log.trimmed().get("orders", (0, None))[0]
        assert gone <= self.may_be_gone
        commits = {record.number: record for record in log.records() if isinstance(record, Commit)}
        base = log.stats()["trimmed_upto_commit"]
        assert set(range(base + 1, last + 1)) <= commits.keys()
        assert sorted(commits) == list(commits)
        for number, found in commits.items():
            if number > base:
                self.check_commit(found, gone)
        for start in {1, max(1, last // 2), last}:
            part = [record.number for record in log.records(start) if isinstance(record, Commit)]
            assert part == [number for number in commits if number >= start or start <= base]
        self.check_rest(log, gone, base, last)

    def check_commit(self, found: Commit, gone: int) -> None:
        wanted = made(found.number)
        for name, change in wanted.changes.items():
            if name in STREAMS and found.number <= gone:
                assert not len(found.changes[name])
            elif name in STREAMS:
                rows = found.changes[name]
                may_be = self.may_be_empty >= found.number and name == "orders"
                assert rows.rows.equals(change.rows) or (may_be and rows.rows.equals(empty(change.rows)))
        parts = ("number", "clock", "watermarks", "source", "position")
        assert all(getattr(found, part) == getattr(wanted, part) for part in parts)

    def check_rest(self, log: Log, gone: int, base: int, last: int) -> None:
        rows: dict[str, int] = {}
        for number in range(1, last + 1):
            change = made(number).changes["customers"]
            for row, weight in zip(change.rows.to_pylist(), change.weights.tolist(), strict=True):
                rows[repr(row)] = rows.get(repr(row), 0) + weight
        assert content(log, "customers") == {row: count for row, count in rows.items() if count}
        assert sum(content(log, "orders").values()) == sum(
            int(made(number).changes["orders"].weights.sum()) for number in range(gone + 1, last + 1)
        )
        if last:
            number = self.chance.randrange(1, last + 1)
            moment = START + timedelta(seconds=number)
            if number >= base:
                assert log.commit_at(moment) == number
            else:
                with pytest.raises(VersionGone):
                    log.commit_at(moment)
            assert (log.commit(number) is None) == (number <= base)


def live_and_die(folder: Path, seed: int) -> None:
    Life(folder, seed).live(8)


@pytest.mark.parametrize("seed", range(4))
def test_a_random_life_reads_as_the_model_says(tmp_path: Path, seed: int) -> None:
    live_and_die(tmp_path, seed)


@pytest.mark.torture(weight=0.2)
def test_many_random_lives(tmp_path: Path, torture: Torture) -> None:
    def case(seed: int) -> None:
        live_and_die(tmp_path / str(seed), seed)
        shutil.rmtree(tmp_path / str(seed))

    torture.play(case)


def test_the_model_tells_a_difference(tmp_path: Path) -> None:
    """The check itself: a commit with other rows is seen."""
    life = Life(tmp_path, 0)
    wrong = made(1)
    with pytest.raises(AssertionError):
        life.check_commit(Commit(1, wrong.clock, {"orders": Change.empty(wrong.changes["orders"].schema)}), 0)
    assert same(made(2), made(2))
