"""From 64-bit hashes to row numbers: an open-addressing table probed a whole batch at a time.

A look-up costs a few gathers per batch, whatever the size of the table. Entries with equal hashes may stand
in it many times; who asks decides on real values which one is meant.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from headrace.engine.columns import I64, U64, Bools, nonzero

Verify = Callable[[I64, I64], Bools]
"""Of (positions in the batch, ids found): which pairs are truly equal."""
Same = Callable[[I64, I64], Bools]
"""Of (positions, positions) in the batch: which pairs are truly equal."""

_DEAD = np.int64(-1)
_FEWEST = 256


class HashIndex:
    """A multi-map from uint64 hash to int64 id (not negative); linear probing, at most half full."""

    __slots__ = ("_hashes", "_ids", "_mask", "_used", "dead")

    def __init__(self) -> None:
        self._hashes: U64 = np.zeros(_FEWEST, dtype=np.uint64)
        self._ids: I64 = np.empty(_FEWEST, dtype=np.int64)
        self._mask = np.uint64(_FEWEST - 1)
        self._used = 0
        self.dead = 0

    def __len__(self) -> int:
        return self._used - self.dead

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return int(self._hashes.nbytes + self._ids.nbytes)

    def find(self, hashes: U64, verify: Verify) -> I64:
        """Return the id of the entry that each hash means, −1 where there is none."""
        return self._search(_stored(hashes), verify)[0]

    def _search(self, keys: U64, verify: Verify) -> tuple[I64, I64]:
        """Return the id and the place in the table per key; where the id is −1, the place is where probing
        ended.
        """
        count = len(keys)
        found = np.full(count, -1, dtype=np.int64)
        places = (keys & self._mask).astype(np.int64)
        active = np.arange(count, dtype=np.int64)
        while len(active):
            at = places[active]
            there = self._hashes[at]
            hits = nonzero(there == keys[active])
            going = there != 0
            if self.dead and len(hits):
                hits = hits[self._ids[at[hits]] != _DEAD]
            if len(hits):
                ids = self._ids[at[hits]]
                good = verify(active[hits], ids)
                right = hits[good]
                found[active[right]] = ids[good]
                going[right] = False
            active = active[going]
            places[active] = (places[active] + 1) & np.int64(self._mask)
        return found, places

    def find_or_add(self, hashes: U64, verify: Verify, same: Same, first_id: int) -> tuple[I64, I64]:
        """Return the id of each row, adding those that are not there, and the positions of the rows that
        were added.

        New ids count up from `first_id` in the order of the batch; equal new rows share one.
        """
        keys = _stored(hashes)
        self._reserve(len(keys))
        found, places = self._search(keys, verify)
        missing = nonzero(found < 0)
        if len(missing) == 0:
            return found, missing
        leaders = self._claim(keys, places, missing, same)
        is_leader = leaders[missing] == missing
        added = missing[is_leader]
        found[added] = np.arange(first_id, first_id + len(added))
        found[missing] = found[leaders[missing]]
        self._ids[places[added]] = found[added]
        self._used += len(added)
        return found, added

    def _claim(self, keys: U64, places: I64, missing: I64, same: Same) -> I64:
        """Give every missing row a free place, or the row of the batch that it equals; ids are set to
        −2−row.
        """
        leaders = np.arange(len(keys), dtype=np.int64)
        pending = missing
        while len(pending):
            at = places[pending]
            free = self._hashes[at] == 0
            claims, spots = pending[free], at[free]
            self._ids[spots] = -2 - claims
            self._hashes[spots] = keys[self._rows_at(spots)]
            mine = self._rows_at(at) == pending
            rivals = nonzero(~mine)
            if len(rivals) == 0:
                break
            holders = self._rows_at(at[rivals])
            alike = (self._hashes[at[rivals]] == keys[pending[rivals]]) & (holders >= 0)
            close = nonzero(alike)
            twins = close[same(pending[rivals[close]], holders[close])]
            leaders[pending[rivals[twins]]] = holders[twins]
            left = np.ones(len(rivals), dtype=np.bool_)
            left[twins] = False
            pending = pending[rivals[left]]
            places[pending] = (places[pending] + 1) & np.int64(self._mask)
        return leaders

    def _rows_at(self, places: I64) -> I64:
        return -2 - self._ids[places]

    def add(self, hashes: U64, ids: I64) -> None:
        """Add entries without looking for equal ones."""
        keys = _stored(hashes)
        self._reserve(len(keys))
        reused = self._place(keys, ids)
        self._used += len(keys) - reused
        self.dead -= reused

    def _place(self, keys: U64, ids: I64) -> int:
        """Put entries into free places or those of dead entries; return how many of the latter were used.

        Without that, a row that changes at every step would leave a longer trail of dead entries each time.
        """
        places = (keys & self._mask).astype(np.int64)
        pending = np.arange(len(keys), dtype=np.int64)
        reused = 0
        while len(pending):
            at = places[pending]
            free = self._hashes[at] == 0
            if self.dead:
                dead = ~free & (self._ids[at] == _DEAD)
                reused += len(np.unique(at[dead]))
                free |= dead
            claims, spots = pending[free], at[free]
            self._ids[spots] = ids[claims]
            won = self._ids[spots] == ids[claims]
            self._hashes[spots[won]] = keys[claims[won]]
            left = np.ones(len(pending), dtype=np.bool_)
            left[nonzero(free)[won]] = False
            pending = pending[left]
            places[pending] = (places[pending] + 1) & np.int64(self._mask)
        return reused

    def remove(self, hashes: U64, ids: I64) -> None:
        """Take out the entries of those hashes and ids, which must be there."""
        keys = _stored(hashes)
        _, places = self._search(keys, lambda rows, there: there == ids[rows])
        self._ids[places] = _DEAD
        self.dead += len(keys)

    def replace(self, hashes: U64, ids: I64, new_ids: I64) -> None:
        """Give the entries of those hashes and ids other ids."""
        keys = _stored(hashes)
        _, places = self._search(keys, lambda rows, there: there == ids[rows])
        self._ids[places] = new_ids

    def _reserve(self, more: int) -> None:
        if 2 * (self._used + more) <= len(self._hashes):
            return
        keep = nonzero(self._hashes != 0)
        keep = keep[self._ids[keep] >= 0]
        keys, ids = self._hashes[keep], self._ids[keep]
        size = len(self._hashes)
        while 3 * (len(keys) + more) > size:
            size *= 2
        self._hashes = np.zeros(size, dtype=np.uint64)
        self._ids = np.empty(size, dtype=np.int64)
        self._mask = np.uint64(size - 1)
        self._used, self.dead = len(keys), 0
        self._place(keys, ids)


def _stored(hashes: U64) -> U64:
    """Return the hashes with 0, which marks a free place, moved to 1."""
    return np.maximum(hashes, np.uint64(1))
