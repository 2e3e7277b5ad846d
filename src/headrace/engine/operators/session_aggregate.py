"""Session aggregate: GROUP BY the keys and a bound of a session window, by sessions that merge.

    Δγ(session(R)) = + γ(sessions that ΔR meets, after) − γ(the same, before)

Every session is a group of its own. A row that comes is added to the accumulators of its session; where it
joins two sessions, the accumulators of the one are added to those of the other. So a row at the end of a
session costs the same however long the session is, and no row is read again.

with a gap of 10 and count(*)       [0, 15) 2      [30, 40) 1
    + row at 7       − [0, 15) 2    + [0, 17) 3
    + row at 20      − [0, 17) 3    − [30, 40) 1   + [0, 40) 5

A row that goes may part its session: then the rows of that session alone are read and added up again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.change import Change
from headrace.contracts.schema import Schema
from headrace.engine.aggregates.choose import choose_parts
from headrace.engine.aggregates.part import GroupBatch, Result
from headrace.engine.columns import I64, Bools, group_keys, nonzero
from headrace.engine.duck import Duck
from headrace.engine.frontier import kept
from headrace.engine.monotone import Bounds
from headrace.engine.operators.base import Operator, StepContext
from headrace.engine.operators.session import session_bounds, session_text
from headrace.engine.session_rows import SessionRows
from headrace.engine.session_shape import over_rows
from headrace.engine.sessions import Moves, Sessions, Spans
from headrace.engine.sweep import Sweep, described
from headrace.engine.window_time import bound_arrays
from headrace.engine.zset import settle
from headrace.sql.plan import Aggregate, Session


class SessionAggregateOperator(Operator):
    """Sessions and their accumulators."""

    name = "session aggregate"
    rule = "merging sessions"

    def __init__(self, node: Aggregate, window: Session, *, append_only: bool) -> None:
        super().__init__(node.schema)
        self.consolidated = True
        self._node = node
        self._window = window
        self._rows = SessionRows(window, append_only=append_only, keeps_rows=not append_only)
        self._read = None if append_only else self._rows.times
        self._sessions = Sessions(window.gap_us)
        self._parts, self._places = choose_parts(over_rows(node, window), append_only=True)
        self._bounds = Schema(window.schema.columns[-2:]).arrow
        self._sweep = Sweep()
        self._failed: set[int] = set()
        self._message: str | None = None

    @override
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        change, slots, micros = self._rows.take(inputs[0])
        if len(change) == 0:
            return Change.empty(self.arrow)
        moves = self._sessions.apply(slots, micros, change.weights, self._read)
        before = self._values(moves.gone, context.duck)
        self._update(moves, change, context.duck)
        after = self._values(moves.made, context.duck)
        return self._difference(moves, before, after, change, slots)

    def _update(self, moves: Moves, change: Change, duck: Duck) -> None:
        """Bring the accumulators to the sessions as they are now."""
        size = self._sessions.size
        again = moves.gone.ids[moves.into < 0]
        joined = nonzero((moves.into >= 0) & (moves.into != moves.gone.ids))
        stays = nonzero(moves.owners >= 0)
        added = change if len(stays) == len(change) else change.take(stays)
        batches = [(moves.owners[stays], added)]
        if len(again):
            self._clear(again)
        if len(moves.rebuilt):
            spans = moves.made.take(moves.rebuilt)
            positions, rows = self._rows.inside(spans)
            batches.append((spans.ids[positions], rows))
        for part in self._parts:
            if len(joined):
                part.merge(moves.into[joined], moves.gone.ids[joined])
            for ids, rows in batches:
                if len(ids):
                    part.update(GroupBatch(rows.rows, rows.weights, ids, np.unique(ids), size, duck))
        if len(joined):
            self._clear(moves.gone.ids[joined])

    def _clear(self, ids: I64) -> None:
        """Empty the accumulators of sessions that are no more."""
        dead = np.zeros(self._sessions.size, dtype=np.bool_)
        dead[ids] = True
        ascending = nonzero(dead)
        for part in self._parts:
            part.release(ascending, dead)

    def _values(self, spans: Spans, duck: Duck) -> list[Result]:
        """Return the values of all calls for some sessions."""
        nothing = np.empty(0, dtype=np.int64)
        empty = Change.empty(self._window.input.schema.arrow)
        batch = GroupBatch(empty.rows, nothing, nothing, spans.ids, self._sessions.size, duck)
        by_part = [part.results(batch) for part in self._parts]
        return [by_part[part][at] for part, at in self._places]

    def _difference(
        self, moves: Moves, before: list[Result], after: list[Result], change: Change, slots: I64
    ) -> Change:
        self._failed.difference_update(moves.gone.ids.tolist())
        self._failed.update(moves.made.ids[_failing(after, len(moves.made))].tolist())
        self._message = next((one.message for one in after if one.message), self._message)
        known, firsts = np.unique(slots, return_index=True)
        keys = group_keys([change.rows.column(name) for name in self._window.keys])
        parts = []
        for spans, results, sign in ((moves.gone, before, -1), (moves.made, after, 1)):
            owner = pa.array(firsts[np.searchsorted(known, spans.slots)])
            named = dict(zip(self._window.keys, [key.take(owner) for key in keys], strict=True))
            rows = self._batch(spans, named, [result.values for result in results])
            part = Change(rows, np.full(len(spans), sign), spans.ids)
            failing = _failing(results, len(spans))
            parts.append(part.filter(~failing) if failing.any() else part)
        whole = Change(
            pa.concat_batches([part.rows for part in parts]),
            np.concatenate([part.weights for part in parts]),
            np.concatenate([part.ids for part in parts if part.ids is not None]),
        )
        return settle(whole)

    def _batch(self, spans: Spans, keys: dict[str, pa.Array], values: list[pa.Array]) -> pa.RecordBatch:
        ends = spans.lasts + self._window.gap_us
        bounds = bound_arrays(self._bounds, spans.starts, ends)
        named = keys | dict(zip(self._bounds.names, bounds, strict=True))
        columns = [named[key] for key in self._node.keys] + values
        fields = zip(columns, self.arrow, strict=True)
        cast = [column if column.type == field.type else column.cast(field.type) for column, field in fields]
        return pa.RecordBatch.from_arrays(cast, schema=self.arrow)

    # --- time
    # --------------------------------------------------------------------------------------------------
    @override
    def bounds(self, inputs: Sequence[Bounds]) -> Bounds:
        return kept(session_bounds(self._window, inputs[0]), self._node.keys)

    @override
    def forget(self, inputs: Sequence[Bounds]) -> None:
        """Give up sessions that no row can meet any more; failing ones stay."""
        bound = inputs[0].get(self._window.time)
        if bound is None or not self._sweep.is_due(self.state_rows):
            return
        final = self._sessions.final(bound)
        if self._failed:
            final = final.take(~np.isin(final.ids, list(self._failed)))
        self._clear(final.ids)
        self._rows.release(self._sessions, final)
        self._sweep.done(self.state_rows)

    @override
    def can_free(self, inputs: Sequence[Bounds]) -> str | None:
        return described(inputs[0], [self._window.time], "the time has no watermark")

    @property
    @override
    def error(self) -> str | None:
        return self._message if self._failed else None

    @property
    @override
    def detail(self) -> str:
        calls = ", ".join(call.sql for call in self._node.calls)
        return f"{calls} by {', '.join(self._node.keys)} of {session_text(self._window)}"

    @property
    @override
    def state_rows(self) -> int:
        return self._sessions.count + self._rows.state_rows

    @property
    @override
    def state_bytes(self) -> int:
        kept_bytes = self._sessions.nbytes + self._rows.nbytes
        return kept_bytes + sum(part.nbytes for part in self._parts)


def _failing(results: Sequence[Result], count: int) -> Bools:
    """Return for which groups DuckDB would answer with an error."""
    failing = np.zeros(count, dtype=np.bool_)
    for result in results:
        if result.failed is not None:
            failing |= result.failed
    return failing
