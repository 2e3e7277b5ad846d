"""Unnest: each row once per element of its lists, which go side by side.

Δunnest(R) = unnest(ΔR)        (linear)

k   l          the rows for UNNEST(l)      a second, shorter list is filled up with NULLs;
1   [a, b]     (1, a), (1, b)              a row whose lists are all empty or NULL has no rows,
2   []         none                        or, kept for an outer join, one with NULLs
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.change import Change
from headrace.engine.columns import I64, nonzero
from headrace.engine.monotone import Bounds
from headrace.engine.operators.base import Operator, StepContext
from headrace.sql.plan import Unnest


class UnnestOperator(Operator):
    """Takes lists apart; keeps nothing."""

    name = "unnest"

    def __init__(self, node: Unnest, *, append_only: bool) -> None:
        super().__init__(node.schema, append_only=append_only)
        self._node = node
        self._kept = [name for name in node.input.schema.names if name not in node.lists]

    @override
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        change = inputs[0]
        lists = [change.rows.column(name) for name in self._node.lists]
        lengths = [_lengths(one) for one in lists]
        longest = np.maximum.reduce(lengths)
        counts = np.maximum(longest, 1) if self._node.keeps_empty else longest
        rows = np.repeat(np.arange(len(change), dtype=np.int64), counts)
        places = _places(counts)
        columns = [change.rows.column(name) for name in self._kept]
        if (counts != 1).any():
            at = pa.array(rows)
            columns = [column.take(at) for column in columns]
        for one, length in zip(lists, lengths, strict=True):
            columns.append(_elements(one, length, rows, places, self.arrow.types[len(columns)]))
        if self._node.ordinality is not None:
            columns.append(pa.array(places + 1, mask=places >= longest[rows]))
        return Change(pa.RecordBatch.from_arrays(columns, schema=self.arrow), change.weights[rows])

    @override
    def bounds(self, inputs: Sequence[Bounds]) -> Bounds:
        return {name: inputs[0][name] for name in self._kept if name in inputs[0]}

    @property
    @override
    def detail(self) -> str:
        return ", ".join(self._node.lists)


def _lengths(lists: pa.Array) -> I64:
    lengths = lists.value_lengths().fill_null(0)
    return np.asarray(lengths.to_numpy(zero_copy_only=False), dtype=np.int64)


def _places(counts: I64) -> I64:
    """Return 0, 1, … for every row, as many as it has."""
    starts = np.cumsum(counts) - counts
    return np.arange(int(counts.sum()), dtype=np.int64) - np.repeat(starts, counts)


def _elements(lists: pa.Array, lengths: I64, rows: I64, places: I64, kind: pa.DataType) -> pa.Array:
    """Return element `places[i]` of list `rows[i]`, NULL beyond its end."""
    flat = lists.flatten()
    starts = np.cumsum(lengths) - lengths
    there = places < lengths[rows]
    at = np.zeros(len(rows), dtype=np.int64)
    inside = nonzero(there)
    at[inside] = starts[rows[inside]] + places[inside]
    taken = flat.take(pa.array(at, mask=~there))
    return taken if taken.type == kind else taken.cast(kind)
