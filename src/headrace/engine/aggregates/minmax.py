"""MIN and MAX where rows only come, and of values that one word does not tell.

min(R + ΔR) = min(min(R), min(ΔR))        when nothing of R ever goes
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.contracts.schema import Column
from headrace.engine.aggregates.answers import Answers
from headrace.engine.aggregates.part import GroupBatch, Part, Result
from headrace.engine.columns import Bools, nonzero
from headrace.engine.growable import Growable
from headrace.engine.order import lexsort, order_word, placed, row_numbers, value_of
from headrace.engine.ordered_rows import Front, OrderedRows
from headrace.sql.plan import AggCall, OrderKey


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


class WholeValuePart(Part):
    """`min(x)` or `max(x)` of text and other types that one word does not tell.

    The values lie in order under their group. Where rows only come, only the best of each group and batch is
    kept.
    """

    rule = "ordered range"

    def __init__(self, call: AggCall, argument: Column, *, append_only: bool) -> None:
        self._call = call
        self._append_only = append_only
        self._key = OrderKey("x", descending=call.func == "max")
        self._rows = OrderedRows(pa.schema([("x", argument.arrow)]))
        self._best = Answers(pa.schema([("x", argument.arrow)]))
        self._kind = argument.arrow

    @override
    def update(self, batch: GroupBatch) -> None:
        rows, slots, weights = batch.chosen(self._call)
        column = batch.rows.column(self._call.args[0])
        if not isinstance(rows, slice):
            column = column.take(pa.array(rows))
        if self._append_only and len(slots):
            order = lexsort(slots, [(column, self._key)])
            firsts = order[row_numbers(slots[order]) == 1]
            column, slots, weights = column.take(pa.array(firsts)), slots[firsts], weights[firsts]
        values = pa.record_batch([column], names=["x"])
        self._rows.insert(slots, placed(order_word(column), None, self._key), values, weights)
        front = self._rows.fronts(batch.touched, 2, self._settle)
        firsts = nonzero(row_numbers(front.slots) == 1)
        best = np.full(len(batch.touched), -1, dtype=np.int64)
        best[front.slots[firsts]] = firsts
        self._best.put(batch.touched, front.rows.take(pa.array(best, mask=best < 0)), batch.size)

    def _settle(self, front: Front) -> tuple[Front, Bools]:
        ordered = front.take(lexsort(front.slots, [(front.rows.column("x"), self._key)]))
        settled = np.zeros(front.asked, dtype=np.bool_)
        settled[ordered.slots[ordered.trusted]] = True
        return ordered, settled

    @override
    def results(self, batch: GroupBatch) -> list[Result]:
        rows = self._best.get(batch.touched, batch.size)
        return [Result(pa.nulls(len(batch.touched), self._kind) if rows is None else rows.column(0))]

    @property
    @override
    def state_rows(self) -> int:
        return self._rows.row_count

    @property
    @override
    def nbytes(self) -> int:
        return self._rows.nbytes + self._best.nbytes
