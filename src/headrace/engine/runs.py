"""Arrangements: rows under small integer keys (slots), found by sorted runs.

The rows lie in a heap, in the order in which they came. Beside it stand runs of (key, number of the row,
weight), sorted by key, which never change. A change appends a run; runs are merged while the newer holds at
least a quarter of the entries of the older, so that n rows lie in O(log n) runs, and rows whose weights
cancel vanish at a merge. A merge moves numbers, not rows. A look-up of d slots costs O(d log n):
`searchsorted` in each run whose range of slots it meets. Runs are flat arrays and heaps are Arrow columns,
so that both can be memory-mapped.

Where rows only come, runs wait unsorted until somebody asks for rows: the side of a join whose partner stays
as it is costs no sorting. What waits then is looked through, and sorted a slice at a time. A run
that was asked for as many slots as it has entries has a table of where each slot begins: nothing is searched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.engine.columns import (
    I64,
    U64,
    Bools,
    micros,
    nonzero,
    validity,
    values,
    views,
)
from headrace.engine.hashing import hash_views
from headrace.engine.heap import Heap
from headrace.engine.pairs import equal_pairs
from headrace.engine.tiers import Tiers

CHUNK_ROWS_MAX = 524_288
"""Chunks of an arrangement's heap are merged up to this many rows."""
_32 = np.uint64(32)
_SORTED_AT_ONCE = 131_072
"""Waiting entries that one probe sorts at least; four times as many as it asks for, where that is more."""
_SPAN_MAX, _TABLE_ROWS_MAX = 2, 1_048_576
"""A run has a table of its slots only where it holds at least every second of those between its ends, and not
so many entries that making the table holds up a step.
"""
_MARKED_MAX = 8
"""Numbers are marked in a table instead of being searched where every eighth between their ends is one."""


class Run:
    """Entries sorted by `keys`: the slot in the upper 32 bits, a part of the row's hash (or zero) in the
    lower.

    Attributes:
        keys: uint64, ascending.
        numbers: of the rows in the heap.
        weights: int64.
    """

    __slots__ = ("_asked", "_begins", "keys", "numbers", "weights")

    def __init__(self, keys: U64, numbers: I64, weights: I64) -> None:
        self.keys = keys
        self.numbers = numbers
        self.weights = weights
        self._asked = 0
        self._begins: npt.NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def cut(self, first: int, last: int) -> Run:
        """Return the entries from `first` to before `last`."""
        return Run(self.keys[first:last], self.numbers[first:last], self.weights[first:last])

    def key_at(self, at: int) -> np.uint64:
        """Return the key of an entry."""
        return np.uint64(self.keys[at])

    def end_of(self, key: np.uint64) -> int:
        """Return where the first entry beyond a key stands."""
        return int(np.searchsorted(self.keys, key, side="right"))

    def slots(self) -> I64:
        """Return the slot of every entry."""
        return (self.keys >> _32).view(np.int64)

    def begins(self, asked: int) -> npt.NDArray[np.int32] | None:
        """Return where the entries of each slot between the first and the last begin, and where the last ones
        end; None where so much was not yet asked for that this table is worth making.
        """
        if self._begins is None:
            self._asked += asked
            first, span = int(self.keys[0] >> _32), int((self.keys[-1] >> _32) - (self.keys[0] >> _32)) + 1
            if len(self) <= min(self._asked, _TABLE_ROWS_MAX) and span <= _SPAN_MAX * len(self):
                self._begins = np.zeros(span + 1, dtype=np.int32)
                np.cumsum(np.bincount(self.slots() - first, minlength=span), out=self._begins[1:])
        return self._begins

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        table = 0 if self._begins is None else self._begins.nbytes
        return int(self.keys.nbytes + self.numbers.nbytes + self.weights.nbytes + table)


class Arrangement:
    """Rows by slot.

    Args:
        schema: the rows' columns.
        append_only: no weight is ever negative, so that rows need no hash of their own.
        told: columns whose bits the slot tells: they are not looked at where rows of a slot are compared.
    """

    def __init__(self, schema: pa.Schema, *, append_only: bool, told: Collection[str] = ()) -> None:
        self._append_only = append_only
        self._compared = [at for at, name in enumerate(schema.names) if name not in told]
        self._tiers = Tiers(self._merged, joined, self._drop)
        self.heap = Heap(schema, CHUNK_ROWS_MAX)

    def insert(self, slots: I64, rows: pa.RecordBatch, weights: I64, hashes: U64 | None = None) -> I64:
        """Add rows under their slots (not negative); return their numbers in the heap. `hashes` of the whole
        rows, told apart by bits, where they are known.
        """
        if len(slots) == 0:
            return slots
        keys = slots.view(np.uint64) << _32
        if not self._append_only:
            if hashes is None:
                hashes = hash_views(views(rows.columns, exact=True), len(slots))
            keys = keys | (hashes >> _32)
        numbers = self.heap.append(rows, np.ones(len(slots), dtype=np.int64))
        run = Run(keys, numbers, weights)
        if self._append_only:
            self._tiers.put_off(run)
        else:
            self._tiers.push(_in_order(run))
        return numbers

    def _merged(self, older: Run, newer: Run) -> tuple[Run | None, I64]:
        """Return two runs as one, without what cancels, and the numbers of the rows that did."""
        keys = np.concatenate([older.keys, newer.keys])
        numbers = np.concatenate([older.numbers, newer.numbers])
        weights = np.concatenate([older.weights, newer.weights])
        if len(older) and len(newer) and older.keys[-1] > newer.keys[0]:
            order = np.argsort(keys, kind="stable")
            keys, numbers, weights = keys[order], numbers[order], weights[order]
        if self._append_only:
            return (Run(keys, numbers, weights) if len(keys) else None), numbers[:0]
        keep, dropped = self._added_up(keys, numbers, weights)
        return (Run(keys[keep], numbers[keep], weights[keep]) if len(keep) else None), dropped

    def _added_up(self, keys: U64, numbers: I64, weights: I64) -> tuple[I64, I64]:
        """Add up identical neighbours in `weights`, in place; return the entries left and the numbers
        dropped.
        """
        starts = np.ones(len(keys), dtype=np.bool_)
        alike = nonzero(keys[1:] == keys[:-1])
        if len(alike):
            pairs = alike[self._identical(numbers[alike], numbers[alike + 1])]
            starts[pairs + 1] = False
        firsts = nonzero(starts)
        if len(firsts) == len(keys):
            return firsts, numbers[:0]
        sums = np.add.reduceat(weights, firsts)
        weights[firsts] = sums
        starts[firsts[sums == 0]] = False
        return firsts[sums != 0], numbers[~starts]

    def release(self, dead: Bools) -> None:
        """Drop all rows under the slots that are marked."""
        self._drop_where(lambda run: ~dead[run.slots()])

    def drop_below(self, column: str, bound_us: int) -> None:
        """Drop all rows whose time in that column is below a bound in microseconds; NULL is not."""
        numbers = numbers_below(self.heap, column, bound_us)
        if len(numbers):
            self._drop_where(lambda run: ~holds(numbers, run.numbers))

    def _drop_where(self, keeps: Callable[[Run], Bools]) -> None:
        dropped: list[I64] = []

        def left(run: Run) -> Run:
            keep = keeps(run)
            dropped.append(run.numbers[~keep])
            return Run(run.keys[keep], run.numbers[keep], run.weights[keep])

        self._tiers.rewrite(left)
        if dropped:
            self._drop(np.sort(np.concatenate(dropped)))

    def held(self, size: int) -> Bools:
        """Return which of the slots below `size` have entries, cancelled ones included."""
        found = np.zeros(size, dtype=np.bool_)
        for run in (*self._tiers.runs, *self._tiers.waiting):
            found[run.slots()] = True
        return found

    def _drop(self, numbers: I64) -> None:
        if len(numbers) == 0:
            return
        self.heap.lower(numbers, np.ones(len(numbers), dtype=np.int64))
        self.heap.compact()

    def _identical(self, one: I64, other: I64) -> I64:
        """Return for which pairs of rows of one slot all bits are equal."""
        left = self.heap.gather(one, self._compared).columns
        right = self.heap.gather(other, self._compared).columns
        return nonzero(equal_pairs(left, right, len(one), exact=True))

    def probe(self, slots: I64) -> tuple[I64, I64, I64]:
        """Return all rows under those slots (−1: none): positions in `slots`, numbers in the heap,
        weights. What cancels is left out where it is found next to each other.
        """
        positions, numbers, weights, where = [], [], [], []
        for run, found, offsets in self._matches(slots):
            positions.append(found)
            numbers.append(run.numbers[offsets])
            weights.append(run.weights[offsets])
            where.append((run, offsets))
        if not positions:
            nothing = np.empty(0, dtype=np.int64)
            return nothing, nothing, nothing
        if len(positions) == 1:
            return positions[0], numbers[0], weights[0]
        entries = np.concatenate(positions), np.concatenate(numbers), np.concatenate(weights)
        if self._append_only or entries[2].min() > 0:
            return entries
        return self._netted(*entries, np.concatenate([run.keys[offsets] for run, offsets in where]))

    def _netted(self, positions: I64, numbers: I64, weights: I64, keys: U64) -> tuple[I64, I64, I64]:
        """Return entries of several runs without those that cancel: a row that has gone lies in an older run
        still, until both are merged.
        """
        order = np.lexsort((keys, positions))
        positions, numbers, weights, keys = positions[order], numbers[order], weights[order], keys[order]
        alike = nonzero((keys[1:] == keys[:-1]) & (positions[1:] == positions[:-1]))
        if len(alike) == 0:
            return positions, numbers, weights
        pairs = alike[self._identical(numbers[alike], numbers[alike + 1])]
        starts = np.ones(len(keys), dtype=np.bool_)
        starts[pairs + 1] = False
        firsts = nonzero(starts)
        sums = np.add.reduceat(weights, firsts)
        left = nonzero(sums)
        return positions[firsts[left]], numbers[firsts[left]], sums[left]

    def sizes(self, slots: I64) -> I64:
        """Return how many entries `probe` would find under each of those slots (−1: none)."""
        self._sort_some(len(slots))
        sizes = np.zeros(len(slots), dtype=np.int64)
        there = nonzero(slots >= 0)
        lows = slots[there].view(np.uint64) << _32
        highs = (slots[there] + 1).view(np.uint64) << _32
        for run in self._tiers.runs:
            sizes[there] += np.searchsorted(run.keys, highs) - np.searchsorted(run.keys, lows)
        asked, wanted = _ascending(there, slots[there])
        for run in self._tiers.waiting:
            sizes += np.bincount(_looked_through(run, asked, wanted)[0], minlength=len(slots))
        return sizes

    def _sort_some(self, asked: int) -> None:
        """Sort what waits, up to a bound."""
        run = self._tiers.waited(max(_SORTED_AT_ONCE, 4 * asked))
        if run is not None:
            self._tiers.push(_in_order(run))

    def _matches(self, slots: I64) -> Iterator[tuple[Run, I64, I64]]:
        """Yield, run by run, positions in `slots` and offsets in the run of what lies under them."""
        asked = nonzero(slots >= 0)
        if len(asked) == 0:
            return
        self._sort_some(len(asked))
        wanted = slots if len(asked) == len(slots) else slots[asked]
        tables = [run.begins(len(asked)) for run in self._tiers.runs]
        for run, begins in zip(self._tiers.runs, tables, strict=True):
            if begins is not None:
                found = _looked_up(run, begins, asked, wanted)
                if len(found[0]):
                    yield run, *found
        searched = [run for run, begins in zip(self._tiers.runs, tables, strict=True) if begins is None]
        if searched or self._tiers.waiting:
            yield from self._searched(searched, *_ascending(asked, wanted))

    def _searched(self, runs: list[Run], asked: I64, wanted: I64) -> Iterator[tuple[Run, I64, I64]]:
        """Yield what lies under ascending slots in some runs, and in those that wait."""
        lows, highs = wanted.view(np.uint64) << _32, (wanted + 1).view(np.uint64) << _32
        for run in runs:
            begin, end = (
                np.searchsorted(highs, run.keys[0], side="right"),
                np.searchsorted(lows, run.keys[-1], side="right"),
            )
            if begin >= end:
                continue
            starts = np.searchsorted(run.keys, lows[begin:end])
            counts = np.searchsorted(run.keys, highs[begin:end]) - starts
            if counts.any():
                yield run, *_spread(asked[begin:end], starts, counts)
        for run in self._tiers.waiting:
            found = _looked_through(run, asked, wanted)
            if len(found[0]):
                yield run, *found

    @property
    def row_count(self) -> int:
        """Rows kept, before what is still to cancel."""
        return sum(len(run) for run in (*self._tiers.runs, *self._tiers.waiting))

    @property
    def run_count(self) -> int:
        """Runs kept."""
        return len(self._tiers.runs) + len(self._tiers.waiting)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        runs = sum(run.nbytes for run in (*self._tiers.runs, *self._tiers.waiting))
        return self.heap.nbytes + runs


def _in_order(run: Run) -> Run:
    """Return a run sorted."""
    if not (run.keys[1:] < run.keys[:-1]).any():
        return run
    order = np.argsort(run.keys)
    return Run(run.keys[order], run.numbers[order], run.weights[order])


def _ascending(asked: I64, wanted: I64) -> tuple[I64, I64]:
    """Return positions and their slots, in the order of the slots."""
    if not (wanted[1:] < wanted[:-1]).any():
        return asked, wanted
    order = np.argsort(wanted)
    return asked[order], wanted[order]


def _looked_up(run: Run, begins: npt.NDArray[np.int32], asked: I64, wanted: I64) -> tuple[I64, I64]:
    """Return positions, and offsets in the run, of what lies under slots in any order, by its table."""
    at = wanted - np.int64(run.keys[0] >> _32)
    within = (at >= 0) & (at < len(begins) - 1)
    if not within.all():
        kept = nonzero(within)
        asked, at = asked[kept], at[kept]
    starts = begins[at].astype(np.int64)
    return _spread(asked, starts, begins[at + 1] - starts)


def _spread(asked: I64, starts: I64, counts: I64) -> tuple[I64, I64]:
    """Return each position as often as its count, and the offsets from its start on."""
    if (counts == 1).all():
        return asked, starts
    return np.repeat(asked, counts), ranges(starts, counts)


def _looked_through(run: Run, asked: I64, wanted: I64) -> tuple[I64, I64]:
    """Return positions, and offsets in an unsorted run, of what lies under ascending slots."""
    if len(wanted) == 0:
        return asked, wanted
    beyond = wanted[-1] + 1
    marked = np.zeros(beyond + 1, dtype=np.bool_)
    marked[wanted] = True
    slots = run.slots()
    hits = nonzero(marked[np.minimum(slots, beyond)])
    starts = np.searchsorted(wanted, slots[hits])
    counts = np.searchsorted(wanted, slots[hits], side="right") - starts
    return asked[ranges(starts, counts)], np.repeat(hits, counts)


def numbers_below(heap: Heap, column: str, bound_us: int) -> I64:
    """Return the numbers of rows whose time in a column is below a bound in microseconds; NULL is not."""
    at = heap.schema.get_field_index(column)
    found = []
    for chunk in heap.chunks:
        times = chunk.rows.column(at)
        old = micros(values(times).astype(np.int64), times.type) < bound_us
        known = validity(times)
        found.append(chunk.numbers[nonzero(old if known is None else old & known)])
    return np.concatenate(found) if found else np.empty(0, dtype=np.int64)


def holds(numbers: I64, asked: I64) -> Bools:
    """Return which of the numbers asked for are among some ascending ones, of which there is one at least."""
    first, span = int(numbers[0]), int(numbers[-1] - numbers[0]) + 1
    if span <= _MARKED_MAX * len(numbers):  # rows of one time mostly came together: nothing is searched
        marked = np.zeros(span + 1, dtype=np.bool_)
        marked[numbers - first] = True
        places = np.minimum((asked - first).view(np.uint64), np.uint64(span))  # the last is for those outside
        among: Bools = marked[places.view(np.int64)]
        return among
    at = np.minimum(np.searchsorted(numbers, asked), len(numbers) - 1)
    found: Bools = numbers[at] == asked
    return found


def joined(runs: list[Run]) -> Run:
    """Return runs that follow each other as one."""
    return Run(
        np.concatenate([run.keys for run in runs]),
        np.concatenate([run.numbers for run in runs]),
        np.concatenate([run.weights for run in runs]),
    )


def ranges(starts: I64, counts: I64) -> I64:
    """Return `starts[i], starts[i] + 1, …` for `counts[i]` numbers, one range after the other."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    numbers = np.arange(total, dtype=np.int64)
    numbers += np.repeat(starts - (ends - counts), counts)
    return numbers
