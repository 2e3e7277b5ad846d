"""Rows in chunks, under numbers that never change; what a reader holds is never touched again.

A chunk's rows never change, only their weights; a chunk of which half is gone is rewritten alone, small
neighbours are merged. So a change costs what changed, and no step rebuilds the whole. Texts that repeat
within a large chunk are kept once; who reads rows gets them written out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.change import empty_rows
from headrace.engine.columns import I64, Bools, nonzero, take
from headrace.engine.memory import Memory, held
from headrace.engine.packed import ROWS_MIN, is_packed, packed, plain
from headrace.engine.places import ROWS_MIN as KEYED_ROWS_MIN
from headrace.engine.places import Places, Wanted, fewest, wanted_hashes

CHUNK_ROWS_MAX = 65_536
"""Chunks are merged up to this many rows."""
PACKED_FROM_ROWS = 1_000_000
"""A heap packs its texts once it has taken in more rows than this, or where memory is bounded."""
_SMALL = 8_192
"""Chunks of so many rows are merged less eagerly: rows are wide, and each merge copies them."""
_SPAN_MAX, _PROBED = 8, 16
"""A chunk with gaps of up to 8 numbers a row has a table of offsets, once a 16th of its rows is asked for."""
_MANY, _BLOCK_BITS, _FEW_CHUNKS = 2_048, 12, 8
"""So many numbers are worth a table of the chunks by blocks of 2^12 numbers."""


class Chunk:
    """Rows with numbers that ascend, and weights; weight 0: the row is gone."""

    __slots__ = (
        "_bytes",
        "_filed",
        "_gaps",
        "_live",
        "_live_bytes",
        "_plain",
        "_table",
        "first",
        "frozen",
        "gone",
        "places",
        "rows",
        "used",
        "weights",
    )

    def __init__(
        self,
        numbers: I64,
        rows: pa.RecordBatch,
        weights: npt.NDArray[Any],
        packed_from: pa.Schema | None = None,
    ) -> None:
        self.first = int(numbers[0]) if len(numbers) else 0
        self._gaps = _gaps(numbers)
        self.rows = rows
        self.weights = weights
        self.gone = 0
        self.frozen = False
        self._plain = packed_from
        self._live: pa.RecordBatch | None = None
        self._live_bytes = 0
        self._table: npt.NDArray[np.int32] | None = None
        self.places: dict[int, Places] = {}
        self.used = 0
        self._bytes: int | None = None
        self._filed = False

    def __len__(self) -> int:
        return len(self.weights)

    def __reduce__(self) -> tuple[Any, ...]:
        return _chunk, (self.first, self._gaps, self.rows, self.weights, self.gone, self._plain)

    @property
    def numbers(self) -> I64:
        """The rows' numbers."""
        if self._gaps is None:
            return np.arange(self.first, self.first + len(self), dtype=np.int64)
        return self._gaps + np.int64(self.first)

    def live_rows(self, *, keep: bool = True) -> pa.RecordBatch:
        """Return the rows, each as often as it counts, and keep them for the next reader, unless nobody is
        about to ask again; safe for any thread once the chunk is frozen.
        """
        live = self._live
        if live is None:
            live = expand(self.rows, self.weights)
            live = live if self._plain is None else plain(live, self._plain)
            if keep:
                self._live, self._live_bytes = live, 0 if live is self.rows else live.nbytes
        return live

    def take(self, offsets: I64, columns: Sequence[int] | None = None) -> pa.RecordBatch:
        """Return the rows that stand there; some columns or all."""
        rows, schema = self.rows, self._plain
        if columns is not None:
            rows = rows.select(list(columns))
            schema = None if schema is None else pa.schema([schema.field(at) for at in columns])
        found = take(rows, offsets)
        return found if schema is None else plain(found, schema)

    def rows_where(self, wanted: Wanted) -> pa.RecordBatch:
        """Return at least the rows, each as often as it counts, in which columns have what is wanted; where
        those are many, all rows. As safe as `live_rows`.
        """
        found = None
        if len(self) >= KEYED_ROWS_MIN:
            found = fewest((self._places_of(at) for at in wanted), wanted.values(), len(self))
        return self.live_rows() if found is None else expand(self.take(found), self.weights[found])

    def _places_of(self, column: int) -> Places:
        places = self.places.get(column)
        if places is None:
            places = Places(self.take(np.arange(len(self)), [column]).column(0))
            self.places = {**self.places, column: places}
        return places

    def offsets_of(self, numbers: I64) -> I64:
        """Return where the rows of some numbers stand."""
        offsets: I64 = numbers - self.first
        mine = self._gaps
        if mine is None:
            return offsets
        span = int(mine[-1]) + 1
        table = self._table
        if table is None and span <= _SPAN_MAX * len(mine) and _PROBED * len(numbers) >= len(mine):
            table = np.zeros(span, dtype=np.int32)
            table[mine] = np.arange(len(mine), dtype=np.int32)
            self._table = table  # not before it is whole: other threads may look
        if table is None:
            return np.searchsorted(mine, offsets.astype(mine.dtype))
        return table[offsets].astype(np.int64)

    def thawed(self) -> Chunk:
        """Return a chunk of the same rows whose weights may be written."""
        if not self.frozen:
            self._live = None
            return self
        copy = _chunk(self.first, self._gaps, self.rows, self.weights.copy(), self.gone, self._plain)
        copy.used, copy._table, copy.places = self.used, self._table, self.places
        copy._filed = self._filed
        return copy

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        gaps = 0 if self._gaps is None else self._gaps.nbytes
        return int(self.rows.nbytes + self.weights.nbytes + gaps)

    @property
    def resident_bytes(self) -> int:
        """Bytes that are in memory and not in a file."""
        if self._bytes is None:
            self._bytes = self.weights.nbytes if self._filed else self.nbytes
        beside = self._live_bytes if self._live is not None else 0
        return self._bytes + beside + sum(places.nbytes for places in self.places.values())

    def put_aside(self, memory: Memory) -> None:
        """Lie in files from now on, and keep nothing beside."""
        if not self._filed:
            self.rows = memory.batch(self.rows)
            self._gaps = None if self._gaps is None else memory.array(self._gaps)
            self._filed = True
        if self._bytes != 0:
            self.weights = memory.array(self.weights, changes=True)
        self._live, self._table, self._bytes, self.places = None, None, 0, {}


def _chunk(
    first: int,
    gaps: npt.NDArray[Any] | None,
    rows: pa.RecordBatch,
    weights: npt.NDArray[Any],
    gone: int,
    packed_from: pa.Schema | None,
) -> Chunk:
    chunk = Chunk(np.empty(0, dtype=np.int64), rows, weights, packed_from)
    chunk.first, chunk._gaps, chunk.gone = first, gaps, gone
    return chunk


def _gaps(numbers: I64) -> npt.NDArray[Any] | None:
    """Return how far numbers lie from the first of them; None where they follow each other."""
    if len(numbers) == 0 or int(numbers[-1]) - int(numbers[0]) + 1 == len(numbers):
        return None
    gaps: I64 = numbers - numbers[0]
    return gaps.astype(np.uint32) if gaps[-1] < 2**32 else gaps


def _narrow(weights: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a copy of weights, in a byte each where they fit: most rows count once."""
    fits = len(weights) == 0 or (weights.min() >= 0 and weights.max() <= 127)
    return weights.astype(np.int8 if fits else np.int64)


def expand(rows: pa.RecordBatch, weights: npt.NDArray[Any]) -> pa.RecordBatch:
    """Return rows repeated by weight; weights are not negative."""
    if len(weights) == 0 or (weights == 1).all():
        return rows
    live = nonzero(weights)
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

    def table(self, *, keep: bool = True) -> pa.Table:
        """Return the rows; computed at the first call, for changed chunks only. Without `keep` nothing stays
        in memory for the next call.
        """
        with self._lock:
            if self._table is not None:
                return self._table
            batches = [chunk.live_rows(keep=keep) for chunk in self._chunks]
            table = pa.Table.from_batches(batches, schema=self._schema)
            self._table = table if keep else None
            return table

    def where(self, equal: Mapping[str, Sequence[Any]]) -> pa.Table:
        """Return at least the rows in which every column named has one of its values, and not all others:
        what a query reads that asks for those alone. It costs what it finds, and what has changed since the
        last time that such a column was asked for.
        """
        wanted = wanted_hashes(equal, self._schema)
        batches = [chunk.rows_where(wanted) for chunk in self._chunks]
        return pa.Table.from_batches([batch for batch in batches if batch.num_rows], schema=self._schema)


class Heap:
    """Rows by number; numbers are given out ascending and never again.

    Args:
        schema: the rows' columns.
        chunk_rows_max: chunks are merged up to this many rows.
    """

    def __init__(self, schema: pa.Schema, chunk_rows_max: int = CHUNK_ROWS_MAX) -> None:
        self.schema = schema
        self._chunk_rows_max = chunk_rows_max
        self.chunks: list[Chunk] = []
        self._firsts: I64 = np.empty(0, dtype=np.int64)
        self._blocks: I64 | None = None
        self._next = 0
        self._memory = held(self)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_memory": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._memory = held(self)

    def watched(self) -> AbstractContextManager[None]:
        """Count what is made inside the block, as a step does."""
        return nullcontext() if self._memory is None else self._memory.watching()

    @property
    def _packs(self) -> bool:
        """Whether large chunks are packed: that costs more than taking rows in does."""
        return self._memory is not None or self._next > PACKED_FROM_ROWS

    def parts(self) -> Iterator[Chunk]:
        """Yield the chunks, for the bound on memory."""
        yield from self.chunks

    def append(self, rows: pa.RecordBatch, weights: I64) -> I64:
        """Add rows; return their numbers."""
        numbers = np.arange(self._next, self._next + rows.num_rows, dtype=np.int64)
        self._next += rows.num_rows
        self.chunks.append(_made(numbers, [rows], weights, self.schema, packs=self._packs))
        self._merge_tail()
        if self._memory is not None:
            self.chunks[-1].used = self._memory.now
        self._note_chunks()
        return numbers

    def _merge_tail(self) -> None:
        """Merge the last chunks while the newer is at least a quarter of the older, or half, where they are
        large.
        """
        chunks = self.chunks
        first = len(chunks) - 1
        size = len(chunks[first])
        while first > 0 and _merge_ratio(size) * size >= len(chunks[first - 1]):
            if size + len(chunks[first - 1]) > self._chunk_rows_max:
                break
            first -= 1
            size += len(chunks[first])
        if first < len(chunks) - 1:
            chunks[first:] = [_merged(chunks[first:], self.schema, packs=self._packs)]

    def _note_chunks(self) -> None:
        self._blocks = None
        self._firsts = np.array([chunk.first for chunk in self.chunks], dtype=np.int64)

    def _places(self, numbers: I64) -> I64:
        """Return the place of the chunk of each number.

        Many numbers are looked up in a table of the chunk in which each block of numbers begins, and moved on
        from there; that is several times quicker than as many binary searches.
        """
        if len(numbers) < _MANY:
            return np.searchsorted(self._firsts, numbers, side="right") - 1
        start = self._firsts[0]
        if self._blocks is None:
            edges = np.arange(start, self._next + 1, 1 << _BLOCK_BITS)
            self._blocks = np.searchsorted(self._firsts, edges, side="right") - 1
        places: I64 = self._blocks[(numbers - start) >> _BLOCK_BITS]
        following = np.append(self._firsts[1:], np.iinfo(np.int64).max)
        moving = nonzero(following[places] <= numbers)
        while len(moving):
            places[moving] += 1
            moving = moving[following[places[moving]] <= numbers[moving]]
        return places

    def _by_place(self, numbers: I64, lowest: int, highest: int) -> Iterator[tuple[int, I64]]:
        """Yield the places of chunks that are met, and the positions in `numbers` that meet them."""
        if lowest == highest:
            yield lowest, np.arange(len(numbers))
            return
        places = self._places(numbers)
        if highest - lowest < _FEW_CHUNKS:
            for place in range(lowest, highest + 1):
                positions = nonzero(places == place)
                if len(positions):
                    yield place, positions
            return
        narrow = places.astype(np.uint16) if highest < 65_536 else places
        order = np.argsort(narrow, kind="stable")
        ordered = places[order]
        starts = nonzero(np.append(True, ordered[1:] != ordered[:-1]))
        for first, last in zip(starts, np.append(starts[1:], len(order)), strict=True):
            yield int(ordered[first]), order[first:last]

    def _located(self, numbers: I64) -> Iterator[tuple[int, I64, I64]]:
        """Yield, chunk by chunk, the chunk's place, positions in `numbers` and offsets in the chunk."""
        if len(numbers) == 0:
            return
        ends = np.searchsorted(self._firsts, [numbers.min(), numbers.max()], side="right") - 1
        lowest, highest = int(ends[0]), int(ends[1])
        for place, positions in self._by_place(numbers, lowest, highest):
            if self._memory is not None:
                self.chunks[place].used = self._memory.now
            yield place, positions, self.chunks[place].offsets_of(numbers[positions])

    def gather(self, numbers: I64, columns: Sequence[int] | None = None) -> pa.RecordBatch:
        """Return the rows of those numbers, in their order; some columns or all."""
        wanted = range(len(self.schema)) if columns is None else columns
        parts, order = self.by_chunk(numbers, columns)
        if not parts:
            return empty_rows(self.schema).select(list(wanted))
        if len(parts) == 1:
            return parts[0]
        back = np.empty(len(numbers), dtype=np.int64)
        back[order] = np.arange(len(numbers))
        return take(pa.concat_batches(parts), back)

    def by_chunk(
        self, numbers: I64, columns: Sequence[int] | None = None
    ) -> tuple[list[pa.RecordBatch], I64]:
        """Return the rows of those numbers in parts, and the position of each in `numbers`: where the order
        does not matter, rows are copied once less.
        """
        parts, order = [], [np.empty(0, dtype=np.int64)]
        for place, positions, offsets in self._located(numbers):
            parts.append(self.chunks[place].take(offsets, columns))
            order.append(positions)
        return parts, np.concatenate(order)

    def lower(self, numbers: I64, weights: I64) -> tuple[I64, Bools]:
        """Lower the weights of rows by at most `weights`; return by how much, and which rows are gone.

        No number may stand twice. `compact` afterwards.
        """
        taken, empty = np.empty(len(numbers), dtype=np.int64), np.zeros(len(numbers), dtype=np.bool_)
        for place, positions, offsets in self._located(numbers):
            with nullcontext() if self._memory is None else self._memory.still:
                chunk = self.chunks[place] = self.chunks[place].thawed()
                there = chunk.weights[offsets]
                less = np.minimum(there, weights[positions])
                chunk.weights[offsets] = there - less
            taken[positions], empty[positions] = less, there == less
            chunk.gone += int((there == less).sum())
        return taken, empty

    def compact(self) -> None:
        """Rewrite chunks of which at least half is gone, drop the empty ones."""
        if not any(2 * chunk.gone >= len(chunk) for chunk in self.chunks):
            return
        self.chunks = [
            _merged([chunk], self.schema, packs=self._packs) if 2 * chunk.gone >= len(chunk) else chunk
            for chunk in self.chunks
            if chunk.gone < len(chunk)
        ]
        self._note_chunks()

    def freeze(self) -> tuple[Chunk, ...]:
        """Return the present chunks for readers; costs the number of chunks."""
        for chunk in self.chunks:
            chunk.frozen = True
        return tuple(self.chunks)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(chunk.nbytes for chunk in self.chunks)


def _merge_ratio(size: int) -> int:
    return 4 if size < _SMALL else 2


def _merged(chunks: Sequence[Chunk], schema: pa.Schema, *, packs: bool) -> Chunk:
    """Return neighbouring chunks as one, without the rows that are gone."""
    numbers = np.concatenate([chunk.numbers for chunk in chunks])
    weights = np.concatenate([chunk.weights for chunk in chunks])
    parts = [chunk.rows for chunk in chunks]
    if any(chunk.gone for chunk in chunks):
        live = nonzero(weights)
        numbers, weights = numbers[live], weights[live]
        parts = [
            chunk.rows.take(pa.array(nonzero(chunk.weights))) if chunk.gone else chunk.rows
            for chunk in chunks
        ]
    return _made(numbers, parts, weights, schema, packs=packs)


def _made(
    numbers: I64,
    parts: Sequence[pa.RecordBatch],
    weights: npt.NDArray[Any],
    schema: pa.Schema,
    *,
    packs: bool,
) -> Chunk:
    """Return a chunk of rows; with `packs`, texts that repeat are kept once where there are many."""
    packs = packs and len(numbers) >= ROWS_MIN
    if not packs and not any(is_packed(part, schema) for part in parts):
        rows = parts[0] if len(parts) == 1 else pa.concat_batches(parts)
        return Chunk(numbers, rows, _narrow(weights))
    rows = packed(parts, schema)
    return Chunk(numbers, rows, _narrow(weights), schema if is_packed(rows, schema) else None)
