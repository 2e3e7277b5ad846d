"""Bytes on disk in blocks, each stored once: what has not changed since the last checkpoint is not written
again.

A *pack* `000000000012.pack` holds the new blocks of one checkpoint, one behind the other. A block is found by
the digest of its content, so a manifest is a list of (pack, offset, length, digest); a block's digest is
checked whenever it is read.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from headrace.errors import StorageError
from headrace.log.files import Files, read_exactly, write_all

BLOCK_BYTES = 1 << 17
WRITE_BYTES = 8 << 20
DIGEST_BYTES = 16
PACK_NAME = re.compile(r"\d{12}\.pack")

Place = tuple[int, int, int, str]
"""Pack, offset, length, digest in hex."""


def digest_of(data: memoryview | bytes) -> str:
    """Return the digest that tells one block from another, and a whole one from a damaged one."""
    return hashlib.sha256(data).digest()[:DIGEST_BYTES].hex()


def pack_path(folder: Path, number: int) -> Path:
    """Return the file of a pack."""
    return folder / f"{number:012d}.pack"


@dataclass(slots=True)
class PackWriter:
    """Writes the blocks of one checkpoint that no kept pack holds.

    Attributes:
        files: the file system.
        folder: where packs lie.
        number: of the new pack.
        known: places of the blocks that are on disk already, by digest.
        written_bytes: bytes of new blocks.
    """

    files: Files
    folder: Path
    number: int
    known: dict[str, Place]
    written_bytes: int = 0
    _descriptor: int = -1
    _waiting: bytearray = field(default_factory=bytearray)

    def add(self, data: memoryview) -> list[Place]:
        """Store bytes; return the places of their blocks, in order.

        Raises:
            OSError: the disk refuses.
        """
        places = []
        for start in range(0, data.nbytes, BLOCK_BYTES):
            block = data[start : start + BLOCK_BYTES]
            digest = digest_of(block)
            place = self.known.get(digest)
            if place is None:
                place = self.known[digest] = (self.number, self.written_bytes, block.nbytes, digest)
                self.written_bytes += block.nbytes
                self._waiting += block
                if len(self._waiting) >= WRITE_BYTES:
                    self._flush()
            places.append(place)
        return places

    def begin(self) -> int:
        """Make the file, and return its descriptor; otherwise it is made when there is something to write.

        Raises:
            OSError: the disk refuses.
        """
        if self._descriptor < 0:
            self._descriptor = self.files.create(pack_path(self.folder, self.number))
        return self._descriptor

    def _flush(self) -> None:
        self.begin()
        write_all(self.files, self._descriptor, self._waiting)
        self._waiting = bytearray()

    def finish(self) -> None:
        """Put everything on stable storage."""
        if self._waiting:
            self._flush()
        if self._descriptor >= 0:
            self.files.sync(self._descriptor)
            self.close()

    def close(self) -> None:
        """Give the file back."""
        if self._descriptor >= 0:
            self.files.close(self._descriptor)
            self._descriptor = -1


class PackReader:
    """Reads blocks; keeps the packs open until `close`. Thread-safe."""

    def __init__(self, files: Files, folder: Path) -> None:
        self._files = files
        self._folder = folder
        self._open: dict[int, int] = {}
        self._lock = Lock()

    def read(self, places: Iterable[Place]) -> bytearray:
        """Return the bytes of blocks, one behind the other.

        Raises:
            StorageError: a block is missing or damaged.
        """
        found = bytearray()
        for pack, offset, length, digest in places:
            data = self._block(pack, offset, length)
            if len(data) != length or digest_of(data) != digest:
                raise StorageError(
                    "a block of a checkpoint is damaged",
                    where=f"{pack_path(self._folder, pack)} at byte {offset}",
                )
            found += data
        return found

    def _block(self, pack: int, offset: int, length: int) -> bytes:
        try:
            with self._lock:
                if pack not in self._open:
                    self._open[pack] = self._files.open_read(pack_path(self._folder, pack))
            return read_exactly(self._files, self._open[pack], length, offset)
        except OSError as error:
            raise StorageError(
                f"a pack of a checkpoint cannot be read: {error.strerror}",
                where=str(pack_path(self._folder, pack)),
            ) from error

    def close(self) -> None:
        """Give the files back."""
        for descriptor in self._open.values():
            self._files.close(descriptor)
        self._open = {}


def remove_packs(files: Files, folder: Path, needed: Collection[int]) -> int:
    """Delete the packs that nobody needs; return how many bytes that freed."""
    freed = 0
    for name in files.names(folder):
        if PACK_NAME.fullmatch(name) and int(name.partition(".")[0]) not in needed:
            freed += files.size(folder / name)
            files.remove(folder / name)
    return freed


def on_disk(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    with os.scandir(folder) as entries:
        return sum(entry.stat().st_size for entry in entries if entry.is_file())
