"""Disks that fill, refuse or report errors, and clocks that jump: a clear error, nothing acknowledged lost,
and service again when the cause is gone.

Real file systems where the machine lets a test mount one (a tmpfs of a megabyte); the fault-injecting file
layer everywhere.
"""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.intake.samples import Clock
from tests.log.faulty import FaultyFiles

import headrace as hr
from headrace.log import Commit, Step
from headrace.runtime import Run

START = datetime(2026, 1, 1, tzinfo=UTC)
WORD = "x" * 997


def shop() -> hr.App:
    app = hr.App("disk")
    app.stream(
        "orders", "id BIGINT, word VARCHAR, at TIMESTAMP", event_id="id", event_time="at", lateness="1h"
    )
    app.view("total", "SELECT count(*) AS n, coalesce(sum(id), 0) AS ids FROM orders")
    return app


def order(number: int, at: datetime = START) -> dict[str, Any]:
    return {"id": number, "word": f"{number}{WORD}", "at": at}


def told(run: Run) -> dict[str, Any]:
    run.advance()
    (row,) = run.query("SELECT * FROM total").to_pylist()
    found: dict[str, Any] = row
    return found


@contextmanager
def mounted(place: Path, size: str, *options: str) -> Iterator[Path]:
    """A file system of its own; the test is skipped, and says why, where none may be mounted."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", ",".join([f"size={size}", *options]), "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("NOT TESTED on a real full disk: there is no mount command here")
    if done.returncode:
        pytest.skip(f"NOT TESTED on a real full disk: mount says {done.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)


def fill(run: Run, number: int) -> tuple[int, str]:
    """Append until the disk refuses; return the next number and what was said."""
    for _ in range(100_000):
        try:
            assert run.append("orders", [order(number)]).accepted == 1
        except hr.StorageError as error:
            return number, str(error)
        number += 1
    raise AssertionError("the disk never filled")


def test_a_real_disk_fills_and_is_emptied(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "1m") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(300_000))
        with Run(shop(), disk / "data", clock=Clock(START)) as run:
            number, said = fill(run, 0)
            assert "the disk is full" in said
            assert number > 10
            for _ in range(3):
                with pytest.raises(hr.StorageError, match="full"):
                    run.append("orders", [order(number)])
            assert run.query("SELECT n FROM total").num_rows == 1
            ballast.unlink()
            assert run.append("orders", [order(number)]).accepted == 1
            wanted = {"n": number + 1, "ids": sum(range(number + 1))}
            assert told(run) == wanted
        with Run(shop(), disk / "data", clock=Clock(START)) as run:
            assert told(run) == wanted
            assert run.append("orders", [order(number)]).repeated == 1


def test_a_log_is_sealed_on_a_real_disk_that_is_full(tmp_path: Path) -> None:
    """Sealing needs room for a moment; where there is none it leaves nothing behind, and goes on later."""
    with mounted(tmp_path / "disk", "1m") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(700_000))
        with Run(shop(), disk / "data", clock=Clock(START)) as run:
            number, _ = fill(run, 0)
            with suppress(hr.StorageError):
                run._log.seal()
            assert not list(disk.rglob("*.tmp"))
            ballast.unlink()
            assert run.append("orders", [order(number)]).accepted == 1
            run._log.seal()
            assert run._log.stats()["sealed"] > 0
            assert told(run)["n"] == number + 1
        with Run(shop(), disk / "data", clock=Clock(START)) as run:
            assert told(run)["n"] == number + 1


def test_a_read_only_disk_is_told_at_opening(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "1m") as disk:
        with Run(shop(), disk / "data", clock=Clock(START)) as run:
            run.append("orders", [order(1)])
        done = subprocess.run(["mount", "-o", "remount,ro", str(disk)], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        with pytest.raises(hr.StorageError, match=r"(?i)read-only"):
            Run(shop(), disk / "data", clock=Clock(START))
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        with Run(shop(), disk / "data", clock=Clock(START)) as run:
            assert told(run) == {"n": 1, "ids": 1}


@pytest.mark.parametrize("operation", ["write", "sync"])
@pytest.mark.parametrize(
    ("number", "said"), [(errno.ENOSPC, "full"), (errno.EROFS, "read-only"), (errno.EIO, "reports errors")]
)
def test_a_disk_that_refuses_is_told_and_service_resumes(
    tmp_path: Path, operation: str, number: int, said: str
) -> None:
    files = FaultyFiles()
    with Run(shop(), tmp_path, clock=Clock(START), files=files) as run:
        run.append("orders", [order(1)])
        run.advance()
        for turn in range(2, 5):
            files.failing[operation] = number
            for _ in range(3):
                with pytest.raises(hr.StorageError, match=said):
                    run.append("orders", [order(turn)])
            assert run.query("SELECT n FROM total").to_pylist() == [{"n": turn - 1}]
            files.failing.clear()
            assert run.append("orders", [order(turn)]).accepted == 1
            assert told(run)["n"] == turn
        assert not files.synced_after_failure
    with Run(shop(), tmp_path, clock=Clock(START)) as run:
        assert told(run) == {"n": 4, "ids": 10}


def test_the_append_clock_never_goes_back(tmp_path: Path) -> None:
    """The machine's clock jumps a year ahead, back, and back again while the folder is closed."""
    clock = Clock(START)
    jumps = [0, 1, 365 * 86_400, 2, -86_400, 366 * 86_400, 3]
    for life in range(2):
        with Run(shop(), tmp_path, clock=clock) as run:
            for at, seconds in enumerate(jumps):
                clock.now = START + timedelta(seconds=seconds)
                number = life * 100 + at
                assert run.append("orders", [order(number, START)]).rejected == 0
                run.advance()
            if life == 0:
                run.checkpoint()
        clock.now = START - timedelta(days=30)
    with Run(shop(), tmp_path, clock=clock) as run:
        records = list(run._log.records())
        clocks = [record.clock for record in records if isinstance(record, Commit)]
        assert clocks == sorted(clocks)
        steps = [record.clock for record in records if isinstance(record, Step)]
        assert steps == sorted(steps)
        for name in ("orders",):
            marks = [r.watermarks[name] for r in records if isinstance(r, Step) and name in r.watermarks]
            assert marks == sorted(marks)
        commits = len(clocks)
        assert run._log.commit_at(START + timedelta(seconds=1)) == 2
        assert run._log.commit_at(START + timedelta(days=400)) == commits
