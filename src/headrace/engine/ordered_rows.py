"""Ordered arrangements of whole rows: the first rows of each slot, in full order, under insertions and
deletions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import pyarrow as pa

from headrace.change import empty_rows
from headrace.engine.columns import I64, U64, Bools, Fixed, nonzero, views
from headrace.engine.hashing import hash_views
from headrace.engine.heap import Heap
from headrace.engine.ordered import Bounds, OrderedRun, bounds_in, concat, in_order_of_numbers, sort_order
from headrace.engine.pairs import equal_pairs
from headrace.engine.runs import CHUNK_ROWS_MAX, holds, numbers_below, ranges
from headrace.engine.tiers import Tiers
from headrace.engine.zset import group_rows

_ALL = np.uint64(2**64 - 1)

Settle = Callable[["Front"], tuple["Front", Bools]]
"""Of the rows read so far: the same in full order, and for which slots they are enough."""


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
    """Rows under slots: a heap, and runs of (slot, word of the first order column, number of the row,
    weight).

    Args:
        schema: the rows' columns.
        told: columns whose bits the slot tells: they are not looked at where rows of a slot are compared.
    """

    _told: Collection[str] = ()

    def __init__(self, schema: pa.Schema, *, told: Collection[str] = ()) -> None:
        self._told = tuple(told)
        self._heap = Heap(schema, CHUNK_ROWS_MAX)
        self._tiers = Tiers(self._merged, concat, self._drop)

    def insert(self, slots: I64, words: U64, rows: pa.RecordBatch, weights: I64) -> I64:
        """Add rows under their slots; `words` must order them, where they differ, as the first order key
        does. Return their numbers in the heap.
        """
        if len(slots) == 0:
            return slots
        numbers = self._heap.append(rows, np.ones(len(slots), dtype=np.int64))
        self._tiers.push(OrderedRun(slots, words, weights, numbers).take(sort_order(slots, words)))
        return numbers

    @property
    def heap(self) -> Heap:
        """Where the rows lie by number."""
        return self._heap

    def bounds(self, slots: I64) -> Bounds:
        """Return, for each run, where the entries of each slot begin and end; slot −1 has none."""
        return bounds_in(self._tiers.runs, slots)

    def _merged(self, older: OrderedRun, newer: OrderedRun) -> tuple[OrderedRun | None, I64]:
        both = concat([older, newer])
        merged, dropped = self._cancelled(both.take(sort_order(both.slots, both.words, is_sorted=True)))
        return (merged if len(merged) else None), dropped

    def held(self, size: int) -> Bools:
        """Return which of the slots below `size` have entries, cancelled ones included."""
        found = np.zeros(size, dtype=np.bool_)
        for run in self._tiers.runs:
            found[run.slots] = True
        return found

    def release(self, dead: Bools) -> None:
        """Drop all rows under the slots that are marked."""
        self.drop_where(lambda run: dead[run.slots])

    def drop_below(self, column: str, bound_us: int) -> None:
        """Drop all rows whose time in that column is below a bound in microseconds; NULL is not."""
        numbers = numbers_below(self._heap, column, bound_us)
        if len(numbers):
            self.drop_where(lambda run: holds(numbers, _numbers(run)))

    def drop_where(self, is_gone: Callable[[OrderedRun], Bools]) -> None:
        """Drop the entries that are chosen, run by run, and their rows."""
        dropped: list[I64] = []

        def left(run: OrderedRun) -> OrderedRun:
            gone = is_gone(run)
            dropped.append(_numbers(run)[gone])
            return run.take(nonzero(~gone))

        self._tiers.rewrite(left)
        if dropped:
            self._drop(np.sort(np.concatenate(dropped)))

    def _drop(self, numbers: I64) -> None:
        self._heap.lower(numbers, np.ones(len(numbers), dtype=np.int64))
        self._heap.compact()

    def _cancelled(self, run: OrderedRun) -> tuple[OrderedRun, I64]:
        """Return a sorted run without what cancels, and the numbers of the rows that did.

        Only stretches of equal (slot, word) with a negative weight are looked at.
        """
        if len(run) == 0 or run.weights.min() > 0:
            return run, run.slots[:0]
        fresh = run.fresh()
        stretches = np.cumsum(fresh) - 1
        mixed = np.zeros(int(stretches[-1]) + 1, dtype=np.bool_)
        mixed[stretches[run.weights < 0]] = True
        looked = nonzero(mixed[stretches])
        part = run.take(looked)
        order = in_order_of_numbers(part, part.fresh())
        looked, stretches = looked[order], stretches[looked]
        keep = ~mixed[np.cumsum(fresh) - 1]
        left, rest = self._paired_off(_numbers(run)[looked], stretches, run.weights[looked])
        keep[looked[left]] = True
        if len(rest):
            rows = self._heap.gather(_numbers(run)[looked[rest]])
            firsts, totals = sums(stretches[rest], rows, run.weights[looked[rest]])
            run.weights[looked[rest[firsts]]] = totals
            keep[looked[rest[firsts[totals != 0]]]] = True
        return run.take(nonzero(keep)), _numbers(run)[~keep]

    def _paired_off(self, numbers: I64, stretches: I64, weights: I64) -> tuple[I64, I64]:
        """Compare neighbours in time, of which one mostly undoes the other; return which entries stay, and
        which ones are still to be added up.

        What came and goes next cancels first, then what went and comes back: `+a −a +b` is +b after one look,
        and `−a +b −b +a` nothing after two.
        """
        at = np.arange(len(numbers), dtype=np.int64)
        for sign in (1, -1, 1):
            pairs = nonzero(
                (stretches[at[1:]] == stretches[at[:-1]])
                & (weights[at[1:]] == -weights[at[:-1]])
                & (np.sign(weights[at[:-1]]) == sign)
            )
            same = pairs[:0]
            if len(pairs):
                same = pairs[self._identical(numbers[at[pairs]], numbers[at[pairs + 1]])]
                left = np.ones(len(at), dtype=np.bool_)
                left[same] = left[same + 1] = False
                at = at[left]
        here, count = stretches[at], int(stretches[-1]) + 1
        sizes, totals, least = np.bincount(here, minlength=count), *np.zeros((2, count), dtype=np.int64)
        np.add.at(totals, here, weights[at])
        least[here[weights[at] < 0]] = -1
        is_open = (least < 0) & ((sizes > 2) | (totals != 0) | (len(same) > 0)) & (sizes > 1)
        return at[~is_open[here]], at[is_open[here]]

    def _identical(self, one: I64, other: I64) -> Bools:
        """Return for which pairs of rows of one slot and word all bits are equal."""
        names = self._heap.schema.names
        compared = [at for at, name in enumerate(names) if name not in self._told]
        left, right = self._heap.gather(one, compared).columns, self._heap.gather(other, compared).columns
        return equal_pairs(left, right, len(one), exact=True)

    def fronts(self, slots: I64, count: int | None, settle: Settle) -> Front:
        """Return for each slot its first rows, at least until `settle` is content; all where `count` is None.

        `count` is how many rows of each run are looked at first. Rows of one slot stand together and in
        order.
        """
        found: list[Front] = []
        pending = np.arange(len(slots), dtype=np.int64)
        while len(pending):
            front, complete = self._read(slots[pending], count)
            ordered, enough = settle(front)
            done = complete | enough
            chosen = ordered if done.all() else ordered.take(nonzero(done[ordered.slots]))
            found.append(Front(pending[chosen.slots], chosen.rows, chosen.trusted, len(slots)))
            pending = pending[~done]
            count = None if count is None else 4 * count
        return _joined(found, len(slots), self._heap.schema)

    def _read(self, slots: I64, count: int | None) -> tuple[Front, Bools]:
        """Return up to `count` rows per slot and run, and which slots are complete."""
        numbers = np.arange(len(slots), dtype=np.int64)
        complete = np.ones(len(slots), dtype=np.bool_)
        limit = np.full(len(slots), _ALL, dtype=np.uint64)
        parts = [OrderedRun(numbers[:0], limit[:0], numbers[:0], numbers[:0])]
        for run in self._tiers.runs:
            starts = np.searchsorted(run.slots, slots)
            lengths = np.searchsorted(run.slots, slots, side="right") - starts
            if not lengths.any():
                continue
            counts = lengths if count is None else np.minimum(lengths, count)
            part = run.take(ranges(starts, counts))
            part.slots = np.repeat(numbers, counts)
            parts.append(part)
            cut = nonzero(lengths > counts)
            complete[cut] = False
            limit[cut] = np.minimum(limit[cut], run.words[starts[cut] + counts[cut] - 1])
        both = concat(parts)
        trusted = complete[both.slots] | (both.words < limit[both.slots])
        return self._front(both, trusted, len(slots)), complete

    def _front(self, run: OrderedRun, trusted: Bools, asked: int) -> Front:
        """Return the rows of a mixture of runs, each as often as it counts."""
        rows = self._heap.gather(_numbers(run))
        if (run.weights == 1).all():
            return Front(run.slots, rows, trusted, asked)
        if run.weights.min() > 0:
            repeated = np.repeat(np.arange(len(run)), run.weights)
        else:
            firsts, totals = sums(run.slots, rows, run.weights)
            repeated = np.repeat(firsts, np.maximum(totals, 0))
        return Front(run.slots[repeated], rows.take(pa.array(repeated)), trusted[repeated], asked)

    @property
    def row_count(self) -> int:
        """Rows kept, before what is still to cancel."""
        return sum(len(run) for run in self._tiers.runs)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._heap.nbytes + sum(run.nbytes for run in self._tiers.runs)


def _joined(found: list[Front], asked: int, schema: pa.Schema) -> Front:
    """Return parts of different slots as one, slots ascending, the rows of each as they stand."""
    if len(found) == 1:
        return found[0]
    if not found:
        nothing = np.empty(0, dtype=np.int64)
        empty = empty_rows(schema)
        return Front(nothing, empty, nothing.astype(np.bool_), asked)
    whole = Front(
        np.concatenate([part.slots for part in found]),
        pa.concat_batches([part.rows for part in found]),
        np.concatenate([part.trusted for part in found]),
        asked,
    )
    return whole.take(np.argsort(whole.slots, kind="stable"))


def sums(slots: I64, rows: pa.RecordBatch, weights: I64) -> tuple[I64, I64]:
    """Return the first of each kind of identical (slot, row), and the sum of their weights."""
    columns = (Fixed((slots.view(np.uint64),), None), *views(rows.columns, exact=True))
    groups, firsts = group_rows(columns, hash_views(columns, len(slots)))
    totals = np.zeros(len(firsts), dtype=np.int64)
    np.add.at(totals, groups, weights)
    return firsts, totals


def _numbers(run: OrderedRun) -> I64:
    assert run.numbers is not None
    return run.numbers
