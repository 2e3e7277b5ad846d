"""The consolidated, queryable content of a view; its upkeep costs what changed.

Rows lie in chunks and are found by hash. A chunk's rows never change, only their weights; a chunk of which
half is gone is rewritten alone, small neighbours are merged. What a reader holds is never touched again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.change import Change
from headrace.contracts.schema import Schema
from headrace.engine.columns import I64, Bools, equal_rows, views
from headrace.engine.hash_index import HashIndex
from headrace.engine.hashing import hash_views

CHUNK_ROWS_MAX = 65_536
"""Chunks are merged up to this many rows."""
_MERGE_RATIO = 4


class Chunk:
    """Rows with ids that ascend; `ids[i]` is the id of row i, `weights[i]` its multiplicity, 0 when it is
    gone.
    """

    __slots__ = ("_live", "frozen", "gone", "ids", "rows", "weights")

    def __init__(self, ids: I64, rows: pa.RecordBatch, weights: I64) -> None:
        self.ids = ids
        self.rows = rows
        self.weights = weights
        self.gone = 0
        self.frozen = False
        self._live: pa.RecordBatch | None = None

    def live_rows(self) -> pa.RecordBatch:
        """Return the rows, each as often as it counts; safe for any thread once the chunk is frozen."""
        live = self._live
        if live is None:
            live = self._live = expand(self.rows, self.weights)
        return live

    def thawed(self) -> Chunk:
        """Return a chunk of the same rows whose weights may be written."""
        if not self.frozen:
            self._live = None
            return self
        copy = Chunk(self.ids, self.rows, self.weights.copy())
        copy.gone = self.gone
        return copy


def expand(rows: pa.RecordBatch, weights: I64) -> pa.RecordBatch:
    """Return rows repeated by weight; weights are not negative."""
    if len(weights) and (weights == 1).all():
        return rows
    live = np.flatnonzero(weights)
    counts = weights[live]
    positions = live if (counts == 1).all() else np.repeat(live, counts)
    return rows.take(pa.array(positions))


class Snapshot:
    """The rows of a view at one version; immutable, for any thread."""

    def __init__(self, schema: pa.Schema, chunks: tuple[Chunk, ...], rows: int) -> None:
        self._schema = schema
        self._chunks = chunks
        self.row_count = rows
        self._table: pa.Table | None = None
        self._lock = Lock()

    def table(self) -> pa.Table:
        """Return the rows; computed at the first call, for changed chunks only."""
        with self._lock:
            if self._table is None:
                self._table = pa.Table.from_batches(
                    [chunk.live_rows() for chunk in self._chunks], schema=self._schema
                )
            return self._table


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
        self._chunks: list[Chunk] = []
        self._firsts: I64 = np.empty(0, dtype=np.int64)
        self._index: HashIndex | None = None
        self._next_id = 0
        self.row_count = 0
        self._snapshot: Snapshot | None = None

    def apply(self, change: Change) -> None:
        """Add a consolidated change; a row that goes must be there."""
        if len(change) == 0:
            return
        self._snapshot = None
        self.row_count += int(change.weights.sum())
        gone = change.weights < 0
        if gone.any():
            self._remove(change.filter(gone))
            change = change.filter(~gone)
        if len(change):
            self._insert(change)

    # --- coming
    # ------------------------------------------------------------------------------------------------
    def _insert(self, change: Change) -> None:
        ids = np.arange(self._next_id, self._next_id + len(change), dtype=np.int64)
        self._next_id += len(change)
        self._chunks.append(Chunk(ids, change.rows, change.weights.copy()))
        if self._index is not None:
            self._index.add(self._hashes(change.rows), ids)
        self._merge_tail()
        self._note_chunks()

    def _hashes(self, rows: pa.RecordBatch) -> Any:
        return hash_views(views(self._index_arrays(rows), exact=False), rows.num_rows)

    def _index_arrays(self, rows: pa.RecordBatch) -> list[pa.Array]:
        return [rows.column(at) for at in self._index_columns]

    def _merge_tail(self) -> None:
        """Merge the last chunks while the newer is at least a quarter of the older."""
        chunks = self._chunks
        first = len(chunks) - 1
        size = len(chunks[first].ids)
        while first > 0 and _MERGE_RATIO * size >= len(chunks[first - 1].ids):
            if size + len(chunks[first - 1].ids) > CHUNK_ROWS_MAX:
                break
            first -= 1
            size += len(chunks[first].ids)
        if first < len(chunks) - 1:
            chunks[first:] = [_merged(chunks[first:])]

    def _note_chunks(self) -> None:
        self._firsts = np.array([chunk.ids[0] for chunk in self._chunks], dtype=np.int64)

    # --- going
    # -------------------------------------------------------------------------------------------------
    def _remove(self, change: Change) -> None:
        index = self._indexed()
        hashes = self._hashes(change.rows)
        pending, weights = np.arange(len(change), dtype=np.int64), -change.weights
        while len(pending):
            batch = change.rows if len(pending) == len(change) else change.rows.take(pa.array(pending))
            ids = index.find(hashes[pending], self._verifier(batch))
            if (ids < 0).any():
                raise AssertionError("a row goes that the view does not hold")
            unique, firsts = np.unique(ids, return_index=True)
            taken, empty = self._lower(unique, weights[pending[firsts]])
            index.remove(hashes[pending[firsts[empty]]], unique[empty])
            weights[pending[firsts]] -= taken
            pending = pending[weights[pending] > 0]
        self._compact()

    def _verifier(self, batch: pa.RecordBatch) -> Any:
        exact = self.unique_key is None
        probes = views(self._index_arrays(batch), exact=exact)

        def verify(rows: I64, ids: I64) -> Bools:
            known = ids >= 0
            good = np.zeros(len(rows), dtype=np.bool_)
            candidates = views(self._gather(ids[known], self._index_columns).columns, exact=exact)
            good[known] = equal_rows(probes, rows[known], candidates, np.arange(int(known.sum())))
            return good

        return verify

    def _indexed(self) -> HashIndex:
        """Return the index, built at the first need."""
        if self._index is None:
            self._index = HashIndex()
            for chunk in self._chunks:
                live = np.flatnonzero(chunk.weights)
                self._index.add(self._hashes(chunk.rows)[live], chunk.ids[live])
        return self._index

    def _located(self, ids: I64) -> Iterator[tuple[int, I64, I64]]:
        """Yield, chunk by chunk, the chunk's number, positions in `ids` and offsets in the chunk."""
        numbers = np.searchsorted(self._firsts, ids, side="right") - 1
        for number in np.unique(numbers).tolist():
            positions = np.flatnonzero(numbers == number)
            yield number, positions, np.searchsorted(self._chunks[number].ids, ids[positions])

    def _gather(self, ids: I64, columns: Sequence[int]) -> pa.RecordBatch:
        """Return those columns of the rows of those ids, in their order."""
        parts, order = [], []
        for number, positions, offsets in self._located(ids):
            rows = self._chunks[number].rows.select(list(columns))
            parts.append(rows.take(pa.array(offsets)))
            order.append(positions)
        if not parts:
            return pa.RecordBatch.from_pylist([], schema=self._arrow).select(list(columns))
        if len(parts) == 1:
            return parts[0]
        back = np.empty(len(ids), dtype=np.int64)
        back[np.concatenate(order)] = np.arange(len(ids))
        return pa.concat_batches(parts).take(pa.array(back))

    def _lower(self, ids: I64, weights: I64) -> tuple[I64, Bools]:
        """Lower the weights of rows by at most `weights`; return by how much, and which rows are gone."""
        taken, empty = np.empty(len(ids), dtype=np.int64), np.zeros(len(ids), dtype=np.bool_)
        for number, positions, offsets in self._located(ids):
            chunk = self._chunks[number] = self._chunks[number].thawed()
            there = chunk.weights[offsets]
            less = np.minimum(there, weights[positions])
            chunk.weights[offsets] = there - less
            taken[positions], empty[positions] = less, there == less
            chunk.gone += int((there == less).sum())
        return taken, empty

    def _compact(self) -> None:
        """Rewrite chunks of which at least half is gone, drop the empty ones."""
        if not any(2 * chunk.gone >= len(chunk.ids) for chunk in self._chunks):
            return
        kept = [_merged([chunk]) if 2 * chunk.gone >= len(chunk.ids) else chunk for chunk in self._chunks]
        self._chunks = [chunk for chunk in kept if len(chunk.ids)]
        self._note_chunks()

    # --- reading
    # -----------------------------------------------------------------------------------------------
    def freeze(self) -> Snapshot:
        """Return the present rows for readers; costs the number of chunks."""
        if self._snapshot is None:
            for chunk in self._chunks:
                chunk.frozen = True
            self._snapshot = Snapshot(self._arrow, tuple(self._chunks), self.row_count)
        return self._snapshot

    def snapshot(self) -> pa.Table:
        """Return the present rows; cached until the next change."""
        return self.freeze().table()

    def lookup(self, columns: Sequence[str], values: Sequence[Any]) -> pa.Table:
        """Return the rows whose columns equal the values; NULL equals NULL. By index for the unique key."""
        names = [self.schema[name].name for name in columns]
        wanted = pa.record_batch(
            [
                pa.array([value], self._arrow.field(name).type)
                for name, value in zip(names, values, strict=True)
            ],
            names,
        )
        if self.unique_key is not None and set(names) == {self.schema[name].name for name in self.unique_key}:
            ordered = wanted.select([self.schema.names[at] for at in self._index_columns])
            return self._lookup_key(ordered)
        return self._lookup_scan(wanted)

    def _lookup_key(self, wanted: pa.RecordBatch) -> pa.Table:
        probes = views(wanted.columns, exact=False)

        def verify(rows: I64, ids: I64) -> Bools:
            good = ids >= 0
            there = views(self._gather(ids[good], self._index_columns).columns, exact=False)
            good[good] = equal_rows(probes, rows[good], there, np.arange(int(good.sum())))
            return good

        ids = self._indexed().find(hash_views(probes, 1), verify)
        rows = self._gather(ids[ids >= 0], range(len(self.schema)))
        return pa.Table.from_batches([rows], schema=self._arrow)

    def _lookup_scan(self, wanted: pa.RecordBatch) -> pa.Table:
        table = self.snapshot()
        probes = views(wanted.columns, exact=False)
        found = []
        for batch in table.to_batches():
            rows = np.arange(batch.num_rows, dtype=np.int64)
            columns = views(batch.select(wanted.schema.names).columns, exact=False)
            same = equal_rows(columns, rows, probes, np.zeros(len(rows), dtype=np.int64))
            found.append(batch.filter(pa.array(same)))
        return pa.Table.from_batches(found, schema=self._arrow)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        rows = sum(chunk.rows.nbytes + chunk.weights.nbytes + chunk.ids.nbytes for chunk in self._chunks)
        return int(rows + (self._index.nbytes if self._index else 0))


def _merged(chunks: Sequence[Chunk]) -> Chunk:
    """Return neighbouring chunks as one, without the rows that are gone."""
    ids = np.concatenate([chunk.ids for chunk in chunks])
    weights = np.concatenate([chunk.weights for chunk in chunks])
    rows = pa.concat_batches([chunk.rows for chunk in chunks]) if len(chunks) > 1 else chunks[0].rows
    if any(chunk.gone for chunk in chunks):
        live = np.flatnonzero(weights)
        ids, weights, rows = ids[live], weights[live], rows.take(pa.array(live))
    return Chunk(ids, rows, weights)
