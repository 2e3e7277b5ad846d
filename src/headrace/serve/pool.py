"""Blocking work of requests, in bounded threads with a bounded queue."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from headrace.errors import Busy

T = TypeVar("T")


class Pool:
    """A few threads and a short queue; what finds the queue full is told to come back.

    Work has its place until it ends: a caller that is cancelled goes, a thread that computes for it does not.

    Args:
        name: of the threads.
        threads: how many.
        waiting_max: calls that may wait for a thread.
    """

    def __init__(self, name: str, threads: int, waiting_max: int) -> None:
        self._threads = threads
        self._waiting_max = waiting_max
        self._active = 0
        self._lock = threading.Lock()
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=f"headrace-{name}")

    @property
    def active(self) -> int:
        """Calls that run or wait."""
        return self._active

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread and return its result; call it from the event loop.

        Raises:
            Busy: too many calls wait already.
        """
        if self._active >= self._threads + self._waiting_max:
            raise waits_too_long(self._waiting_max)
        future = self._executor.submit(work)
        with self._lock:
            self._active += 1
        future.add_done_callback(self._freed)
        return await asyncio.wrap_future(future)

    def _freed(self, _: Future[T]) -> None:
        """Give the place of work that has ended, or was cancelled before it began, to the next."""
        with self._lock:
            self._active -= 1

    def close(self) -> None:
        """Let running calls end by themselves; nothing new is taken."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def waits_too_long(waiting_max: int) -> Busy:
    """Return the error for a request that finds `waiting_max` others before it."""
    return Busy(
        "too many requests wait for their turn",
        expected=f"at most {waiting_max:,} waiting",
        hint="send again after Retry-After",
        retry_after_s=0.5,
    )
