"""Rows that are to come or to go at a time of their own, kept in order of that time."""

from __future__ import annotations

import numpy as np

from headrace.change import Change
from headrace.engine.columns import I64, U64
from headrace.engine.ordered import OrderedRun
from headrace.engine.ordered_rows import OrderedRows

_SIGN = np.uint64(1 << 63)


class Schedule(OrderedRows):
    """Rows by time in microseconds; rows whose weights cancel vanish."""

    def put(self, times: I64, change: Change) -> None:
        """Add rows; `times` has one entry per row."""
        self.insert(np.zeros(len(times), dtype=np.int64), _words(times), change.rows, change.weights)

    def take_until(self, time_us: int) -> Change:
        """Take out the rows whose time has come, at that time or before; costs what is taken."""
        last = _words(np.array([time_us], dtype=np.int64))[0]
        counts = [int(np.searchsorted(run.words, last, side="right")) for run in self._tiers.runs]
        numbers, weights = [], []
        left: list[OrderedRun] = []
        if not any(counts):
            return Change.empty(self._heap.schema)
        for run, count in zip(self._tiers.runs, counts, strict=True):
            assert run.numbers is not None
            numbers.append(run.numbers[:count])
            weights.append(run.weights[:count])
            left.append(run.cut(count, len(run)))
        rest = iter(left)
        self._tiers.rewrite(lambda _: next(rest))
        taken = np.concatenate(numbers)
        rows = self._heap.gather(taken)
        self._drop(np.sort(taken))
        return Change(rows, np.concatenate(weights))

    @property
    def next_us(self) -> int | None:
        """The earliest time, or None when nothing is kept."""
        firsts = [int((run.words[0] ^ _SIGN).view(np.int64)) for run in self._tiers.runs if len(run)]
        return min(firsts, default=None)


def _words(times: I64) -> U64:
    """Return times as words of the same order."""
    return times.view(np.uint64) ^ _SIGN
