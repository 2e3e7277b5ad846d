"""The two sides of a join: what is kept of each, and where the rows of the other find what may match.

A row whose key holds a NULL matches nothing; it gets slot −1 and is not kept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from typing_extensions import override

from headrace.change import Change
from headrace.engine.columns import I64, U64, Bools, group_keys, nonzero, views
from headrace.engine.growable import Growable
from headrace.engine.hashing import hash_views
from headrace.engine.heap import Heap
from headrace.engine.key_table import KeyTable
from headrace.engine.runs import Arrangement

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
        self._totals: Growable[np.int64] = Growable(np.int64)

    def add(self, batch: Keyed) -> tuple[I64, I64, I64]:
        """Add a change; return the slots it touches, and their sums before and after."""
        there = nonzero(batch.slots >= 0)
        touched = np.unique(batch.slots[there])
        if len(touched) == 0:
            return touched, touched, touched
        self._totals.resize(max(self._totals.size, int(touched[-1]) + 1))
        before = self._totals.data[touched]
        np.add.at(self._totals.data, batch.slots[there], batch.change.weights[there])
        return touched, before, self._totals.data[touched]

    def of(self, slots: I64) -> I64:
        """Return the sums of those slots, 0 for slot −1."""
        known = (slots >= 0) & (slots < self._totals.size)
        sums: I64 = np.where(known, self._totals.data[np.where(known, slots, 0)], 0)
        return sums

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._totals.nbytes


class Side(ABC):
    """The kept rows of one side."""

    @property
    @abstractmethod
    def heap(self) -> Heap:
        """Where the rows lie by number."""

    @abstractmethod
    def insert(self, batch: Keyed) -> I64:
        """Add a change; return the numbers of its rows, −1 for those that can match nothing."""

    @abstractmethod
    def candidates(self, batch: Keyed) -> Found:
        """Return the kept rows that may match the rows of the other side's change."""

    @property
    @abstractmethod
    def row_count(self) -> int:
        """Rows kept, before what is still to cancel."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes held."""


class PlainSide(Side):
    """Rows under their slot."""

    def __init__(self, schema: pa.Schema, *, append_only: bool) -> None:
        self.rows = Arrangement(schema, append_only=append_only)

    @property
    @override
    def heap(self) -> Heap:
        return self.rows.heap

    @override
    def insert(self, batch: Keyed) -> I64:
        kept, batch = matchable(batch)
        numbers = self.rows.insert(batch.slots, batch.change.rows, batch.change.weights)
        return numbers if kept is None else scattered(numbers, kept[0], kept[1])

    @override
    def candidates(self, batch: Keyed) -> Found:
        return self.rows.probe(batch.slots)

    @property
    @override
    def row_count(self) -> int:
        return self.rows.row_count

    @property
    @override
    def nbytes(self) -> int:
        return self.rows.nbytes


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
    if not columns:
        return np.zeros(rows.num_rows, dtype=np.int64)
    arrays = [rows.column(name) for name in columns]
    nulls = any_null(arrays)
    seen = views(group_keys(arrays), exact=False)
    slots = keys.find_or_add(seen, hash_views(seen, rows.num_rows))[0]
    return slots if nulls is None else np.where(nulls, -1, slots)


def any_null(arrays: Sequence[pa.Array]) -> Bools | None:
    """Return in which rows some column is NULL; None: in none."""
    found: Bools | None = None
    for array in arrays:
        if array.null_count:
            nulls = array.is_null().to_numpy(zero_copy_only=False)
            found = nulls if found is None else found | nulls
    return found
