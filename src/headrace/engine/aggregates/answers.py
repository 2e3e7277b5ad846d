"""The last answer of each group, kept as it was given."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from headrace.engine.columns import I64
from headrace.engine.growable import Growable
from headrace.engine.heap import Heap


class Answers:
    """The last answer of each slot."""

    def __init__(self, schema: pa.Schema) -> None:
        self._heap = Heap(schema)
        self._numbers: Growable[np.int64] = Growable(np.int64)

    def put(self, slots: I64, rows: pa.RecordBatch, size: int) -> None:
        """Keep the answers of those slots; no slot may stand twice."""
        self._numbers.resize(size)
        old = self._numbers.data[slots] - 1
        old = old[old >= 0]
        if len(old):
            self._heap.lower(old, np.ones(len(old), dtype=np.int64))
            self._heap.compact()
        self._numbers.data[slots] = self._heap.append(rows, np.ones(len(slots), dtype=np.int64)) + 1

    def get(self, slots: I64, size: int) -> pa.RecordBatch | None:
        """Return the answers of those slots, NULLs where there is none yet; None when there are none at
        all.
        """
        self._numbers.resize(size)
        numbers = self._numbers.data[slots] - 1
        known = numbers >= 0
        if not known.any():
            return None
        rows = self._heap.gather(numbers[known])
        return rows if known.all() else rows.take(pa.array(np.cumsum(known) - 1, mask=~known))

    def release(self, slots: I64) -> None:
        """Forget the answers of those slots."""
        slots = slots[slots < self._numbers.size]
        old = self._numbers.data[slots] - 1
        old = np.sort(old[old >= 0])
        if len(old):
            self._heap.lower(old, np.ones(len(old), dtype=np.int64))
            self._heap.compact()
        self._numbers.data[slots] = 0

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._heap.nbytes + self._numbers.nbytes
