"""An index from 128-bit digests to small numbers, vectorised, that never stops to grow.

Entries are numbered 0, 1, 2, … in order of insertion and lie in *blocks*: each block has its own
open-addressing slots (linear probing, at most a quarter full), and once it is full a larger one
follows, up to a bound, so that an insertion never rehashes what is there. A look-up of d digests costs
a few array operations a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.intake.digest import Digests

Entries = npt.NDArray[np.int64]

FIRST_BLOCK_ENTRIES = 1 << 13
LAST_BLOCK_ENTRIES = 1 << 22
GROWTH = 8
SLOTS_PER_ENTRY = 4


class _Block:
    """Entries `start` to `start + capacity`, and slots four times as many."""

    def __init__(self, start: int, capacity: int, columns: Sequence[str]) -> None:
        self.start = start
        self.capacity = capacity
        self.count = 0
        self.hi = np.empty(capacity, dtype=np.uint64)
        self.lo = np.empty(capacity, dtype=np.uint64)
        self.columns = {name: np.empty(capacity, dtype=np.int64) for name in columns}
        self._slots = np.zeros(capacity * SLOTS_PER_ENTRY, dtype=np.int32)
        self._mask = capacity * SLOTS_PER_ENTRY - 1

    def __getstate__(self) -> dict[str, Any]:
        """Write down what is filled; the slots of a block that is mostly empty are found again."""
        count, columns = self.count, {name: values[: self.count] for name, values in self.columns.items()}
        slots = self._slots if 2 * count > self.capacity else None
        return {
            "start": self.start, "capacity": self.capacity, "count": count,
            "hi": self.hi[:count], "lo": self.lo[:count], "columns": columns, "slots": slots,
        }  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make the block again, with its room; a full one takes its columns as they are."""
        if state["count"] == state["capacity"]:
            self.start, self.count, self.capacity = state["start"], state["count"], state["capacity"]
            self.hi, self.lo, self.columns = state["hi"], state["lo"], state["columns"]
            self._slots, self._mask = state["slots"], len(state["slots"]) - 1
            return
        _Block.__init__(self, state["start"], state["capacity"], tuple(state["columns"]))
        if state["slots"] is None:
            self.add(state["hi"], state["lo"])
        else:
            self.count, self._slots = state["count"], state["slots"]
            self.hi[: self.count], self.lo[: self.count] = state["hi"], state["lo"]
        for name, values in state["columns"].items():
            self.columns[name][: self.count] = values

    def _home(self, hi: Digests) -> Entries:
        return hi.view(np.int64) & self._mask

    def find(self, hi: Digests, lo: Digests) -> Entries:
        """Return local entry numbers, -1 where there is none."""
        found = np.full(len(hi), -1, dtype=np.int64)
        slots = self._home(hi)
        marks = self._slots.take(slots)
        rows = np.flatnonzero(marks)
        marks, slots = marks.take(rows), slots.take(rows)
        while len(rows):
            entries = marks - 1
            match = self.hi.take(entries) == hi.take(rows)
            if match.any():
                match &= self.lo.take(entries) == lo.take(rows)
                found[rows[match]] = entries[match]
                rows, slots = rows[~match], slots[~match]
            slots = (slots + 1) & self._mask
            marks = self._slots.take(slots)
            taken = np.flatnonzero(marks)
            rows, slots, marks = rows.take(taken), slots.take(taken), marks.take(taken)
        return found

    def add(self, hi: Digests, lo: Digests) -> None:
        """Append entries; they are absent and distinct, and there is room for them."""
        first = self.count
        self.count += len(hi)
        self.hi[first : self.count] = hi
        self.lo[first : self.count] = lo
        marks = np.arange(first + 1, self.count + 1, dtype=np.int32)
        slots = self._home(hi)
        while len(marks):
            free = np.flatnonzero(self._slots.take(slots) == 0)
            self._slots[slots.take(free)] = marks.take(free)
            lost = np.flatnonzero(self._slots.take(slots) != marks)
            marks = marks.take(lost)
            slots = (slots.take(lost) + 1) & self._mask

    def cut(self, count: int) -> None:
        """Take the newest entries back, down to `count` of them.

        Nothing older ever probed past their slots, so these can simply become empty.
        """
        marks = np.arange(count + 1, self.count + 1, dtype=np.int32)
        slots = self._home(self.hi[count : self.count])
        cleared: list[Entries] = []
        while len(marks):
            here = self._slots[slots] == marks
            cleared.append(slots[here])
            marks = marks[~here]
            slots = (slots[~here] + 1) & self._mask
        for group in cleared:
            self._slots[group] = 0
        self.count = count


class DigestIndex:
    """Maps digests to entries, and each entry to int64 values in named columns. Not thread-safe."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._names = tuple(columns)
        self._blocks: list[_Block] = []
        self.count = 0

    @property
    def nbytes(self) -> int:
        """Bytes reserved (most of them untouched in a block that has just begun)."""
        entry = 16 + 4 * SLOTS_PER_ENTRY + 8 * len(self._names)
        return sum(block.capacity * entry for block in self._blocks)

    def find(self, hi: Digests, lo: Digests) -> Entries:
        """Return the entry of each digest, -1 where there is none."""
        found = np.full(len(hi), -1, dtype=np.int64)
        rows: Entries | None = None
        for block in reversed(self._blocks):
            local = block.find(hi, lo)
            hit = local >= 0
            if not hit.any():
                continue
            found[np.flatnonzero(hit) if rows is None else rows[hit]] = local[hit] + block.start
            missed = np.flatnonzero(~hit)
            if not len(missed):
                break
            hi, lo, rows = hi.take(missed), lo.take(missed), missed if rows is None else rows.take(missed)
        return found

    def add(self, hi: Digests, lo: Digests) -> Entries:
        """Insert digests that are absent and distinct; return their entries, numbered on from `count`."""
        first = self.count
        done = 0
        while done < len(hi):
            block = self._block_with_room()
            part = slice(done, done + block.capacity - block.count)
            block.add(hi[part], lo[part])
            done += len(hi[part])
        self.count += len(hi)
        return np.arange(first, self.count)

    def _block_with_room(self) -> _Block:
        if self._blocks and self._blocks[-1].count < self._blocks[-1].capacity:
            return self._blocks[-1]
        start, capacity = 0, FIRST_BLOCK_ENTRIES
        if self._blocks:
            last = self._blocks[-1]
            start, capacity = last.start + last.capacity, min(last.capacity * GROWTH, LAST_BLOCK_ENTRIES)
        self._blocks.append(_Block(start, capacity, self._names))
        return self._blocks[-1]

    def cut(self, count: int) -> None:
        """Take the newest insertions back, down to `count` entries, each call of `add` as a whole."""
        while self._blocks and self._blocks[-1].start >= count:
            self._blocks.pop()
        if self._blocks and self._blocks[-1].start + self._blocks[-1].count > count:
            self._blocks[-1].cut(count - self._blocks[-1].start)
        self.count = count

    def get(self, column: str, entries: Entries) -> Entries:
        """Return a column's values at those entries."""
        values = np.empty(len(entries), dtype=np.int64)
        for block, rows, local in self._split(entries):
            values[rows] = block.columns[column][local]
        return values

    def put(self, column: str, entries: Entries, values: Entries) -> None:
        """Set a column's values at those entries."""
        for block, rows, local in self._split(entries):
            block.columns[column][local] = values[rows]

    def _split(self, entries: Entries) -> list[tuple[_Block, npt.NDArray[np.bool_] | slice, Entries]]:
        if not len(entries):
            return []
        low, high = int(entries.min()), int(entries.max())
        parts: list[tuple[_Block, npt.NDArray[np.bool_] | slice, Entries]] = []
        for block in self._blocks:
            end = block.start + block.capacity
            if block.start <= low and high < end:
                return [(block, slice(None), entries - block.start)]
            if low < end and high >= block.start:
                rows = (entries >= block.start) & (entries < end)
                if rows.any():
                    parts.append((block, rows, entries[rows] - block.start))
        return parts

    def drop_blocks(self, column: str, below: int) -> None:
        """Forget full blocks in which every value of the column is below the bound."""
        kept = [block for block in self._blocks[:-1] if int(block.columns[column].max()) >= below]
        self._blocks = kept + self._blocks[-1:]

    def all(self) -> tuple[Digests, Digests, Entries]:
        """Return every entry's digest and number, in order."""
        empty = np.empty(0, dtype=np.uint64)
        hi = [block.hi[: block.count] for block in self._blocks]
        lo = [block.lo[: block.count] for block in self._blocks]
        numbers = [np.arange(block.start, block.start + block.count) for block in self._blocks]
        return (
            np.concatenate([empty, *hi]),
            np.concatenate([empty, *lo]),
            np.concatenate([np.empty(0, dtype=np.int64), *numbers]),
        )
