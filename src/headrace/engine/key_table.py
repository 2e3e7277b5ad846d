"""Keys to slots: every distinct key gets a small integer, under which state stands in flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.engine.alike import Alike
from headrace.engine.columns import (
    I64,
    U64,
    Bools,
    Fixed,
    View,
    equal_rows,
    is_fixed,
    micros,
    nonzero,
    views,
)
from headrace.engine.few import FEW_ROWS_MAX, Few, few_keys
from headrace.engine.growable import Growable
from headrace.engine.hash_index import HashIndex
from headrace.engine.hashing import hash_views
from headrace.engine.hints import Hints
from headrace.engine.monotone import Bounds
from headrace.engine.text_keys import TextKeys, null_flags, row_nulls

_KNOWN_MAX = 4_096
"""So many keys are known by their values, as Python has them."""
_WAIT_MAX = 256
"""So many changes at most are not looked at for few keys, after one that had many."""
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
            self._null.data[slots] = row_nulls(column, rows)

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
            same &= null_flags(self._null, slots) == row_nulls(column, rows)
        return same

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(word.nbytes for word in self._words) + (self._null.nbytes if self._null else 0)


class KeyTable:
    """A set of distinct keys with their slots: 0 upwards in order of arrival, slots given back first.

    Attributes:
        size: slots known, those given back included.
    """

    def __init__(self, types: Sequence[pa.DataType]) -> None:
        self._types = tuple(types)
        self._stores = [FixedKeys(_word_count(kind)) if is_fixed(kind) else TextKeys() for kind in types]
        self._index = HashIndex()
        self._alike = Alike()
        self._free: I64 = np.empty(0, dtype=np.int64)
        self._known: dict[Any, int] = {}
        self._hints = Hints()
        self._waits, self._wait = 0, 1
        self.size = 0

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is found again."""
        return {**self.__dict__, "_known": {}, "_hints": Hints()}

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
        grouped = self._alike.groups(columns, hashes)
        if grouped is None:
            return self._index.find(hashes, lambda rows, slots: self._equal(slots, columns, rows))
        groups, firsts = grouped
        found = self._index.find(
            hashes[firsts], lambda rows, slots: self._equal(slots, columns, firsts[rows])
        )
        return found[groups]

    def find_or_add(self, columns: Sequence[View], hashes: U64) -> tuple[I64, I64]:
        """Return the slot of each row's key and the rows that brought a new key, in slot order."""
        grouped = self._alike.groups(columns, hashes)
        if grouped is None:
            return self._in_parts(columns, hashes, np.arange(len(hashes), dtype=np.int64))
        groups, firsts = grouped
        slots, added = self._in_parts(columns, hashes[firsts], firsts)
        return slots[groups], added

    def slots_of(self, arrays: Sequence[pa.Array], ids: I64 | None = None) -> tuple[I64, I64]:
        """Return `find_or_add` of key columns; where a small change has few keys, those are looked up by
        value, and its rows are neither hashed nor compared.
        """
        few = self._few_keys(arrays)
        if few is not None:
            found = [self._known.get(key, -1) for key in few.values]
            if -1 not in found:
                return np.array(found, dtype=np.int64)[few.codes], np.empty(0, dtype=np.int64)
        slots, added = self.place(arrays, ids)
        if few is not None:
            if len(self._known) + len(few.values) > _KNOWN_MAX:
                self._known.clear()
            at = np.empty(len(few.values), dtype=np.int64)
            at[few.codes] = slots
            self._known.update(zip(few.values, at.tolist(), strict=True))
        return slots, added

    def place(self, arrays: Sequence[pa.Array], ids: I64 | None = None) -> tuple[I64, I64]:
        """Return `find_or_add` of key columns; of many rows that have `ids`, those are not hashed whose keys
        were found by their ids.
        """
        columns = views(arrays, exact=False)
        guesses = None if ids is None else self._hints.guesses(ids, self.live)
        if ids is None or guesses is None:
            return self.find_or_add(columns, hash_views(columns, len(arrays[0])))
        return self._hinted(arrays, columns, ids, guesses)

    def _hinted(
        self, arrays: Sequence[pa.Array], columns: Sequence[View], ids: I64, slots: I64
    ) -> tuple[I64, I64]:
        """Return `find_or_add`; `slots` are guesses, which are put right."""
        known = nonzero(slots >= 0)
        right = self._equal(slots[known], columns, known)
        self._hints.judge(len(known), len(known) - int(np.count_nonzero(right)))
        left = np.ones(len(slots), dtype=np.bool_)
        left[known[right]] = False
        rest = nonzero(left)
        if len(rest) == 0:
            return slots, rest
        if 2 * len(rest) > len(slots):
            slots, added = self.find_or_add(columns, hash_views(columns, len(slots)))
        else:
            at = pa.array(rest)
            columns = views([array.take(at) for array in arrays], exact=False)
            slots[rest], added = self.find_or_add(columns, hash_views(columns, len(rest)))
            added = rest[added]
        self._hints.learn(ids[rest], slots[rest])
        return slots, added

    def _few_keys(self, arrays: Sequence[pa.Array]) -> Few | None:
        """Return the keys where they are few; where they were not, it is a while before it is tried again."""
        if len(arrays[0]) > FEW_ROWS_MAX:
            return None
        if self._waits:
            self._waits -= 1
            return None
        few = few_keys(arrays)
        if few is None:
            self._waits, self._wait = self._wait, min(2 * self._wait, _WAIT_MAX)
        else:
            self._wait = 1
        return few

    def _in_parts(self, columns: Sequence[View], hashes: U64, at: I64) -> tuple[I64, I64]:
        """Find or add the keys of the rows `at`: for all at once the index would make room for as many keys
        as there are rows.
        """
        slots: list[I64] = []
        added: list[I64] = []
        first = 0
        while first < len(hashes) or not slots:
            last = first + max(_AT_ONCE, self.live // 4)
            found = self._find_or_add(columns, hashes[first:last], at[first:last])
            slots.append(found[0])
            added.append(found[1])
            first = last
        if len(slots) == 1:
            return slots[0], added[0]
        return np.concatenate(slots), np.concatenate(added)

    def _find_or_add(self, columns: Sequence[View], hashes: U64, at: I64) -> tuple[I64, I64]:
        slots, new = self._index.find_or_add(
            hashes,
            lambda rows, slots: self._equal(slots, columns, at[rows]),
            lambda one, other: equal_rows(columns, at[one], columns, at[other]),
            self._new_slots,
        )
        added = at[new]
        if len(new):
            for store, column in zip(self._stores, columns, strict=True):
                store.put(column, added, slots[new], self.size)
        return slots, added

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
        self._known.clear()
        dead[slots] = True
        self._index.discard(dead)
        for store in self._stores:
            store.release(slots)
        self._free = np.concatenate([self._free, slots])
        self._hints.forget(dead)
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
        return self._index.nbytes + self._hints.nbytes + sum(store.nbytes for store in self._stores)


def _word_count(kind: pa.DataType) -> int:
    if kind == pa.month_day_nano_interval():
        return 2
    return max(2, kind.bit_width // 64) if pa.types.is_decimal(kind) else 1
