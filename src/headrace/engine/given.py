"""What was given out under each slot, so that the next answer can be told as a change."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from headrace.change import Change
from headrace.engine.columns import I64
from headrace.engine.growable import Growable
from headrace.engine.heap import Heap
from headrace.engine.runs import ranges
from headrace.engine.zset import consolidate


class Given:
    """The rows that were given out for each slot, in order."""

    def __init__(self, schema: pa.Schema) -> None:
        self._heap = Heap(schema)
        self._first: Growable[np.int64] = Growable(np.int64)
        self._count: Growable[np.int64] = Growable(np.int64)
        self.row_count = 0

    def replace(self, slots: I64, owners: I64, rows: pa.RecordBatch) -> Change:
        """Set the rows of some slots; return the change. `owners` are positions in `slots`, ascending."""
        size = int(slots.max()) + 1
        self._first.resize(max(size, self._first.size))
        self._count.resize(max(size, self._count.size))
        old = ranges(self._first.data[slots], self._count.data[slots])
        before = self._heap.gather(old)
        if rows.equals(before):
            return Change.empty(self._heap.schema)
        counts = np.bincount(owners, minlength=len(slots)).astype(np.int64)
        if len(old):
            self._heap.lower(old, np.ones(len(old), dtype=np.int64))
            self._heap.compact()
        if rows.num_rows:
            numbers = self._heap.append(rows, np.ones(rows.num_rows, dtype=np.int64))
            self._first.data[slots] = numbers[0] + np.cumsum(counts) - counts
        self._count.data[slots] = counts
        self.row_count += rows.num_rows - len(old)
        return consolidate(Change.concat([Change.inserts(before).negated(), Change.inserts(rows)]))

    def release(self, slots: I64) -> None:
        """Forget what was given out under those slots; it stays given."""
        slots = slots[slots < self._count.size]
        old = np.sort(ranges(self._first.data[slots], self._count.data[slots]))
        if len(old):
            self._heap.lower(old, np.ones(len(old), dtype=np.int64))
            self._heap.compact()
        self._count.data[slots] = 0
        self.row_count -= len(old)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._heap.nbytes + self._first.nbytes + self._count.nbytes
