"""COUNT(DISTINCT x): a set of (group, value) with weights, then a count.

    Δcount = number of values whose weight rises above zero − number of those that fall to zero

One set serves all calls over the same columns: each FILTER has weights of its own.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.contracts.schema import Schema
from headrace.engine.aggregates.part import GroupBatch, Part, Result
from headrace.engine.columns import I64, Fixed, View, group_keys, nonzero, views
from headrace.engine.growable import Growable
from headrace.engine.hashing import hash_views
from headrace.engine.key_table import KeyTable
from headrace.sql.plan import AggCall


class DistinctPart(Part):
    """`count(DISTINCT x)` for every FILTER over the same columns."""

    rule = "distinct set"

    def __init__(self, calls: list[AggCall], schema: Schema) -> None:
        self._calls = calls
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
        for (at, at_slots, weights), kept, counts in zip(chosen, self._weights, self._counts, strict=True):
            kept.resize(self._set.size)
            counts.resize(batch.size)
            _count_crossings(kept, counts, entries[at], at_slots, weights)

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
        for counts in self._counts:
            counts.resize(batch.size)
            found.append(Result(pa.array(counts.data[batch.touched])))
        return found

    @property
    @override
    def state_rows(self) -> int:
        return self._set.size

    @property
    @override
    def nbytes(self) -> int:
        return self._set.nbytes + sum(part.nbytes for part in (*self._weights, *self._counts))


def _count_crossings(
    kept: Growable[np.int64], counts: Growable[np.int64], entries: I64, slots: I64, weights: I64
) -> None:
    """Add weights to set entries; count, per slot, entries that appear and that vanish."""
    before = kept.data[entries] > 0
    np.add.at(kept.data, entries, weights)
    after = kept.data[entries] > 0
    moved = nonzero(before != after)
    if len(moved) == 0:
        return
    _, firsts = np.unique(entries[moved], return_index=True)
    moved = moved[firsts]
    np.add.at(counts.data, slots[moved], np.where(after[moved], 1, -1))
