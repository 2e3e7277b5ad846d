"""Ordered arrangements of whole rows: the first rows of each slot, in full order, under insertions and
deletions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from headrace.engine.columns import I64, U64, Bools, Fixed, views
from headrace.engine.hashing import hash_views
from headrace.engine.ordered import OrderedRun, concat, sort_order
from headrace.engine.runs import RUN_ROWS_MAX, ranges
from headrace.engine.zset import group_rows

_MERGE_RATIO = 4
_ALL = np.uint64(2**64 - 1)

Settled = Callable[["Front"], Bools]
"""Of the rows read so far: for which slots they are enough."""


class Front:
    """The first rows of some slots.

    Attributes:
        slots: per row the position of its slot among those asked for.
        rows: the rows, each as often as it counts.
        trusted: per row, whether no row before it can be missing.
        asked: number of slots asked for.
    """

    def __init__(self, slots: I64, rows: pa.RecordBatch, trusted: Bools, asked: int) -> None:
        self.slots = slots
        self.rows = rows
        self.trusted = trusted
        self.asked = asked

    def take(self, at: I64) -> Front:
        """Return some of the rows."""
        return Front(self.slots[at], self.rows.take(pa.array(at)), self.trusted[at], self.asked)


class OrderedRows:
    """Rows under slots, in runs sorted by (slot, word of the first order column)."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._runs: list[OrderedRun] = []

    def insert(self, slots: I64, words: U64, rows: pa.RecordBatch, weights: I64) -> None:
        """Add rows under their slots; `words` must order them, where they differ, as the first order key
        does.
        """
        if len(slots) == 0:
            return
        self._runs.append(OrderedRun(slots, words, weights, rows).take(sort_order(slots, words)))
        runs = self._runs
        while len(runs) > 1 and _MERGE_RATIO * len(runs[-1]) >= len(runs[-2]):
            if len(runs[-1]) + len(runs[-2]) > RUN_ROWS_MAX:
                return
            both = concat([runs.pop(-2), runs.pop()])
            merged = _cancelled(both.take(sort_order(both.slots, both.words)))
            if len(merged):
                runs.append(merged)

    def fronts(self, slots: I64, count: int | None, settled: Settled) -> Front:
        """Return for each slot its first rows, at least until `settled` is content; all of them where
        `count` is None.

        `count` is how many rows of each run are looked at first; rows come in no particular order.
        """
        found: list[Front] = []
        pending = np.arange(len(slots), dtype=np.int64)
        while len(pending):
            front, complete = self._read(slots[pending], count)
            done = complete if complete.all() else complete | settled(front)
            chosen = front.take(np.flatnonzero(done[front.slots]))
            found.append(Front(pending[chosen.slots], chosen.rows, chosen.trusted, len(slots)))
            pending = pending[~done]
            count = None if count is None else 4 * count
        return _joined(found, len(slots), self._schema)

    def _read(self, slots: I64, count: int | None) -> tuple[Front, Bools]:
        """Return up to `count` rows per slot and run, and which slots are complete."""
        numbers = np.arange(len(slots), dtype=np.int64)
        complete = np.ones(len(slots), dtype=np.bool_)
        limit = np.full(len(slots), _ALL, dtype=np.uint64)
        parts: list[OrderedRun] = []
        for run in self._runs:
            starts = np.searchsorted(run.slots, slots)
            lengths = np.searchsorted(run.slots, slots, side="right") - starts
            counts = lengths if count is None else np.minimum(lengths, count)
            if not counts.any():
                continue
            part = run.take(ranges(starts, counts))
            part.slots = np.repeat(numbers, counts)
            parts.append(part)
            cut = np.flatnonzero(lengths > counts)
            complete[cut] = False
            limit[cut] = np.minimum(limit[cut], run.words[starts[cut] + counts[cut] - 1])
        if not parts:
            return Front(
                numbers[:0], pa.RecordBatch.from_pylist([], schema=self._schema), complete[:0], len(slots)
            ), complete
        both = concat(parts)
        trusted = complete[both.slots] | (both.words < limit[both.slots])
        return _added_up(both, trusted, len(slots)), complete

    @property
    def row_count(self) -> int:
        """Rows kept, before what is still to cancel."""
        return sum(len(run) for run in self._runs)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(run.nbytes for run in self._runs)


def _joined(found: list[Front], asked: int, schema: pa.Schema) -> Front:
    if len(found) == 1:
        return found[0]
    if not found:
        return Front(
            np.empty(0, dtype=np.int64),
            pa.RecordBatch.from_pylist([], schema=schema),
            np.empty(0, dtype=np.bool_),
            asked,
        )
    return Front(
        np.concatenate([part.slots for part in found]),
        pa.concat_batches([part.rows for part in found]),
        np.concatenate([part.trusted for part in found]),
        asked,
    )


def _added_up(run: OrderedRun, trusted: Bools, asked: int) -> Front:
    """Return the rows of a mixture of runs, each as often as it counts."""
    assert run.rows is not None
    if (run.weights == 1).all():
        return Front(run.slots, run.rows, trusted, asked)
    firsts, sums = _sums(run)
    repeated = np.repeat(firsts, np.maximum(sums, 0))
    return Front(run.slots[repeated], run.rows.take(pa.array(repeated)), trusted[repeated], asked)


def _sums(run: OrderedRun) -> tuple[I64, I64]:
    """Return the first of each kind of identical (slot, row), and the sum of their weights."""
    assert run.rows is not None
    columns = (Fixed((run.slots.view(np.uint64),), None), *views(run.rows.columns, exact=True))
    numbers, firsts = group_rows(columns, hash_views(columns, len(run)))
    sums = np.zeros(len(firsts), dtype=np.int64)
    np.add.at(sums, numbers, run.weights)
    return firsts, sums


def _cancelled(run: OrderedRun) -> OrderedRun:
    """Return a sorted run without what cancels."""
    if len(run) == 0 or run.weights.min() > 0:
        return run
    firsts, sums = _sums(run)
    alive = np.flatnonzero(sums)
    order = np.argsort(firsts[alive])
    kept = run.take(firsts[alive][order])
    kept.weights = sums[alive][order]
    return kept
