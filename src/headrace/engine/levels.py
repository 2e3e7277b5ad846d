"""Views that do not read each other, side by side on several cores.

The kernels of NumPy, Arrow and DuckDB give up the interpreter lock while they work on many rows, so that
steps of several views overlap. Each view is stepped by one thread at a time, from the same changes, and what
comes out is put together in one order: results do not depend on the threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")
THREADS_MAX = 4
WORTH_ROWS = 5_000
"""A view that reads fewer rows is not worth a thread."""


def step_threads() -> int:
    """Return how many threads step views: one for each core that this process may use, at most four."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, THREADS_MAX)


def levels_of(order: Sequence[str], reads: Mapping[str, AbstractSet[str]]) -> tuple[tuple[str, ...], ...]:
    """Return names in levels, each of which reads only the levels before it.

    Args:
        order: the names, inputs first.
        reads: per name, the other names that it reads.
    """
    depth: dict[str, int] = {}
    for name in order:
        depth[name] = max((depth[below] + 1 for below in reads[name] if below in depth), default=0)
    found: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for name in order:
        found[depth[name]].append(name)
    return tuple(map(tuple, found))


class Threads:
    """A few threads, started at the first need.

    Args:
        count: how many; with one, everything runs where it is called.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ThreadPoolExecutor | None = None

    def run(self, jobs: Sequence[Callable[[], T]], rows: Sequence[int]) -> list[T]:
        """Return what the jobs answer, in their order; side by side where two of them have many rows."""
        if self.count < 2 or sum(count >= WORTH_ROWS for count in rows) < 2:
            return [job() for job in jobs]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="headrace-step")
        largest = sorted(range(len(jobs)), key=lambda at: -rows[at])
        running = {at: self._pool.submit(copy_context().run, jobs[at]) for at in largest}
        return [running[at].result() for at in range(len(jobs))]

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
