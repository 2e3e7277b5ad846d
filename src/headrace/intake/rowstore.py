"""The rows that a table holds, in Arrow chunks, told by growing numbers; dead rows are marked, later left."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.intake.index import Entries

CHUNK_ROWS = 1 << 17
LOOKED_AT_MAX = 64
"""Chunks that one call of `evacuate` considers."""


class _Chunk:
    """Rows `start` to `start + len(alive)`, each with the index entry that it belongs to."""

    __slots__ = ("alive", "dead", "entries", "rows", "start")

    def __init__(
        self, start: int, rows: pa.RecordBatch, alive: npt.NDArray[np.bool_], entries: Entries
    ) -> None:
        self.start = start
        self.rows = rows
        self.alive = alive
        self.entries = entries
        self.dead = 0

    @property
    def end(self) -> int:
        return self.start + len(self.alive)


class RowStore:
    """Rows by number. Not thread-safe.

    Args:
        schema: of the rows.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self._chunks: list[_Chunk] = []
        self._starts = np.empty(0, dtype=np.int64)
        self._next = 0
        self.end = 0
        self.live = 0

    def append(self, rows: pa.RecordBatch, entries: Entries) -> Entries:
        """Add rows and return their numbers."""
        first = self.end
        count = rows.num_rows
        if count:
            self._chunks.append(_Chunk(first, rows, np.ones(count, dtype=np.bool_), entries.copy()))
            self.end += count
            self.live += count
            self._join_small()
        return np.arange(first, self.end)

    def _join_small(self) -> None:
        """Merge the last chunks in tiers, so that there are few and each row is copied a few times only."""
        chunks = self._chunks
        while len(chunks) > 1:
            before, last = chunks[-2], chunks[-1]
            size = before.rows.num_rows + last.rows.num_rows
            if before.end != last.start or size > CHUNK_ROWS or before.rows.num_rows > 2 * last.rows.num_rows:
                break
            joined = _Chunk(
                before.start,
                pa.concat_batches([before.rows, last.rows]),
                np.concatenate([before.alive, last.alive]),
                np.concatenate([before.entries, last.entries]),
            )
            joined.dead = before.dead + last.dead
            chunks[-2:] = [joined]
        self._number()

    def _number(self) -> None:
        self._starts = np.array([chunk.start for chunk in self._chunks], dtype=np.int64)

    def cut(self, end: int) -> None:
        """Take the newest rows back; they must be alive or already counted dead by `kill`."""
        while self._chunks and self._chunks[-1].end > end:
            chunk = self._chunks[-1]
            keep = max(end - chunk.start, 0)
            self.live -= int(chunk.alive[keep:].sum())
            if keep == 0:
                self._chunks.pop()
                continue
            chunk.rows = chunk.rows.slice(0, keep)
            chunk.alive, chunk.entries = chunk.alive[:keep].copy(), chunk.entries[:keep]
            chunk.dead = keep - int(chunk.alive.sum())
        self.end = end
        self._number()

    def _split(self, numbers: Entries) -> Iterator[tuple[_Chunk, npt.NDArray[np.int64], Entries]]:
        """Yield chunk, places in `numbers`, and rows within the chunk."""
        if not len(numbers):
            return
        owners = np.searchsorted(self._starts, numbers, side="right") - 1
        order = np.argsort(owners, kind="stable")
        bounds = np.flatnonzero(np.diff(owners[order])) + 1
        for part in np.split(order, bounds):
            chunk = self._chunks[int(owners[part[0]])]
            yield chunk, part, numbers[part] - chunk.start

    def take(self, numbers: Entries) -> pa.RecordBatch:
        """Return rows by number, in that order."""
        parts: list[pa.RecordBatch] = []
        places: list[npt.NDArray[np.int64]] = []
        for chunk, part, local in self._split(numbers):
            parts.append(chunk.rows.take(pa.array(local)))
            places.append(part)
        if not parts:
            return pa.RecordBatch.from_pylist([], schema=self.schema)
        if len(parts) == 1:
            return parts[0]
        back = np.empty(len(numbers), dtype=np.int64)
        back[np.concatenate(places)] = np.arange(len(numbers))
        return pa.concat_batches(parts).take(pa.array(back))

    def kill(self, numbers: Entries) -> None:
        """Mark live rows as gone."""
        self._mark(numbers, alive=False)

    def revive(self, numbers: Entries) -> None:
        """Take a `kill` back."""
        self._mark(numbers, alive=True)

    def _mark(self, numbers: Entries, *, alive: bool) -> None:
        for chunk, _, local in self._split(numbers):
            chunk.alive[local] = alive
            chunk.dead += -len(local) if alive else len(local)
        self.live += len(numbers) if alive else -len(numbers)

    def evacuate(self) -> tuple[Entries, Entries] | None:
        """Move the live rows out of one chunk that is mostly dead, and free it.

        Returns:
            the index entries of the moved rows and their new numbers, or None where nothing is worth it.
        """
        count = len(self._chunks)
        looked = min(count, LOOKED_AT_MAX)
        for at in [(self._next + step) % count for step in range(looked)]:
            chunk = self._chunks[at]
            size = chunk.rows.num_rows
            if chunk.dead * 2 <= size or (size < CHUNK_ROWS // 16 and chunk.dead < size):
                continue
            local = np.flatnonzero(chunk.alive)
            rows, entries = chunk.rows.take(pa.array(local)), chunk.entries[local]
            self._next = at
            del self._chunks[at]
            self.live -= len(local)
            self._number()
            return entries, self.append(rows, entries)
        self._next += looked
        return None

    def live_rows(self) -> Iterator[tuple[pa.RecordBatch, Entries]]:
        """Yield the rows that are alive with their index entries, chunk by chunk."""
        for chunk in self._chunks:
            if chunk.dead == 0:
                yield chunk.rows, chunk.entries
            elif chunk.dead < chunk.rows.num_rows:
                yield chunk.rows.filter(pa.array(chunk.alive)), chunk.entries[chunk.alive]
