"""What both session operators share: the rows of a change under the slots of their keys, and rows by time."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from headrace.change import Change
from headrace.engine.columns import I64, group_keys, nonzero, values, views
from headrace.engine.hashing import hash_views
from headrace.engine.key_table import KeyTable
from headrace.engine.ordered_rows import OrderedRows
from headrace.engine.sessions import Sessions, Spans, word_of
from headrace.engine.window_time import window_micros
from headrace.engine.zset import consolidate
from headrace.sql.plan import Session


class SessionRows:
    """The keys of a session window, and where they are needed its rows in order of time.

    Args:
        node: the window.
        append_only: no row is ever taken back.
        keeps_rows: whether the rows are kept.
    """

    def __init__(self, node: Session, *, append_only: bool, keeps_rows: bool) -> None:
        self._node = node
        self._append_only = append_only
        schema = node.input.schema
        self.keys = KeyTable([schema[key].arrow for key in node.keys])
        self.rows = OrderedRows(schema.arrow) if keeps_rows else None

    def take(self, change: Change) -> tuple[Change, I64, I64]:
        """Keep a change; return what of it is in sessions, with slots and times in microseconds."""
        micros, inside = window_micros(change.rows.column(self._node.time))
        if inside is not None:
            change = change.filter(inside)
        if not self._append_only:
            change = consolidate(change)
        if inside is not None or not self._append_only:
            micros, _ = window_micros(change.rows.column(self._node.time))
        slots = self._assign(change)
        if self.rows is not None and len(change):
            self.rows.insert(slots, word_of(micros), change.rows, change.weights)
        return change, slots, micros

    def _assign(self, change: Change) -> I64:
        if not self._node.keys:
            return np.zeros(len(change), dtype=np.int64)
        columns = views(group_keys([change.rows.column(name) for name in self._node.keys]), exact=False)
        return self.keys.find_or_add(columns, hash_views(columns, len(change)))[0]

    def inside(self, spans: Spans) -> tuple[I64, Change]:
        """Return the rows in some stretches of time, consolidated, and for each the place of its stretch."""
        assert self.rows is not None
        found = self.rows.bounds(spans.slots).clip(word_of(spans.starts), word_of(spans.lasts))
        positions, numbers, weights = found.entries()
        rows = self.rows.heap.gather(numbers)
        if len(weights) == 0 or weights.min() > 0:
            return positions, Change(rows, weights)
        named = pa.RecordBatch.from_arrays(
            [pa.array(positions), *rows.columns], names=["_at", *rows.schema.names]
        )
        whole = consolidate(Change(named, weights))
        rows = pa.RecordBatch.from_arrays(whole.rows.columns[1:], schema=rows.schema)
        return values(whole.rows.column(0)), Change(rows, whole.weights)

    def times(self, spans: Spans) -> tuple[I64, I64]:
        """Return slots and times of the rows in some stretches of time."""
        positions, change = self.inside(spans)
        return spans.slots[positions], window_micros(change.rows.column(self._node.time))[0]

    def release(self, sessions: Sessions, final: Spans) -> None:
        """Give sessions up with their rows, and the keys that have none left."""
        sessions.release(final)
        starts, there = sessions.earliest(self.keys.size if self._node.keys else 1)
        if self.rows is not None:
            cuts = word_of(starts)
            self.rows.drop_where(lambda run: run.words < cuts[run.slots])
        if self._node.keys:
            self.keys.release(nonzero(~there & ~self.keys.free()))

    @property
    def state_rows(self) -> int:
        """Rows kept."""
        return 0 if self.rows is None else self.rows.row_count

    @property
    def nbytes(self) -> int:
        """Bytes kept."""
        return self.keys.nbytes + (0 if self.rows is None else self.rows.nbytes)
