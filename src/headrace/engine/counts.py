"""One number per row of a heap: how many rows of the other side match it."""

from __future__ import annotations

import numpy as np

from headrace.engine.columns import I64
from headrace.engine.heap import Heap

_BITS = 14
_BLOCK = 1 << _BITS
_MASK = _BLOCK - 1


class Counts:
    """Counts by row number, in blocks; blocks whose rows are all gone are dropped as the heap moves on."""

    def __init__(self) -> None:
        self._blocks: dict[int, I64] = {}
        self._due = 8

    def add(self, numbers: I64, counts: I64) -> tuple[I64, I64]:
        """Add to the counts of rows, none of which stands twice; return the counts before and after."""
        before = np.empty(len(numbers), dtype=np.int64)
        blocks = numbers >> _BITS
        for number in np.unique(blocks).tolist():
            block = self._blocks.get(number)
            if block is None:
                block = self._blocks[number] = np.zeros(_BLOCK, dtype=np.int64)
            mine = (blocks == number).nonzero()[0]
            at = numbers[mine] & _MASK
            before[mine] = block[at]
            block[at] += counts[mine]
        return before, before + counts

    def trim(self, heap: Heap) -> None:
        """Drop the counts of rows that are gone, once the blocks are twice as many as after the last look."""
        if len(self._blocks) < self._due:
            return
        live = {number for chunk in heap.chunks for number in np.unique(chunk.numbers >> _BITS).tolist()}
        self._blocks = {number: block for number, block in self._blocks.items() if number in live}
        self._due = 2 * len(self._blocks) + 8

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return 8 * _BLOCK * len(self._blocks)
