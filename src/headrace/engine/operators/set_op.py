"""Intersect and except, with and without ALL: rows told apart by both their weights.

With l and r the weights of a row on the left and on the right, its weight in the output is

    INTERSECT       1 where l > 0 and r > 0        INTERSECT ALL   min(l, r)
    EXCEPT          1 where l > 0 and r = 0        EXCEPT ALL      max(l − r, 0)

    Δout(row) = weight(l + Δl, r + Δr) − weight(l, r)

so a change costs the changed rows. NULL equals NULL here, −0.0 equals 0.0, and NaN equals NaN.

l, r before   change    l, r after   EXCEPT   INTERSECT ALL
1, 0          r + 1     1, 1         −1       +1
2, 1          l − 1     1, 1         nothing  nothing
1, 1          r − 1     1, 0         +1       −1
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.change import Change
from headrace.engine.columns import I64, group_keys, nonzero, views
from headrace.engine.frontier import renamed, smallest
from headrace.engine.growable import Growable
from headrace.engine.hashing import hash_views
from headrace.engine.key_rows import KeyRows
from headrace.engine.key_table import KeyTable
from headrace.engine.monotone import Bounds
from headrace.engine.operators.base import Operator, StepContext
from headrace.engine.sweep import Sweep, described
from headrace.sql.plan import SetOp


class SetOpOperator(Operator):
    """Keeps every distinct row of both inputs with its two weights."""

    name = "set operation"
    rule = "distinct set"

    def __init__(self, node: SetOp, *, append_only: bool) -> None:
        super().__init__(node.schema, append_only=append_only and node.kind == "intersect")
        self.consolidated = True
        self._node = node
        self._set = KeyTable([column.arrow for column in node.schema])
        self._key_rows = KeyRows.where_needed(self.arrow)
        self._key_rows = KeyRows.where_needed(self.arrow)
        self._names = [part.schema.names for part in node.parts]
        self._sweep = Sweep()
        self._weights: tuple[Growable[np.int64], Growable[np.int64]] = (
            Growable(np.int64),
            Growable(np.int64),
        )

    @override
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        keys = _stacked(inputs, self.arrow)
        columns = views(keys, exact=False)
        count = sum(len(change) for change in inputs)
        entries, _ = self._set.find_or_add(columns, hash_views(columns, count))
        touched, firsts = np.unique(entries, return_index=True)
        for weights in self._weights:
            weights.resize(self._set.size)
        before = self._out(touched)
        begins = ~(self._weights[0].data[touched] | self._weights[1].data[touched]).astype(np.bool_)
        split = len(inputs[0])
        for weights, rows, change in zip(
            self._weights, (entries[:split], entries[split:]), inputs, strict=True
        ):
            np.add.at(weights.data, rows, change.weights)
        moved = self._out(touched) - before
        kept = nonzero(moved)
        rows = pa.RecordBatch.from_arrays(keys, schema=self.arrow).take(pa.array(firsts))
        if self._key_rows is not None:
            written = self._key_rows.settled(touched, rows.columns, begins, self._set.size)
            rows = pa.RecordBatch.from_arrays(written, schema=self.arrow)
        rows = rows.take(pa.array(kept))
        if self._key_rows is not None:
            begins = before[kept] == 0
            written = self._key_rows.settled(touched[kept], rows.columns, begins, self._set.size)
            rows = pa.RecordBatch.from_arrays(written, schema=self.arrow)
        return Change(rows, moved[kept], None if self._node.is_all else touched[kept])

    def _out(self, entries: I64) -> I64:
        """Return the weights of rows in the output."""
        left: I64
        right: I64
        left, right = (weights.data[entries] for weights in self._weights)
        match self._node.kind, self._node.is_all:
            case "intersect", True:
                return np.asarray(np.minimum(left, right))
            case "intersect", False:
                return np.asarray(((left > 0) & (right > 0)).astype(np.int64))
            case "except", True:
                return np.asarray(np.maximum(left - right, 0))
            case _:
                return np.asarray(((left > 0) & (right == 0)).astype(np.int64))

    @override
    def bounds(self, inputs: Sequence[Bounds]) -> Bounds:
        return smallest(
            [renamed(part, names, self.schema.names) for part, names in zip(inputs, self._names, strict=True)]
        )

    @override
    def forget(self, inputs: Sequence[Bounds]) -> None:
        """Give up rows that have gone from both sides, and those with a column below the bounds of both."""
        if not self._sweep.is_due(self._set.live):
            return
        left, right = (weights.view() for weights in self._weights)
        gone = ((left == 0) & (right == 0)) | self._set.final(self.schema.names, self.bounds(inputs))
        entries = nonzero(gone & ~self._set.free())
        self._set.release(entries)
        for weights in self._weights:
            weights.clear(entries)
        self._sweep.done(self._set.live)

    @override
    def can_free(self, inputs: Sequence[Bounds]) -> str | None:
        return described(self.bounds(inputs), self.schema.names, "no column of both sides follows event time")

    @property
    @override
    def detail(self) -> str:
        return self._node.kind + (" all" if self._node.is_all else "")

    @property
    @override
    def state_rows(self) -> int:
        return self._set.live

    @property
    @override
    def state_bytes(self) -> int:
        return self._set.nbytes + sum(weights.nbytes for weights in self._weights)


def _stacked(inputs: Sequence[Change], arrow: pa.Schema) -> list[pa.Array]:
    """Return the columns of all inputs one below the other, as keys of groups."""
    batches = [pa.RecordBatch.from_arrays(change.rows.columns, schema=arrow) for change in inputs]
    return group_keys(pa.concat_batches(batches).columns)
