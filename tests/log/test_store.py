"""Writes that fail: nothing acknowledged is lost, nothing that failed comes back, and the log goes on."""

from __future__ import annotations

import errno
import shutil
import threading
from pathlib import Path

import pytest
from tests.conftest import Torture
from tests.log.faulty import FaultyFiles, PowerCutFiles
from tests.log.samples import START, commit, same

from headrace.errors import StorageError
from headrace.log import Commit, Log, Step


def numbers(log: Log) -> list[int]:
    return [record.number for record in log.records() if isinstance(record, Commit)]


def names(log: Log) -> list[str]:
    return [name for record in log.records() if isinstance(record, Commit) for name in record.changes]


@pytest.mark.parametrize("operation", ["write", "sync"])
@pytest.mark.parametrize("durable", [0, 1, 5])
def test_after_a_failed_write_the_log_goes_on_in_a_new_file(
    tmp_path: Path, operation: str, durable: int
) -> None:
    """Each failed commit is followed by another of the same number: only the second may be seen."""
    files = FaultyFiles()
    with Log.open(tmp_path, files=files) as log:
        for number in range(1, durable + 1):
            log.append(commit(number)).wait(60)
        log.append(Step(1, durable, START)).wait(60)
        for _ in range(2):
            files.failing[operation] = errno.EIO
            ticket = log.append(commit(durable + 1, relation="lost"))
            with pytest.raises(StorageError, match="cannot be written"):
                ticket.wait(60)
            with pytest.raises(StorageError):
                log.append(commit(durable + 1))
            assert log.failure is not None
            with pytest.raises(StorageError, match="still cannot"):
                log.repair()
            files.failing.clear()
            log.repair()
            assert log.failure is None
        log.append(commit(durable + 1)).wait(60)
        assert numbers(log) == list(range(1, durable + 2))
        assert not files.synced_after_failure
    with Log.open(tmp_path) as log:
        assert numbers(log) == list(range(1, durable + 2))
        assert "lost" not in names(log)
        assert log.last_step == Step(1, durable, START)


def test_what_a_failed_write_left_never_counts_even_if_it_cannot_be_cut(tmp_path: Path) -> None:
    files = FaultyFiles()
    with Log.open(tmp_path, files=files) as log:
        log.append(commit(1)).wait(60)
        files.failing |= {"sync": errno.EIO, "truncate": errno.EIO}
        with pytest.raises(StorageError):
            log.append(commit(2, relation="lost")).wait(60)
        files.failing = {"truncate": errno.EIO}
        log.repair()
        log.append(commit(2)).wait(60)
    with Log.open(tmp_path) as log:
        assert numbers(log) == [1, 2]
        assert names(log) == ["orders", "orders"]


def test_all_that_was_queued_behind_a_failed_write_fails_too(tmp_path: Path) -> None:
    """One fsync fails while others wait: what stands behind was decided believing that it would succeed."""
    begun, go_on = threading.Event(), threading.Event()

    class OnceFiles(FaultyFiles):
        armed = False

        def sync(self, descriptor: int) -> None:
            super().sync(descriptor)
            if self.armed:
                self.armed = False
                begun.set()
                go_on.wait(60)
                raise OSError(errno.EIO, "injected once")

    files = OnceFiles()
    with Log.open(tmp_path, files=files) as log:
        log.append(commit(1)).wait(60)
        files.armed = True
        tickets = [log.append(commit(2, relation="lost"))]
        begun.wait(60)
        tickets += [log.append(commit(number, relation="lost")) for number in range(3, 20)]
        go_on.set()
        for ticket in tickets:
            with pytest.raises(StorageError):
                ticket.wait(60)
        assert log.stats()["queued"] == 0
        assert log.last_commit == 1
        log.repair()
        log.append(commit(2)).wait(60)
        assert numbers(log) == [1, 2]
        assert "lost" not in names(log)


def test_short_writes_are_completed(tmp_path: Path) -> None:
    files = FaultyFiles()
    files.write_bytes_max = 100
    with Log.open(tmp_path, files=files) as log:
        for number in range(1, 6):
            log.append(commit(number)).wait(60)
    with Log.open(tmp_path) as log:
        assert numbers(log) == [1, 2, 3, 4, 5]


def test_a_full_disk_is_told_and_the_log_goes_on_once_there_is_room(tmp_path: Path) -> None:
    files = FaultyFiles()
    with Log.open(tmp_path, files=files) as log:
        log.append(commit(1)).wait(60)
        files.bytes_left = 700
        with pytest.raises(StorageError) as caught:
            log.append(commit(2)).wait(60)
        assert "disk is full" in str(caught.value)
        assert caught.value.details["errno"] == errno.ENOSPC
        with pytest.raises(StorageError):
            log.append(commit(2))
        files.bytes_left = 100_000
        log.repair()
        log.append(commit(2)).wait(60)
    with Log.open(tmp_path) as log:
        assert numbers(log) == [1, 2]


@pytest.mark.parametrize("operation", ["create", "write", "sync", "rename", "sync_folder"])
def test_a_segment_that_cannot_be_begun_fails_the_group_and_is_begun_later(
    tmp_path: Path, operation: str
) -> None:
    files = FaultyFiles()
    with Log.open(tmp_path, files=files, segment_bytes=300) as log:
        log.append(commit(1)).wait(60)
        files.failing[operation] = errno.EIO
        with pytest.raises(StorageError):
            log.append(commit(2)).wait(60)
        with pytest.raises(StorageError):
            log.repair()
        files.failing.clear()
        log.repair()
        log.append(commit(2)).wait(60)
        log.append(commit(3)).wait(60)
        assert numbers(log) == [1, 2, 3]
    with Log.open(tmp_path) as log:
        assert numbers(log) == [1, 2, 3]


def test_a_log_that_failed_can_be_closed(tmp_path: Path) -> None:
    files = FaultyFiles()
    log = Log.open(tmp_path, files=files)
    log.append(commit(1)).wait(60)
    files.failing["write"] = errno.EIO
    with pytest.raises(StorageError):
        log.append(commit(2)).wait(60)
    log.close()
    files.failing.clear()
    with Log.open(tmp_path) as log:
        assert numbers(log) == [1]


@pytest.mark.parametrize("seed", range(30))
def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path: Path, seed: int) -> None:
    live_through_power_cuts(tmp_path, seed)


@pytest.mark.torture(weight=0.1)
def test_many_power_cuts_lose_nothing_that_was_acknowledged(tmp_path: Path, torture: Torture) -> None:
    def case(seed: int) -> None:
        live_through_power_cuts(tmp_path / str(seed), seed)
        shutil.rmtree(tmp_path / str(seed))

    torture.play(case)


def live_through_power_cuts(tmp_path: Path, seed: int) -> None:
    """The power fails at the n-th operation, inside of writes too; then once more during the next start."""
    acknowledged = 0
    for life in range(3):
        files = PowerCutFiles(seed % 97 // (life + 1) + 3 * life, seed)
        acknowledged = max(acknowledged, _live_until_the_power_fails(tmp_path, files, acknowledged))
        files.settle()
    with Log.open(tmp_path) as log:
        assert log.last_commit >= acknowledged
        read = [record for record in log.records() if isinstance(record, Commit)]
        assert [record.number for record in read] == list(range(1, log.last_commit + 1))
        assert all(same(record, commit(record.number, 1)) for record in read)


def _live_until_the_power_fails(folder: Path, files: PowerCutFiles, acknowledged: int) -> int:
    try:
        log = Log.open(folder, files=files, segment_bytes=3_000)
    except StorageError:
        assert files.is_off
        return 0
    assert log.last_commit >= acknowledged
    done = log.last_commit
    try:
        while True:
            tickets = [log.append(commit(done + ahead, 1)) for ahead in (1, 2, 3)]
            for ticket in tickets:
                ticket.wait(60)
                done += 1
    except StorageError:
        assert files.is_off
    finally:
        log.close()
    return done
