"""The door of a table that keeps the history of its rows: every accepted version of every key.

A version is a row with the time from which it holds (`effective`) and its place in the order of its key: the
`sequence`, or the order of acceptance where none is declared. It need not arrive in that order. The table
itself shows the newest version of each key, whenever it came and from whenever it holds; `<table>__versions`
has them all, deletions too, and is what `<table>__history` is derived from.

1. a NULL key, sequence or effective time: rejected;
2. a key and sequence that have been: repeated where the content is the same, else rejected; without a
   sequence, what is the same as the newest version of its key: repeated;
3. else accepted. It enters the table if no version of its key is newer.

A deletion is a version without content. With a sequence it takes its place among the others, be it before the
row has come; without one it comes after all that is known, and needs a row that is there. Where the call says
no effective time, the append clock is it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.change import Change
from headrace.declarations import TableDecl
from headrace.intake.calls import CheckedRows
from headrace.intake.digest import Digests, Hasher, repeats
from headrace.intake.event_ids import Undo
from headrace.intake.index import DigestIndex, Entries
from headrace.intake.side import version_rows
from headrace.intake.streams import NO_TIME, REPEATED, Outcome, event_times
from headrace.intake.tables import COLUMNS, GONE, NO_SEQUENCE, KeyedTable, Mask

DELETED = np.uint64(0x5DE1E7ED5DE1E7ED)
"""Mixed into the content of a deletion, so that it is the content of no row."""


@dataclass(frozen=True, slots=True)
class _Versions:
    """Versions in the making, one per row.

    Attributes:
        rows: in the table's columns; a deletion has NULL in what its call did not say.
        deleted: which of them are deletions.
        orders: their place among the versions of their key, `deleted` last where two are equal.
        from_us: their effective times.
        hi, lo: digests of their keys.
        contents: digests of their contents.
    """

    rows: pa.RecordBatch
    deleted: Mask
    orders: Entries
    from_us: Entries
    hi: Digests
    lo: Digests
    contents: Digests

    def take(self, at: Entries) -> _Versions:
        """Return some of them."""
        return _Versions(
            self.rows.take(pa.array(at)), self.deleted[at], self.orders[at], self.from_us[at],
            self.hi[at], self.lo[at], self.contents[at],
        )  # fmt: skip

    def newest(self) -> _Versions:
        """Return the newest of each key, in the order of their rows."""
        firsts = repeats(self.hi, self.lo)
        if firsts is None:
            return self
        order = np.lexsort((self.deleted, self.orders, firsts))
        return self.take(np.sort(order[np.diff(firsts[order], append=-1) != 0]))


class VersionedTable(KeyedTable):
    """What the intake holds of a table with `effective`: the newest row of each key, and which versions have
    been, 40 bytes each where a sequence is declared. Not thread-safe.
    """

    def __init__(self, decl: TableDecl, hasher: Hasher) -> None:
        super().__init__(decl, hasher)
        assert decl.effective is not None
        self._effective = decl.schema[decl.effective].name
        self._place = list(dict.fromkeys([*self._key, *([self._sequence] if self._sequence else [])]))
        self._known = DigestIndex(("content",))
        self.versions = 0

    # --- decisions ----------------------------------------------------------------------------------
    def upsert(self, rows: CheckedRows, undo: Undo) -> Outcome:
        """Decide about one call of `upsert` and apply it."""
        outcome = Outcome.accepting(self.decl.schema, rows)
        null = pc.is_null(rows.batch.column(self._effective)).to_numpy(zero_copy_only=False)
        outcome.reject(rows, null, self._effective, "the effective time is NULL")
        at, batch = self._usable(rows, outcome, with_sequence=True)
        if len(at):
            versions = self._versions_of(batch, np.zeros(len(at), dtype=np.bool_))
            self._decide(versions, at, rows, outcome, undo)
        return outcome

    def delete_at(self, rows: CheckedRows, undo: Undo, clock_us: int) -> Outcome:
        """Decide about one call of `delete`.

        Args:
            rows: the key, and sequence and effective time where the call gives them.
            undo: receives what takes the decision back.
            clock_us: the commit's append clock.
        """
        outcome = Outcome.accepting(self.decl.schema, rows)
        at, batch = self._usable(rows, outcome, with_sequence=False)
        if not len(at):
            return outcome
        whole = self._whole(batch)
        versions = self._versions_of(whole, np.ones(len(at), dtype=np.bool_))
        unsaid = versions.from_us == NO_TIME
        versions = replace(versions, from_us=np.where(unsaid, clock_us, versions.from_us))
        placed = np.zeros(len(at), dtype=np.bool_)
        if self._sequence is not None:
            placed = pc.is_valid(whole.column(self._sequence)).to_numpy(zero_copy_only=False)
        if placed.any():
            chosen = np.flatnonzero(placed)
            self._decide(versions.take(chosen), at[chosen], rows, outcome, undo)
        if not placed.all():
            chosen = np.flatnonzero(~placed)
            self._delete_newest(versions.take(chosen), at[chosen], rows, outcome, undo)
        return outcome

    def _versions_of(self, batch: pa.RecordBatch, deleted: Mask) -> _Versions:
        digests = self._hasher.rows(batch)
        contents = digests.contents()
        return _Versions(
            batch, deleted, self._sequences(batch), event_times(batch.column(self._effective)),
            *digests.keys(self._key), np.where(deleted, contents ^ DELETED, contents),
        )  # fmt: skip

    def _whole(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return rows in all columns of the table, NULL where a call did not give them."""
        schema = self.decl.schema.arrow
        columns = [
            batch.column(field.name) if field.name in batch.schema.names else pa.nulls(len(batch), field.type)
            for field in schema
        ]
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    def _decide(
        self, versions: _Versions, at: Entries, rows: CheckedRows, outcome: Outcome, undo: Undo
    ) -> None:
        """Decide about versions whose place is known, or follows from their order; `at` are their rows."""
        if self._sequence is None:
            expected, known = self._before(versions)
            known &= versions.contents == expected
        else:
            expected, known = self._placed_before(versions, undo)
        same = known & (versions.contents == expected)
        outcome.statuses[at[same]] = REPEATED
        conflict = np.zeros(len(outcome.statuses), dtype=np.bool_)
        conflict[at[known & ~same]] = True
        if conflict.any():
            reason = "another version of this key has this sequence"
            outcome.reject(rows, conflict, self._sequence or "", reason)
        if not known.all():
            self._enter(versions if not known.any() else versions.take(np.flatnonzero(~known)), outcome, undo)

    def _placed_before(self, versions: _Versions, undo: Undo | None) -> tuple[Digests, Mask]:
        """Return which keys and sequences have been, in the table or earlier in the call, and with what
        content; those that have not are remembered.
        """
        hi, lo = self._hasher.rows(versions.rows).keys(self._place)
        entries = self._known.find(hi, lo)
        known = entries >= 0
        expected = np.zeros(len(hi), dtype=np.uint64)
        expected[known] = self._known.get("content", entries[known]).view(np.uint64)
        firsts = repeats(hi, lo)
        if firsts is not None:
            again = (firsts != np.arange(len(firsts))) & ~known
            expected[again] = versions.contents[firsts[again]]
            known |= again
        count = self._known.count
        new = self._known.add(hi[~known], lo[~known])
        self._known.put("content", new, versions.contents[~known].view(np.int64))
        if undo is not None:
            undo.append(lambda: self._known.cut(count))
        return expected, known

    def _before(self, versions: _Versions) -> tuple[Digests, Mask]:
        """Return the content of the version before each, in the call or in the table, where there is one."""
        entries = self._index.find(versions.hi, versions.lo)
        known = self._stored(entries, "row", GONE) != GONE
        before = self._stored(entries, "content", 0).view(np.uint64)
        firsts = repeats(versions.hi, versions.lo)
        if firsts is not None:
            order = np.lexsort((np.arange(len(firsts)), firsts))
            follows = np.flatnonzero(firsts[order][1:] == firsts[order][:-1]) + 1
            before[order[follows]] = versions.contents[order[follows - 1]]
            known[order[follows]] = True
        return before, known

    def _delete_newest(
        self, versions: _Versions, at: Entries, rows: CheckedRows, outcome: Outcome, undo: Undo
    ) -> None:
        """Delete the rows that are there, after all that is known of them."""
        entries = self._index.find(versions.hi, versions.lo)
        going = self._stored(entries, "row", GONE) != GONE
        firsts = repeats(versions.hi, versions.lo)
        if firsts is not None:
            going &= firsts == np.arange(len(firsts))
        unknown = np.zeros(len(outcome.statuses), dtype=np.bool_)
        unknown[at[~going]] = True
        outcome.reject(rows, unknown, self._key[0], "the table holds no row with this key")
        if going.any():
            orders = self._stored(entries, "sequence", NO_SEQUENCE)
            chosen = np.flatnonzero(going)
            self._enter(replace(versions, orders=orders).take(chosen), outcome, undo)

    # --- state --------------------------------------------------------------------------------------
    def _enter(self, versions: _Versions, outcome: Outcome, undo: Undo) -> None:
        """Accept versions: into the versions, and the newest of each key into the table."""
        count, before = len(versions.orders), self.versions
        if self._sequence is None:
            versions = replace(versions, orders=np.arange(before, before + count, dtype=np.int64))
        self.versions += count

        def restore() -> None:
            self.versions = before

        undo.append(restore)
        rows = version_rows(versions.rows, versions.deleted, versions.orders, versions.from_us)
        outcome.changes.append((self.decl.versions_name, Change.inserts(rows)))
        old, new = self._hold(versions, undo)
        if len(old):
            outcome.changes.append((self.decl.name, Change.inserts(old).negated()))
        if len(new):
            outcome.changes.append((self.decl.name, Change.inserts(new)))

    def _hold(self, versions: _Versions, undo: Undo | None) -> tuple[pa.RecordBatch, pa.RecordBatch]:
        """Hold what is newer than what is held; return the rows that the table loses and gains."""
        newest = versions.newest()
        entries = self._index.find(newest.hi, newest.lo)
        stored = self._stored(entries, "sequence", NO_SEQUENCE)
        newer = (entries < 0) | (newest.orders > stored) | ((newest.orders == stored) & newest.deleted)
        if not newer.all():
            newest, entries = newest.take(np.flatnonzero(newer)), entries[newer]
        held = self._stored(entries, "row", GONE)
        same = ~newest.deleted & (held != GONE)
        same &= self._stored(entries, "content", 0).view(np.uint64) == newest.contents
        going, coming = held[(held != GONE) & ~same], np.flatnonzero(~newest.deleted & ~same)
        old, new = self._rows.take(going), newest.rows.take(pa.array(coming))
        self._put_down(newest, entries, np.where(same, held, GONE), going, coming, new, undo)
        return old, new

    def _put_down(
        self, newest: _Versions, entries: Entries, rows: Entries, going: Entries, coming: Entries,
        new: pa.RecordBatch, undo: Undo | None,
    ) -> None:  # fmt: skip
        """Write down what the table holds under each key: `rows`, or the new rows of those at `coming`."""
        known = entries >= 0
        old_entries = entries[known]
        before = {name: self._index.get(name, old_entries) for name in COLUMNS}
        count, end, gone = self._index.count, self._rows.end, self._gone
        entries = entries.copy()
        entries[~known] = self._index.add(newest.hi[~known], newest.lo[~known])
        self._rows.kill(going)
        rows[coming] = self._rows.append(new, entries[coming])
        self._index.put("row", entries, rows)
        self._index.put("content", entries, newest.contents.view(np.int64))
        self._index.put("sequence", entries, newest.orders)
        self._gone += int(newest.deleted.sum()) - int((before["row"] == GONE).sum())

        def restore() -> None:
            for name, values in before.items():
                self._index.put(name, old_entries, values)
            self._rows.cut(end)
            self._rows.revive(going)
            self._index.cut(count)
            self._gone = gone

        if undo is not None:
            undo.append(restore)

    def recover_versions(self, change: Change) -> None:
        """Take in versions that the log holds."""
        rows = change.rows
        width = len(self.decl.schema)
        deleted, orders, from_us = (rows.column(width + at) for at in range(3))
        versions = replace(
            self._versions_of(rows.select(range(width)), deleted.to_numpy(zero_copy_only=False)),
            orders=orders.to_numpy(zero_copy_only=False),
            from_us=from_us.view(pa.int64()).to_numpy(zero_copy_only=False),
        )
        if self._sequence is not None:
            placed = pc.is_valid(rows.column(self._sequence)).to_numpy(zero_copy_only=False)
            self._placed_before(versions if placed.all() else versions.take(np.flatnonzero(placed)), None)
        self.versions += len(orders)
        self._hold(versions, None)

    def unversioned(self) -> Change | None:
        """Return the rows held as their first versions, where the table has rows but no version: the log was
        written before versions were kept, or the table had no effective time then.
        """
        if self.versions or not self._rows.live:
            return None
        rows = pa.concat_batches([batch for batch, _ in self._rows.live_rows()])
        versions = self._versions_of(rows, np.zeros(rows.num_rows, dtype=np.bool_))
        orders = versions.orders if self._sequence is not None else np.arange(rows.num_rows, dtype=np.int64)
        return Change.inserts(version_rows(rows, versions.deleted, orders, versions.from_us))
