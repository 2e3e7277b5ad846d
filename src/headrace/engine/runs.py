"""Arrangements: sorted runs of rows under small integer keys (slots), merged in tiers.

A run is sorted by slot and never changes. A change appends a run; runs are merged while the newer holds at
least a quarter of the rows of the older, so that n rows lie in O(log n) runs, and rows whose weights cancel
vanish at a merge. A look-up of d slots costs O(d log n): `searchsorted` in each run whose range of slots it
meets. Runs are flat arrays and Arrow columns, so that they can be memory-mapped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from headrace.engine.columns import I64, U64, equal_rows, views
from headrace.engine.hashing import hash_views

RUN_ROWS_MAX = 4_000_000
"""Runs are merged up to this many rows."""
_MERGE_RATIO = 4
_32 = np.uint64(32)


class Run:
    """Rows sorted by `keys`: the slot in the upper 32 bits, a part of the row's hash (or zero) in the lower.

    Attributes:
        keys: uint64, ascending.
        weights: int64.
        rows: the rows.
    """

    __slots__ = ("first", "keys", "last", "mixed", "rows", "weights")

    def __init__(self, keys: U64, weights: I64, rows: pa.RecordBatch, *, mixed: bool) -> None:
        self.keys = keys
        self.weights = weights
        self.rows = rows
        self.mixed = mixed
        self.first = keys[0]
        self.last = keys[-1]

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return int(self.keys.nbytes + self.weights.nbytes + self.rows.nbytes)


class Arrangement:
    """Rows by slot.

    Args:
        schema: the rows' columns.
        append_only: no weight is ever negative, so that rows need no hash of their own.
    """

    def __init__(self, schema: pa.Schema, *, append_only: bool) -> None:
        self._schema = schema
        self._append_only = append_only
        self._runs: list[Run] = []

    def insert(self, slots: I64, rows: pa.RecordBatch, weights: I64) -> None:
        """Add rows under their slots (not negative)."""
        if len(slots) == 0:
            return
        keys = slots.view(np.uint64) << _32
        if not self._append_only:
            keys = keys | (hash_views(views(rows.columns, exact=True), len(slots)) >> _32)
        if (keys[1:] < keys[:-1]).any():
            order = np.argsort(keys)
            keys, rows, weights = keys[order], rows.take(pa.array(order)), weights[order]
        self._runs.append(Run(keys, weights, rows, mixed=not self._append_only))
        self._merge_tail()

    def _merge_tail(self) -> None:
        runs = self._runs
        while len(runs) > 1 and _MERGE_RATIO * len(runs[-1]) >= len(runs[-2]):
            if len(runs[-1]) + len(runs[-2]) > RUN_ROWS_MAX:
                return
            newer, older = runs.pop(), runs.pop()
            merged = merge(older, newer)
            if merged is not None:
                runs.append(merged)

    def probe(self, slots: I64) -> tuple[I64, pa.RecordBatch, I64]:
        """Return all rows under those slots (−1: none): positions in `slots`, the rows, their weights."""
        positions, parts, weights = [], [], []
        for run, found, offsets in self._matches(slots):
            positions.append(found)
            parts.append(run.rows.take(pa.array(offsets)))
            weights.append(run.weights[offsets])
        if not parts:
            nothing = np.empty(0, dtype=np.int64)
            return nothing, pa.RecordBatch.from_pylist([], schema=self._schema), nothing
        if len(parts) == 1:
            return positions[0], parts[0], weights[0]
        return np.concatenate(positions), pa.concat_batches(parts), np.concatenate(weights)

    def _matches(self, slots: I64) -> Iterator[tuple[Run, I64, I64]]:
        """Yield, run by run, positions in `slots` and offsets in the run of what lies under them."""
        asked = np.flatnonzero(slots >= 0)
        wanted = slots[asked]
        lows, highs = wanted.view(np.uint64) << _32, (wanted + 1).view(np.uint64) << _32
        for run in self._runs:
            inside = (lows <= run.last) & (highs > run.first)
            if inside.all():
                at, low, high = asked, lows, highs
            else:
                chosen = np.flatnonzero(inside)
                if len(chosen) == 0:
                    continue
                at, low, high = asked[chosen], lows[chosen], highs[chosen]
            starts = np.searchsorted(run.keys, low)
            counts = np.searchsorted(run.keys, high) - starts
            if counts.any():
                yield run, np.repeat(at, counts), ranges(starts, counts)

    @property
    def row_count(self) -> int:
        """Rows kept, before what is still to cancel."""
        return sum(len(run) for run in self._runs)

    @property
    def run_count(self) -> int:
        """Runs kept."""
        return len(self._runs)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(run.nbytes for run in self._runs)


def ranges(starts: I64, counts: I64) -> I64:
    """Return `starts[i], starts[i] + 1, …` for `counts[i]` numbers, one range after the other."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    numbers = np.arange(total, dtype=np.int64)
    numbers += np.repeat(starts - (ends - counts), counts)
    return numbers


def merge(older: Run, newer: Run) -> Run | None:
    """Return two runs as one, without what cancels; None when nothing is left."""
    keys = np.concatenate([older.keys, newer.keys])
    weights = np.concatenate([older.weights, newer.weights])
    rows = pa.concat_batches([older.rows, newer.rows])
    mixed = older.mixed or newer.mixed
    if older.last > newer.first:
        order = np.argsort(keys, kind="stable")
        keys, weights, rows = keys[order], weights[order], rows.take(pa.array(order))
    if mixed:
        keep = cancel(keys, weights, rows)
        if keep is not None:
            keys, weights, rows = keys[keep], weights[keep], rows.take(pa.array(keep))
    return Run(keys, weights, rows, mixed=mixed) if len(keys) else None


def cancel(keys: U64, weights: I64, rows: pa.RecordBatch) -> I64 | None:
    """Add up identical neighbours in `weights`, in place; return which rows are left, or None for all."""
    alike = np.flatnonzero(keys[1:] == keys[:-1])
    if len(alike) == 0:
        return None
    pairs = _identical(rows, alike)
    if len(pairs) == 0:
        return None
    starts = np.ones(len(keys), dtype=np.bool_)
    starts[pairs + 1] = False
    firsts = np.flatnonzero(starts)
    sums = np.add.reduceat(weights, firsts)
    weights[firsts] = sums
    left: I64 = firsts[sums != 0]
    return left


def _identical(rows: pa.RecordBatch, at: I64) -> I64:
    """Return for which of the positions `at` the row equals the next one, bit by bit."""
    one = views(rows.take(pa.array(at)).columns, exact=True)
    other = views(rows.take(pa.array(at + 1)).columns, exact=True)
    numbers = np.arange(len(at), dtype=np.int64)
    return at[equal_rows(one, numbers, other, numbers)]


def total_rows(arrangements: Sequence[Arrangement]) -> int:
    """Return the rows in all of them."""
    return sum(arrangement.row_count for arrangement in arrangements)
