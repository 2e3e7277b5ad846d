"""MIN and MAX where rows only come: the best value so far.

min(R + ΔR) = min(min(R), min(ΔR))        when nothing of R ever goes
"""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from headrace.contracts.schema import Column
from headrace.engine.aggregates.part import GroupBatch, Part, Result
from headrace.engine.columns import I64, Bools
from headrace.engine.growable import Growable
from headrace.engine.order import order_word, value_of
from headrace.sql.plan import AggCall


class BestPart(Part):
    """`min(x)` or `max(x)` over rows that only come: the best value of each group."""

    recycles = True
    merges = True

    def __init__(self, call: AggCall, argument: Column) -> None:
        self._call = call
        self._kind = argument.arrow
        self._largest = call.func == "max"
        self._words = Growable(np.uint64)
        self._known = Growable(np.bool_)

    def _resize(self, size: int) -> None:
        start = self._words.size
        self._words.resize(size)
        self._known.resize(size)
        self._words.data[start:size] = 0 if self._largest else np.uint64(2**64 - 1)

    @override
    def update(self, batch: GroupBatch) -> None:
        self._resize(batch.size)
        rows, slots, _ = batch.chosen(self._call)
        words = order_word(batch.rows.column(self._call.args[0]))[rows]
        better = np.maximum if self._largest else np.minimum
        better.at(self._words.data, slots, words)
        self._known.data[slots] = True

    @override
    def results(self, batch: GroupBatch) -> list[Result]:
        self._resize(batch.size)
        return [
            Result(value_of(self._words.data[batch.touched], self._kind, self._known.data[batch.touched]))
        ]

    @override
    def release(self, slots: I64, dead: Bools) -> None:
        self._words.data[slots] = 0 if self._largest else np.uint64(2**64 - 1)
        self._known.clear(slots)

    @override
    def merge(self, into: I64, slots: I64) -> None:
        better = np.maximum if self._largest else np.minimum
        better.at(self._words.data, into, self._words.data[slots])
        np.logical_or.at(self._known.data, into, self._known.data[slots])

    @property
    @override
    def nbytes(self) -> int:
        return self._words.nbytes + self._known.nbytes
