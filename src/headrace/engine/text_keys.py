"""Text keys by slot: each text once where many slots have the same, else one beside the other.

    slot      0     1     2     3                    code    0     1
    code      0     1     0     0           texts            EUR   USD

A key of several columns repeats most of its texts: the merchant, the currency, the day. Once a quarter of the
texts is all there is, they are numbered, and a slot keeps the number; a new key then looks its texts up,
while a key that is known is compared as ever.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from headrace.engine.columns import (
    I64,
    U64,
    WORDS_KEPT,
    Bools,
    Text,
    View,
    equal_texts,
    heap_word,
    nonzero,
)
from headrace.engine.growable import Growable
from headrace.engine.hash_index import HashIndex
from headrace.engine.hashing import hash_views

_IN_WORDS = 8 * WORDS_KEPT
"""Bytes of a text that its words hold."""
_ASKED_AT = (2_048, 8_192, 32_768, 131_072)
"""At so many slots it is asked whether numbers are worth their while; later that would take too long."""
_REPEATS = 4
"""Numbers are worth their while where each text stands under so many slots, on average."""
_NUMBERED_FROM = 1_024
"""Where so many rows hold one text, its number is looked up once; fewer are compared as they are."""
_AT_ONCE = 1_024
"""Texts that are looked up at once at least; a quarter of those held, where that is more."""
_SAMPLE = np.uint64(15)
"""Texts whose hash has none of these bits are counted."""


class Texts:
    """Texts by number: the first words of each, and what follows them in one heap of bytes.

    Most keys are short, so nothing is kept that no key needs: neither a second word where all have eight
    bytes at most, nor a heap where all end within the words.
    """

    def __init__(self) -> None:
        self._heap = Growable(np.uint8)
        self._heap.resize(8)
        self._words: list[Growable[np.uint64]] = [Growable(np.uint64)]
        self._starts: Growable[np.int64] | None = None
        self._lengths = Growable(np.int32)
        self._dead = 0

    @property
    def size(self) -> int:
        """Numbers known."""
        return self._lengths.size

    def put(self, column: Text, rows: I64, numbers: I64, size: int) -> None:
        """Store those rows at those numbers; `size` numbers are known from now on."""
        lengths = column.lengths[rows]
        longest = int(lengths.max()) if len(lengths) else 0
        self._lengths.resize(size)
        self._lengths.data[numbers] = lengths
        while len(self._words) < WORDS_KEPT and longest > 8 * len(self._words):
            self._words.append(Growable(np.uint64))
        for step, word in enumerate(self._words):
            word.resize(size)
            word.data[numbers] = column.word(step, rows)
        if self._starts is None and longest > _IN_WORDS:
            self._starts = Growable(np.int64)
        if self._starts is not None:
            self._starts.resize(size)
            self._starts.data[numbers] = self._put_rests(column, rows, lengths)

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

    def release(self, numbers: I64) -> None:
        """Give back the bytes of those numbers, once half of all is dead."""
        if self._starts is None:
            return
        self._dead += int(np.maximum(self._lengths.data[numbers].astype(np.int64) - _IN_WORDS, 0).sum())
        self._lengths.data[numbers] = 0
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

    def sizes(self, rows: I64) -> I64:
        """Return how many bytes the texts of those numbers have."""
        return self._lengths.data[rows].astype(np.int64)

    def word(self, step: int, rows: I64) -> U64:
        """Return their word of that number, zero beyond their ends."""
        if step < len(self._words):
            return self._words[step].data[rows]
        if self._starts is None:
            return np.zeros(len(rows), dtype=np.uint64)
        return heap_word(self._heap.view(), self._starts.data[rows], self.sizes(rows), step)

    def column(self, numbers: I64) -> Text:
        """Return the texts of those numbers as a column, each beginning at a whole word."""
        lengths = self.sizes(numbers)
        ends = np.cumsum((lengths + 7) // 8)
        starts = ends - (lengths + 7) // 8
        words = np.zeros(int(ends[-1]) + 1 if len(ends) else 1, dtype=np.uint64)
        rows, step = nonzero(lengths > 0), 0
        while len(rows):
            words[starts[rows] + step] = self.word(step, numbers[rows])
            step += 1
            rows = rows[lengths[rows] > 8 * step]
        return Text(words.view(np.uint8), 8 * starts, lengths, None)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        words = sum(word.nbytes for word in self._words)
        starts = 0 if self._starts is None else self._starts.nbytes
        return self._heap.nbytes + starts + self._lengths.nbytes + words


class Numbered:
    """Distinct texts, each with a number, and the number of each slot; −1: the slot was given back."""

    def __init__(self) -> None:
        self._texts = Texts()
        self._index = HashIndex()
        self._numbers = Growable(np.int32)
        self._released = 0

    def put(self, column: Text, rows: I64, slots: I64, size: int) -> None:
        """Store those rows at those slots; `size` slots are known from now on."""
        self._numbers.resize(size)
        if column.is_one and len(rows):
            self._numbers.data[slots] = self._find_or_add(column, rows[:1])
            return
        first = 0
        while first < len(rows):  # all at once, the index would make room for as many texts as there are rows
            last = first + max(_AT_ONCE, self._texts.size // 4)
            self._numbers.data[slots[first:last]] = self._find_or_add(column, rows[first:last])
            first = last

    def _find_or_add(self, column: Text, rows: I64) -> I64:
        part = Text(column.heap, column.starts[rows], column.lengths[rows], None)
        known = self._texts.size
        numbers, added = self._index.find_or_add(
            hash_views((part,), len(rows)),
            lambda at, found: equal_texts(self._texts, found, part, at),
            lambda one, other: equal_texts(part, one, part, other),
            lambda count: np.arange(known, known + count, dtype=np.int64),
        )
        if len(added):
            self._texts.put(part, added, numbers[added], known + len(added))
        return numbers

    def release(self, slots: I64) -> None:
        """Give back those slots, and texts that no slot has any more, once many may be among them."""
        self._numbers.data[slots] = -1
        self._released += len(slots)
        if self._released <= max(self._texts.size, _ASKED_AT[0]):
            return
        numbers, self._released = self._numbers.view(), 0
        slots = nonzero(numbers >= 0)
        left, at = np.unique(numbers[slots], return_inverse=True)
        column = self._texts.column(left.astype(np.int64))
        self._texts, self._index = Texts(), HashIndex()
        places = np.arange(len(left), dtype=np.int64)
        self._texts.put(column, places, places, len(left))
        self._index.add(hash_views((column,), len(left)), places)
        numbers[slots] = at

    def numbers(self, slots: I64) -> I64:
        """Return the numbers of those slots."""
        return self._numbers.data[slots].astype(np.int64)

    def equal(self, slots: I64, column: Text, rows: I64) -> Bools:
        """Return, pair by pair, whether a slot holds the text of a row."""
        if column.is_one and len(rows) >= _NUMBERED_FROM:
            same: Bools = self._numbers.data[slots] == self._number_of(column)
            return same
        return equal_texts(self._texts, self.numbers(slots), column, rows)

    def _number_of(self, column: Text) -> np.int64:
        """Return the number of the text that all rows of a column hold; −2, which no slot has, where it is
        new.
        """
        part = column.part(slice(0, 1))
        verify = partial(_same_texts, self._texts, part)
        found = self._index.find(hash_views((part,), 1), verify)[0]
        return found if found >= 0 else np.int64(-2)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._texts.nbytes + self._index.nbytes + self._numbers.nbytes


class TextKeys:
    """Text key values by slot."""

    def __init__(self) -> None:
        self._texts = Texts()
        self._numbered: Numbered | None = None
        self._null: Growable[np.bool_] | None = None
        self._asked = 0

    def put(self, column: View, rows: I64, slots: I64, size: int) -> None:
        """Store those rows at those slots; `size` slots are known from now on."""
        assert isinstance(column, Text)
        (self._texts if self._numbered is None else self._numbered).put(column, rows, slots, size)
        if column.valid is not None and self._null is None:
            self._null = Growable(np.bool_)
        if self._null is not None:
            self._null.resize(size)
            self._null.data[slots] = row_nulls(column, rows)
        if self._numbered is None and self._asked < len(_ASKED_AT) and size >= _ASKED_AT[self._asked]:
            self._ask(size)

    def _ask(self, size: int) -> None:
        """Number the texts where that is worth its while."""
        self._asked = sum(size >= bound for bound in _ASKED_AT)
        slots = np.arange(size, dtype=np.int64)
        column = self._texts.column(slots)
        hashes = hash_views((column,), size)
        sample = hashes[(hashes & _SAMPLE) == 0]
        if _REPEATS * len(np.unique(sample)) * (int(_SAMPLE) + 1) > size:
            return
        numbered = Numbered()
        numbered.put(column, slots, slots, size)
        self._numbered, self._texts = numbered, Texts()

    def release(self, slots: I64) -> None:
        """Give back what those slots hold."""
        (self._texts if self._numbered is None else self._numbered).release(slots)

    def times(self) -> tuple[U64, Bools | None]:
        """Text is no time."""
        raise TypeError("a text key is no time")

    def equal(self, slots: I64, column: View, rows: I64) -> Bools:
        """Return, pair by pair, whether a slot holds the value of a row."""
        assert isinstance(column, Text)
        if self._numbered is None:
            same = equal_texts(self._texts, slots, column, rows)
        else:
            same = self._numbered.equal(slots, column, rows)
        if self._null is not None or column.valid is not None:
            same &= null_flags(self._null, slots) == row_nulls(column, rows)
        return same

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        null = 0 if self._null is None else self._null.nbytes
        return self._texts.nbytes + null + (0 if self._numbered is None else self._numbered.nbytes)


def _same_texts(texts: Texts, part: Text, rows: I64, numbers: I64) -> Bools:
    return equal_texts(texts, numbers, part, rows)


def null_flags(nulls: Growable[np.bool_] | None, slots: I64) -> Bools:
    """Return which slots hold NULL."""
    return np.zeros(len(slots), dtype=np.bool_) if nulls is None else nulls.data[slots]


def row_nulls(column: View, rows: I64) -> Bools:
    """Return which rows of a column are NULL."""
    return np.zeros(len(rows), dtype=np.bool_) if column.valid is None else ~column.valid[rows]


def _gather_bytes(
    heap: npt.NDArray[np.uint8], starts: I64, lengths: I64, ends: I64, total: int
) -> npt.NDArray[np.uint8]:
    """Return bytes of a heap one piece after the other."""
    at = np.arange(total, dtype=np.int64)
    at += np.repeat(starts - (ends - lengths), lengths)
    gathered: npt.NDArray[np.uint8] = heap[at]
    return gathered
