"""Keys to slots: every distinct key gets a small integer, under which state stands in flat arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.engine.columns import (
    I64,
    U64,
    WORDS_KEPT,
    Bools,
    Fixed,
    Text,
    View,
    equal_rows,
    equal_texts,
    heap_word,
    is_fixed,
    micros,
)
from headrace.engine.growable import Growable
from headrace.engine.hash_index import HashIndex
from headrace.engine.monotone import Bounds

_AT_ONCE = 8_192
"""Rows that are looked up at once at least; a quarter of the keys held, where that is more."""


class FixedKeys:
    """Fixed-width key values by slot."""

    def __init__(self, width: int) -> None:
        self._words = [Growable(np.uint64) for _ in range(width)]
        self._null: Growable[np.bool_] | None = None

    def put(self, column: View, rows: I64, slots: I64, size: int) -> None:
        """Store those rows at those slots; `size` slots are known from now on."""
        assert isinstance(column, Fixed)
        for mine, word in zip(self._words, column.words, strict=True):
            mine.resize(size)
            mine.data[slots] = word[rows]
        if column.valid is not None and self._null is None:
            self._null = Growable(np.bool_)
        if self._null is not None:
            self._null.resize(size)
            self._null.data[slots] = _row_nulls(column, rows)

    def release(self, slots: I64) -> None:
        """Nothing to give back: the next key of a slot overwrites it."""

    def times(self) -> tuple[U64, Bools | None]:
        """Return the first word of every slot, and which slots hold NULL."""
        words = self._words[0].view()
        if self._null is None:
            return words, None
        self._null.resize(len(words))
        return words, self._null.view()

    def equal(self, slots: I64, column: View, rows: I64) -> Bools:
        """Return, pair by pair, whether a slot holds the value of a row."""
        assert isinstance(column, Fixed)
        same: Bools = self._words[0].data[slots] == column.words[0][rows]
        for mine, word in zip(self._words[1:], column.words[1:], strict=True):
            same &= mine.data[slots] == word[rows]
        if self._null is not None or column.valid is not None:
            same &= _nulls(self._null, slots) == _row_nulls(column, rows)
        return same

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(word.nbytes for word in self._words) + (self._null.nbytes if self._null else 0)


class TextKeys:
    """Text key values by slot, in one heap of bytes, with their first words beside it."""

    def __init__(self) -> None:
        self._heap = Growable(np.uint8, 4096)
        self._heap.resize(8)
        self._words = [Growable(np.uint64) for _ in range(WORDS_KEPT)]
        self._starts = Growable(np.int64)
        self._lengths = Growable(np.int64)
        self._null: Growable[np.bool_] | None = None
        self._dead = 0

    def put(self, column: View, rows: I64, slots: I64, size: int) -> None:
        """Store those rows at those slots; `size` slots are known from now on."""
        assert isinstance(column, Text)
        lengths = column.lengths[rows]
        start = self._heap.size - 8
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if len(ends) else 0
        self._heap.resize(start + total + 8)
        self._heap.data[start : start + total] = _gather_bytes(column, rows, lengths, ends, total)
        for mine, values in ((self._starts, start + ends - lengths), (self._lengths, lengths)):
            mine.resize(size)
            mine.data[slots] = values
        for step, word in enumerate(self._words):
            word.resize(size)
            word.data[slots] = column.word(step, rows)
        if column.valid is not None and self._null is None:
            self._null = Growable(np.bool_)
        if self._null is not None:
            self._null.resize(size)
            self._null.data[slots] = _row_nulls(column, rows)

    def release(self, slots: I64) -> None:
        """Give back the bytes of those slots, once half of all is dead."""
        self._dead += int(self._lengths.data[slots].sum())
        self._lengths.data[slots] = 0
        if 2 * self._dead < self._heap.size:
            return
        column = Text(self._heap.view(), self._starts.view(), self._lengths.view(), None)
        ends = np.cumsum(column.lengths)
        total = int(ends[-1])
        rows = np.arange(self._lengths.size, dtype=np.int64)
        heap = Growable(np.uint8, total + 4096)
        heap.resize(total + 8)
        heap.data[:total] = _gather_bytes(column, rows, column.lengths, ends, total)
        self._starts.view()[:] = ends - column.lengths
        self._heap, self._dead = heap, 0

    def times(self) -> tuple[U64, Bools | None]:
        """Text is no time."""
        raise TypeError("a text key is no time")

    def sizes(self, rows: I64) -> I64:
        """Return how many bytes the keys of those slots have."""
        return self._lengths.data[rows]

    def word(self, step: int, rows: I64) -> U64:
        """Return their word of that number, zero beyond their ends."""
        if step < WORDS_KEPT:
            return self._words[step].data[rows]
        return heap_word(self._heap.view(), self._starts.data[rows], self._lengths.data[rows], step)

    def equal(self, slots: I64, column: View, rows: I64) -> Bools:
        """Return, pair by pair, whether a slot holds the value of a row."""
        assert isinstance(column, Text)
        same = equal_texts(self, slots, column, rows)
        if self._null is not None or column.valid is not None:
            same &= _nulls(self._null, slots) == _row_nulls(column, rows)
        return same

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        words = sum(word.nbytes for word in self._words)
        return self._heap.nbytes + self._starts.nbytes + self._lengths.nbytes + words


def _nulls(nulls: Growable[np.bool_] | None, slots: I64) -> Bools:
    return np.zeros(len(slots), dtype=np.bool_) if nulls is None else nulls.data[slots]


def _row_nulls(column: View, rows: I64) -> Bools:
    return np.zeros(len(rows), dtype=np.bool_) if column.valid is None else ~column.valid[rows]


def _gather_bytes(column: Text, rows: I64, lengths: I64, ends: I64, total: int) -> npt.NDArray[np.uint8]:
    """Return the bytes of those rows one after the other."""
    at = np.arange(total, dtype=np.int64)
    at += np.repeat(column.starts[rows] - (ends - lengths), lengths)
    gathered: npt.NDArray[np.uint8] = column.heap[at]
    return gathered


class KeyTable:
    """A set of distinct keys with their slots: 0 upwards in order of arrival, slots given back first.

    Attributes:
        size: slots known, those given back included.
    """

    def __init__(self, types: Sequence[pa.DataType]) -> None:
        self._types = tuple(types)
        self._stores = [FixedKeys(_word_count(kind)) if is_fixed(kind) else TextKeys() for kind in types]
        self._index = HashIndex()
        self._free: I64 = np.empty(0, dtype=np.int64)
        self.size = 0

    @property
    def live(self) -> int:
        """Number of keys held."""
        return self.size - len(self._free)

    def _equal(self, slots: I64, columns: Sequence[View], rows: I64) -> Bools:
        same = slots >= 0
        for store, column in zip(self._stores, columns, strict=True):
            same &= store.equal(slots, column, rows)
        return same

    def find(self, columns: Sequence[View], hashes: U64) -> I64:
        """Return the slot of each row's key, −1 where it was never seen."""
        if self.size == 0:
            return np.full(len(hashes), -1, dtype=np.int64)
        return self._index.find(hashes, lambda rows, slots: self._equal(slots, columns, rows))

    def find_or_add(self, columns: Sequence[View], hashes: U64) -> tuple[I64, I64]:
        """Return the slot of each row's key and the rows that brought a new key, in slot order."""
        slots, added, first = [], [], 0
        while first < len(hashes) or not slots:
            last = first + max(_AT_ONCE, self.live // 4)
            found = self._find_or_add(columns, hashes[first:last], first)
            slots.append(found[0])
            added.append(found[1])
            first = last
        if len(slots) == 1:
            return slots[0], added[0]
        return np.concatenate(slots), np.concatenate(added)

    def _find_or_add(self, columns: Sequence[View], hashes: U64, first: int) -> tuple[I64, I64]:
        """Do so for some rows, from `first` on: for all at once the index would make room for as many keys
        as there are rows.
        """
        slots, added = self._index.find_or_add(
            hashes,
            lambda rows, slots: self._equal(slots, columns, rows + first),
            lambda one, other: equal_rows(columns, one + first, columns, other + first),
            self._new_slots,
        )
        rows = added + first
        if len(added):
            for store, column in zip(self._stores, columns, strict=True):
                store.put(column, rows, slots[added], self.size)
        return slots, rows

    def _new_slots(self, count: int) -> I64:
        again, self._free = self._free[:count], self._free[count:]
        first = self.size
        self.size += count - len(again)
        return np.concatenate([again, np.arange(first, self.size, dtype=np.int64)])

    # --- giving back
    # ----------------------------------------------------------------------------------------------
    def release(self, slots: I64) -> Bools:
        """Forget the keys of those slots, which later keys may take; return a mask of them over all slots.

        Nothing that is kept by slot elsewhere may be left under them. Costs the size of the table.
        """
        dead = np.zeros(self.size, dtype=np.bool_)
        if len(slots) == 0:
            return dead
        dead[slots] = True
        self._index.discard(dead)
        for store in self._stores:
            store.release(slots)
        self._free = np.concatenate([self._free, slots])
        return dead

    def below(self, column: int, bound_us: int) -> Bools:
        """Return which slots hold a time below a bound in microseconds; of free slots any."""
        words, nulls = self._stores[column].times()
        found: Bools = micros(words.view(np.int64), self._types[column]) < bound_us
        return found if nulls is None else found & ~nulls

    def final(self, names: Sequence[str], bounds: Bounds) -> Bools:
        """Return which slots hold a key with some column below its bound; of free slots any.

        Args:
            names: the key columns, as `bounds` calls them.
            bounds: smallest values that may still come.
        """
        found = np.zeros(self.size, dtype=np.bool_)
        for at, name in enumerate(names):
            if name in bounds:
                found |= self.below(at, bounds[name])
        return found

    def free(self) -> Bools:
        """Return which slots are given back and not taken again."""
        found = np.zeros(self.size, dtype=np.bool_)
        found[self._free] = True
        return found

    def words(self, column: int) -> U64:
        """Return the first word of a fixed-width key column, by slot."""
        return self._stores[column].times()[0]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._index.nbytes + sum(store.nbytes for store in self._stores)


def _word_count(kind: pa.DataType) -> int:
    if kind == pa.month_day_nano_interval():
        return 2
    return max(2, kind.bit_width // 64) if pa.types.is_decimal(kind) else 1
