"""COUNT(DISTINCT x), SUM(DISTINCT x) and others: a set of (group, value) with weights, then accumulators.

    Δset = + values whose weight rises above zero − those whose weight falls to zero;  Δf = f(Δset)

One set serves all calls over the same columns: each FILTER has weights of its own. A count is kept here; any
other function takes in Δset as if it were a change of its own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.contracts.schema import Schema
from headrace.engine.aggregates.part import GroupBatch, Part, Result
from headrace.engine.columns import I64, Bools, Fixed, View, group_keys, nonzero, take, views
from headrace.engine.growable import Growable
from headrace.engine.hashing import hash_views
from headrace.engine.key_table import KeyTable
from headrace.sql.plan import AggCall


class DistinctPart(Part):
    """`f(DISTINCT x)` for every FILTER over the same columns.

    Args:
        calls: over the same arguments.
        schema: of the input.
        inner: per call the part that takes in what appears and vanishes; None for a count.
    """

    rule = "distinct set"

    def __init__(self, calls: list[AggCall], schema: Schema, inner: list[Part | None]) -> None:
        self._calls = calls
        self._inner = inner
        self.recycles = all(part is None or part.recycles for part in inner)
        kinds = [schema[name].arrow for name in calls[0].args]
        self._set = KeyTable([pa.int64(), *kinds])
        self._weights = [Growable(np.int64) for _ in calls]
        self._counts = [Growable(np.int64) for _ in calls]

    @override
    def update(self, batch: GroupBatch) -> None:
        everything = AggCall("", "", self._calls[0].args, True, None, "", "")
        rows, slots, _ = batch.chosen(everything)
        used = np.zeros(len(batch.rows), dtype=np.bool_)
        chosen = [batch.chosen(call) for call in self._calls]
        for at, _, _ in chosen:
            used[at] = True
        if not used.all():
            rows = nonzero(used)
            slots = batch.slots[rows]
        entries = self._entries(batch, rows, slots)
        for (at, _, weights), kept, counts, part in zip(
            chosen, self._weights, self._counts, self._inner, strict=True
        ):
            kept.resize(self._set.size)
            counts.resize(batch.size)
            moved, signs = _crossings(kept, entries[at], weights)
            moved = moved if isinstance(at, slice) else at[moved]
            if part is None:
                np.add.at(counts.data, batch.slots[moved], signs)
            else:
                part.update(
                    replace(batch, rows=take(batch.rows, moved), weights=signs, slots=batch.slots[moved])
                )

    @override
    def release(self, slots: I64, dead: Bools) -> None:
        gone = dead[self._set.words(0).view(np.int64)]
        for kept in self._weights:
            kept.resize(self._set.size)
        gone |= np.logical_and.reduce([kept.view() == 0 for kept in self._weights])
        entries = nonzero(gone & ~self._set.free())
        self._set.release(entries)
        for kept in self._weights:
            kept.clear(entries)
        for counts, part in zip(self._counts, self._inner, strict=True):
            counts.clear(slots)
            if part is not None:
                part.release(slots, dead)

    def _entries(self, batch: GroupBatch, rows: I64 | slice, slots: I64) -> I64:
        """Return the place in the set of each row of the batch, −1 where no call counts it."""
        arrays = group_keys([batch.rows.column(name) for name in self._calls[0].args])
        if not isinstance(rows, slice):
            arrays = [array.take(pa.array(rows)) for array in arrays]
        columns: tuple[View, ...] = (Fixed((slots.view(np.uint64),), None), *views(arrays, exact=False))
        found, _ = self._set.find_or_add(columns, hash_views(columns, len(slots)))
        if isinstance(rows, slice):
            return found
        entries = np.full(len(batch.rows), -1, dtype=np.int64)
        entries[rows] = found
        return entries

    @override
    def results(self, batch: GroupBatch) -> list[Result]:
        found = []
        for counts, part in zip(self._counts, self._inner, strict=True):
            counts.resize(batch.size)
            found += [Result(pa.array(counts.data[batch.touched]))] if part is None else part.results(batch)
        return found

    @property
    @override
    def state_rows(self) -> int:
        return self._set.live

    @property
    @override
    def nbytes(self) -> int:
        inner = sum(part.nbytes for part in self._inner if part is not None)
        return self._set.nbytes + inner + sum(part.nbytes for part in (*self._weights, *self._counts))


def _crossings(kept: Growable[np.int64], entries: I64, weights: I64) -> tuple[I64, I64]:
    """Add weights to set entries; return one row of each entry that appears (1) or vanishes (−1)."""
    before = kept.data[entries] > 0
    np.add.at(kept.data, entries, weights)
    after = kept.data[entries] > 0
    moved = nonzero(before != after)
    if len(moved) == 0:
        return moved, moved
    _, firsts = np.unique(entries[moved], return_index=True)
    moved = moved[firsts]
    return moved, np.where(after[moved], 1, -1)
