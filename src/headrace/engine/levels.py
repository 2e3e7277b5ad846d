"""What need not wait for each other, side by side on several cores: views, operators, columns, parts of rows.

The kernels of NumPy, Arrow and DuckDB give up the interpreter lock while they work on many rows, so that
steps of several views overlap, and within a step whatever its parts do. Each view is stepped from the same
changes, each part writes what is its own, and what comes out is put together in one order: results do not
depend on the threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from typing import TypeVar, cast

T = TypeVar("T")
THREADS_MAX = 4
WORTH_ROWS = 5_000
"""What has fewer rows is not worth a thread."""
SPLIT_ROWS = 32_768
"""Rows that pass through many small kernels are split where each part has at least so many: between any two
of those, threads wait for the interpreter.
"""
COPIED_ROWS = 8_192
"""Rows that are only copied, which one kernel does, are split where each part has at least so many."""


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

    @contextmanager
    def working(self) -> Iterator[None]:
        """Have `side_by_side` use these threads inside the block."""
        token = _working.set(self)
        try:
            yield
        finally:
            _working.reset(token)

    def run(self, jobs: Sequence[Callable[[], T]], rows: Sequence[int]) -> list[T]:
        """Return what the jobs answer, in their order; side by side where two of them have many rows.

        The caller does the largest, and then whatever nobody has begun, so that jobs may have jobs of their
        own. When it returns, none is running; where some fail, the first of these is raised.
        """
        if self.count < 2 or sum(count >= WORTH_ROWS for count in rows) < 2:
            return [job() for job in jobs]
        pool = self._workers()
        largest, *others = sorted(range(len(jobs)), key=lambda at: -rows[at])
        begun = {at: pool.submit(copy_context().run, _tried, jobs[at]) for at in others}
        done = {largest: _tried(jobs[largest])}
        for at, future in begun.items():
            done[at] = _tried(jobs[at]) if future.cancel() else future.result()
        found: list[T] = []
        for at in range(len(jobs)):
            answer, error = done[at]
            if error is not None:
                raise error
            found.append(cast(T, answer))
        return found

    def start(self, jobs: Sequence[Callable[[], None]]) -> None:
        """Have jobs done beside whatever comes next; with one thread, now. None may raise an error, and where
        no thread can be had, none need be done.
        """
        for job in jobs:
            if self.count < 2:
                job()
            else:
                with suppress(RuntimeError, MemoryError):
                    self._workers().submit(job)

    def _workers(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="headrace-step")
        return self._pool

    def close(self) -> None:
        """End the threads, once they have done what was started."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


_working: ContextVar[Threads | None] = ContextVar("headrace_engine_threads", default=None)


def side_by_side(jobs: Sequence[Callable[[], T]], rows: Sequence[int]) -> list[T]:
    """Return what the jobs answer, in their order; side by side where the engine that is at work has threads,
    and two of the jobs many rows. None may write what another one reads or writes.
    """
    threads = _working.get()
    return [job() for job in jobs] if threads is None else threads.run(jobs, rows)


def parts_of(rows: int, least: int | None = None) -> list[slice]:
    """Return all rows in as many parts as are worth doing side by side: one, or one for each thread; of
    `least` rows each, or `SPLIT_ROWS`.
    """
    least = least or SPLIT_ROWS
    threads = _working.get() if rows >= 2 * least else None
    count = 1 if threads is None else min(threads.count, rows // least)
    if count < 2:
        return [slice(0, rows)]
    return [slice(rows * at // count, rows * (at + 1) // count) for at in range(count)]


def _tried(job: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    try:
        return job(), None
    except BaseException as error:  # noqa: BLE001 - raised once all are done
        return None, error
