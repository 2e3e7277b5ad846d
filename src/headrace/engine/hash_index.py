"""From 64-bit hashes to row numbers: an open-addressing table probed a whole batch at a time.

A look-up costs a few gathers per batch, whatever the size of the table. Entries with equal hashes may stand
in it many times; who asks decides on real values which one is meant, so that 32 bits of a hash are kept: they
say where an entry stands in a larger table, and tell all but a few of its neighbours apart. A table that is
half full is replaced by a larger one in slices, a few entries with every call that adds some, so that no step
waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.engine.columns import I64, U64, Bools, nonzero
from headrace.engine.levels import parts_of, side_by_side
from headrace.engine.memory import fits, zeros

U32 = npt.NDArray[np.uint32]
Verify = Callable[[I64, I64], Bools]
"""Of (positions in the batch, ids found): which pairs are truly equal."""
Same = Callable[[I64, I64], Bools]
"""Of (positions, positions) in the batch: which pairs are truly equal."""

NewIds = Callable[[int], I64]
"""Of a number: so many ids that are free."""

_DEAD = np.int64(-1)
_FEWEST = 256
_SPARSE_BELOW = 16_384
"""Tables of fewer places are kept a quarter full at most, so that probing ends sooner; larger ones half."""
_SLICE_MIN = 16_384
"""Places of the old table that are moved at least, with every call that adds entries."""
_NARROW_MAX = 2**31 - 1
"""Ids up to this one take four bytes each."""


class Table:
    """Hashes, 32 bits of each, and ids by place; a hash of 0 marks a place that was never taken, a negative
    id one that is dead. Ids take eight bytes once there is one that needs them.
    """

    __slots__ = ("__weakref__", "_in_file", "hashes", "ids", "mask", "used")

    def __init__(self, size: int) -> None:
        self._in_file = False
        self.hashes: U32 = np.empty(0, dtype=np.uint32)
        self.ids: npt.NDArray[Any] = np.empty(0, dtype=np.int32)
        self.hashes, in_file = zeros(size, np.uint32, self)
        self.ids, self._in_file = zeros(size, np.int32, self)
        self._in_file &= in_file
        self.mask = np.int64(size - 1)
        self.used = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return _table, (self.hashes, self.ids, self.used)

    def make_room(self, ids: I64) -> None:
        """Let ids take eight bytes each from now on, where some of these need more than four."""
        if self.ids.dtype == np.int32 and len(ids) and int(ids.max()) > _NARROW_MAX:
            before = self.ids
            self.ids, in_file = zeros(len(before), np.int64, self)
            self._in_file &= in_file
            self.ids[:] = before

    def search(self, keys: U32, verify: Verify) -> tuple[I64, I64]:
        """Return id and place per key; where the id is −1, the place is the free one at which probing
        ended.

        All keys walk on to a free place or to their own bits before anything is verified: those are mostly
        what was looked for, and one look at many rows costs less than many looks at a few.
        """
        places = keys & self.mask
        found = np.full(len(keys), -1, dtype=np.int64)
        rows = self._walked(np.arange(len(keys), dtype=np.int64), keys, places)
        while len(rows):
            ids = self.ids[places[rows]].astype(np.int64, copy=False)
            good = verify(rows, ids) if ids.min() >= 0 else _verified(verify, rows, ids)
            if good.all():
                found[rows] = ids
                break
            found[rows[good]] = ids[good]
            rows = rows[~good]
            places[rows] = (places[rows] + 1) & self.mask
            rows = self._walked(rows, keys, places)
        return found, places

    def _walked(self, rows: I64, keys: U32, places: npt.NDArray[Any]) -> I64:
        """Move rows on, in `places`, to the next place that is free or holds their bits; return those of the
        latter kind.
        """
        at, asked = places[rows], keys[rows]
        there = self.hashes[at]
        hits = there == asked
        moving = nonzero(~hits & (there != 0))
        while len(moving):
            at[moving] = next_ = (at[moving] + 1) & self.mask
            there = self.hashes[next_]
            same = there == asked[moving]
            hits[moving] = same
            moving = moving[~same & (there != 0)]
        places[rows] = at
        found: I64 = rows[hits]
        return found

    def place(self, keys: U32, ids: I64) -> None:
        """Put in entries without looking for equal ones."""
        self.make_room(ids)
        places = keys & self.mask
        pending = np.arange(len(keys), dtype=np.int64)
        while len(pending):
            at = places[pending]
            free = self.hashes[at] == 0
            claims, spots = pending[free], at[free]
            self.ids[spots] = ids[claims]
            won = self.ids[spots] == ids[claims]
            self.hashes[spots[won]] = keys[claims[won]]
            left = np.ones(len(pending), dtype=np.bool_)
            left[nonzero(free)[won]] = False
            pending = pending[left]
            places[pending] = (places[pending] + 1) & self.mask
        self.used += len(keys)

    def bury(self, keys: U32, ids: I64) -> Bools:
        """Mark the entries of those keys and ids as dead; return which are not here."""
        found, places = self.search(keys, lambda rows, there: there == ids[rows])
        here = found >= 0
        self.ids[places[here]] = _DEAD
        return ~here

    def claim(self, keys: U32, places: I64, missing: I64, same: Same) -> I64:
        """Give every missing row a free place, or the row of the batch that it equals; ids are set to
        −2−row.
        """
        leaders = np.arange(len(keys), dtype=np.int64)
        pending = missing
        while len(pending):
            at = places[pending]
            free = self.hashes[at] == 0
            claims, spots = pending[free], at[free]
            self.ids[spots] = -2 - claims
            self.hashes[spots] = keys[self._rows_at(spots)]
            rivals = nonzero(self._rows_at(at) != pending)
            if len(rivals) == 0:
                break
            holders = self._rows_at(at[rivals])
            close = nonzero((self.hashes[at[rivals]] == keys[pending[rivals]]) & (holders >= 0))
            twins = close[same(pending[rivals[close]], holders[close])]
            leaders[pending[rivals[twins]]] = holders[twins]
            left = np.ones(len(rivals), dtype=np.bool_)
            left[twins] = False
            pending = pending[rivals[left]]
            places[pending] = (places[pending] + 1) & self.mask
        return leaders

    def _rows_at(self, places: I64) -> I64:
        return -2 - self.ids[places].astype(np.int64, copy=False)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return int(self.hashes.nbytes + self.ids.nbytes)

    @property
    def resident_bytes(self) -> int:
        """Bytes that are in memory and not in a file."""
        return 0 if self._in_file else self.nbytes


def _table(hashes: U32, ids: npt.NDArray[Any], used: int) -> Table:
    if fits(hashes.nbytes + ids.nbytes):
        table = Table(0)
        table.hashes, table.ids = hashes, ids
    else:
        table = Table(len(hashes))
        table.make_room(ids)
        table.hashes[:], table.ids[:] = hashes, ids
    table.used, table.mask = used, np.int64(len(hashes) - 1)
    return table


def _verified(verify: Verify, rows: I64, ids: I64) -> Bools:
    """Verify only entries that are alive."""
    good = ids >= 0
    alive = nonzero(good)
    good[alive] = verify(rows[alive], ids[alive])
    return good


def _beyond(verify: Verify, first: int) -> Verify:
    """Return what verifies a part of a batch that begins with a row."""
    return lambda rows, ids: verify(rows + first, ids)


class HashIndex:
    """A multi-map from uint64 hash to int64 id (not negative)."""

    __slots__ = ("_moved", "_old", "_table", "dead")

    def __init__(self) -> None:
        self._table = Table(_FEWEST)
        self._old: Table | None = None
        self._moved = 0
        self.dead = 0

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._table.nbytes + (0 if self._old is None else self._old.nbytes)

    def find(self, hashes: U64, verify: Verify) -> I64:
        """Return the id of the entry that each hash means, −1 where there is none."""
        return self._search(_stored(hashes), verify)[0]

    def _search(self, keys: U32, verify: Verify) -> tuple[I64, I64]:
        """Return ids, also from the old table, and places in the new one; parts of the keys side by side."""
        parts = parts_of(len(keys))
        if len(parts) == 1:
            return self._searched(keys, verify)
        jobs = [partial(self._searched, keys[rows], _beyond(verify, rows.start)) for rows in parts]
        found = side_by_side(jobs, [rows.stop - rows.start for rows in parts])
        return np.concatenate([ids for ids, _ in found]), np.concatenate([places for _, places in found])

    def _searched(self, keys: U32, verify: Verify) -> tuple[I64, I64]:
        found, places = self._table.search(keys, verify)
        if self._old is not None:
            missing = nonzero(found < 0)
            if len(missing):
                checked = self._old.search(keys[missing], lambda rows, ids: verify(missing[rows], ids))
                found[missing] = checked[0]
        return found, places

    def find_or_add(self, hashes: U64, verify: Verify, same: Same, new_ids: NewIds) -> tuple[I64, I64]:
        """Return the id of each row, adding those that are not there, and the positions of the rows added.

        New ids are handed out in the order of the batch; equal new rows share one.
        """
        keys = _stored(hashes)
        self._reserve(len(keys))
        found, places = self._search(keys, verify)
        missing = nonzero(found < 0)
        if len(missing) == 0:
            return found, missing
        leaders = self._table.claim(keys, places, missing, same)
        added = missing[leaders[missing] == missing]
        found[added] = new_ids(len(added))
        found[missing] = found[leaders[missing]]
        self._table.make_room(found[added])
        self._table.ids[places[added]] = found[added]
        self._table.used += len(added)
        return found, added

    def add(self, hashes: U64, ids: I64) -> None:
        """Add entries without looking for equal ones."""
        self._reserve(len(hashes))
        self._table.place(_stored(hashes), ids)

    def remove(self, hashes: U64, ids: I64) -> None:
        """Take out the entries of those hashes and ids, which must be there."""
        keys = _stored(hashes)
        left = self._table.bury(keys, ids)
        if self._old is not None:
            self._old.bury(keys[left], ids[left])
        self.dead += len(hashes)

    def discard(self, dead: Bools) -> None:
        """Take out every entry whose id is marked in `dead`; costs the size of the table."""
        if not len(dead):
            return
        for table in (self._table, self._old):
            if table is not None:
                ids = np.where(table.hashes != 0, table.ids, _DEAD)
                gone = nonzero((ids >= 0) & dead[np.maximum(ids, 0)])
                table.ids[gone] = _DEAD
                self.dead += len(gone) if table is self._table else 0

    # --- growing
    # -----------------------------------------------------------------------------------------------
    def _reserve(self, more: int) -> None:
        """Keep the table at most half full, small ones a quarter, moving a slice of the old one on the
        way.
        """
        if self._old is not None:
            self._move(max(_SLICE_MIN, 4 * more))
        sparse = 4 if len(self._table.hashes) < _SPARSE_BELOW else 2
        if sparse * (self._table.used + more) <= len(self._table.hashes):
            return
        if self._old is not None:
            self._move(len(self._old.hashes))
        full = self._table
        size = len(full.hashes)
        while (sparse + 1) * (full.used - self.dead + more) > size:
            size *= 2
        self._old, self._moved, self.dead = full, 0, 0
        self._table = Table(size)
        self._move(max(_SLICE_MIN, 4 * more))

    def _move(self, places: int) -> None:
        """Move the entries of the next places of the old table to the new one."""
        assert self._old is not None
        first, last = self._moved, min(self._moved + places, len(self._old.hashes))
        keys, ids = self._old.hashes[first:last], self._old.ids[first:last]
        alive = nonzero((keys != 0) & (ids >= 0))
        self._table.place(keys[alive], ids[alive].astype(np.int64))
        ids[alive] = _DEAD
        self._moved = last
        if last == len(self._old.hashes):
            self._old = None


def _stored(hashes: U64) -> U32:
    """Return 32 bits of the hashes with 0, which marks a free place, moved to 1."""
    return np.maximum(hashes.astype(np.uint32), np.uint32(1))
