"""Work on memory as it stands now, done by a copy of this process while this one goes on.

The system copies a process by its page tables: that takes some milliseconds per gigabyte, and from then on a
page is copied when either side writes to it. So whoever needs gigabytes of columns as of one moment holds
everything still only for as long as the fork takes. It is the way in which Redis saves (`BGSAVE`).

What may be done in the copy is little: it has one thread, the locks of all others are as they stood, and it
must neither use what other libraries keep (DuckDB, Arrow's pools) nor what is shared with the original. It
reads memory, computes digests and writes to a file that is open already. It ends with its parent.

Only Linux can do that safely; elsewhere, and where the system refuses, `fork` answers None and the caller
copies.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Collection
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from typing import Any

from headrace.errors import StorageError

PATIENCE_S = 120.0
"""How long the copy may say nothing; then it hangs, and is ended."""
_DIE_WITH_PARENT = 1
"""`PR_SET_PDEATHSIG` of Linux."""

Tell = Callable[[], None]
"""Says that the work goes on."""


def can_fork() -> bool:
    """Whether this system copies processes so that threads and memory of the original stay out of it."""
    return sys.platform == "linux"


class Beside:
    """A copy of this process that does one piece of work; `result` waits for it."""

    def __init__(self, pid: int, answers: Connection) -> None:
        self._pid = pid
        self._answers = answers

    def result(self) -> Any:
        """Return what the work returned.

        Raises:
            OSError: the work met it.
            StorageError: the copy ended without a word, hung, or met a defect.
        """
        try:
            while True:
                if not self._answers.poll(PATIENCE_S):
                    raise StorageError(f"the copy of the process said nothing for {PATIENCE_S:g} s")
                kind, value = self._answers.recv()
                if kind == "done":
                    return value
                if kind == "refused":
                    raise OSError(*value)
                if kind == "defect":
                    raise StorageError(f"the copy of the process met a defect:\n{value}")
        except EOFError:
            raise StorageError("the copy of the process was ended, perhaps for want of memory") from None
        finally:
            self.end()

    def end(self) -> None:
        """End it, whatever it does. A second call does nothing."""
        if self._pid == 0:
            return
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        self._pid = 0
        self._answers.close()


def fork(work: Callable[[Tell], Any], keep: Collection[int]) -> Beside | None:
    """Do work in a copy of this process; return at once.

    Args:
        work: what to do; its answer is sent back. It gets a function to call now and then.
        keep: descriptors that it needs; the copy closes all others, among them locks and sockets.
    """
    if not can_fork():
        return None
    prctl = _prctl()
    parent = os.getpid()
    answers, mouth = Pipe(duplex=False)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the copy does without what threads hold
            pid = os.fork()
        if pid == 0:
            _live(work, mouth, {*keep, mouth.fileno()}, parent, prctl)
    except OSError:
        answers.close()
        mouth.close()
        return None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    mouth.close()
    return Beside(pid, answers)


def _prctl() -> Any:
    return ctypes.CDLL(None, use_errno=True).prctl


def _live(
    work: Callable[[Tell], Any], mouth: Connection, keep: Collection[int], parent: int, prctl: Any
) -> None:
    """Be the copy: never return."""
    try:
        prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            return
        gc.disable()
        _close_all_but(keep)
        mouth.send(("done", work(lambda: mouth.send(("works", None)))))
    except OSError as error:
        _last_word(mouth, ("refused", (error.errno or 0, error.strerror or str(error))))
    except MemoryError:
        _last_word(mouth, ("refused", (errno.ENOMEM, os.strerror(errno.ENOMEM))))
    except BaseException:  # noqa: BLE001 - told to the parent
        _last_word(mouth, ("defect", traceback.format_exc()))
    finally:
        os._exit(0)


def _last_word(mouth: Connection, word: Any) -> None:
    with suppress(OSError):
        mouth.send(word)


def _close_all_but(keep: Collection[int]) -> None:
    at = 3
    for descriptor in sorted(keep):
        os.closerange(at, descriptor)
        at = descriptor + 1
    os.closerange(at, os.sysconf("SC_OPEN_MAX"))


def shared_ranges() -> list[tuple[int, int]]:
    """Return the addresses, from and up to, of writable memory that a copy of this process shares with it;
    they ascend.
    """
    found = []
    with open("/proc/self/maps", encoding="ascii", errors="replace") as maps:  # noqa: PTH123 - no file
        for line in maps:
            span, rights, *_ = line.split(maxsplit=2)
            if rights[1] == "w" and rights[3] == "s":
                start, _, end = span.partition("-")
                found.append((int(start, 16), int(end, 16)))
    return sorted(found)
