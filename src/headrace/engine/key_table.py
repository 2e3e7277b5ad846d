"""Keys to slots: every distinct key gets a small integer, under which state stands in flat arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.engine.columns import I64, U64, Bools, Fixed, Text, View, equal_bytes, equal_rows, is_fixed
from headrace.engine.growable import Growable
from headrace.engine.hash_index import HashIndex


class FixedKeys:
    """Fixed-width key values by slot."""

    def __init__(self, width: int) -> None:
        self._words = [Growable(np.uint64) for _ in range(width)]
        self._null: Growable[np.bool_] | None = None

    def put(self, column: View, rows: I64, first: int) -> None:
        """Store those rows at slots `first`, `first + 1`, …"""
        assert isinstance(column, Fixed)
        for mine, word in zip(self._words, column.words, strict=True):
            mine.resize(first)
            mine.extend(word[rows])
        if column.valid is not None and self._null is None:
            self._null = Growable(np.bool_)
        if self._null is not None:
            self._null.resize(first)
            nulls = np.zeros(len(rows), dtype=np.bool_) if column.valid is None else ~column.valid[rows]
            self._null.extend(nulls)

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
    """Text key values by slot, in one heap of bytes."""

    def __init__(self) -> None:
        self._heap = Growable(np.uint8, 4096)
        self._heap.resize(8)
        self._starts = Growable(np.int64)
        self._lengths = Growable(np.int64)
        self._null: Growable[np.bool_] | None = None

    def put(self, column: View, rows: I64, first: int) -> None:
        """Store those rows at slots `first`, `first + 1`, …"""
        assert isinstance(column, Text)
        lengths = column.lengths[rows]
        start = self._heap.size - 8
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if len(ends) else 0
        self._heap.resize(start + total + 8)
        self._heap.data[start : start + total] = _gather_bytes(column, rows, lengths, ends, total)
        for mine, values in ((self._starts, start + ends - lengths), (self._lengths, lengths)):
            mine.resize(first)
            mine.extend(values)
        if column.valid is not None and self._null is None:
            self._null = Growable(np.bool_)
        if self._null is not None:
            self._null.resize(first)
            self._null.extend(_row_nulls(column, rows))

    def equal(self, slots: I64, column: View, rows: I64) -> Bools:
        """Return, pair by pair, whether a slot holds the value of a row."""
        assert isinstance(column, Text)
        same = equal_bytes(
            self._heap.view(), self._starts.data[slots], self._lengths.data[slots],
            column.heap, column.starts[rows], column.lengths[rows],
        )  # fmt: skip
        if self._null is not None or column.valid is not None:
            same &= _nulls(self._null, slots) == _row_nulls(column, rows)
        return same

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._heap.nbytes + self._starts.nbytes + self._lengths.nbytes


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
    """A growing set of distinct keys with their slots, 0 upwards in order of arrival."""

    def __init__(self, types: Sequence[pa.DataType]) -> None:
        self._stores = [FixedKeys(_word_count(kind)) if is_fixed(kind) else TextKeys() for kind in types]
        self._index = HashIndex()
        self.size = 0

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
        slots, added = self._index.find_or_add(
            hashes,
            lambda rows, slots: self._equal(slots, columns, rows),
            lambda one, other: equal_rows(columns, one, columns, other),
            self.size,
        )
        if len(added):
            for store, column in zip(self._stores, columns, strict=True):
                store.put(column, added, self.size)
            self.size += len(added)
        return slots, added

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._index.nbytes + sum(store.nbytes for store in self._stores)


def _word_count(kind: pa.DataType) -> int:
    if kind == pa.month_day_nano_interval():
        return 2
    return max(2, kind.bit_width // 64) if pa.types.is_decimal(kind) else 1
