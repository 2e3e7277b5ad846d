"""Versions in chains, one for each key, newest first: which one ends when.

A version starts at a time and ends at the smallest start among the versions of its key that come after it in
their order. So the older a version, the earlier its end, and a new
version lowers the ends of a stretch of versions right behind it, and nothing beyond the first that ends early
enough. What comes in order costs the versions that it ends; what comes late costs the newer ones too.

Of one key, starts 1, 5, 8; then a version starting at 6 comes, newer than all:

order   start   end before   end after
1       1       5            5
2       5       8            6
3       8       open         6           never held: it would have started after its end
4       6                    open
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headrace.engine.columns import I64, Bools, nonzero
from headrace.engine.growable import Growable

OPEN = np.iinfo(np.int64).max
"""The end of what has none."""
STEPS_MAX = 64
"""So many versions of a key are passed one by one; beyond, all versions are looked through at once."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """Versions that were there, and now end earlier.

    Attributes:
        numbers: each once.
        ends: as they were before.
    """

    numbers: I64
    ends: I64


@dataclass(frozen=True, slots=True)
class _New:
    """New versions of some keys, by key and order.

    Attributes:
        numbers: of the versions.
        groups: per version the place of its key among `slots`.
        slots: the keys.
        lowest: per key its oldest new version.
    """

    numbers: I64
    groups: I64
    slots: I64
    lowest: I64


class Chains:
    """Versions, numbered from 0 in the order of their arrival."""

    def __init__(self) -> None:
        self._heads: Growable[np.int64] = Growable(np.int64)
        self._slots: Growable[np.int64] = Growable(np.int64)
        self._older: Growable[np.int64] = Growable(np.int64)
        self._orders: Growable[np.int64] = Growable(np.int64)
        self._lasts: Growable[np.bool_] = Growable(np.bool_)
        self._starts: Growable[np.int64] = Growable(np.int64)
        self._ends: Growable[np.int64] = Growable(np.int64)

    def __len__(self) -> int:
        return self._slots.size

    def starts(self, numbers: I64) -> I64:
        """Return when versions start."""
        return self._starts.data[numbers]

    def ends(self, numbers: I64) -> I64:
        """Return when versions end; `OPEN` where nothing ends them."""
        return self._ends.data[numbers]

    def lasts(self, numbers: I64) -> Bools:
        """Return what was given as `lasts`."""
        return self._lasts.data[numbers]

    def insert(self, slots: I64, orders: I64, lasts: Bools, starts: I64) -> Lowered:
        """Add versions; no two of a key agree in `orders` and `lasts`.

        Args:
            slots: per version its key, from 0 upwards.
            orders: their places in the order of their key.
            lasts: of two with the same place, which comes last.
            starts: when they start.
        """
        new = self._added(slots, orders, lasts, starts)
        passed, owners, older = self._passed(new)
        numbers, groups = new.numbers, new.groups
        if len(passed):
            numbers, groups = np.concatenate([passed, numbers]), np.concatenate([owners, groups])
            by = np.lexsort((self._lasts.data[numbers], self._orders.data[numbers], groups))
            numbers, groups = numbers[by], groups[by]
        firsts = np.flatnonzero(np.diff(groups, prepend=-1))
        before = np.empty_like(numbers)
        before[1:] = numbers[:-1]
        before[firsts] = older
        self._older.data[numbers] = before
        self._heads.data[new.slots] = numbers[np.append(firsts[1:], len(numbers)) - 1]
        begin = self._starts.data[numbers]
        was, ends = self._ends.data[numbers], _later(begin, groups)
        self._ends.data[numbers] = ends
        lower = nonzero((was != ends) & (numbers < new.numbers.min()))
        behind = self._lowered(older, np.minimum.reduceat(begin, firsts), new)
        return Lowered(
            np.concatenate([numbers[lower], behind.numbers]), np.concatenate([was[lower], behind.ends])
        )

    def _added(self, slots: I64, orders: I64, lasts: Bools, starts: I64) -> _New:
        first = len(self)
        for column, given in (
            (self._slots, slots), (self._orders, orders), (self._lasts, lasts), (self._starts, starts),
            (self._ends, np.full(len(slots), OPEN, dtype=np.int64)), (self._older, slots),
        ):  # fmt: skip
            column.extend(given)
        known, size = self._heads.size, int(slots.max()) + 1
        if size > known:
            self._heads.extend(np.full(size - known, -1, dtype=np.int64))
        by = np.lexsort((lasts, orders, slots))
        leads = np.diff(slots[by], prepend=-1) != 0
        return _New(first + by, np.cumsum(leads) - 1, slots[by[leads]], first + by[leads])

    def _passed(self, new: _New) -> tuple[I64, I64, I64]:
        """Return the versions that come after the oldest new one of their key, their places among the keys,
        and for each key the version that comes right before it, −1 where there is none.
        """
        at = self._heads.data[new.slots]
        active = nonzero(at >= 0)
        found: list[I64] = [at[:0]]
        owners: list[I64] = [at[:0]]
        steps = 0
        while len(active):
            here = at[active]
            newer = self._after(here, new.lowest[active])
            active, here = active[newer], here[newer]
            if steps == STEPS_MAX and len(active):
                return self._looked_through(new, active, found, owners, at)
            found.append(here)
            owners.append(active)
            at[active] = self._older.data[here]
            active = active[at[active] >= 0]
            steps += 1
        return np.concatenate(found), np.concatenate(owners), at

    def _after(self, one: I64, other: I64) -> Bools:
        """Return, pair by pair, whether a version comes after another one of its key."""
        mine, theirs = self._orders.data[one], self._orders.data[other]
        after: Bools = (mine > theirs) | ((mine == theirs) & self._lasts.data[one] & ~self._lasts.data[other])
        return after

    def _looked_through(
        self, new: _New, active: I64, found: list[I64], owners: list[I64], at: I64
    ) -> tuple[I64, I64, I64]:
        """Finish what `_passed` has begun for the keys with many versions, all at once."""
        numbers, groups = self._of(new, active)
        newer = self._after(numbers, new.lowest[groups])
        known = np.concatenate(found)
        fresh = newer & ~np.isin(numbers, known)
        older, mine = numbers[~newer], groups[~newer]
        by = np.lexsort((self._lasts.data[older], self._orders.data[older], mine))
        at[active] = -1
        at[mine[by]] = older[by]
        return np.append(known, numbers[fresh]), np.append(np.concatenate(owners), groups[fresh]), at

    def _of(self, new: _New, active: I64) -> tuple[I64, I64]:
        """Return all versions that some of the keys had before, and their places among the keys."""
        places = np.full(self._heads.size, -1, dtype=np.int64)
        places[new.slots[active]] = active
        groups = places[self._slots.data[: new.numbers.min()]]
        numbers = nonzero(groups >= 0)
        return numbers, groups[numbers]

    def _lowered(self, at: I64, bounds: I64, new: _New) -> Lowered:
        """Let the versions from `at` on end at the bounds, key by key, where they ended later."""
        at = at.copy()
        active = nonzero(at >= 0)
        numbers: list[I64] = [at[:0]]
        before: list[I64] = [at[:0]]
        steps = 0
        while len(active):
            here = at[active]
            later = self._ends.data[here] > bounds[active]
            active, here = active[later], here[later]
            if steps == STEPS_MAX and len(active):
                here, active = self._of(new, active)
                later = (self._ends.data[here] > bounds[active]) & self._after(new.lowest[active], here)
                active, here = active[later], here[later]
            numbers.append(here)
            before.append(self._ends.data[here])
            self._ends.data[here] = bounds[active]
            if steps == STEPS_MAX:
                break
            at[active] = self._older.data[here]
            active = active[at[active] >= 0]
            steps += 1
        return Lowered(np.concatenate(numbers), np.concatenate(before))

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        columns = (self._slots, self._older, self._orders, self._lasts, self._starts, self._ends)
        return self._heads.nbytes + sum(column.nbytes for column in columns)


def _later(starts: I64, groups: I64) -> I64:
    """Return for each version the smallest start after it in its group; groups stand together, in order."""
    ends = np.full(len(starts), OPEN, dtype=np.int64)
    same = nonzero(groups[1:] == groups[:-1])
    if not len(same):
        return ends
    levels, ranks = np.unique(starts, return_inverse=True)
    count = len(levels)
    turned = (groups[-1] - groups) * count + (count - 1 - ranks)
    lowest = np.maximum.accumulate(turned[::-1])[::-1]
    ends[same] = levels[count - 1 - lowest[same + 1] % count]
    return ends
