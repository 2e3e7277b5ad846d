"""A disk that is full, read-only or broken: new rows are refused in plain words, and nothing else suffers.

No acknowledged row is lost, reads go on at the last version, and when the cause is gone everything goes on
without a restart. Full and read-only disks are real ones; an fsync that fails is injected.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tests.faults.mounts import PoweredDisk, small_disk
from tests.faults.mounts import run as command
from tests.log.faulty import FaultyFiles

import headrace as hr
from headrace import stepper
from headrace.errors import StorageError
from headrace.runtime import open_run

TEXT = "x" * 2_000
PATIENCE_S = 30.0


def shop() -> hr.App:
    app = hr.App("shop")
    app.stream("orders", "id BIGINT, note TEXT", event_id="id")
    app.table("shops", "shop TEXT, country TEXT", key="shop")
    app.view("counted", "SELECT count(*) AS n, sum(id) AS ids FROM orders")
    return app


def rows(call: int) -> list[dict[str, Any]]:
    return [{"id": call * 10 + n, "note": f"{call} {TEXT}"} for n in range(10)]


def fill(run: hr.Run, calls: Iterator[int]) -> tuple[set[int], StorageError]:
    """Append until it is refused; return what was acknowledged, and the error."""
    acknowledged: set[int] = set()
    for call in calls:
        try:
            run.append("orders", rows(call))
        except StorageError as error:
            return acknowledged, error
        acknowledged |= {row["id"] for row in rows(call)}
    raise AssertionError("the disk never filled")


def refusal(work: Callable[[], object]) -> StorageError | None:
    try:
        work()
    except StorageError as error:
        return error
    return None


def ids(run: hr.Run) -> set[int]:
    found = run.query("SELECT id FROM orders")["id"].to_pylist()
    assert len(found) == len(set(found))
    return set(found)


def until(works: Callable[[], object]) -> None:
    """Try again for a while, as a sender would."""
    end = time.monotonic() + PATIENCE_S
    pause = pauses()
    while True:
        try:
            works()
        except StorageError:
            assert time.monotonic() < end
            next(pause)
        else:
            return


def pauses() -> Iterator[None]:
    for wait_s in (0.01, 0.05, 0.1, *([0.3] * 200)):
        time.sleep(wait_s)
        yield None


def test_a_full_disk_refuses_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "6m") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(1 << 20))
        calls = count()
        with shop().open(disk / "data", auto=True) as run:
            run.append("orders", rows(next(calls)))
            before = run.advance()
            acknowledged, error = fill(run, calls)
            acknowledged |= {row["id"] for row in rows(0)}
            assert "the disk is full" in str(error)
            assert run.query("FROM counted")["n"][0].as_py() >= 10
            assert run.version >= before
            with pytest.raises(StorageError):
                run.append("orders", rows(next(calls)))
            with pytest.raises(StorageError):
                run.checkpoint()
            ballast.unlink()
            last = next(calls)
            until(lambda: run.append("orders", rows(last)))
            acknowledged |= {row["id"] for row in rows(last)}
            run.advance()
            assert ids(run) == acknowledged
            assert run.query("FROM counted")["n"].to_pylist() == [len(acknowledged)]
        with shop().open(disk / "data") as run:
            run.advance()
            assert ids(run) == acknowledged


def test_a_disk_that_stays_full_for_long_stops_no_step_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps look at the log now and then; that it cannot be mended yet is no reason never to step again."""
    monkeypatch.setattr(stepper, "IDLE_TICK_S", 0.01)
    monkeypatch.setattr(stepper, "RETRY_S", 0.01)
    files = FaultyFiles()
    with open_run(shop(), tmp_path, auto=True, files=files) as run:
        run.append("orders", rows(0))
        run.advance()
        files.failing = {"write": errno.ENOSPC, "create": errno.ENOSPC}
        with pytest.raises(StorageError):
            run.append("orders", rows(1))
        while run.trouble is None:  # the step loop has met it, too
            next(pauses())
        assert "disk is full" in str(run.trouble)
        files.failing = {}
        until(lambda: run.append("orders", rows(2)))
        run.advance()
        assert run.query("FROM counted")["n"].to_pylist() == [20]
        assert run.trouble is None


def test_a_disk_that_is_full_when_the_folder_is_opened_serves_what_there_is(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "6m") as disk:
        with shop().open(disk / "data") as run:
            acknowledged, _ = fill(run, count())
        with (disk / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
            while True:
                ballast.write(bytes(4096))
        with shop().open(disk / "data") as run:
            assert ids(run) <= acknowledged
            (disk / "ballast").unlink()
            until(run.advance)
            assert ids(run) == acknowledged


def test_a_disk_that_becomes_read_only_refuses_and_is_read_on(tmp_path: Path) -> None:
    """As a system does when it finds an error on a disk; such a disk has to be mounted again."""
    disk = PoweredDisk(tmp_path / "machine", "errors=remount-ro")
    try:
        with shop().open(disk.place / "data", auto=True) as run:
            run.append("orders", rows(0))
            run.advance()
            disk.meet_an_error()
            error = refusal(lambda: run.append("orders", rows(1)))
            assert error is not None
            assert "the disk is read-only: mount it for writing" in str(error)
            assert ids(run) == {row["id"] for row in rows(0)}
            assert run.query("FROM counted")["n"].to_pylist() == [10]
        disk.unmount()
        disk.mount()
        with shop().open(disk.place / "data") as run:
            run.append("orders", rows(2))
            run.advance()
            assert ids(run) == {row["id"] for call in (0, 2) for row in rows(call)}
    finally:
        disk.unmount()


def test_a_folder_on_a_read_only_disk_is_refused_in_plain_words(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "16m") as disk:
        with shop().open(disk / "data") as run:
            run.append("orders", rows(0))
        command("mount", "-o", "remount,ro", str(disk))
        with pytest.raises(StorageError, match=r"[Rr]ead-only"):
            shop().open(disk / "data")


@pytest.mark.parametrize("operation", ["write", "sync", "create", "rename", "sync_folder"])
def test_an_operation_that_fails_refuses_rows_until_it_works_again(tmp_path: Path, operation: str) -> None:
    files = FaultyFiles()
    with open_run(shop(), tmp_path, auto=True, files=files) as run:
        run.append("orders", rows(0))
        first = run.advance()
        files.failing = {operation: errno.EIO}
        taken = {0}
        for call in (1, 2):
            error = refusal(partial(run.append, "orders", rows(call)))
            if error is None:
                taken.add(call)
            assert error is None or "injected" in str(error)
        assert run.version >= first
        assert ids(run) >= {row["id"] for row in rows(0)}
        files.failing = {}
        until(lambda: run.append("orders", rows(3)))
        run.advance()
        assert ids(run) == {row["id"] for call in (*taken, 3) for row in rows(call)}
        assert not files.synced_after_failure
        run.checkpoint()
    with shop().open(tmp_path) as run:
        assert ids(run) == {row["id"] for call in (*taken, 3) for row in rows(call)}
