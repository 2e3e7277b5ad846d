"""Hop: each row once per window that contains it.

Δhop(R) = hop(ΔR)        (linear: a row goes to size / slide windows, whatever the others are)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.change import Change
from headrace.engine.columns import I64, validity, values
from headrace.engine.frontier import hop_bounds
from headrace.engine.monotone import Bounds
from headrace.engine.operators.base import Operator, StepContext
from headrace.engine.zset import consolidate
from headrace.sql.plan import Hop

_US_PER = {"s": 1_000_000, "ms": 1_000, "us": 1}


class HopOperator(Operator):
    """Adds `window_start` and `window_end`; windows are half open and aligned to the epoch."""

    name = "hop"

    def __init__(self, node: Hop, *, append_only: bool, time_is_read: bool = True) -> None:
        super().__init__(node.schema, append_only=append_only)
        self._node = node
        self._by_pane = not time_is_read and node.slide_us < node.size_us

    @override
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        change = inputs[0]
        times = change.rows.column(self._node.time)
        known = validity(times)
        if known is not None:
            change = change.filter(known)
            times = change.rows.column(self._node.time)
        micros = _micros(times)
        if self._by_pane:
            change, micros = self._added_up(change, micros)
        rows, starts = self._windows(micros)
        if len(rows) == len(change) and self._node.slide_us == self._node.size_us:
            taken, weights = change.rows, change.weights
        else:
            taken, weights = change.rows.take(pa.array(rows)), change.weights[rows]
        bounds = [
            pa.array(bound, pa.int64()).cast(pa.timestamp("us")).cast(field.type)
            for bound, field in zip((starts, starts + self._node.size_us), list(self.arrow)[-2:], strict=True)
        ]
        return Change(pa.RecordBatch.from_arrays([*taken.columns, *bounds], schema=self.arrow), weights)

    def _added_up(self, change: Change, micros: I64) -> tuple[Change, I64]:
        """Return the change with every time moved to the start of its pane, equal rows added up, and the
        times.

        Nobody reads the time itself, and all times of a pane lie in the same windows: so rows that differ in
        nothing else go to their windows once.
        """
        panes = micros - micros % self._node.slide_us
        at = change.rows.schema.get_field_index(self._node.time)
        columns = list(change.rows.columns)
        columns[at] = pa.array(panes)
        names = change.rows.schema.names
        whole = consolidate(Change(pa.RecordBatch.from_arrays(columns, names=names), change.weights))
        panes = values(whole.rows.column(at))
        columns = list(whole.rows.columns)
        columns[at] = pa.array(panes).cast(pa.timestamp("us")).cast(change.rows.schema.field(at).type)
        return Change(pa.RecordBatch.from_arrays(columns, schema=change.rows.schema), whole.weights), panes

    def _windows(self, micros: I64) -> tuple[I64, I64]:
        """Return the rows and the starts of their windows, row by row."""
        slide, size = self._node.slide_us, self._node.size_us
        last = micros - micros % slide
        if slide == size:
            return np.arange(len(micros), dtype=np.int64), last
        most = -(-size // slide)
        starts = (last[:, None] - slide * np.arange(most, dtype=np.int64)).ravel()
        rows = np.repeat(np.arange(len(micros), dtype=np.int64), most)
        inside = starts + size > micros[rows]
        return rows[inside], starts[inside]

    @override
    def bounds(self, inputs: Sequence[Bounds]) -> Bounds:
        found = dict(hop_bounds(self._node, inputs[0]))
        if self._by_pane:
            found.pop(self._node.time, None)
        return found

    @property
    def detail(self) -> str:
        """The time column and the window."""
        return f"{self._node.time}: {self._node.size_us / 1e6:g} s every {self._node.slide_us / 1e6:g} s"


def _micros(times: pa.Array) -> I64:
    """Return times as microseconds since the epoch."""
    if times.type == pa.date32():
        return values(times).astype(np.int64) * 86_400_000_000
    raw: I64 = values(times).astype(np.int64, copy=False)
    unit = times.type.unit
    return raw // 1000 if unit == "ns" else raw * _US_PER[unit]
