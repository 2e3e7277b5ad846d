"""Columns of a checkpoint in memory, without being read: the system fetches a page when it is touched.

A column is one piece of memory over which the runs of blocks that lie behind each other in a pack are laid,
as private maps: what is written to goes to a copy of the page. Short runs are read, and patches put on top;
every block is held against its check, in several threads. So a start costs one pass over the state at the
speed of memory, and what is never written to needs no memory that the system could not take back.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field

from headrace.state.blocks import BLOCK_BYTES, PAGE_BYTES, Laid, PackReader, Place
from headrace.state.frozen import address
from headrace.state.patches import patch

RUN_BYTES_MIN = 1 << 18
MAPS_BITS = 14
"""Shorter runs are read, and so are those below a 2^14th of the state: the system has room for some ten
thousand maps only.
"""
PATCHED_SHARE = 8
"""A column of which more than an 8th of the blocks has a patch is read: to copy page by page costs more."""
JOB_BLOCKS = 64
"""Blocks that a thread takes at a time."""


@dataclass(slots=True)
class _Column:
    """A column on its way into memory.

    Attributes:
        laid: where it lies on disk.
        memory: where it lies in memory.
        patches: by number of the block.
        mapped: numbers of the blocks that are mapped; all others are to be read.
    """

    laid: Laid
    memory: memoryview
    patches: dict[int, Place]
    mapped: set[int] = field(default_factory=set)

    def block(self, at: int) -> memoryview:
        """Return the memory of a block."""
        start = at * BLOCK_BYTES
        return self.memory[start : start + self.laid.blocks[at][2]]


def threads() -> int:
    """Return how many threads read and check blocks."""
    return min(8, os.cpu_count() or 1)


def columns(reader: PackReader, laid: Sequence[Laid], pool: Executor) -> list[memoryview]:
    """Return columns, checked; those that are not fixed may be written to.

    Raises:
        StorageError: a block is missing or damaged.
    """
    sizes = [sum(place[2] for place in one.blocks) for one in laid]
    run_bytes_min = max(RUN_BYTES_MIN, sum(sizes) >> MAPS_BITS)
    found = [_column(reader, one, size, run_bytes_min) for one, size in zip(laid, sizes, strict=True)]
    jobs = [(column, at) for column in found for at in range(0, len(column.laid.blocks), JOB_BLOCKS)]
    for _ in pool.map(lambda job: _fill(reader, *job), jobs):
        pass
    return [column.memory.toreadonly() if column.laid.fixed else column.memory for column in found]


def _column(reader: PackReader, laid: Laid, size: int, run_bytes_min: int) -> _Column:
    """Return a column whose long runs are mapped."""
    patches = dict(laid.patches)
    if size < run_bytes_min:
        return _Column(laid, memoryview(bytearray(size)), patches)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    column = _Column(laid, memoryview(memory), patches)
    if PATCHED_SHARE * len(patches) > len(laid.blocks):
        with suppress(AttributeError, OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)
        return column
    start = address(column.memory)
    for first, last in _runs(laid.blocks):
        length = sum(place[2] for place in laid.blocks[first:last])
        pack, offset, *_ = laid.blocks[first]
        if length >= run_bytes_min and offset % PAGE_BYTES == 0:
            at = start + first * BLOCK_BYTES
            if reader.files.lay(reader.descriptor(pack), at, length, offset):
                column.mapped.update(range(first, last))
    return column


def _runs(blocks: Sequence[Place]) -> Iterator[tuple[int, int]]:
    """Yield from where to where blocks lie behind each other in one pack."""
    first = 0
    for at in range(1, len(blocks) + 1):
        before = blocks[at - 1]
        if at == len(blocks) or (before[0], before[1] + before[2]) != tuple(blocks[at][:2]):
            yield first, at
            first = at


def _fill(reader: PackReader, column: _Column, first: int) -> None:
    blocks = column.laid.blocks
    for at in range(first, min(first + JOB_BLOCKS, len(blocks))):
        if at in column.mapped:
            reader.check(column.block(at), blocks[at])
        else:
            column.block(at)[:] = reader.block(blocks[at])
        if at in column.patches:
            patch(column.block(at), reader.block(column.patches[at]))
