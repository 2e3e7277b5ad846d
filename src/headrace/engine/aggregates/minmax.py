"""MIN and MAX.

Where rows can go, the values of each group are kept in order and the result is the end of that range. Where
rows only come, one value per group is enough: min(R + ΔR) = min(min(R), min(ΔR)).
"""

from __future__ import annotations

import numpy as np
from typing_extensions import override

from headrace.contracts.schema import Column
from headrace.engine.aggregates.part import GroupBatch, Part, Result
from headrace.engine.columns import U64, Bools
from headrace.engine.growable import Growable
from headrace.engine.order import order_word, value_of
from headrace.engine.ordered import OrderedValues
from headrace.sql.plan import AggCall


class BestPart(Part):
    """`min(x)` or `max(x)` over rows that only come: the best value of each group."""

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

    @property
    @override
    def nbytes(self) -> int:
        return self._words.nbytes + self._known.nbytes


class EndsPart(Part):
    """`min(x)`, `max(x)` over rows that come and go: one ordered arrangement of values for all such calls
    of x.
    """

    rule = "ordered range"

    def __init__(self, calls: list[AggCall], argument: Column) -> None:
        self._calls = calls
        self._kind = argument.arrow
        self._values = OrderedValues()
        self._words = [Growable(np.uint64) for _ in calls]
        self._known = [Growable(np.bool_) for _ in calls]

    @override
    def update(self, batch: GroupBatch) -> None:
        rows, slots, weights = batch.chosen(self._calls[0])
        words = order_word(batch.rows.column(self._calls[0].args[0]))[rows]
        self._values.insert(slots, words, weights)
        for call, kept, known in zip(self._calls, self._words, self._known, strict=True):
            kept.resize(batch.size)
            known.resize(batch.size)
            best, there = self._values.first(batch.touched, last=call.func == "max")
            kept.data[batch.touched] = best
            known.data[batch.touched] = there

    @override
    def results(self, batch: GroupBatch) -> list[Result]:
        found = []
        for kept, known in zip(self._words, self._known, strict=True):
            kept.resize(batch.size)
            known.resize(batch.size)
            found.append(self._result(kept.data[batch.touched], known.data[batch.touched]))
        return found

    def _result(self, words: U64, known: Bools) -> Result:
        return Result(value_of(words, self._kind, known))

    @property
    @override
    def state_rows(self) -> int:
        return self._values.row_count

    @property
    @override
    def nbytes(self) -> int:
        words = sum(part.nbytes for part in self._words)
        return self._values.nbytes + words + sum(part.nbytes for part in self._known)
