"""Ordered arrangements: rows under slots in value order, for what reads the end of a range.

A run is sorted by (slot, word), the word being the order of the first ORDER BY column. The first rows of a
slot are found by taking a few from each run, adding up identical ones, and trusting only what lies before
the last word taken from any run that has more; where that is not enough, twice as many are taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.engine.columns import I64, U64, Bools, nonzero
from headrace.engine.runs import ranges
from headrace.engine.tiers import Tiers

_32 = np.uint64(32)
_ALL = np.uint64(2**64 - 1)
_FEW = 256
"""So few entries are quicker sorted by both at once."""


class OrderedRun:
    """Entries sorted by (slot, word); `numbers` of rows where a word alone does not tell the value."""

    __slots__ = ("_sums", "numbers", "slots", "weights", "words")

    def __init__(self, slots: I64, words: U64, weights: I64, numbers: I64 | None) -> None:
        self.slots = slots
        self.words = words
        self.weights = weights
        self.numbers = numbers
        self._sums: I64 | None = None

    def sums(self) -> I64:
        """Return the sum of the weights before each entry, and at the end of all."""
        if self._sums is None:
            self._sums = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(self.weights)])
        return self._sums

    def __len__(self) -> int:
        return len(self.slots)

    def take(self, at: I64) -> OrderedRun:
        """Return those entries."""
        numbers = None if self.numbers is None else self.numbers[at]
        return OrderedRun(self.slots[at], self.words[at], self.weights[at], numbers)

    def cut(self, first: int, last: int) -> OrderedRun:
        """Return the entries from `first` to before `last`."""
        numbers = None if self.numbers is None else self.numbers[first:last]
        return OrderedRun(self.slots[first:last], self.words[first:last], self.weights[first:last], numbers)

    def fresh(self) -> Bools:
        """Return which entries of a sorted run are the first of their slot and word."""
        starts = np.ones(len(self), dtype=np.bool_)
        np.logical_or(self.slots[1:] != self.slots[:-1], self.words[1:] != self.words[:-1], out=starts[1:])
        return starts

    def key_at(self, at: int) -> int:
        """Return the slot of an entry."""
        return int(self.slots[at])

    def end_of(self, key: int) -> int:
        """Return where the first entry of a later slot stands."""
        return int(np.searchsorted(self.slots, key, side="right"))

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        plain = self.slots.nbytes + self.words.nbytes + self.weights.nbytes
        return int(plain + (0 if self.numbers is None else self.numbers.nbytes))


def sort_order(slots: I64, words: U64, *, is_sorted: bool = False) -> I64:
    """Return the order of entries by (slot, word); `is_sorted`: they are two or three sorted runs, one after
    the other.
    """
    if len(words) <= _FEW:
        return np.lexsort((words, slots))
    ranks = np.empty(len(words), dtype=np.uint64)
    ranks[np.argsort(words)] = np.arange(len(words), dtype=np.uint64)
    return np.argsort((slots.view(np.uint64) << _32) | ranks, kind="stable" if is_sorted else None)


def in_order_of_numbers(run: OrderedRun, fresh: Bools) -> I64:
    """Return the order in which the entries of each slot and word stand by their numbers; `fresh` of the run,
    which is sorted.
    """
    assert run.numbers is not None
    stretches = np.cumsum(fresh) - 1
    numbers = run.numbers - run.numbers.min()
    if int(numbers.max()) >= 2**32:
        return np.lexsort((numbers, stretches))
    return np.argsort((stretches.view(np.uint64) << _32) | numbers.view(np.uint64))


def concat(runs: list[OrderedRun]) -> OrderedRun:
    """Return the entries of all runs one after the other, not sorted."""
    numbers = [run.numbers for run in runs if run.numbers is not None]
    return OrderedRun(
        np.concatenate([run.slots for run in runs]),
        np.concatenate([run.words for run in runs]),
        np.concatenate([run.weights for run in runs]),
        np.concatenate(numbers) if numbers else None,
    )


def added_up(run: OrderedRun) -> OrderedRun:
    """Return a sorted run of exact words with equal entries added up and cancelled ones dropped."""
    if len(run) == 0:
        return run
    firsts = nonzero(run.fresh())
    if len(firsts) == len(run):
        return run if run.weights.all() else run.take(nonzero(run.weights))
    sums = np.add.reduceat(run.weights, firsts)
    alive = sums != 0
    kept = run.take(firsts[alive])
    kept.weights = sums[alive]
    return kept


def _merged(older: OrderedRun, newer: OrderedRun) -> tuple[OrderedRun | None, I64]:
    both = concat([older, newer])
    merged = added_up(both.take(sort_order(both.slots, both.words, is_sorted=True)))
    return (merged if len(merged) else None), both.slots[:0]


def _keep(numbers: I64) -> None:
    """Values have no rows to drop."""


class Bounds:
    """Where the entries of some slots stand in each run.

    Attributes:
        asked: number of slots.
        parts: run, where the entries of each slot begin, and where they end.
    """

    def __init__(self, asked: int, parts: list[tuple[OrderedRun, I64, I64]]) -> None:
        self.asked = asked
        self.parts = parts

    def select(self, at: I64) -> Bounds:
        """Return the bounds of some of the slots."""
        return Bounds(len(at), [(run, starts[at], ends[at]) for run, starts, ends in self.parts])

    def clip(self, lows: U64 | None, highs: U64 | None) -> Bounds:
        """Return what lies from `lows` to `highs`, both included, one pair per slot asked for."""
        parts = []
        for run, starts, ends in self.parts:
            if lows is not None:
                starts = _search(run, starts, ends, lows, beyond=False)
            if highs is not None:
                ends = _search(run, starts, ends, highs, beyond=True)
            parts.append((run, starts, np.maximum(starts, ends)))
        return Bounds(self.asked, parts)

    def entries(self) -> tuple[I64, I64, I64]:
        """Return every entry of runs of rows, not added up: the position of its slot among those asked for,
        the number of its row, its weight.
        """
        positions, numbers, weights = [], [], []
        for run, starts, ends in self.parts:
            counts = ends - starts
            if counts.any() and run.numbers is not None:
                at = ranges(starts, counts)
                positions.append(np.repeat(np.arange(self.asked, dtype=np.int64), counts))
                numbers.append(run.numbers[at])
                weights.append(run.weights[at])
        if not positions:
            nothing = np.empty(0, dtype=np.int64)
            return nothing, nothing, nothing
        return np.concatenate(positions), np.concatenate(numbers), np.concatenate(weights)

    def placed(self) -> OrderedRun:
        """Return every entry of runs of rows, neither added up nor sorted; slots are positions among those
        asked for.
        """
        numbers = np.arange(self.asked, dtype=np.int64)
        parts = [OrderedRun(numbers[:0], np.empty(0, dtype=np.uint64), numbers[:0], numbers[:0])]
        for run, starts, ends in self.parts:
            part = run.take(ranges(starts, ends - starts))
            part.slots = np.repeat(numbers, ends - starts)
            parts.append(part)
        return concat(parts)

    def first(self, *, last: bool) -> tuple[U64, Bools]:
        """Return the smallest (or the largest) word of each slot whose weights do not cancel, and whether
        there is one.
        """
        words = np.zeros(self.asked, dtype=np.uint64)
        known = np.zeros(self.asked, dtype=np.bool_)
        here, pending = self, np.arange(self.asked, dtype=np.int64)
        count = 1
        while len(pending):
            part, trusted = here.ends(count, last=last)
            best = nonzero(trusted)
            fresh = np.ones(len(best), dtype=np.bool_)
            np.not_equal(part.slots[best[1:]], part.slots[best[:-1]], out=fresh[1:])
            firsts = best[fresh]
            at = part.slots[firsts]
            words[pending[at]] = ~part.words[firsts] if last else part.words[firsts]
            known[pending[at]] = True
            unsettled = here.more(count)
            unsettled[at] = False
            left = nonzero(unsettled)
            pending, here = pending[left], here.select(left)
            count *= 4
        return words, known

    def sizes(self) -> I64:
        """Return the number of entries per slot, before what cancels."""
        sizes = np.zeros(self.asked, dtype=np.int64)
        for _, starts, ends in self.parts:
            sizes += ends - starts
        return sizes

    def more(self, count: int) -> Bools:
        """Return which slots have more than `count` entries in some run."""
        more = np.zeros(self.asked, dtype=np.bool_)
        for _, starts, ends in self.parts:
            more |= ends - starts > count
        return more

    def ends(self, count: int, *, last: bool) -> tuple[OrderedRun, Bools]:
        """Return up to `count` entries per slot and run, added up, in order, and which of them can be
        trusted.

        The slots of the entries are positions among those asked for; with `last` the words are turned round.
        """
        numbers = np.arange(self.asked, dtype=np.int64)
        limit = np.full(self.asked, _ALL, dtype=np.uint64)
        parts = [OrderedRun(numbers[:0], limit[:0], numbers[:0], None)]
        for run, starts, ends in self.parts:
            counts = np.minimum(ends - starts, count)
            begin = ends - counts if last else starts
            at = ranges(begin, counts)
            words = ~run.words[at] if last else run.words[at]
            parts.append(OrderedRun(np.repeat(numbers, counts), words, run.weights[at], None))
            cut = nonzero(ends - starts > count)
            edge = run.words[begin[cut]] if last else run.words[begin[cut] + count - 1]
            limit[cut] = np.minimum(limit[cut], ~edge if last else edge)
        both = concat(parts)
        merged = added_up(both.take(sort_order(both.slots, both.words)))
        return merged, merged.words <= limit[merged.slots]

    def all(self) -> OrderedRun:
        """Return every entry, added up, in order."""
        numbers = np.arange(self.asked, dtype=np.int64)
        parts = [OrderedRun(numbers[:0], np.empty(0, dtype=np.uint64), numbers[:0], None)]
        for run, starts, ends in self.parts:
            counts = ends - starts
            at = ranges(starts, counts)
            parts.append(OrderedRun(np.repeat(numbers, counts), run.words[at], run.weights[at], None))
        both = concat(parts)
        return added_up(both.take(sort_order(both.slots, both.words)))


def bounds_in(runs: Sequence[OrderedRun], slots: I64) -> Bounds:
    """Return, for each run, where the entries of each slot begin and end."""
    order = np.argsort(slots)
    ascending = slots[order]
    found = []
    for run in runs:
        starts = np.searchsorted(run.slots, ascending)
        ends = starts.copy()
        there = nonzero(run.slots[np.minimum(starts, len(run) - 1)] == ascending)
        if len(there) == 0:
            continue
        ends[there] = np.searchsorted(run.slots, ascending[there], side="right")
        back = np.empty((2, len(slots)), dtype=np.int64)
        back[0, order], back[1, order] = starts, ends
        found.append((run, back[0], back[1]))
    return Bounds(len(slots), found)


def _search(run: OrderedRun, starts: I64, ends: I64, words: U64, *, beyond: bool) -> I64:
    """Return, slot by slot, where in its stretch the first word stands that is not below (or is beyond) one.

    All stretches are halved at once.
    """
    if run.slots[0] == run.slots[-1]:
        found = np.searchsorted(run.words, words, side="right" if beyond else "left")
        return np.clip(found, starts, ends)
    low, high = starts.copy(), ends.copy()
    open_ = nonzero(low < high)
    last = run.words[high[open_] - 1]
    ended = last <= words[open_] if beyond else last < words[open_]
    low[open_[ended]] = high[open_[ended]]
    open_ = open_[~ended]
    while len(open_):
        middle = (low[open_] + high[open_]) >> 1
        here, wanted = run.words[middle], words[open_]
        before = here <= wanted if beyond else here < wanted
        low[open_[before]] = middle[before] + 1
        high[open_[~before]] = middle[~before]
        open_ = open_[low[open_] < high[open_]]
    return low


class OrderedValues:
    """Values under slots, told by their word alone (see `order.is_exact`); with weights."""

    def __init__(self) -> None:
        self._tiers = Tiers(_merged, concat, _keep)

    def insert(self, slots: I64, words: U64, weights: I64) -> None:
        """Add values under their slots."""
        if len(slots) == 0:
            return
        run = added_up(OrderedRun(slots, words, weights, None).take(sort_order(slots, words)))
        if len(run):
            self._tiers.push(run)

    def release(self, dead: Bools) -> None:
        """Drop all values under the slots that are marked."""
        self._tiers.rewrite(lambda run: run.take(nonzero(~dead[run.slots])))

    def bounds(self, slots: I64) -> Bounds:
        """Return, for each run, where the entries of each slot begin and end."""
        return bounds_in(self._tiers.runs, slots)

    def first(self, slots: I64, *, last: bool, bounds: Bounds | None = None) -> tuple[U64, Bools]:
        """Return the smallest (or the largest) word under each slot, and whether there is one."""
        return (self.bounds(slots) if bounds is None else bounds).first(last=last)

    def all(self, slots: I64) -> OrderedRun:
        """Return every entry under those slots, added up, in order; the slots are positions in `slots`."""
        return self.bounds(slots).all()

    @property
    def row_count(self) -> int:
        """Entries kept."""
        return sum(len(run) for run in self._tiers.runs)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(run.nbytes for run in self._tiers.runs)
