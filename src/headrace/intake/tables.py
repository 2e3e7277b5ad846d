"""The door of one keyed table: upserts and deletes become changes, -1 for the old row and +1 for the new one.

Within one call the last upsert of a key wins. With `sequence`, a row whose sequence is older than that of
the row held, or of the last one deleted, changes nothing and is told as *repeated*; an equal sequence
overwrites.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from headrace.change import Change
from headrace.declarations import TableDecl
from headrace.errors import DeclarationError
from headrace.intake.calls import CheckedRows
from headrace.intake.digest import Digests, Hasher, repeats
from headrace.intake.event_ids import Undo
from headrace.intake.index import DigestIndex, Entries
from headrace.intake.rowstore import RowStore
from headrace.intake.streams import ACCEPTED, REPEATED, Outcome

GONE = -1
GONE_KEPT = 1 << 16
"""Keys of deleted rows that the index may hold before it is rebuilt without them."""
COLUMNS = ("row", "content", "sequence")
NO_SEQUENCE = np.iinfo(np.int64).min
Mask = npt.NDArray[np.bool_]


class KeyedTable:
    """What the intake holds of a table with a key: every row, found by key. Not thread-safe.

    Raises:
        DeclarationError: the sequence column has a type that is not ordered in 64 bits.
    """

    def __init__(self, decl: TableDecl, hasher: Hasher) -> None:
        if decl.key is None:
            raise AssertionError("a bag is kept by BagTable")
        self.decl = decl
        self._hasher = hasher
        self._key = [decl.schema[name].name for name in decl.key]
        self._sequence = decl.schema[decl.sequence].name if decl.sequence else None
        if self._sequence is not None:
            _check_sequence(decl, self._sequence)
        self._index = DigestIndex(COLUMNS)
        self._rows = RowStore(decl.schema.arrow)
        self._gone = 0

    def __len__(self) -> int:
        return self._rows.live

    # --- decisions ----------------------------------------------------------------------------------
    def upsert(self, rows: CheckedRows, undo: Undo) -> Outcome:
        """Decide about one call of `upsert` and apply it."""
        outcome = Outcome.accepting(self.decl.schema, rows)
        at, batch = self._usable(rows, outcome, with_sequence=True)
        if not len(at):
            return outcome
        digests = self._hasher.rows(batch)
        (hi, lo), contents = digests.keys(self._key), digests.contents().view(np.int64)
        sequences = self._sequences(batch)
        entries = self._index.find(hi, lo)
        winners, older = _winners(hi, lo, sequences, self._stored(entries, "sequence", NO_SEQUENCE))
        outcome.statuses[at[older]] = REPEATED
        held = self._stored(entries[winners], "row", GONE)
        same = held != GONE
        same[same] = self._index.get("content", entries[winners][same]) == contents[winners][same]
        outcome.statuses[at[winners[same]]] = REPEATED
        changed, held = winners[~same], held[~same]
        if not len(changed):
            return outcome
        old, new = held[held != GONE], batch.take(pa.array(changed))
        if len(old):
            outcome.changes.append((self.decl.name, Change.inserts(self._rows.take(old)).negated()))
        outcome.changes.append((self.decl.name, Change.inserts(new)))
        place = _Place(hi[changed], lo[changed], entries[changed], contents[changed], sequences[changed])
        self._put(place, new, old, undo)
        return outcome

    def delete(self, rows: CheckedRows, undo: Undo) -> Outcome:
        """Decide about one call of `delete`; only the key columns (and the sequence, if given) are read."""
        outcome = Outcome.accepting(self.decl.schema, rows)
        with_sequence = self._sequence is not None and self._sequence in rows.batch.schema.names
        at, batch = self._usable(rows, outcome, with_sequence=False)
        if not len(at):
            return outcome
        hi, lo = self._hasher.rows(batch.select(self._key)).keys(self._key)
        entries = self._index.find(hi, lo)
        held = self._stored(entries, "row", GONE)
        going = held != GONE
        if with_sequence:
            given = as_int64(batch.column(self._sequence))
            older = going & (given != NO_SEQUENCE) & (given < self._stored(entries, "sequence", NO_SEQUENCE))
            outcome.statuses[at[older]] = REPEATED
            going &= ~older
        else:
            older = np.zeros(len(at), dtype=np.bool_)
        gone = np.flatnonzero(going)
        firsts = repeats(hi[gone], lo[gone])
        if firsts is not None:
            going[gone[firsts != np.arange(len(gone))]] = False
        unknown = np.zeros(rows.batch.num_rows, dtype=np.bool_)
        unknown[at[~going & ~older]] = True
        outcome.reject(rows, unknown, self._key[0], "the table holds no row with this key")
        if going.any():
            old = held[going]
            outcome.changes.append((self.decl.name, Change.inserts(self._rows.take(old)).negated()))
            self._remove(entries[going], old, undo)
        return outcome

    def _usable(
        self, rows: CheckedRows, out: Outcome, *, with_sequence: bool
    ) -> tuple[Entries, pa.RecordBatch]:
        """Reject rows with a NULL where none may be; return the others and their places."""
        for name in self._key:
            out.reject(rows, _open_nulls(rows, name, out), name, "the key is NULL")
        if with_sequence and self._sequence is not None:
            name = self._sequence
            out.reject(rows, _open_nulls(rows, name, out), name, "the sequence is NULL")
        at = np.flatnonzero(out.statuses == ACCEPTED)
        whole = len(at) == rows.batch.num_rows
        return at, rows.batch if whole else rows.batch.take(pa.array(at))

    def _sequences(self, batch: pa.RecordBatch) -> Entries:
        if self._sequence is None:
            return np.full(batch.num_rows, NO_SEQUENCE, dtype=np.int64)
        return as_int64(batch.column(self._sequence))

    def _stored(self, entries: Entries, column: str, absent: int) -> Entries:
        values = np.full(len(entries), absent, dtype=np.int64)
        known = entries >= 0
        values[known] = self._index.get(column, entries[known])
        return values

    # --- state --------------------------------------------------------------------------------------
    def _put(self, place: _Place, new: pa.RecordBatch, old: Entries, undo: Undo | None) -> None:
        """Hold `new` under its keys in place of the rows `old`."""
        known = place.entries >= 0
        old_entries = place.entries[known]
        before = {name: self._index.get(name, old_entries) for name in COLUMNS}
        count, end, gone = self._index.count, self._rows.end, self._gone
        entries = place.entries.copy()
        entries[~known] = self._index.add(place.hi[~known], place.lo[~known])
        self._gone -= int((before["row"] == GONE).sum())
        self._rows.kill(old)
        self._index.put("row", entries, self._rows.append(new, entries))
        self._index.put("content", entries, place.contents)
        self._index.put("sequence", entries, place.sequences)

        def restore() -> None:
            for name, values in before.items():
                self._index.put(name, old_entries, values)
            self._rows.cut(end)
            self._rows.revive(old)
            self._index.cut(count)
            self._gone = gone

        if undo is not None:
            undo.append(restore)

    def _remove(self, entries: Entries, old: Entries, undo: Undo | None) -> None:
        self._rows.kill(old)
        self._index.put("row", entries, np.full(len(entries), GONE, dtype=np.int64))
        self._gone += len(entries)

        def restore() -> None:
            self._index.put("row", entries, old)
            self._rows.revive(old)
            self._gone -= len(entries)

        if undo is not None:
            undo.append(restore)

    def recover(self, change: Change) -> None:
        """Apply what the log says: per key the last row counts, held or gone by its weight."""
        hi, lo = self._hasher.rows(change.rows.select(self._key)).keys(self._key)
        firsts = repeats(hi[::-1].copy(), lo[::-1].copy())
        last = np.arange(len(hi))
        if firsts is not None:
            last = np.sort(len(hi) - 1 - np.flatnonzero(firsts == np.arange(len(hi))))
        stays = change.weights[last] > 0
        put, gone = last[stays], last[~stays]
        entries = self._index.find(hi[gone], lo[gone])
        self._recover_gone(change.rows.take(pa.array(gone)), hi[gone], lo[gone], entries)
        if len(put):
            rows = change.rows.take(pa.array(put))
            entries = self._index.find(hi[put], lo[put])
            held = self._stored(entries, "row", GONE)
            contents = self._hasher.rows(rows).contents().view(np.int64)
            place = _Place(hi[put], lo[put], entries, contents, self._sequences(rows))
            self._put(place, rows, held[held != GONE], None)

    def _recover_gone(self, rows: pa.RecordBatch, hi: Digests, lo: Digests, entries: Entries) -> None:
        held = self._stored(entries, "row", GONE)
        live = held != GONE
        self._remove(entries[live], held[live], None)
        if self._sequence is None:
            return
        new = entries < 0  # came and went within the rows at hand: only its sequence is still of use
        entries = entries.copy()
        entries[new] = self._index.add(hi[new], lo[new])
        self._gone += int(new.sum())
        self._index.put("row", entries[new], np.full(int(new.sum()), GONE, dtype=np.int64))
        self._index.put("content", entries[new], np.zeros(int(new.sum()), dtype=np.int64))
        self._index.put("sequence", entries, self._sequences(rows))

    def tidy(self) -> None:
        """Free one slice of what is dead; to be called when nothing may have to be taken back."""
        moved = self._rows.evacuate()
        if moved is not None:
            self._index.put("row", *moved)
        if self._sequence is None and self._gone > max(self._rows.live, GONE_KEPT):
            self._forget_gone()

    def _forget_gone(self) -> None:
        hi, lo, entries = self._index.all()
        live = self._index.get("row", entries) != GONE
        index, rows = DigestIndex(COLUMNS), RowStore(self._rows.schema)
        new = np.full(len(entries), GONE, dtype=np.int64)
        new[live] = index.add(hi[live], lo[live])
        index.put("content", new[live], self._index.get("content", entries[live]))
        index.put("sequence", new[live], self._index.get("sequence", entries[live]))
        for batch, owners in self._rows.live_rows():
            index.put("row", new[owners], rows.append(batch, new[owners]))
        self._index, self._rows, self._gone = index, rows, 0

    def holds(self, rows: pa.RecordBatch) -> Mask:
        """Return which rows have a key under which a row is held."""
        entries = self._index.find(*self._hasher.rows(rows).keys(self._key))
        held: Mask = self._stored(entries, "row", GONE) != GONE
        return held

    def contents(self) -> pa.Table:
        """Return the rows held, in no particular order."""
        return pa.Table.from_batches([rows for rows, _ in self._rows.live_rows()], schema=self._rows.schema)


class _Place:
    """Where rows go: their keys' digests and entries (-1: new), contents and sequences."""

    __slots__ = ("contents", "entries", "hi", "lo", "sequences")

    def __init__(
        self, hi: Digests, lo: Digests, entries: Entries, contents: Entries, sequences: Entries
    ) -> None:
        self.hi, self.lo, self.entries, self.contents, self.sequences = hi, lo, entries, contents, sequences


def _open_nulls(rows: CheckedRows, name: str, outcome: Outcome) -> Mask:
    column = rows.batch.column(name)
    if not column.null_count:
        return np.zeros(rows.batch.num_rows, dtype=np.bool_)
    null: Mask = pc.is_null(column).to_numpy(zero_copy_only=False).copy()
    null &= outcome.statuses == ACCEPTED
    return null


def _winners(hi: Digests, lo: Digests, sequences: Entries, stored: Entries) -> tuple[Entries, Mask]:
    """Return the rows that hold after a call, one a key, and which are older than what stood before."""
    firsts = repeats(hi, lo)
    older = sequences < stored
    if firsts is None:
        return np.flatnonzero(~older), older
    order = np.lexsort((np.arange(len(firsts)), firsts))
    starts = np.flatnonzero(np.diff(firsts[order], prepend=-1))
    ranks = np.unique(np.concatenate([sequences, stored]), return_inverse=True)[1]
    rank, rank_stored = ranks[: len(sequences)][order], ranks[len(sequences) :][order]
    group = np.cumsum(np.diff(firsts[order], prepend=-1) != 0) - 1
    lifted = np.maximum(rank, rank_stored) + group * (len(ranks) + 1)
    highest = np.maximum.accumulate(lifted) - group * (len(ranks) + 1)
    before = np.empty_like(highest)
    before[1:] = highest[:-1]
    before[starts] = rank_stored[starts]
    effective = rank >= before
    older = np.empty(len(firsts), dtype=np.bool_)
    older[order] = ~effective
    last = np.full(len(starts), -1, dtype=np.int64)
    np.maximum.at(last, group[effective], np.flatnonzero(effective))
    return np.sort(order[last[last >= 0]]), older


def _check_sequence(decl: TableDecl, name: str) -> None:
    kind = decl.schema[name].arrow
    fits = pa.types.is_integer(kind) or pa.types.is_date(kind) or pa.types.is_timestamp(kind)
    if not fits and not (pa.types.is_decimal(kind) and kind.precision <= 18):
        raise DeclarationError(
            f"the sequence column {name!r} has type {decl.schema[name].sql_type}",
            where=f"table {decl.name}",
            expected="an integer, a DECIMAL of at most 18 digits, a DATE or a TIMESTAMP",
        )


def as_int64(column: pa.Array) -> Entries:
    """Return values of an ordered type as int64 in the same order, `NO_SEQUENCE` for NULL."""
    kind = column.type
    if pa.types.is_uint64(kind):
        bits = pc.fill_null(column, 0).to_numpy(zero_copy_only=False) ^ np.uint64(1 << 63)
        numbers = pa.array(bits.view(np.int64), mask=pc.is_null(column).to_numpy(zero_copy_only=False))
    elif pa.types.is_decimal(kind):
        numbers = _unscaled(column)
    elif pa.types.is_date(kind):
        numbers = column.cast(pa.date32()).view(pa.int32()).cast(pa.int64())
    elif pa.types.is_timestamp(kind):
        numbers = column.view(pa.int64())
    else:
        numbers = column.cast(pa.int64())
    values: Entries = pc.fill_null(numbers, NO_SEQUENCE).to_numpy(zero_copy_only=False)
    return values


def _unscaled(column: pa.Array) -> pa.Array:
    """Return decimals of at most 18 digits as the integers that Arrow keeps for them, 16 bytes each."""
    wide = column.cast(pa.decimal128(column.type.precision, column.type.scale))
    halves = np.frombuffer(wide.buffers()[1], dtype=np.int64)
    numbers = halves[2 * wide.offset : 2 * (wide.offset + len(wide)) : 2]
    return pa.array(numbers, mask=pc.is_null(column).to_numpy(zero_copy_only=False))
