"""MODE, HISTOGRAM, ENTROPY: how often each value stands in a group.

    counts(R + ΔR) = counts(R) + counts(ΔR)        per value        (linear)

The counts lie under their group; the answer reads those of the touched groups, which costs the number of
distinct values, not of rows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.contracts.schema import Column, Schema
from headrace.engine.aggregates.answers import Answers
from headrace.engine.aggregates.part import GroupBatch, Part, Result
from headrace.engine.columns import I64, Bools, Fixed, nonzero, take, views
from headrace.engine.hashing import hash_views
from headrace.engine.order import is_sortable, lexsort
from headrace.engine.runs import Arrangement
from headrace.engine.zset import group_rows
from headrace.sql.plan import AggCall, OrderKey

FUNCTIONS = frozenset({"mode", "histogram", "entropy"})
"""The aggregates that this part answers."""


def serves(call: AggCall, schema: Schema) -> bool:
    """Whether this part gives the answer to a call."""
    if call.func not in FUNCTIONS or len(call.args) != 1 or call.params or call.distinct:
        return False
    column = schema[call.args[0]]
    if pa.types.is_floating(column.arrow) or not is_sortable(column):
        return False
    return call.order in ((), (OrderKey(call.args[0]),))


class Counts:
    """The distinct values of some groups, in order of group, then value.

    Attributes:
        starts: where the values of each group begin; one more than there are groups.
        values: the values.
        counts: how often each stands in its group.
    """

    def __init__(self, starts: I64, values: pa.Array, counts: I64) -> None:
        self.starts = starts
        self.values = values
        self.counts = counts


class ValueCountsPart(Part):
    """All calls of this family over the same column."""

    rule = "ordered range"
    recycles = True

    def __init__(self, calls: list[AggCall], argument: Column, output: Schema) -> None:
        self._calls = calls
        self._argument = argument
        # not append-only, so that equal values are added up
        self._values = Arrangement(pa.schema([("x", argument.arrow)]), append_only=False)
        self._answer = Schema.of(output[call.name] for call in calls)
        self._kept = Answers(self._answer.arrow)

    @override
    def update(self, batch: GroupBatch) -> None:
        at, slots, weights = batch.chosen(self._calls[0])
        values = pa.record_batch([batch.rows.column(self._calls[0].args[0])], names=["x"])
        if not isinstance(at, slice):
            values = take(values, at)
        self._values.insert(*_added_up(slots, values, weights))
        counts = self._counts(batch.touched)
        found = [_FORMULAS[call.func](counts, self._answer[call.name].arrow) for call in self._calls]
        self._kept.put(
            batch.touched, pa.RecordBatch.from_arrays(found, schema=self._answer.arrow), batch.size
        )

    def _counts(self, touched: I64) -> Counts:
        positions, numbers, weights = self._values.probe(touched)
        rows = self._values.heap.gather(numbers)
        positions, rows, weights = _added_up(positions, rows, weights)
        order = lexsort(positions, [(rows.column(0), OrderKey("x"))])
        starts = np.searchsorted(positions[order], np.arange(len(touched) + 1))
        return Counts(starts, rows.column(0).take(pa.array(order)), weights[order])

    @override
    def results(self, batch: GroupBatch) -> list[Result]:
        rows = self._kept.get(batch.touched, batch.size)
        if rows is None:
            nothing = np.zeros(len(batch.touched) + 1, dtype=np.int64)
            counts = Counts(nothing, pa.nulls(0, self._argument.arrow), nothing[:0])
            return [
                Result(_FORMULAS[call.func](counts, self._answer[call.name].arrow)) for call in self._calls
            ]
        return [Result(column) for column in rows.columns]

    @override
    def release(self, slots: I64, dead: Bools) -> None:
        self._values.release(dead)
        self._kept.release(slots)

    @property
    @override
    def state_rows(self) -> int:
        return self._values.row_count

    @property
    @override
    def nbytes(self) -> int:
        return self._values.nbytes + self._kept.nbytes


def _added_up(slots: I64, rows: pa.RecordBatch, weights: I64) -> tuple[I64, pa.RecordBatch, I64]:
    """Return each value of each slot once, with its count; what cancels is left out."""
    columns = (Fixed((slots.view(np.uint64),), None), *views(rows.columns, exact=False))
    groups, firsts = group_rows(columns, hash_views(columns, len(slots)))
    sums = np.zeros(len(firsts), dtype=np.int64)
    np.add.at(sums, groups, weights)
    alive = nonzero(sums)
    return slots[firsts[alive]], take(rows, firsts[alive]), sums[alive]


def _mode(counts: Counts, kind: pa.DataType) -> pa.Array:  # noqa: ARG001
    """Return the most frequent value of each group, the smallest of several."""
    sizes = np.diff(counts.starts)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    order = np.lexsort([-counts.counts, groups])
    best = order[counts.starts[:-1][sizes > 0]]
    found = np.full(len(sizes), -1, dtype=np.int64)
    found[sizes > 0] = best
    return counts.values.take(pa.array(found, mask=found < 0))


def _histogram(counts: Counts, kind: pa.DataType) -> pa.Array:
    """Return a map from value to count, values ascending; NULL for a group without values."""
    starts = counts.starts.astype(np.int32)
    offsets = pa.array(starts, mask=np.append(np.diff(starts) == 0, False))
    return pa.MapArray.from_arrays(offsets, counts.values, pa.array(counts.counts.astype(np.uint64)), kind)


def _entropy(counts: Counts, kind: pa.DataType) -> pa.Array:  # noqa: ARG001
    """Return −Σ p·log2(p), 0 for a group without values."""
    sizes = np.diff(counts.starts)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    totals = np.bincount(groups, counts.counts, len(sizes))
    shares = counts.counts / totals[groups]
    return pa.array(np.bincount(groups, -shares * np.log2(shares), len(sizes)) + 0.0)


_FORMULAS: dict[str, Callable[[Counts, pa.DataType], pa.Array]] = {
    "mode": _mode,
    "histogram": _histogram,
    "entropy": _entropy,
}
