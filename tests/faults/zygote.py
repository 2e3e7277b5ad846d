"""A warm process without threads that forks one life after the other, and kills it when its time is up.

    python -m tests.faults.zygote

Each order comes on stdin as a pickle; the answer on stdout is a line with the child's wait status. Forking a
process that has imported everything saves the second that a start takes; it has no thread and has opened
nothing, so that there is nothing half-done in the copy.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import sys
import threading
from typing import BinaryIO, Protocol

from tests.faults.mounts import shut_down
from tests.faults.shop import EXTRA, GROSS, NET, shop

from headrace.testing import Oracle


class Mortal(Protocol):
    """What a life is told, and how it is lived: `live` never returns."""

    def live(self) -> None: ...


def born(orders: Mortal, delay_s: float | None, power_of: str | None) -> int:
    """Fork one life, kill it after a while, and return how it ended.

    With `power_of` the file system that is mounted there loses its power first: nothing reaches it any more.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        orders.live()
    if delay_s is not None and signal.sigtimedwait({signal.SIGCHLD}, delay_s) is None:
        if power_of is not None:
            os.kill(child, signal.SIGSTOP)  # the system lets an fsync succeed that races with the cut
            os.waitpid(child, os.WUNTRACED)
            shut_down(power_of)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def serve(orders: BinaryIO) -> None:
    """Answer orders until there are no more."""
    assert threading.active_count() == 1
    while True:
        try:
            order, delay_s, power_of = pickle.load(orders)
        except EOFError:
            return
        status = born(order, delay_s, power_of)
        while signal.sigtimedwait({signal.SIGCHLD}, 0) is not None:
            pass
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()


def warm_up() -> None:
    """Import what opening an app imports late, and plan its views once: plans are remembered.

    What is there by then is never looked through for garbage again, so that the children share its pages.
    """
    import polars  # noqa: F401
    import pyarrow.compute  # noqa: F401
    import sqlglot.dialects.duckdb  # noqa: F401

    import headrace.runtime  # noqa: F401
    from headrace.sql import duck

    for turnover in (GROSS, NET):
        app = shop(turnover)
        app.view("extra", EXTRA)
        with Oracle(app) as oracle:
            oracle.plan("extra")
    duck._SCRATCH.close()  # a child makes its own
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    warm_up()
    serve(sys.stdin.buffer)
    gc.unfreeze()
