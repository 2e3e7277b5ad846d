"""The door of one bag: a table without a key, in which a row may stand several times.

Upserts append; a deletion takes one copy of a row, told by all its columns (floats by their bits, NULL
equals NULL).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from headrace.change import Change
from headrace.declarations import TableDecl
from headrace.intake.calls import CheckedRows
from headrace.intake.digest import Digests, Hasher, repeats
from headrace.intake.event_ids import Undo
from headrace.intake.index import DigestIndex, Entries
from headrace.intake.rowstore import RowStore
from headrace.intake.streams import Outcome

GONE = -1
GONE_KEPT = 1 << 16
"""Rows without copies that the index may hold before it is rebuilt without them."""


class BagTable:
    """How many copies of which row a bag holds. Not thread-safe."""

    def __init__(self, decl: TableDecl, hasher: Hasher) -> None:
        self.decl = decl
        self._hasher = hasher
        self._index = DigestIndex(("row", "copies"))
        self._rows = RowStore(decl.schema.arrow)
        self._gone = 0

    def upsert(self, rows: CheckedRows, undo: Undo) -> Outcome:
        """Add every row once more."""
        outcome = Outcome.accepting(self.decl.schema, rows)
        if rows.batch.num_rows:
            change = Change.inserts(rows.batch)
            outcome.changes.append((self.decl.name, change))
            self._apply(change, undo)
        return outcome

    def delete(self, rows: CheckedRows, undo: Undo) -> Outcome:
        """Take one copy of each row away; rows beyond the copies held are rejected."""
        outcome = Outcome.accepting(self.decl.schema, rows)
        if not rows.batch.num_rows:
            return outcome
        hi, lo = self._hasher.rows(rows.batch).content_pairs()
        entries = self._index.find(hi, lo)
        known = entries >= 0
        copies = np.zeros(len(entries), dtype=np.int64)
        copies[known] = self._index.get("copies", entries[known])
        missing = _turns(hi, lo) >= copies
        outcome.reject(rows, missing, self.decl.schema.names[0], "the table holds no such row (any more)")
        if not missing.all():
            change = Change.inserts(rows.batch.filter(pa.array(~missing))).negated()
            outcome.changes.append((self.decl.name, change))
            self._apply(change, undo)
        return outcome

    def _apply(self, change: Change, undo: Undo | None) -> None:
        """Add a change to the copies held; none becomes negative."""
        hi, lo = self._hasher.rows(change.rows).content_pairs()
        firsts = repeats(hi, lo)
        at, weights = np.arange(len(hi)), change.weights
        if firsts is not None:
            sums = np.zeros(len(hi), dtype=np.int64)
            np.add.at(sums, firsts, weights)
            at = np.flatnonzero(firsts == np.arange(len(hi)))
            weights = sums[at]
        hi, lo = hi[at], lo[at]
        entries = self._index.find(hi, lo)
        known = entries >= 0
        old_entries, count, end = entries[known], self._index.count, self._rows.end
        old_copies, old_rows = self._index.get("copies", old_entries), self._index.get("row", old_entries)
        entries[~known] = self._index.add(hi[~known], lo[~known])
        copies, places = np.zeros(len(at), dtype=np.int64), np.full(len(at), GONE, dtype=np.int64)
        copies[known], places[known] = old_copies, old_rows
        copies += weights
        fresh, empty = (copies > 0) & (places == GONE), (copies <= 0) & (places != GONE)
        emptied = places[empty]
        self._rows.kill(emptied)
        places[empty] = GONE
        if fresh.any():
            new = change.rows.take(pa.array(at[fresh]))
            places[fresh] = self._rows.append(new, entries[fresh])
        self._index.put("copies", entries, copies)
        self._index.put("row", entries, places)
        gone = self._gone
        self._gone += int((places == GONE).sum()) - int((old_rows == GONE).sum())

        def restore() -> None:
            self._rows.cut(end)
            self._rows.revive(emptied)
            self._index.put("copies", old_entries, old_copies)
            self._index.put("row", old_entries, old_rows)
            self._index.cut(count)
            self._gone = gone

        if undo is not None:
            undo.append(restore)

    def recover(self, change: Change) -> None:
        """Apply what the log says."""
        self._apply(change, None)

    def tidy(self) -> None:
        """Free one slice of what is dead; to be called when nothing may have to be taken back."""
        moved = self._rows.evacuate()
        if moved is not None:
            self._index.put("row", *moved)
        if self._gone > max(self._rows.live, GONE_KEPT):
            self._forget_gone()

    def _forget_gone(self) -> None:
        hi, lo, entries = self._index.all()
        live = self._index.get("row", entries) != GONE
        index, rows = DigestIndex(("row", "copies")), RowStore(self._rows.schema)
        new = np.full(len(entries), GONE, dtype=np.int64)
        new[live] = index.add(hi[live], lo[live])
        index.put("copies", new[live], self._index.get("copies", entries[live]))
        for batch, owners in self._rows.live_rows():
            index.put("row", new[owners], rows.append(batch, new[owners]))
        self._index, self._rows, self._gone = index, rows, 0

    def contents(self) -> pa.Table:
        """Return the rows held, each as often as it stands in the bag, in no particular order."""
        batches = []
        for rows, entries in self._rows.live_rows():
            copies = self._index.get("copies", entries)
            many = np.repeat(np.arange(len(copies)), copies)
            batches.append(rows if len(many) == rows.num_rows else rows.take(pa.array(many)))
        return pa.Table.from_batches(batches, schema=self._rows.schema)


def _turns(hi: Digests, lo: Digests) -> Entries:
    """Return for each row how many equal rows come before it."""
    firsts = repeats(hi, lo)
    if firsts is None:
        return np.zeros(len(hi), dtype=np.int64)
    order = np.lexsort((np.arange(len(hi)), firsts))
    starts = np.diff(firsts[order], prepend=-1) != 0
    places = np.arange(len(hi))
    began = np.maximum.accumulate(np.where(starts, places, 0))
    turns = np.empty(len(hi), dtype=np.int64)
    turns[order] = places - began
    return turns
