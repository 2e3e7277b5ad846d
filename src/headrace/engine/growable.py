"""Flat NumPy columns that grow at their end, large ones without being copied."""

from __future__ import annotations

from contextlib import suppress
from mmap import mmap
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from headrace.engine.memory import SMALLEST_BYTES, counted, fits, room

_T = TypeVar("_T", bound=np.generic)
_MAPPED_BYTES = 1 << 20
"""Arrays of so many bytes lie in a mapping of their own, which the system can move without copying it."""

_FILED_BYTES = 1 << 16
"""Arrays of so many bytes lie in a file where they do not fit into the bound of memory."""

_INT32_MAX = 2**31 - 1


class Growable(Generic[_T]):
    """A one-dimensional array with room at its end; `data[:size]` holds the values, the rest is zero."""

    __slots__ = ("__weakref__", "_in_file", "_map", "data", "size")

    def __init__(self, dtype: type[_T], room: int = 64) -> None:
        self.data: npt.NDArray[_T] = np.zeros(room, dtype=dtype)
        self.size = 0
        self._map: mmap | None = None
        self._in_file = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Write down the values, and how much room there is."""
        return column_of, (self.data[: self.size], len(self.data))

    def reserve(self, size: int) -> None:
        """Make room for `size` values in all; what is added is zero."""
        if size <= len(self.data):
            return
        wanted = max(size, 2 * len(self.data))
        needed = wanted * self.data.itemsize
        if needed >= _MAPPED_BYTES or self._map is not None or (needed >= _FILED_BYTES and not fits(needed)):
            self._grow_mapped(wanted)
            return
        if needed >= SMALLEST_BYTES:
            counted(self)
        grown = np.zeros(wanted, dtype=self.data.dtype)
        grown[: self.size] = self.data[: self.size]
        self.data = grown

    def _grow_mapped(self, wanted: int) -> None:
        """Enlarge the mapping where it stands; where it may not be moved, or there is none, copy."""
        dtype, needed = self.data.dtype, wanted * self.data.itemsize
        if self._map is not None and (self._in_file or fits(needed - self.data.nbytes)):
            self.data = np.empty(0, dtype=dtype)
            with suppress(BufferError, OSError, SystemError, ValueError):
                self._map.resize(needed)
            self.data = np.frombuffer(self._map, dtype=dtype)
            if len(self.data) >= wanted:
                return
        before = self.data
        self._map, self._in_file = room(needed, self)
        self.data = np.frombuffer(self._map, dtype=dtype)
        self.data[: self.size] = before[: self.size]

    def resize(self, size: int) -> None:
        """Set the number of values; new ones are zero."""
        if size > len(self.data):
            self.reserve(size)
        self.size = size

    def extend(self, values: npt.NDArray[Any]) -> None:
        """Add values at the end."""
        start = self.size
        self.resize(start + len(values))
        self.data[start : self.size] = values

    def clear(self, places: npt.NDArray[np.int64]) -> None:
        """Set values to zero; places beyond the end are zero already."""
        self.data[places[places < self.size]] = 0

    def view(self) -> npt.NDArray[_T]:
        """Return the values; valid until the next growth."""
        return self.data[: self.size]

    @property
    def nbytes(self) -> int:
        """Bytes held, room included."""
        return int(self.data.nbytes)

    @property
    def resident_bytes(self) -> int:
        """Bytes that are in memory and not in a file, room that was never written not included."""
        return 0 if self._in_file else self.size * self.data.itemsize


def column_of(values: npt.NDArray[_T], room: int) -> Growable[_T]:
    """Return a column of these values, with room for so many in all."""
    column = Growable(values.dtype.type)
    column.reserve(room)
    column.extend(values)
    return column


class Tally:
    """Counts by slot: four bytes each, and eight once one of them could need them."""

    __slots__ = ("_column", "_most")

    def __init__(self) -> None:
        self._column: Growable[Any] = Growable(np.int32)
        self._most = 0  # no count is farther from 0

    @property
    def size(self) -> int:
        """Slots known."""
        return self._column.size

    def resize(self, size: int) -> None:
        """Set the number of slots; new ones count 0."""
        self._column.resize(size)

    def add(self, slots: npt.NDArray[np.int64], weights: npt.NDArray[np.int64]) -> None:
        """Add to the counts of slots, which may stand several times."""
        if self._column.data.dtype == np.int32 and len(weights):
            moved = max(int(weights.max()), -int(weights.min())) * len(weights)
            if self._most + moved > _INT32_MAX:
                self._most = int(np.abs(self._column.view().astype(np.int64)).max(initial=0))
            self._most += moved
            if self._most > _INT32_MAX:
                self._column = column_of(self._column.view().astype(np.int64), len(self._column.data))
        np.add.at(self._column.data, slots, weights.astype(self._column.data.dtype, copy=False))

    def merge(self, into: npt.NDArray[np.int64], slots: npt.NDArray[np.int64]) -> None:
        """Add the counts of some slots to those of others, pair by pair."""
        self.add(into, self.at(slots))

    def at(self, slots: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the counts of those slots."""
        return self._column.data[slots].astype(np.int64)

    def mark(self, slots: npt.NDArray[np.int64]) -> None:
        """Set counts to 1: of what only has to be told from nothing."""
        self._column.data[slots] = 1
        self._most = max(self._most, 1)

    def empty(self) -> npt.NDArray[np.bool_]:
        """Return which slots count 0."""
        found: npt.NDArray[np.bool_] = self._column.view() == 0
        return found

    def clear(self, slots: npt.NDArray[np.int64]) -> None:
        """Set counts to 0; slots beyond the end count 0 already."""
        self._column.clear(slots)

    @property
    def nbytes(self) -> int:
        """Bytes held, room included."""
        return self._column.nbytes
