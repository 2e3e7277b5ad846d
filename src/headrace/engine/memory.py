"""State larger than memory: above a bound, what has not been used for longest lies in files.

Chunks of heaps and sorted runs never change, so they can be written out and read through a memory map, page
by page, as they are needed; large tables of hashes and columns of accumulators that grow beyond the bound are
mapped from the start. Short columns stay in memory and are counted, so that more of the rest lies in files;
beside the bound are what readers hold, the rows that the intake keeps of tables, and the recent changes of
the feed. The system keeps as many of those pages in memory as there is room for. The files have no names:
they are unlinked as soon as they are mapped, and nothing is left of them after a crash.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from threading import Lock
from typing import Any, Protocol
from weakref import WeakSet

import numpy as np
import numpy.typing as npt
import pyarrow as pa

SMALLEST_BYTES = 16_384
"""What is smaller stays in memory."""
ARRAYS_SHARE = 0.75
"""Part of the bound that columns and tables of hashes may take before they lie in files."""
SPARE_SHARE = 0.05
"""Part of the bound that is made free beyond need, so that not every small step has to make room again."""
ROW_BYTES, STEPS_MAX = 16_384, 16
"""What is in memory is counted again once steps have moved so many rows that, at so many bytes of state for
each, the bound might be reached; or after so many steps, since readers hold something too.
"""
_watching: ContextVar[Memory | None] = ContextVar("headrace_engine_memory", default=None)


class Part(Protocol):
    """A piece of state that can be put into a file.

    Attributes:
        used: when it was last read, in steps of the engine's memory; smaller is longer ago.
    """

    used: int

    @property
    def resident_bytes(self) -> int:
        """Bytes that are in memory and not in a file."""

    def put_aside(self, memory: Memory) -> None:
        """Lie in files from now on; nothing that a reader holds changes."""


class Holder(Protocol):
    """What holds parts: a heap, or tiers of runs."""

    def parts(self) -> Iterator[Any]:
        """Yield the parts held now."""


class Memory:
    """The bound, and all that counts against it.

    Args:
        limit_bytes: bytes of state that may lie in memory; None: no bound.
        folder: where files are made; None: the system's folder for temporary files.
    """

    def __init__(self, limit_bytes: int | None = None, folder: Path | None = None) -> None:
        self.limit_bytes = limit_bytes
        self._folder = folder
        if limit_bytes is not None:
            _allow_many_files()
            _give_back_soon()
        self._holders: WeakSet[Any] = WeakSet()
        self._arrays: WeakSet[Any] = WeakSet()
        self._lock = Lock()
        self.still = Lock()
        """Taken by who puts a part aside, and by who writes to one: engines beside the running one and
        readers work in other threads than its steps."""
        self.now = 0
        self.file_bytes = 0
        self._spare_bytes = self._steps_since = self._rows_since = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count what is made inside the block."""
        if self.limit_bytes is None:
            yield
            return
        token = _watching.set(self)
        try:
            yield
        finally:
            _watching.reset(token)

    def hold(self, holder: Holder) -> None:
        """Count the parts of a holder for as long as it lives."""
        with self._lock:
            self._holders.add(holder)

    def _parts(self) -> list[Any]:
        """Return the parts of all holders; views that step side by side may add holders meanwhile."""
        with self._lock:
            holders = list(self._holders)
        return [part for holder in holders for part in holder.parts()]

    @property
    def resident_bytes(self) -> int:
        """Bytes of state that are in memory and not in files."""
        return sum(int(part.resident_bytes) for part in self._parts()) + self._array_bytes

    @property
    def _array_bytes(self) -> int:
        with self._lock:
            arrays = list(self._arrays)
        return sum(int(array.resident_bytes) for array in arrays)

    def moved(self, rows: int) -> None:
        """Note that views have moved so many rows in a step."""
        self.now += 1
        self._steps_since += 1
        self._rows_since += rows

    def make_room(self) -> None:
        """Settle, unless so little has come since the last time that the bound cannot have been reached: to
        count all parts costs more than a step of a few rows. Called when a step has been shown: nobody waits.
        """
        if self._steps_since >= STEPS_MAX or self._rows_since * ROW_BYTES >= self._spare_bytes:
            self.settle()

    def settle(self) -> None:
        """Put aside what was not used for longest, until the rest is within the bound."""
        if self.limit_bytes is None:
            return
        over = self.resident_bytes - self.limit_bytes
        self._spare_bytes, self._steps_since, self._rows_since = -over, 0, 0
        if over <= 0:
            return
        over += int(SPARE_SHARE * self.limit_bytes)
        parts = [part for part in self._parts() if part.resident_bytes >= SMALLEST_BYTES]
        parts.sort(key=lambda part: (part.used, -part.resident_bytes))
        for part in parts:
            if over <= 0:
                break
            over -= part.resident_bytes
            with self.still:
                part.put_aside(self)
        pa.default_memory_pool().release_unused()
        _trim()

    # --- files
    # ----------------------------------------------------------------------------------------------
    def mapped(self, size: int, data: Any = None) -> mmap.mmap:
        """Return `size` bytes that lie in a file: `data`, or zeros."""
        descriptor, path = tempfile.mkstemp(prefix="state-", dir=self._folder)
        try:
            os.unlink(path)  # noqa: PTH108 - by the name that mkstemp gave
            if data is not None:
                with os.fdopen(os.dup(descriptor), "wb") as file:
                    file.write(data)
            os.truncate(descriptor, size)
            self.file_bytes += size
            return mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)

    def array(self, values: npt.NDArray[Any], *, changes: bool = False) -> npt.NDArray[Any]:
        """Return an array of the same values that lies in a file; nobody can write to it unless it changes:
        what may be written to is copied for each checkpoint.
        """
        if values.nbytes == 0:
            return values
        flat = np.ascontiguousarray(values)
        found = np.frombuffer(self.mapped(flat.nbytes, flat.data.cast("B")), dtype=values.dtype)
        found.flags.writeable = changes
        return found

    def batch(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return a batch of the same rows that lies in a file."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_batch(rows)
        written = sink.getvalue()
        buffer = pa.py_buffer(self.mapped(written.size, written))
        return pa.ipc.open_stream(pa.BufferReader(buffer)).read_next_batch()

    def takes(self, needed_bytes: int) -> bool:
        """Whether columns of so many bytes more may lie in memory: chunks and runs make way for them at the
        end of the step, since what steps write to all over is worth more there. What is small always may.
        """
        if self.limit_bytes is None or needed_bytes < SMALLEST_BYTES:
            return True
        return self._array_bytes + needed_bytes <= ARRAYS_SHARE * self.limit_bytes

    def count(self, array: Any) -> None:
        """Count something with `resident_bytes` for as long as it lives."""
        with self._lock:
            self._arrays.add(array)


def room(needed_bytes: int, owner: Any) -> tuple[mmap.mmap, bool]:
    """Return zeros that can grow without being copied, and whether they lie in a file.

    The owner, which has `resident_bytes`, is counted by whoever watches.
    """
    memory = _watching.get()
    if memory is not None:
        memory.count(owner)
        if not memory.takes(needed_bytes):
            return memory.mapped(needed_bytes), True
    if not hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(-1, needed_bytes), False
    found = mmap.mmap(-1, needed_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):
            found.madvise(mmap.MADV_HUGEPAGE)
    return found, False


def _allow_many_files() -> None:
    """Let the process hold as many open files as it may: each mapping keeps one."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _give_back_soon() -> None:
    """Have Arrow allocate from jemalloc, where it was built with it: under the load of billing the usual
    allocator held four times what was in use, since what one thread frees another may take only later.
    """
    if "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())


def _trim() -> None:
    """Have the C library return what is free; elsewhere than with GNU's there is nothing to call."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def counted(owner: Any) -> None:
    """Count something with `resident_bytes`, which lies in memory wherever there is room for it or not."""
    memory = _watching.get()
    if memory is not None:
        memory.count(owner)


def fits(needed_bytes: int) -> bool:
    """Whether so many bytes more may lie in memory, as far as anybody watches."""
    memory = _watching.get()
    return memory is None or memory.takes(needed_bytes)


def zeros(size: int, dtype: Any, owner: Any) -> tuple[npt.NDArray[Any], bool]:
    """Return an array of zeros, and whether it lies in a file; the owner is counted by whoever watches."""
    memory = _watching.get()
    needed = size * np.dtype(dtype).itemsize
    if memory is not None:
        memory.count(owner)
        if not memory.takes(needed):
            return np.frombuffer(memory.mapped(needed), dtype=dtype), True
    return np.zeros(size, dtype=dtype), False


def held(holder: Holder) -> Memory | None:
    """Count a new holder where somebody watches; return who does."""
    memory = _watching.get()
    if memory is not None:
        memory.hold(holder)
    return memory
