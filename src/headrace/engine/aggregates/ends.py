"""FIRST, LAST, ANY_VALUE, ARG_MIN, ARG_MAX, and MIN and MAX of text and the like: the first row of an order.

    Δf = f(first row after) − f(first row before)

The rows lie in order under their group, and the first of each touched group is read. `last` reads the order
turned round; `arg_min(x, y)` is the x of the first row by y. Where rows only come, only the best row of each
group and batch is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.contracts.schema import Schema
from headrace.engine.aggregates.answers import Answers
from headrace.engine.aggregates.part import GroupBatch, Part, Result
from headrace.engine.columns import I64, Bools, nonzero, take, validity
from headrace.engine.order import is_sortable, lexsort, order_word, placed, row_numbers
from headrace.engine.ordered_rows import Front, OrderedRows
from headrace.sql.plan import AggCall, OrderKey


@dataclass(frozen=True, slots=True)
class End:
    """What a call reads: a column of the first row in an order, of those rows that count.

    Attributes:
        value: the column that is the answer.
        order: which row is the first.
        known: columns that must not be NULL for a row to count.
    """

    value: str
    order: tuple[OrderKey, ...]
    known: tuple[str, ...]


def end_of(call: AggCall, schema: Schema) -> End | None:
    """Return what a call reads, None where it is not the end of an order that can be kept."""
    found = _end(call)
    if found is None or call.distinct or call.params:
        return None
    return found if all(is_sortable(schema[key.column]) for key in found.order) else None


def _end(call: AggCall) -> End | None:
    order, args = call.order, call.args
    match call.func:
        case "min" | "max" if len(args) == 1:
            return End(args[0], (OrderKey(args[0], descending=call.func == "max"),), args)
        case "first" if order:
            return End(args[0], order, ())
        case "any_value" if order:
            return End(args[0], order, args)
        case "last" if order:
            return End(args[0], tuple(map(_turned, order)), ())
        case "arg_min" | "arg_max" | "arg_min_null" | "arg_max_null" if len(args) == 2:
            key = OrderKey(args[1], descending=call.func.startswith("arg_max"))
            return End(args[0], (key, *order), args[1:] if call.func.endswith("_null") else args)
    return None


def _turned(key: OrderKey) -> OrderKey:
    return replace(key, descending=not key.descending, nulls_first=not key.nulls_first)


class EndPart(Part):
    """One call that reads the first row of each group."""

    rule = "ordered range"
    recycles = True

    def __init__(self, call: AggCall, end: End, schema: Schema, *, append_only: bool) -> None:
        self._call = replace(call, args=end.known)
        self._end = end
        self._append_only = append_only
        self._names = list(dict.fromkeys((end.value, *(key.column for key in end.order))))
        columns = pa.schema([schema.arrow.field(name) for name in self._names])
        self._rows = OrderedRows(columns)
        self._best = Answers(pa.schema([columns.field(end.value)]))
        self._kind = columns.field(end.value).type

    @override
    def update(self, batch: GroupBatch) -> None:
        at, slots, weights = batch.chosen(self._call)
        rows = batch.rows.select(self._names)
        if not isinstance(at, slice):
            rows = take(rows, at)
        if self._append_only and len(slots):
            order = self._sorted(rows, slots)
            firsts = order[row_numbers(slots[order]) == 1]
            rows, slots, weights = take(rows, firsts), slots[firsts], weights[firsts]
        first = rows.column(self._end.order[0].column)
        words = placed(order_word(first), validity(first), self._end.order[0])
        self._rows.insert(slots, words, rows, weights)
        front = self._rows.fronts(batch.touched, 2, self._settle)
        firsts = nonzero(row_numbers(front.slots) == 1)
        best = np.full(len(batch.touched), -1, dtype=np.int64)
        best[front.slots[firsts]] = firsts
        found = front.rows.select([self._end.value]).take(pa.array(best, mask=best < 0))
        self._best.put(batch.touched, found, batch.size)

    def _sorted(self, rows: pa.RecordBatch, slots: I64) -> I64:
        return lexsort(slots, [(rows.column(key.column), key) for key in self._end.order])

    def _settle(self, front: Front) -> tuple[Front, Bools]:
        ordered = front.take(self._sorted(front.rows, front.slots))
        settled = np.zeros(front.asked, dtype=np.bool_)
        settled[ordered.slots[ordered.trusted]] = True
        return ordered, settled

    @override
    def results(self, batch: GroupBatch) -> list[Result]:
        rows = self._best.get(batch.touched, batch.size)
        return [Result(pa.nulls(len(batch.touched), self._kind) if rows is None else rows.column(0))]

    @override
    def release(self, slots: I64, dead: Bools) -> None:
        self._rows.release(dead)
        self._best.release(slots)

    @property
    @override
    def state_rows(self) -> int:
        return self._rows.row_count

    @property
    @override
    def nbytes(self) -> int:
        return self._rows.nbytes + self._best.nbytes
