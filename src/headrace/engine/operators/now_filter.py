"""Now filter: rows whose time has come and not gone, by the engine's clock N.

    Δσ(R) = σ_N'(ΔR) + rows of R that begin in (N, N'] − rows of R that end in (N, N']        (N' = N now)

`t > now() - INTERVAL 1 MINUTE`, that is now < t + 1 min:

clock      ΔR              output       left to do
12:00:00   + (t 11:59:30)  + (11:59:30) it ends at 12:00:30
12:00:10   + (t 11:59:00)  nothing      its time has gone
12:00:30                   − (11:59:30) nothing

Rows that are to begin and rows that are to end lie in order of that time, so that a step costs what changes.
A retraction goes the way of its row, and both cancel wherever they meet.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.change import Change
from headrace.engine.columns import I64, Bools, micros, nonzero, validity, values
from headrace.engine.monotone import Bounds
from headrace.engine.operators.base import Operator, StepContext
from headrace.engine.schedule import Schedule
from headrace.engine.zset import consolidate
from headrace.sql.plan import NowFilter

_NEVER = np.int64(2**63 - 1)
_ENDLESS = np.int64(9_000_000_000_000_000_000)
"""Times beyond it stand for infinity, and do not move."""


class NowFilterOperator(Operator):
    """Keeps the rows that are to come and those that are to go."""

    name = "now filter"
    rule = "ordered range"

    def __init__(self, node: NowFilter) -> None:
        super().__init__(node.schema)
        self._node = node
        self._waiting = Schedule(self.arrow)
        self._leaving = Schedule(self.arrow)
        self._now_us = int(-_NEVER)

    @override
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        now_us = self._now_us = max(self._now_us, context.clock_us)
        outputs = [self._leaving.take_until(now_us).negated()]
        begun = self._waiting.take_until(now_us)
        outputs += [self._shown(change, now_us) for change in (begun, *inputs) if len(change)]
        return consolidate(Change.concat(outputs))

    def _shown(self, change: Change, now_us: int) -> Change:
        """Return the rows that are there now; note when they go, and when others come."""
        begins, ends, known = self._edges(change.rows)
        waits = nonzero(known & (begins > now_us) & (begins < ends))
        if len(waits):
            self._waiting.put(begins[waits], change.take(waits))
        there = nonzero(known & (begins <= now_us) & (ends > now_us))
        shown = change.take(there)
        goes = nonzero(ends[there] < _ENDLESS)
        if len(goes):
            self._leaving.put(ends[there[goes]], shown.take(goes))
        return Change(shown.rows, shown.weights)

    def _edges(self, rows: pa.RecordBatch) -> tuple[I64, I64, Bools]:
        """Return from when and until when each row is there, and which rows have no NULL in these columns."""
        begins = np.full(rows.num_rows, -_NEVER)
        ends = np.full(rows.num_rows, _NEVER)
        known = np.ones(rows.num_rows, dtype=np.bool_)
        for name, offset_us in self._node.begins:
            begins = np.maximum(begins, _moved(rows.column(name), offset_us, known))
        for name, offset_us in self._node.ends:
            ends = np.minimum(ends, _moved(rows.column(name), offset_us, known))
        return begins, ends, known

    @property
    @override
    def due_us(self) -> int | None:
        times = [time for time in (self._waiting.next_us, self._leaving.next_us) if time is not None]
        return min(times, default=None)

    @override
    def bounds(self, inputs: Sequence[Bounds]) -> Bounds:
        """Rows that come or go later end after the present; where nothing ends, they begin after it or come
        in later.
        """
        if self._node.ends:
            return {name: self._now_us - offset_us + 1 for name, offset_us in self._node.ends}
        return {
            name: min(inputs[0][name], self._now_us - offset_us + 1)
            for name, offset_us in self._node.begins
            if name in inputs[0]
        }

    @override
    def can_free(self, inputs: Sequence[Bounds]) -> str | None:
        return "frees state by the clock"

    @property
    @override
    def detail(self) -> str:
        edges = [f"now >= {_edge(name, offset)}" for name, offset in self._node.begins]
        return " and ".join([*edges, *(f"now < {_edge(name, offset)}" for name, offset in self._node.ends)])

    @property
    @override
    def state_rows(self) -> int:
        return self._waiting.row_count + self._leaving.row_count

    @property
    @override
    def state_bytes(self) -> int:
        return self._waiting.nbytes + self._leaving.nbytes


def _moved(column: pa.Array, offset_us: int, known: Bools) -> I64:
    """Return times moved by a length; rows with NULL are struck from `known`, infinities stay."""
    valid = validity(column)
    if valid is not None:
        known &= valid
    times = micros(values(column).astype(np.int64), column.type)
    return np.where(np.abs(times) < _ENDLESS, np.clip(times, -_ENDLESS, _ENDLESS) + offset_us, times)


def _edge(name: str, offset_us: int) -> str:
    return f"{name} {offset_us / 1e6:+g} s" if offset_us else name
