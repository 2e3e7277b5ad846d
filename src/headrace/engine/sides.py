"""The two sides of a join: what is kept of each, and where the rows of the other find what may match.

A row whose key holds a NULL matches nothing; it gets slot −1 and is not kept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.change import Change
from headrace.engine.columns import I64, U64, Bools, View, group_keys, nonzero, views
from headrace.engine.growable import Growable, Tally
from headrace.engine.hashing import hash_views
from headrace.engine.heap import Heap
from headrace.engine.key_table import KeyTable
from headrace.engine.order import order_word
from headrace.engine.ordered import Bounds
from headrace.engine.ordered_rows import OrderedRows
from headrace.engine.runs import Arrangement
from headrace.sql.plan import Range

PAIRS_MAX = 2_000_000
"""About so many pairs are looked at at once."""
_LEVELS = 64
_ALL = np.uint64(2**64 - 1)
Found = tuple[I64, I64, I64]
"""Positions of the rows that asked, numbers of the rows found, their weights."""


@dataclass(frozen=True, slots=True)
class Keyed:
    """A change of one side.

    Attributes:
        change: added up.
        slots: the number of each row's key, −1 where the row can match nothing.
        words: where the rows lie in the order of a range: none, one or two words per row.
    """

    change: Change
    slots: I64
    words: tuple[U64, ...] = ()

    def __len__(self) -> int:
        return len(self.slots)

    def take(self, at: I64) -> Keyed:
        """Return some of the rows."""
        return Keyed(self.change.take(at), self.slots[at], tuple(word[at] for word in self.words))

    def slice(self, first: int, last: int) -> Keyed:
        """Return the rows from `first` to before `last`, without a copy."""
        change = Change(self.change.rows.slice(first, last - first), self.change.weights[first:last])
        return Keyed(change, self.slots[first:last], tuple(word[first:last] for word in self.words))


class SlotTotals:
    """The sum of the weights under each slot."""

    def __init__(self) -> None:
        self._totals = Tally()

    def add(self, batch: Keyed) -> tuple[I64, I64, I64]:
        """Add a change; return the slots it touches, and their sums before and after."""
        there = nonzero(batch.slots >= 0)
        touched = np.unique(batch.slots[there])
        if len(touched) == 0:
            return touched, touched, touched
        self._totals.resize(max(self._totals.size, int(touched[-1]) + 1))
        before = self._totals.at(touched)
        self._totals.add(batch.slots[there], batch.change.weights[there])
        return touched, before, self._totals.at(touched)

    def held(self, size: int) -> Bools:
        """Return which of the slots below `size` have a sum other than 0."""
        found = np.zeros(size, dtype=np.bool_)
        held = ~self._totals.empty()[:size]
        found[: len(held)] = held
        return found

    def clear(self, slots: I64) -> None:
        """Set the sums of slots to 0."""
        self._totals.clear(slots)

    def of(self, slots: I64) -> I64:
        """Return the sums of those slots, 0 for slot −1."""
        known = (slots >= 0) & (slots < self._totals.size)
        sums: I64 = np.where(known, self._totals.at(np.where(known, slots, 0)), 0)
        return sums

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._totals.nbytes


class Side(ABC):
    """The kept rows of one side.

    Attributes:
        rows: in the structure that finds what the other side's rows may match.
    """

    rows: Arrangement | OrderedRows

    @property
    def heap(self) -> Heap:
        """Where the rows lie by number."""
        return self.rows.heap

    @abstractmethod
    def insert(self, batch: Keyed) -> I64:
        """Add a change; return the numbers of its rows, −1 for those that can match nothing."""

    @abstractmethod
    def candidates(self, batch: Keyed) -> Iterator[Found]:
        """Yield the kept rows that may match those of the other side's change, about `PAIRS_MAX` at once."""

    def drop_below(self, column: str, bound_us: int) -> None:
        """Drop all rows whose time in that column is below a bound in microseconds; NULL is not."""
        self.rows.drop_below(column, bound_us)

    def held(self, size: int) -> Bools:
        """Return which of the slots below `size` have entries, cancelled ones included."""
        return self.rows.held(size)

    @property
    def row_count(self) -> int:
        """Rows kept, before what is still to cancel."""
        return self.rows.row_count

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.rows.nbytes


class PlainSide(Side):
    """Rows under their slot."""

    rows: Arrangement

    def __init__(self, schema: pa.Schema, *, append_only: bool) -> None:
        self.rows = Arrangement(schema, append_only=append_only)

    @override
    def insert(self, batch: Keyed) -> I64:
        kept, batch = matchable(batch)
        change = batch.change
        numbers = self.rows.insert(batch.slots, change.rows, change.weights, change.hashes)
        return numbers if kept is None else scattered(numbers, kept[0], kept[1])

    @override
    def candidates(self, batch: Keyed) -> Iterator[Found]:
        if len(batch) * self.row_count <= PAIRS_MAX:
            yield self.rows.probe(batch.slots)
            return
        for first, last in blocks(self.rows.sizes(batch.slots)):
            positions, numbers, weights = self.rows.probe(batch.slots[first:last])
            yield positions + first, numbers, weights


class PointSide(Side):
    """Rows in the order of the column that lies between two of the other side's."""

    rows: OrderedRows

    def __init__(self, schema: pa.Schema) -> None:
        self.rows = OrderedRows(schema)

    @override
    def insert(self, batch: Keyed) -> I64:
        kept, batch = matchable(batch)
        numbers = self.rows.insert(batch.slots, batch.words[0], batch.change.rows, batch.change.weights)
        return numbers if kept is None else scattered(numbers, kept[0], kept[1])

    @override
    def candidates(self, batch: Keyed) -> Iterator[Found]:
        lows, highs = batch.words
        return in_blocks(self.rows.bounds(batch.slots).clip(lows, highs))


class IntervalSide(Side):
    """Rows with two columns between which one of the other side's lies.

    They are kept in the order of their lower end, the short ones apart from the long ones: level n holds
    those whose ends are less than 4ⁿ words apart. So a point is looked for, level by level, among the rows
    that begin at most that far before it; at most three in four of those end too early.
    """

    rows: OrderedRows

    def __init__(self, schema: pa.Schema) -> None:
        self.rows = OrderedRows(schema)
        self._levels: list[int] = []
        self._highs: Growable[np.uint64] = Growable(np.uint64)
        self._first = 0

    @override
    def insert(self, batch: Keyed) -> I64:
        kept, batch = matchable(batch)
        if len(batch):
            lows, highs = batch.words
            levels = _levels(highs - lows)
            self._levels = sorted({*self._levels, *np.unique(levels).tolist()})
            slots = batch.slots * _LEVELS + levels
            numbers = self.rows.insert(slots, lows, batch.change.rows, batch.change.weights)
            self._note(numbers, highs)
        else:
            numbers = batch.slots
        return numbers if kept is None else scattered(numbers, kept[0], kept[1])

    def _note(self, numbers: I64, highs: U64) -> None:
        """Keep the upper ends by number; those before the first row of the heap are given up by and by."""
        first = int(numbers[0])
        if self.heap.chunks:
            first = min(first, int(self.heap.chunks[0].numbers[0]))
        if first - self._first > len(self._highs.view()) // 2:
            rest = self._highs.view()[first - self._first :].copy()
            self._highs, self._first = Growable(np.uint64), first
            self._highs.extend(rest)
        self._highs.resize(int(numbers[-1]) + 1 - self._first)
        self._highs.data[numbers - self._first] = highs

    @override
    def candidates(self, batch: Keyed) -> Iterator[Found]:
        points = batch.words[0]
        for level in self._levels:
            width = np.uint64(min(4**level, 2**64) - 1)
            lows = np.where(points > width, points - width, np.uint64(0))
            slots = np.where(batch.slots < 0, -1, batch.slots * _LEVELS + level)
            for positions, numbers, weights in in_blocks(self.rows.bounds(slots).clip(lows, points)):
                within = nonzero(self._highs.data[numbers - self._first] >= points[positions])
                yield positions[within], numbers[within], weights[within]

    @override
    def held(self, size: int) -> Bools:
        found = np.zeros(size, dtype=np.bool_)
        found[nonzero(self.rows.held(size * _LEVELS)) // _LEVELS] = True
        return found

    @property
    @override
    def nbytes(self) -> int:
        return self.rows.nbytes + self._highs.nbytes


def _levels(widths: U64) -> I64:
    """Return for each width the smallest level n for which it is less than 4ⁿ."""
    levels = np.zeros(len(widths), dtype=np.int64)
    rest = widths.copy()
    while rest.any():
        levels += rest > 0
        rest >>= np.uint64(2)
    return levels


def in_blocks(bounds: Bounds) -> Iterator[Found]:
    """Yield the entries of bounds, about `PAIRS_MAX` at once."""
    for first, last in blocks(bounds.sizes()):
        positions, numbers, weights = bounds.select(np.arange(first, last)).entries()
        yield positions + first, numbers, weights


def blocks(sizes: I64) -> Iterator[tuple[int, int]]:
    """Yield stretches of rows whose sizes add up to at most `PAIRS_MAX`, or that are one row."""
    ends = np.cumsum(sizes)
    first = 0
    while first < len(ends):
        base = int(ends[first - 1]) if first else 0
        last = max(int(np.searchsorted(ends, base + PAIRS_MAX, side="right")), first + 1)
        yield first, last
        first = last


def matchable(batch: Keyed) -> tuple[tuple[I64, int] | None, Keyed]:
    """Return the rows that can match, and where they stood, of how many; None where that is all."""
    there = batch.slots >= 0
    if there.all():
        return None, batch
    kept = nonzero(there)
    return (kept, len(batch)), batch.take(kept)


def scattered(numbers: I64, kept: I64, count: int) -> I64:
    """Return numbers at the places where their rows stood, −1 elsewhere."""
    whole = np.full(count, -1, dtype=np.int64)
    whole[kept] = numbers
    return whole


def key_slots(rows: pa.RecordBatch, columns: Sequence[str], keys: KeyTable) -> I64:
    """Return the slot of each row's key, new ones added; −1 where a key column is NULL, 0 without columns."""
    return _slots(rows, columns, lambda seen, hashes: keys.find_or_add(seen, hashes)[0])


def found_slots(rows: pa.RecordBatch, columns: Sequence[str], keys: KeyTable) -> I64:
    """Return `key_slots` of keys that are known, −1 for all others; none is added."""
    return _slots(rows, columns, keys.find)


def _slots(rows: pa.RecordBatch, columns: Sequence[str], find: Callable[[Sequence[View], U64], I64]) -> I64:
    if not columns:
        return np.zeros(rows.num_rows, dtype=np.int64)
    arrays = [rows.column(name) for name in columns]
    nulls = any_null(arrays)
    seen = views(group_keys(arrays), exact=False)
    slots = find(seen, hash_views(seen, rows.num_rows))
    return slots if nulls is None else np.where(nulls, -1, slots)


def range_words(
    rows: pa.RecordBatch, slots: I64, found: Range, *, has_point: bool
) -> tuple[I64, tuple[U64, ...]]:
    """Return the order words of a side's rows in a range, and their slots, −1 where no value lies between.

    The point has one word, the ends have two: both included. Where there is no lower end, all words are
    turned round, so that the upper end becomes a lower one.
    """
    if has_point:
        words = order_word(rows.column(found.point))
        return _without(slots, any_null([rows.column(found.point)])), (words if found.low else ~words,)
    nulls = any_null([rows.column(name) for name in (found.low, found.high) if name is not None])
    highs = np.full(len(slots), _ALL, dtype=np.uint64)
    if found.low is None:
        assert found.high is not None
        lows, is_open = ~order_word(rows.column(found.high)), found.high_is_open
    else:
        lows, is_open = order_word(rows.column(found.low)), found.low_is_open
    slots = _without(slots, nulls)
    if is_open:
        slots = _without(slots, lows == _ALL)
        lows = lows + np.uint64(1)
    if found.low is not None and found.high is not None:
        highs = order_word(rows.column(found.high))
        if found.high_is_open:
            slots = _without(slots, highs == 0)
            highs = highs - np.uint64(1)
    return _without(slots, lows > highs), (lows, highs)


def _without(slots: I64, left_out: Bools | None) -> I64:
    return slots if left_out is None else np.where(left_out, -1, slots)


def any_null(arrays: Sequence[pa.Array]) -> Bools | None:
    """Return in which rows some column is NULL; None: in none."""
    found: Bools | None = None
    for array in arrays:
        if array.null_count:
            nulls = array.is_null().to_numpy(zero_copy_only=False)
            found = nulls if found is None else found | nulls
    return found
