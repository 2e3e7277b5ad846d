"""Distinct: each row once.

Δdistinct(R): + row where its weight rises above zero, − row where it falls to zero

weight before   change   weight after   output
0               +2       2              +1
2               −1       1              nothing
1               −1       0              −1
1               +1 −1    1              nothing
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.change import Change
from headrace.engine.columns import group_keys, nonzero, views
from headrace.engine.growable import Growable
from headrace.engine.hashing import hash_views
from headrace.engine.key_rows import KeyRows
from headrace.engine.key_table import KeyTable
from headrace.engine.monotone import Bounds
from headrace.engine.operators.base import Operator, StepContext
from headrace.engine.sweep import Sweep, described
from headrace.sql.plan import Distinct


class DistinctOperator(Operator):
    """Keeps every distinct row with its weight."""

    name = "distinct"
    rule = "distinct set"

    def __init__(self, node: Distinct, *, append_only: bool) -> None:
        super().__init__(node.schema, append_only=append_only)
        self.consolidated = True
        self._set = KeyTable([column.arrow for column in node.schema])
        self._key_rows = KeyRows.where_needed(self.arrow)
        self._weights: Growable[np.int64] = Growable(np.int64)
        self._sweep = Sweep()

    @override
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        change = inputs[0]
        keys = group_keys(change.rows.columns)
        columns = views(keys, exact=False)
        entries, _ = self._set.find_or_add(columns, hash_views(columns, len(change)))
        self._weights.resize(self._set.size)
        before = self._weights.data[entries] > 0
        np.add.at(self._weights.data, entries, change.weights)
        after = self._weights.data[entries] > 0
        moved = nonzero(before != after)
        _, firsts = np.unique(entries[moved], return_index=True)
        moved = moved[np.sort(firsts)]
        rows = pa.RecordBatch.from_arrays(keys, schema=self.arrow).take(pa.array(moved))
        if self._key_rows is not None:
            written = self._key_rows.settled(entries[moved], rows.columns, after[moved], self._set.size)
            rows = pa.RecordBatch.from_arrays(written, schema=self.arrow)
        return Change(rows, np.where(after[moved], 1, -1).astype(np.int64), entries[moved])

    @override
    def bounds(self, inputs: Sequence[Bounds]) -> Bounds:
        return inputs[0]

    @override
    def forget(self, inputs: Sequence[Bounds]) -> None:
        """Give up rows that have gone, and those with a column below its bound."""
        if not self._sweep.is_due(self._set.live):
            return
        gone = (self._weights.view() == 0) | self._set.final(self.schema.names, inputs[0])
        entries = nonzero(gone & ~self._set.free())
        self._set.release(entries)
        self._weights.clear(entries)
        self._sweep.done(self._set.live)

    @override
    def can_free(self, inputs: Sequence[Bounds]) -> str | None:
        return described(inputs[0], self.schema.names, "no column follows event time")

    @property
    @override
    def state_rows(self) -> int:
        return self._set.live

    @property
    @override
    def state_bytes(self) -> int:
        return self._set.nbytes + self._weights.nbytes
