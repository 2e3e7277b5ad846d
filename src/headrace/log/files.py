"""Every call that the log makes on the file system, in one thin layer that tests replace to inject faults."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

from headrace.errors import FolderLocked, StorageError


def _sync(descriptor: int) -> None:
    """Flush to the disk itself: macOS has no `fdatasync`, and its `fsync` stops at the disk's own cache."""
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(descriptor)


_PRIVATE, _FIXED, _NO_RESERVE = 0x02, 0x10, 0x4000
"""Flags of `mmap` on Linux."""


def _lay(descriptor: int, address: int, length: int, offset: int) -> bool:
    if os.fstat(descriptor).st_size < offset + length:
        return False  # whoever touched a page behind the end would be killed
    rights, flags = mmap.PROT_READ | mmap.PROT_WRITE, _PRIVATE | _FIXED | _NO_RESERVE
    return bool(_system_mmap()(address, length, rights, flags, descriptor, offset) == address)


@cache
def _system_mmap() -> Any:
    call = ctypes.CDLL(None, use_errno=True).mmap
    call.restype = ctypes.c_void_p
    call.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_int64)
    return call


class Files:
    """The operating system's files, as the log needs them. Every method may raise `OSError`."""

    def make_folder(self, folder: Path) -> None:
        """Create a folder and its parents where they are missing."""
        folder.mkdir(parents=True, exist_ok=True)

    def names(self, folder: Path) -> list[str]:
        """Return the names in a folder, sorted."""
        return sorted(path.name for path in folder.iterdir())

    def size(self, path: Path) -> int:
        """Return a file's length in bytes."""
        return path.stat().st_size

    def create(self, path: Path) -> int:
        """Create an empty file, replacing one of that name, and return a descriptor that appends."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def open_append(self, path: Path) -> int:
        """Open an existing file and return a descriptor that appends."""
        return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)

    def open_read(self, path: Path) -> int:
        """Open an existing file for reading."""
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self, descriptor: int, length: int, offset: int) -> bytes:
        """Return up to `length` bytes at `offset`; perhaps fewer."""
        return os.pread(descriptor, length, offset)

    def lay(self, descriptor: int, address: int, length: int, offset: int) -> bool:
        """Lay a file's bytes over memory at `address`, which is the caller's own mapping: read when they are
        touched, and copied when they are written to. `address` and `offset` begin at pages.

        Returns:
            False where that cannot be done, or the file ends before; the memory is as it was.
        """
        return sys.platform == "linux" and _lay(descriptor, address, length, offset)

    def write(self, descriptor: int, data: memoryview) -> int:
        """Write at the end and return how many bytes were taken, which may be fewer than given."""
        return os.write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        """Return once the file's bytes and length are on stable storage."""
        _sync(descriptor)

    def truncate(self, path: Path, length: int) -> None:
        """Cut a file to `length` bytes."""
        os.truncate(path, length)

    def close(self, descriptor: int) -> None:
        """Give a descriptor back."""
        os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name, replacing the one that has it, in one step."""
        source.rename(target)

    def remove(self, path: Path) -> None:
        """Delete a file."""
        path.unlink()

    def sync_folder(self, folder: Path) -> None:
        """Return once a folder's names are on stable storage."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_all(files: Files, descriptor: int, data: bytes | bytearray | memoryview) -> None:
    """Write every byte, going on after short writes.

    Raises:
        OSError: the system refused, or took nothing.
    """
    view = memoryview(data)
    while view.nbytes:
        taken = files.write(descriptor, view)
        if taken <= 0:
            raise OSError(5, "the system took no bytes")
        view = view[taken:]


def read_exactly(files: Files, descriptor: int, length: int, offset: int) -> bytes:
    """Return `length` bytes at `offset`, fewer only where the file ends."""
    data = files.read(descriptor, length, offset)
    if len(data) == length or not data:
        return data
    parts = [data]
    have = len(data)
    while have < length:
        data = files.read(descriptor, length - have, offset + have)
        if not data:
            break
        parts.append(data)
        have += len(data)
    return b"".join(parts)


class FolderLock:
    """The right to a data folder: one process at a time; the system frees it if that one dies."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "lock"
        self._descriptor = -1

    def acquire(self) -> None:
        """Take the folder.

        Raises:
            FolderLocked: another run has it; the message names its process.
            StorageError: the lock file cannot be written.
        """
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StorageError(
                f"the lock file cannot be opened: {error.strerror}",
                where=str(self.path),
                hint="give this user the right to write in the data folder",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise FolderLocked(
                f"the folder is in use by process {owner}",
                where=str(self.path.parent),
                expected="one process per data folder",
                hint="stop that process, or talk to it with hr.connect(url)",
                pid=owner,
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode("ascii"))
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the folder back; the file stays, empty of meaning."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
