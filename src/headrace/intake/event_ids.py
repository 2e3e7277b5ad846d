"""The event ids of one stream that are remembered, each with its row's content and the append clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from headrace.intake.digest import Digests
from headrace.intake.index import DigestIndex, Entries

Undo = list[Callable[[], None]]
"""What takes a commit's decisions back, to be called in reverse."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is remembered of ids: which are known, their content digests, their entries (-1: never seen)."""

    known: npt.NDArray[np.bool_]
    contents: Digests
    entries: Entries


@dataclass(frozen=True, slots=True)
class NewIds:
    """Ids to remember: digests, content digests, append clocks, and the entries that `find` gave."""

    hi: Digests
    lo: Digests
    contents: Digests
    clocks_us: Entries
    entries: Entries


class EventIds:
    """A set of ids within a window of append-clock time; 40 bytes an id, no objects.

    Args:
        window_us: an id counts as unknown once it is older than this.
    """

    def __init__(self, window_us: int) -> None:
        self.window_us = window_us
        self._index = DigestIndex(("content", "clock"))

    def __len__(self) -> int:
        return self._index.count

    def find(self, hi: Digests, lo: Digests, clock_us: int) -> Found:
        """Look ids up at that clock."""
        entries = self._index.find(hi, lo)
        known = entries >= 0
        contents = np.zeros(len(hi), dtype=np.uint64)
        if known.any():
            known[known] = self._index.get("clock", entries[known]) > clock_us - self.window_us
            contents[known] = self._index.get("content", entries[known]).view(np.uint64)
        return Found(known, contents, entries)

    def add(self, new: NewIds, undo: Undo | None = None) -> None:
        """Remember ids: distinct ones, that `find` does not know at these clocks."""
        entries = new.entries.copy()
        absent = entries < 0
        if not absent.all():
            self._renew(entries[~absent], undo)
        before = self._index.count
        entries[absent] = self._index.add(new.hi[absent], new.lo[absent])
        if undo is not None:
            undo.append(lambda: self._index.cut(before))
        self._index.put("content", entries, new.contents.view(np.int64))
        self._index.put("clock", entries, new.clocks_us)

    def recover(self, new: NewIds) -> None:
        """Remember ids of the log, each once, whatever the order of their clocks: the newest one counts.

        The rows of an id that came again after its window may lie in two relations, of which one is read
        after the other.
        """
        counts = new.entries < 0
        known = ~counts
        counts[known] = self._index.get("clock", new.entries[known]) <= new.clocks_us[known]
        self.add(
            NewIds(new.hi[counts], new.lo[counts], new.contents[counts], new.clocks_us[counts],
                   new.entries[counts])
        )  # fmt: skip

    def _renew(self, entries: Entries, undo: Undo | None) -> None:
        """An id that had run out of its window is used again in place."""
        if undo is None:
            return
        contents, clocks = self._index.get("content", entries), self._index.get("clock", entries)

        def restore() -> None:
            self._index.put("content", entries, contents)
            self._index.put("clock", entries, clocks)

        undo.append(restore)

    def forget_old(self, clock_us: int) -> None:
        """Free ids that ran out of the window, in bulk; only when nothing may have to be taken back."""
        self._index.drop_blocks("clock", clock_us - self.window_us + 1)
