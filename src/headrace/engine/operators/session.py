"""Session: each row with the bounds of its session, the stretch of its key without a longer silence.

    Δs(R) = + (rows of the sessions that moved, new bounds) − (the same before, old bounds)
            + (rows of ΔR in sessions that did not, with their bounds)

with a gap of 10      rows of a key at 0, 5, 30     sessions [0, 15), [30, 40)
    + row at 7        − 0 [0, 15)  − 5 [0, 15)      + 0 [0, 17)  + 5 [0, 17)  + 7 [0, 17)
    + row at 20       all four rows, and the new one, are in one session [0, 40)
    − row at 20       that falls into two again

Rows lie by key and time; a change reads the rows of the sessions whose bounds it moves. Where only an
aggregate by session reads them, `session_aggregate` does not need the rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.change import Change
from headrace.engine.columns import I64, Bools
from headrace.engine.frontier import kept
from headrace.engine.monotone import Bounds
from headrace.engine.operators.base import Operator, StepContext
from headrace.engine.session_rows import SessionRows
from headrace.engine.sessions import Moves, Sessions, Spans
from headrace.engine.sweep import Sweep, described
from headrace.engine.window_time import bound_arrays
from headrace.engine.zset import consolidate
from headrace.sql.plan import Session


class SessionOperator(Operator):
    """Sessions, and their rows by key and time."""

    name = "session"
    rule = "touched sessions"

    def __init__(self, node: Session, *, append_only: bool) -> None:
        super().__init__(node.schema)
        self.consolidated = True
        self._node = node
        self._rows = SessionRows(node, append_only=append_only, keeps_rows=True)
        self._sessions = Sessions(node.gap_us)
        self._sweep = Sweep()

    @override
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        change, slots, micros = self._rows.take(inputs[0])
        if len(change) == 0:
            return Change.empty(self.arrow)
        moves = self._sessions.apply(slots, micros, change.weights, self._rows.times)
        return consolidate(Change.concat(self._difference(moves, change, slots, micros)))

    def _difference(self, moves: Moves, change: Change, slots: I64, micros: I64) -> list[Change]:
        """Return what goes and what comes.

        The rows are read as they are after the change: what stood in an old session before is what stands
        there now, less what the change brought.
        """
        same_gone, same_made = _unmoved(moves)
        old, new = moves.gone.take(~same_gone), moves.made.take(~same_made)
        here, place = _within(old, slots, micros)
        steady, steady_place = _within(moves.made.take(same_made), slots, micros)
        return [
            self._read(old).negated(),
            self._read(new),
            self._bounded(change.take(here), old.take(place)),
            self._bounded(change.take(steady), moves.made.take(same_made).take(steady_place)),
        ]

    def _read(self, spans: Spans) -> Change:
        if len(spans) == 0:
            return Change.empty(self.arrow)
        positions, change = self._rows.inside(spans)
        return self._bounded(change, spans.take(positions))

    def _bounded(self, change: Change, spans: Spans) -> Change:
        """Return rows with the bounds of their sessions."""
        bounds = bound_arrays(self.arrow, spans.starts, spans.lasts + self._node.gap_us)
        rows = pa.RecordBatch.from_arrays([*change.rows.columns, *bounds], schema=self.arrow)
        return Change(rows, change.weights)

    # --- time
    # --------------------------------------------------------------------------------------------------
    @override
    def bounds(self, inputs: Sequence[Bounds]) -> Bounds:
        return session_bounds(self._node, inputs[0])

    @override
    def forget(self, inputs: Sequence[Bounds]) -> None:
        """Give up sessions that no row can meet any more, with their rows."""
        bound = inputs[0].get(self._node.time)
        if bound is None or not self._sweep.is_due(self.state_rows):
            return
        self._rows.release(self._sessions, self._sessions.final(bound))
        self._sweep.done(self.state_rows)

    @override
    def can_free(self, inputs: Sequence[Bounds]) -> str | None:
        return described(inputs[0], [self._node.time], "the time has no watermark")

    @property
    @override
    def detail(self) -> str:
        return session_text(self._node)

    @property
    @override
    def state_rows(self) -> int:
        return self._rows.state_rows + self._sessions.count

    @property
    @override
    def state_bytes(self) -> int:
        return self._rows.nbytes + self._sessions.nbytes


def session_bounds(node: Session, bounds: Bounds) -> Bounds:
    """Return the bounds of sessions that can still change: those that end at the bound or later."""
    found = kept(bounds, node.keys)
    return {**found, node.schema.names[-1]: bounds[node.time]} if node.time in bounds else found


def session_text(node: Session) -> str:
    """Return what a session window keeps, for people."""
    per = f" per {', '.join(node.keys)}" if node.keys else ""
    return f"{node.time}: gap {node.gap_us / 1e6:g} s{per}"


def _unmoved(moves: Moves) -> tuple[Bools, Bools]:
    """Return which sessions stand before and after with the same bounds."""
    gone, made = moves.gone, moves.made
    order = np.lexsort((np.append(gone.starts, made.starts), np.append(gone.slots, made.slots)))
    slots, starts, lasts = (
        np.append(one, other)[order]
        for one, other in (
            (gone.slots, made.slots), (gone.starts, made.starts), (gone.lasts, made.lasts)
        )
    )  # fmt: skip
    pairs = (slots[1:] == slots[:-1]) & (starts[1:] == starts[:-1]) & (lasts[1:] == lasts[:-1])
    same = np.zeros(len(order), dtype=np.bool_)
    same[order] = np.append(pairs, False) | np.append(False, pairs)
    return same[: len(gone)], same[len(gone) :]


def _within(spans: Spans, slots: I64, micros: I64) -> tuple[I64, I64]:
    """Return the rows that lie in one of some sessions, and in which."""
    nothing = np.empty(0, dtype=np.int64)
    if len(spans) == 0 or len(slots) == 0:
        return nothing, nothing
    count = len(spans)
    order = np.lexsort(
        (
            np.repeat([0, 1], [count, len(slots)]),
            np.append(spans.starts, micros),
            np.append(spans.slots, slots),
        )
    )
    latest = np.maximum.accumulate(np.where(order < count, np.arange(len(order)), -1))
    rows = np.flatnonzero((order >= count) & (latest >= 0))
    at, span = order[rows] - count, order[latest[rows]]
    inside = (spans.slots[span] == slots[at]) & (spans.lasts[span] >= micros[at])
    return at[inside], span[inside]
