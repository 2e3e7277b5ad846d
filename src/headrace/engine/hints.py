"""Where rows of an id were found before: the slot of a key is looked up by the id, and compared.

    a change             id 7 (a, 1)   id 7 (a, 2)   id 9 (b, 5)      slots known by id   7 → 3
    compared             slot 3 holds a: 3, 3        9 is looked up by hash, and known from then on

Rows that come out of groups carry the number of their group, under which they went and will come again.
Whoever takes them in by a key that the group has finds it where it found it last, without a hash. What is
found so is only ever a guess: where the slot holds another key, the hash decides.
"""

from __future__ import annotations

import numpy as np

from headrace.engine.columns import I64, Bools, nonzero
from headrace.engine.growable import Growable

ROWS_MIN = 2_048
"""Fewer rows are looked up by their hashes."""
_SPREAD_MAX = 4
"""Ids are remembered while they are below so many times the keys held."""
_KEYS_MIN = 65_536
"""So many keys are thought to be held at least."""
_PAUSE_MIN, _PAUSE_MAX = 8, 128
"""So many changes are passed over where most guesses were wrong."""


class Hints:
    """Slots by id, as they were found last."""

    def __init__(self) -> None:
        self._slots: Growable[np.int64] = Growable(np.int64)  # one more than the slot; 0: not known
        self._waits = 0
        self._pause = _PAUSE_MIN

    def guesses(self, ids: I64, keys: int) -> I64 | None:
        """Return a slot for each id, −1 where none is known; None where it is not worth asking.

        Args:
            ids: not negative.
            keys: held where the slots are.
        """
        if len(ids) < ROWS_MIN:
            return None
        if self._waits:
            self._waits -= 1
            return None
        if int(ids.max()) >= _SPREAD_MAX * max(keys, _KEYS_MIN):
            return None
        self._slots.resize(max(self._slots.size, int(ids.max()) + 1))
        return self._slots.data[ids] - 1

    def learn(self, ids: I64, slots: I64) -> None:
        """Note where rows of ids were found; `guesses` was asked for these."""
        self._slots.data[ids] = slots + 1

    def judge(self, asked: int, wrong: int) -> None:
        """Have it wait for a while where most of what was known was wrong."""
        if 2 * wrong > asked:
            self._waits, self._pause = self._pause, min(2 * self._pause, _PAUSE_MAX)
        else:
            self._pause = _PAUSE_MIN

    def forget(self, dead: Bools) -> None:
        """Know nothing any more that lies under the slots that are marked."""
        slots = self._slots.view()
        known = nonzero(slots)
        slots[known[dead[slots[known] - 1]]] = 0

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._slots.nbytes
