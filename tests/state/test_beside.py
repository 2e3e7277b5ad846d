"""What a copy of the process writes is the state at the moment of the fork, whatever happens afterwards.

The copy reads memory while the original goes on changing it; it may meet a full disk, be killed for want of
memory, or hang. Columns that both share (maps of files) are the trap: they must have been copied before.
"""

from __future__ import annotations

import mmap
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.filed import nothing_in_memory
from tests.oracle.functions import declare_called

import headrace as hr
from headrace.errors import StorageError
from headrace.state import beside, blocks, checkpoint, frozen
from headrace.state.beside import can_fork, fork, shared_ranges
from headrace.state.checkpoint import Checkpoints, Facts
from headrace.state.frozen import outline
from headrace.testing import Case, ManualClock, play, read_cases

pytestmark = pytest.mark.skipif(not can_fork(), reason="only Linux copies processes safely")
CASES = [
    case
    for case in read_cases(Path(__file__).parents[1] / "conformance")
    if any(block.word in ("reopen", "checkpoint") for block in case.steps)
]
Held = Callable[[], AbstractContextManager[None]]
PLACES = pytest.mark.parametrize("place", [nullcontext, nothing_in_memory], ids=["in memory", "in files"])


@pytest.fixture
def forking(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Let a copy of the process write every checkpoint, and every column beside the shape; count them."""
    monkeypatch.setattr(checkpoint, "COPY_BYTES_MAX", -1)
    monkeypatch.setattr(frozen, "INLINE_BYTES_MAX", 0)
    forked: list[int] = []

    def counted(*arguments: Any) -> Any:
        forked.append(len(forked))
        return fork(*arguments)

    monkeypatch.setattr(checkpoint, "fork", counted)
    yield forked
    assert forked


def facts() -> Facts:
    return Facts(1, 1, 1, None, {}, {}, {})


@PLACES
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_start_from_what_a_copy_wrote(case: Case, forking: list[int], place: Held) -> None:
    with place():
        play(case, prepare=declare_called)
    forking.append(0)  # a case that is opened again need not take a checkpoint


def test_there_are_cases() -> None:
    assert len(CASES) > 5


def test_what_changes_after_the_fork_is_not_written(tmp_path: Path, forking: list[int]) -> None:
    values = np.arange(1_000_000)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.prepare()
    held = checkpoints.hold({"values": outline(values)})
    values[:] = -1
    checkpoints.write(facts(), held)
    held.close()
    (_, parts), *_ = Checkpoints(tmp_path).newest()
    assert (parts["values"] == np.arange(1_000_000)).all()


def test_memory_that_both_share_is_copied_before(tmp_path: Path, forking: list[int]) -> None:
    shared = mmap.mmap(-1, 8_000_000)
    values = np.frombuffer(shared, dtype=np.int64)
    values[:] = np.arange(1_000_000)
    assert any(start <= values.ctypes.data < end for start, end in shared_ranges())
    checkpoints = Checkpoints(tmp_path)
    checkpoints.prepare()
    held = checkpoints.hold({"values": outline(values)})
    values[:] = -1
    checkpoints.write(facts(), held)
    (_, parts), *_ = Checkpoints(tmp_path).newest()
    assert (parts["values"] == np.arange(1_000_000)).all()


def killed(_: Callable[[], None]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hanging(_: Callable[[], None]) -> None:
    time.sleep(60)


def wrong(_: Callable[[], None]) -> None:
    raise ValueError("a defect")


def refused(_: Callable[[], None]) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("work", "error", "text"),
    [
        (killed, StorageError, "was ended"),
        (hanging, StorageError, "said nothing"),
        (wrong, StorageError, "a defect"),
        (refused, OSError, "No space left"),
    ],
)
def test_how_a_copy_may_end(
    monkeypatch: pytest.MonkeyPatch, work: Callable[..., None], error: type[Exception], text: str
) -> None:
    monkeypatch.setattr(beside, "PATIENCE_S", 0.3 if work is hanging else 60.0)
    copy = fork(work, ())
    assert copy is not None
    with pytest.raises(error, match=text):
        copy.result()
    copy.end()


def test_a_copy_tells_while_it_works_and_holds_no_lock_or_socket_open() -> None:
    reader, writer = os.pipe()

    def work(tell: Callable[[], None]) -> list[bool]:
        for _ in range(100):
            tell()
        return [is_open(descriptor) for descriptor in (1, reader, writer)]

    copy = fork(work, {writer})
    assert copy is not None
    assert copy.result() == [True, False, True]
    os.close(reader)
    os.close(writer)


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def shop() -> hr.App:
    app = hr.App("shop")
    app.stream("orders", "id BIGINT, amount BIGINT", event_id="id")
    app.view("gmv", "SELECT id % 100 AS shop, sum(amount) AS amount FROM orders GROUP BY ALL")
    return app


def test_when_the_copy_is_killed_the_next_checkpoint_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forking: list[int]
) -> None:
    with shop().open(tmp_path, clock=ManualClock()) as run:
        run.append("orders", [{"id": n, "amount": n} for n in range(1_000)])
        run.advance()
        with monkeypatch.context() as patched:
            patched.setattr(Checkpoints, "_stored", lambda *_: killed(lambda: None))
            with pytest.raises(StorageError, match="was ended"):
                run.checkpoint()
        assert run.checkpoint().new_bytes > 0
        assert forking == [0]
        there = run.query("FROM gmv ORDER BY ALL")
    with shop().open(tmp_path, clock=ManualClock()) as run:
        assert run.query("FROM gmv ORDER BY ALL") == there


def test_a_disk_that_is_full_in_the_copy_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forking: list[int]
) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    with shop().open(tmp_path, clock=ManualClock()) as run:
        run.append("orders", [{"id": n, "amount": n} for n in range(1_000)])
        run.advance()
        with monkeypatch.context() as patched:
            patched.setattr(blocks, "write_all", full)
            with pytest.raises(StorageError, match="No space left"):
                run.checkpoint()
        assert run.checkpoint().new_bytes > 0
    assert len(forking) == 2


@PLACES
def test_checkpoints_while_steps_go_on(tmp_path: Path, forking: list[int], place: Held) -> None:
    with place(), shop().open(tmp_path, auto=True) as run:
        for first in range(0, 20_000, 1_000):
            run.append("orders", [{"id": n, "amount": n} for n in range(first, first + 1_000)])
            if first % 4_000 == 0:
                run.checkpoint()
    with shop().open(tmp_path) as run:
        run.advance()
        wanted = "SELECT id % 100 AS shop, sum(amount) AS amount FROM orders GROUP BY ALL ORDER BY ALL"
        assert run.query("FROM gmv ORDER BY ALL") == run.query(wanted)
        assert run.query("SELECT count(*) AS n FROM orders").to_pylist() == [{"n": 20_000}]
