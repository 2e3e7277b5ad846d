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
_IN_WORDS = 8 * WORDS_KEPT
"""Bytes of a text that its words hold."""


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
    """Text key values by slot: the first words of each, and what follows them in one heap of bytes.

    Most keys are short, so nothing is kept that no key needs: neither a second word where all have eight
    bytes at most, nor a heap where all end within the words.
    """

    def __init__(self) -> None:
        self._heap = Growable(np.uint8)
        self._heap.resize(8)
        self._words: list[Growable[np.uint64]] = [Growable(np.uint64)]
        self._starts: Growable[np.int64] | None = None
        self._lengths = Growable(np.int32)
        self._null: Growable[np.bool_] | None = None
        self._dead = 0

    def put(self, column: View, rows: I64, slots: I64, size: int) -> None:
        """Store those rows at those slots; `size` slots are known from now on."""
        assert isinstance(column, Text)
        lengths = column.lengths[rows]
        longest = int(lengths.max()) if len(lengths) else 0
        self._lengths.resize(size)
        self._lengths.data[slots] = lengths
        while len(self._words) < WORDS_KEPT and longest > 8 * len(self._words):
            self._words.append(Growable(np.uint64))
        for step, word in enumerate(self._words):
            word.resize(size)
            word.data[slots] = column.word(step, rows)
        if self._starts is None and longest > _IN_WORDS:
            self._starts = Growable(np.int64)
        if self._starts is not None:
            self._starts.resize(size)
            self._starts.data[slots] = self._put_rests(column, rows, lengths)
        if column.valid is not None and self._null is None:
            self._null = Growable(np.bool_)
        if self._null is not None:
            self._null.resize(size)
            self._null.data[slots] = _row_nulls(column, rows)

    def _put_rests(self, column: Text, rows: I64, lengths: I64) -> I64:
        """Store what follows the words; return where each text would begin, were it all in the heap."""
        rests = np.maximum(lengths - _IN_WORDS, 0)
        start = self._heap.size - 8
        ends = np.cumsum(rests)
        total = int(ends[-1]) if len(ends) else 0
        self._heap.resize(start + total + 8)
        self._heap.data[start : start + total] = _gather_bytes(
            column.heap, column.starts[rows] + _IN_WORDS, rests, ends, total
        )
        begins: I64 = start + ends - rests - _IN_WORDS
        return begins

    def release(self, slots: I64) -> None:
        """Give back the bytes of those slots, once half of all is dead."""
        if self._starts is None:
            return
        self._dead += int(np.maximum(self._lengths.data[slots].astype(np.int64) - _IN_WORDS, 0).sum())
        self._lengths.data[slots] = 0
        if 2 * self._dead < self._heap.size:
            return
        rests = np.maximum(self._lengths.view().astype(np.int64) - _IN_WORDS, 0)
        ends = np.cumsum(rests)
        total = int(ends[-1])
        heap = Growable(np.uint8, total + 4096)
        heap.resize(total + 8)
        heap.data[:total] = _gather_bytes(
            self._heap.view(), self._starts.view() + _IN_WORDS, rests, ends, total
        )
        self._starts.view()[:] = ends - rests - _IN_WORDS
        self._heap, self._dead = heap, 0

    def times(self) -> tuple[U64, Bools | None]:
        """Text is no time."""
        raise TypeError("a text key is no time")

    def sizes(self, rows: I64) -> I64:
        """Return how many bytes the keys of those slots have."""
        return self._lengths.data[rows].astype(np.int64)

    def word(self, step: int, rows: I64) -> U64:
        """Return their word of that number, zero beyond their ends."""
        if step < len(self._words):
            return self._words[step].data[rows]
        if self._starts is None:
            return np.zeros(len(rows), dtype=np.uint64)
        return heap_word(self._heap.view(), self._starts.data[rows], self.sizes(rows), step)

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
        starts = 0 if self._starts is None else self._starts.nbytes
        return self._heap.nbytes + starts + self._lengths.nbytes + words


def _nulls(nulls: Growable[np.bool_] | None, slots: I64) -> Bools:
    return np.zeros(len(slots), dtype=np.bool_) if nulls is None else nulls.data[slots]


def _row_nulls(column: View, rows: I64) -> Bools:
    return np.zeros(len(rows), dtype=np.bool_) if column.valid is None else ~column.valid[rows]


def _gather_bytes(
    heap: npt.NDArray[np.uint8], starts: I64, lengths: I64, ends: I64, total: int
) -> npt.NDArray[np.uint8]:
    """Return bytes of a heap one piece after the other."""
    at = np.arange(total, dtype=np.int64)
    at += np.repeat(starts - (ends - lengths), lengths)
    gathered: npt.NDArray[np.uint8] = heap[at]
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
        slots: list[I64] = []
        added: list[I64] = []
        first = 0
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
