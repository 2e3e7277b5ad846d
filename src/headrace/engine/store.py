"""The consolidated, queryable content of a view; its upkeep costs what changed.

Rows lie in a heap. A row that goes is found by the id that its change carries, where the plan can tell rows
apart by itself (groups, ranks), or else by hash; that index is built when the first row goes or the first
point read comes.

Most versions of most views are read by nobody: what a step changes may wait, and go in with what the next
steps change, at the latest when the rows are asked for. A group that moved in every one of them moves once.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from threading import RLock
from typing import Any
from zlib import crc32

import numpy as np
import pyarrow as pa

from headrace.change import Change
from headrace.contracts.schema import Schema
from headrace.engine.columns import I64, U64, Bools, equal_rows, nonzero, views
from headrace.engine.growable import Growable
from headrace.engine.hash_index import HashIndex
from headrace.engine.hashing import hash_columns, hash_views
from headrace.engine.heap import Heap, Snapshot, expand
from headrace.engine.levels import WORTH_ROWS
from headrace.engine.pairs import equal_pairs
from headrace.engine.zset import consolidate

WAITING_MIN, WAITING_ROWS_MAX = 12, 4_096
"""So many changes at least and rows at most wait until they go in; how many changes differs from view to
view, so that no step has to put in those of all.
"""
LARGE_ROWS = WORTH_ROWS
"""A change of more rows may wait by itself, until another thread puts it in."""


class ViewStore:
    """A bag of rows.

    Args:
        schema: the columns.
        unique_key: columns that identify a row, if the plan guarantees it: they are the index for point
        reads.
    """

    def __init__(self, schema: Schema, unique_key: Sequence[str] | None = None) -> None:
        self.schema = schema
        self.unique_key = tuple(unique_key) if unique_key else None
        self._arrow = schema.arrow
        names = self.unique_key or schema.names
        self._index_columns = [schema.names.index(schema[name].name) for name in names]
        self._heap = Heap(self._arrow)
        self._index: HashIndex | None = None
        self._places: Growable[np.int64] | None = Growable(np.int64)
        self._row_count = 0
        self._snapshot: Snapshot | None = None
        self._exhibited: Snapshot | None = None
        self._waiting: list[Change] = []
        self._waiting_rows = 0
        self._waiting_max = WAITING_MIN + crc32(" ".join(schema.names).encode()) % WAITING_MIN
        self._misfit: Exception | None = None
        self._lock = RLock()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what readers hold; call `settle` before, while nobody else may."""
        return {**self.__dict__, "_snapshot": None, "_exhibited": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = RLock()

    # --- changing
    # ----------------------------------------------------------------------------------------------
    def put_off(self, change: Change, *, large_waits: bool = False) -> None:
        """Add a consolidated change at the latest when somebody asks for rows; a row that goes must be there,
        but if it is not, a later call may say so.

        Args:
            change: of any size; what is neither small nor `is_large` goes in at once.
            large_waits: a large one waits too; the caller has it put in soon, with `settle`.
        """
        with self._lock:
            misfit, self._misfit = self._misfit, None
            if misfit is not None:
                raise misfit
            if len(change) == 0:
                return
            self._snapshot = None
            try:
                if self._waiting_rows > WAITING_ROWS_MAX:  # a large one, of the step before
                    self.settle()
                waits = large_waits and is_large(change)
                if len(change) > WAITING_ROWS_MAX // 4 and not waits:
                    self.apply(change)
                    return
                self._waiting.append(change)
                self._waiting_rows += len(change)
                is_due = len(self._waiting) >= self._waiting_max or self._waiting_rows > WAITING_ROWS_MAX
                if is_due and not waits:
                    self.settle()
            except Exception:
                self._misfit = None  # said now
                raise

    def settle(self) -> None:
        """Put in what waits; afterwards nobody is at it until more is put off."""
        with self._lock:  # even where nothing waits: another reader may be half-way through it
            if self._misfit is not None:
                raise self._misfit
            if not self._waiting:
                return
            waiting, self._waiting, self._waiting_rows = self._waiting, [], 0
            large = [waiting.pop()] if is_large(waiting[-1]) else []
            try:
                with self._heap.watched():  # it may be a reader who puts it in
                    for change in (*_net(waiting), *large):
                        self._apply(change)
            except Exception as error:
                self._misfit = error
                self._row_count = sum(int(chunk.weights.sum()) for chunk in self._heap.chunks)
                raise

    def apply(self, change: Change) -> None:
        """Add a consolidated change; a row that goes must be there."""
        with self._lock:
            self.settle()
            self._apply(change)

    @property
    def row_count(self) -> int:
        """Rows, each as often as it counts."""
        with self._lock:
            self.settle()
            return self._row_count

    def _apply(self, change: Change) -> None:
        if len(change) == 0:
            return
        self._snapshot = None
        self._row_count += int(change.weights.sum())
        if change.ids is None:
            self._places = None
        gone = change.weights < 0
        if gone.any():
            self._remove(change.filter(gone))
            change = change.filter(~gone)
        if len(change):
            self._insert(change)

    def _insert(self, change: Change) -> None:
        numbers = self._heap.append(change.rows, change.weights)
        if self._index is not None:
            self._index.add(self._hashes(change.rows), numbers)
        if self._places is not None and change.ids is not None:
            self._places.resize(max(self._places.size, int(change.ids.max()) + 1))
            self._places.data[change.ids] = numbers

    def _remove(self, change: Change) -> None:
        if self._places is not None and change.ids is not None:
            numbers = self._places.data[change.ids]
            taken, empty = self._heap.lower(numbers, -change.weights)
            if not (empty.all() and (taken == -change.weights).all()):
                raise AssertionError("a row goes that the view does not hold")
            if self._index is not None:
                self._index.remove(self._hashes(change.rows), numbers)
        else:
            self._remove_by_hash(change)
        self._heap.compact()

    def _remove_by_hash(self, change: Change) -> None:
        index, hashes = self._indexed(), self._hashes(change.rows)
        pending, weights = np.arange(len(change), dtype=np.int64), -change.weights
        while len(pending):
            batch = change.rows if len(pending) == len(change) else change.rows.take(pa.array(pending))
            numbers = self._find(self._index_arrays(batch), hashes[pending])
            if (numbers < 0).any():
                raise AssertionError("a row goes that the view does not hold")
            unique, firsts = np.unique(numbers, return_index=True)
            taken, empty = self._heap.lower(unique, weights[pending[firsts]])
            index.remove(hashes[pending[firsts[empty]]], unique[empty])
            weights[pending[firsts]] -= taken
            pending = pending[weights[pending] > 0]

    # --- finding
    # -----------------------------------------------------------------------------------------------
    def _hashes(self, rows: pa.RecordBatch) -> U64:
        return hash_views(views(self._index_arrays(rows), exact=False), rows.num_rows)

    def _index_arrays(self, rows: pa.RecordBatch) -> list[pa.Array]:
        return [rows.column(at) for at in self._index_columns]

    def _indexed(self) -> HashIndex:
        """Return the index, built at the first need; it is there only when it is whole."""
        if self._index is None:
            index = HashIndex()
            for chunk in self._heap.chunks:
                live = nonzero(chunk.weights)
                index.add(self._hashes(chunk.rows)[live], chunk.numbers[live])
            self._index = index
        return self._index

    def _find(self, probes: Sequence[pa.Array], hashes: U64) -> I64:
        """Return the number of a live row for each probe of the index columns, −1 where there is none."""
        exact = self.unique_key is None
        every = np.arange(len(hashes), dtype=np.int64)

        def verify(rows: I64, numbers: I64) -> Bools:
            good = numbers >= 0
            known = nonzero(good)
            there = self._heap.gather(numbers[known], self._index_columns).columns
            at, asked = rows[known], probes
            if not np.array_equal(at, every):
                asked = [column.take(pa.array(at)) for column in probes]
            good[known] = equal_pairs(asked, there, len(at), exact=exact)
            return good

        return self._indexed().find(hashes, verify)

    # --- reading
    # -----------------------------------------------------------------------------------------------
    def freeze(self) -> Snapshot:
        """Return the present rows for readers, or those exhibited; costs the number of chunks."""
        if self._exhibited is not None:
            return self._exhibited
        with self._lock:
            self.settle()
            if self._snapshot is None:
                self._snapshot = Snapshot(self._arrow, self._heap.freeze(), self._row_count)
            return self._snapshot

    def exhibit(self) -> None:
        """Have readers get the rows of now, however `apply` changes them, until `end_exhibit`; where they are
        wrong, readers are told so, and the next change is.
        """
        with suppress(Exception):
            self._exhibited = self.freeze()

    def end_exhibit(self) -> None:
        """Have readers get the present rows again."""
        self._exhibited = None

    def snapshot(self) -> pa.Table:
        """Return the present rows; cached until the next change."""
        return self.freeze().table()

    def lookup(self, columns: Sequence[str], values: Sequence[Any]) -> pa.Table:
        """Return the rows whose columns equal the values; NULL equals NULL. By index for the unique key."""
        with self._lock:
            self.settle()
            return self._looked_up(columns, values)

    def _looked_up(self, columns: Sequence[str], values: Sequence[Any]) -> pa.Table:
        names = [self.schema[name].name for name in columns]
        wanted = pa.record_batch(
            [
                pa.array([value], self._arrow.field(name).type)
                for name, value in zip(names, values, strict=True)
            ],
            names,
        )
        if self.unique_key is not None and set(names) == {self.schema[name].name for name in self.unique_key}:
            probes = wanted.select([self.schema.names[at] for at in self._index_columns]).columns
            numbers = self._find(probes, hash_columns(probes, 1))
            rows = self._heap.gather(numbers[numbers >= 0])
            return pa.Table.from_batches([rows], schema=self._arrow)
        return self._scan(wanted)

    def _scan(self, wanted: pa.RecordBatch) -> pa.Table:
        probes = views(wanted.columns, exact=False)
        found = []
        for batch in self.snapshot().to_batches():
            rows = np.arange(batch.num_rows, dtype=np.int64)
            columns = views(batch.select(wanted.schema.names).columns, exact=False)
            same = equal_rows(columns, rows, probes, np.zeros(len(rows), dtype=np.int64))
            found.append(batch.filter(pa.array(same)))
        return pa.Table.from_batches(found, schema=self._arrow)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        with self._lock:
            self.settle()
            index = self._index.nbytes if self._index else 0
            return self._heap.nbytes + index + (self._places.nbytes if self._places else 0)


def is_large(change: Change) -> bool:
    """Whether a change has so many rows that readers need not wait until it is in the contents."""
    return len(change) > LARGE_ROWS


def _net(changes: list[Change]) -> list[Change]:
    """Return changes that follow each other as fewer ones that do the same."""
    if len(changes) < 2:
        return changes
    if all(change.ids is None for change in changes):
        whole = Change.concat(changes)
        return [whole if whole.is_append_only else consolidate(whole)]
    if any(change.ids is None for change in changes):
        return changes
    ids = np.concatenate([change.ids for change in changes if change.ids is not None])
    weights = np.concatenate([change.weights for change in changes])
    if (np.abs(weights) != 1).any():
        return changes
    turns = np.repeat(np.arange(len(changes)), [len(change) for change in changes])
    order = np.lexsort((weights, turns, ids))  # within a change a row goes before another comes in its place
    comes = weights[order] > 0
    goes_again = np.zeros(len(order), dtype=np.bool_)
    goes_again[:-1] = comes[:-1] & ~comes[1:] & (ids[order[1:]] == ids[order[:-1]])
    stays = ~goes_again
    stays[1:] &= ~goes_again[:-1]
    gone, come = order[stays & ~comes], order[stays & comes]  # an id that was let go may come twice
    kept = np.concatenate([gone, come])
    rows = pa.concat_batches([change.rows for change in changes]).take(pa.array(kept))
    return [Change(rows, weights[kept], ids[kept])]


__all__ = ["Snapshot", "ViewStore", "expand"]
