"""Flat NumPy columns that grow at their end."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

_T = TypeVar("_T", bound=np.generic)


class Growable(Generic[_T]):
    """A one-dimensional array with room at its end; `data[:size]` holds the values, the rest is zero."""

    __slots__ = ("data", "size")

    def __init__(self, dtype: type[_T], room: int = 64) -> None:
        self.data: npt.NDArray[_T] = np.zeros(room, dtype=dtype)
        self.size = 0

    def reserve(self, size: int) -> None:
        """Make room for `size` values in all; what is added is zero."""
        if size > len(self.data):
            grown = np.zeros(max(size, 2 * len(self.data)), dtype=self.data.dtype)
            grown[: self.size] = self.data[: self.size]
            self.data = grown

    def resize(self, size: int) -> None:
        """Set the number of values; new ones are zero."""
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
