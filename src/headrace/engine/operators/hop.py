"""Hop: each row once per window that contains it; TUMBLE, HOP and CUMULATE.

Δhop(R) = hop(ΔR)        (linear: a row goes to size / slide windows, whatever the others are)
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.change import Change
from headrace.engine.columns import I64, values
from headrace.engine.frontier import hop_bounds
from headrace.engine.monotone import Bounds
from headrace.engine.operators.base import Operator, StepContext
from headrace.engine.runs import ranges
from headrace.engine.window_time import bound_arrays, time_array, window_micros
from headrace.engine.zset import consolidate
from headrace.sql.plan import Hop

_SHARE_MAX = 0.75
"""Where more of the rows are left, adding equal ones up has not paid, and some changes are passed over."""
_WAIT_MAX = 64


class HopOperator(Operator):
    """Adds `window_start` and `window_end`; windows are half open and aligned to the epoch."""

    name = "hop"

    def __init__(self, node: Hop, *, append_only: bool, time_is_read: bool = True) -> None:
        super().__init__(node.schema, append_only=append_only)
        self._node = node
        self._by_pane = not time_is_read and node.slide_us < node.size_us
        self._waits, self._wait = 0, 1

    @override
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        change = inputs[0]
        micros, inside = window_micros(change.rows.column(self._node.time))
        if inside is not None:
            change, micros = change.filter(inside), micros[inside]
        if self._by_pane:
            change, micros = self._in_panes(change, micros)
        rows, starts, ends = self._windows(micros)
        if len(rows) == len(change) and self._node.slide_us == self._node.size_us:
            taken, weights = change.rows, change.weights
        else:
            taken, weights = change.rows.take(pa.array(rows)), change.weights[rows]
        bounds = bound_arrays(self.arrow, starts, ends)
        return Change(pa.RecordBatch.from_arrays([*taken.columns, *bounds], schema=self.arrow), weights)

    def _in_panes(self, change: Change, micros: I64) -> tuple[Change, I64]:
        """Return the change with every time moved to the start of its pane, equal rows added up where that
        has paid of late, and the times.

        Nobody reads the time itself, and all times of a pane lie in the same windows: so rows that differ in
        nothing else go to their windows once. The time is moved in every change, or else a row would not go
        as it came.
        """
        panes = micros - micros % gcd(self._node.slide_us, self._node.size_us)
        at = change.rows.schema.get_field_index(self._node.time)
        columns, weights = list(change.rows.columns), change.weights
        if self._waits:
            self._waits -= 1
        else:
            columns[at] = pa.array(panes)
            moved = pa.RecordBatch.from_arrays(columns, names=change.rows.schema.names)
            whole = consolidate(Change(moved, weights))
            self._wait = min(2 * self._wait, _WAIT_MAX) if len(whole) > _SHARE_MAX * len(change) else 0
            self._waits, self._wait = self._wait, max(self._wait, 1)
            columns, weights, panes = list(whole.rows.columns), whole.weights, values(whole.rows.column(at))
        columns[at] = time_array(panes, change.rows.schema.field(at).type)
        return Change(pa.RecordBatch.from_arrays(columns, schema=change.rows.schema), weights), panes

    def _windows(self, micros: I64) -> tuple[I64, I64, I64]:
        """Return the rows with the starts and ends of their windows, row by row."""
        slide, size = self._node.slide_us, self._node.size_us
        panes = micros - micros % slide
        if slide == size:
            return np.arange(len(micros), dtype=np.int64), panes, panes + size
        if self._node.is_cumulative:
            begins = micros - micros % size
            counts = (begins + size - panes) // slide
            rows = np.repeat(np.arange(len(micros), dtype=np.int64), counts)
            return rows, begins[rows], ranges(panes // slide + 1, counts) * slide
        most = -(-size // slide)
        starts = (panes[:, None] - slide * np.arange(most, dtype=np.int64)).ravel()
        rows = np.repeat(np.arange(len(micros), dtype=np.int64), most)
        inside = starts + size > micros[rows]
        return rows[inside], starts[inside], starts[inside] + size

    @override
    def bounds(self, inputs: Sequence[Bounds]) -> Bounds:
        found = dict(hop_bounds(self._node, inputs[0]))
        if self._by_pane:
            found.pop(self._node.time, None)
        return found

    @property
    def detail(self) -> str:
        """The time column and the window."""
        word = "growing by" if self._node.is_cumulative else "every"
        return f"{self._node.time}: {self._node.size_us / 1e6:g} s {word} {self._node.slide_us / 1e6:g} s"
