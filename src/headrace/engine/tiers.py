"""Sorted runs in tiers: small ones are merged at once, large ones in slices, so that no step waits for a
merge. Runs that nobody has asked for yet may wait unsorted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from headrace.engine.columns import I64
from headrace.engine.memory import Memory, held

RUN_ROWS_MAX = 4_000_000
"""Runs are merged up to this many entries."""
_MERGE_RATIO = 4
_SMALL = 8_192
_AT_ONCE_MIN, _AT_ONCE_MAX = 32_768, 131_072
"""Runs of more entries together are merged in slices; three times those that come, within these bounds."""
_SLICE_MIN = 16_384
"""Entries of a slice at least, or eight times those that come."""
_WAITING_MIN = 16_384
"""Waiting runs of fewer entries are put together."""


class Sorted(Protocol):
    """A sorted run."""

    def __len__(self) -> int: ...

    def cut(self, first: int, last: int) -> Self:
        """Return the entries from `first` to before `last`."""

    def key_at(self, at: int) -> Any:
        """Return the sort key of an entry."""

    def end_of(self, key: Any) -> int:
        """Return where the first entry beyond a key stands."""


R = TypeVar("R", bound=Sorted)
Merge = Callable[[R, R], tuple[R | None, I64]]
"""Of an older and a newer run: both as one, and the numbers of rows that cancelled."""


class Pending(Generic[R]):
    """A merge under way: both runs stay readable until it is done."""

    def __init__(self, older: R, newer: R) -> None:
        self.older = older
        self.newer = newer
        self.parts: list[R] = []
        self.dropped: list[I64] = []
        self._at_older = 0
        self._at_newer = 0

    def advance(self, entries: int, merge: Merge[R]) -> bool:
        """Merge about so many entries more; return whether that was the last of them."""
        older, newer = self.older, self.newer
        last = self._at_older + max(entries * len(older) // (len(older) + len(newer)), 1)
        if last >= len(older):
            end_older, end_newer = len(older), len(newer)
        else:
            key = older.key_at(last - 1)
            end_older, end_newer = older.end_of(key), newer.end_of(key)
        part, dropped = merge(older.cut(self._at_older, end_older), newer.cut(self._at_newer, end_newer))
        if part is not None:
            self.parts.append(part)
        self.dropped.append(dropped)
        self._at_older, self._at_newer = end_older, end_newer
        return end_older == len(older) and end_newer == len(newer)


class Kept:
    """A run and what of it lies in memory."""

    __slots__ = ("resident_bytes", "run", "used")

    def __init__(self, run: Any) -> None:
        self.run = run
        self.used = 0
        self.resident_bytes = sum(array.nbytes for _, array in self._arrays())

    def _arrays(self) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        for name in type(self.run).__slots__:
            found = getattr(self.run, name)
            if isinstance(found, np.ndarray):
                yield name, found

    def put_aside(self, memory: Memory) -> None:
        """Lie in files from now on."""
        for name, array in list(self._arrays()):
            setattr(self.run, name, memory.array(array))
        self.resident_bytes = 0


class Tiers(Generic[R]):
    """Runs, the oldest and largest first.

    Args:
        merge: how two runs become one.
        join: how runs that follow each other in order become one.
        drop: called with the numbers of rows that nothing refers to any more.

    Attributes:
        runs: sorted ones.
        waiting: unsorted ones, in the order in which they came; all are younger than `runs`.
    """

    def __init__(self, merge: Merge[R], join: Callable[[list[R]], R], drop: Callable[[I64], None]) -> None:
        self.runs: list[R] = []
        self.waiting: list[R] = []
        self._merge = merge
        self._join = join
        self._drop = drop
        self._pending: Pending[R] | None = None
        self._kept: dict[int, Kept] = {}
        held(self)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        held(self)

    def parts(self) -> Iterator[Kept]:
        """Yield the runs, for the bound on memory."""
        runs = [*self.runs, *self.waiting, *(self._pending.parts if self._pending is not None else ())]
        known = self._kept
        self._kept = {
            id(run): known[id(run)] if id(run) in known and known[id(run)].run is run else Kept(run)
            for run in runs
        }
        yield from self._kept.values()

    def put_off(self, run: R) -> None:
        """Add a run whose entries are not sorted."""
        if self.waiting and len(self.waiting[-1]) + len(run) <= _WAITING_MIN:
            run = self._join([self.waiting.pop(), run])
        self.waiting.append(run)

    def waited(self, entries: int) -> R | None:
        """Take out so many waiting entries, the oldest, for whoever sorts and pushes them; None: none."""
        taken: list[R] = []
        while self.waiting and entries > 0:
            first = self.waiting.pop(0)
            if len(first) > entries:
                self.waiting.insert(0, first.cut(entries, len(first)))
                first = first.cut(0, entries)
            entries -= len(first)
            taken.append(first)
        if not taken:
            return None
        return self._join(taken) if len(taken) > 1 else taken[0]

    def push(self, run: R) -> None:
        """Add a run, and do a bounded part of the merging that is due."""
        self.runs.append(run)
        if self._pending is not None and self._pending.advance(max(_SLICE_MIN, 8 * len(run)), self._merge):
            self._finish(self._pending)
        at_once = min(max(3 * len(run), _AT_ONCE_MIN), _AT_ONCE_MAX)
        while len(self.runs) > 1 and self._merge_last(at_once):
            pass

    def rewrite(self, change: Callable[[R], R | None]) -> None:
        """Put other runs in the place of all, in the same order of entries; a merge under way starts anew."""
        self._pending = None
        changed = [change(run) for run in self.runs]
        self.runs = [run for run in changed if run is not None and len(run)]
        waiting = [change(run) for run in self.waiting]
        self.waiting = [run for run in waiting if run is not None and len(run)]

    def _finish(self, done: Pending[R]) -> None:
        at = next(number for number, run in enumerate(self.runs) if run is done.older)
        self.runs[at : at + 2] = [self._join(done.parts)] if done.parts else []
        self._pending = None
        self._dropped(np.concatenate(done.dropped))

    def _dropped(self, numbers: I64) -> None:
        if len(numbers):
            self._drop(np.sort(numbers))

    def _merge_last(self, at_once: int) -> bool:
        """Merge the last two runs if that is due and they have so few entries, start to if they have more;
        return if merged.
        """
        older, newer = self.runs[-2], self.runs[-1]
        if not is_due(len(older), len(newer)) or (self._pending is not None and older is self._pending.newer):
            return False
        if len(older) + len(newer) > at_once:
            if self._pending is None:
                self._pending = Pending(older, newer)
            return False
        merged, dropped = self._merge(older, newer)
        self.runs[-2:] = [] if merged is None else [merged]
        self._dropped(dropped)
        return True


def is_due(older: int, newer: int) -> bool:
    """Whether two neighbouring runs of these sizes are to be merged."""
    if older + newer > RUN_ROWS_MAX:
        return False
    return _MERGE_RATIO * newer >= older or older + newer <= _SMALL
