"""Bytes on disk in blocks, each stored once: what has not changed since the last checkpoint is not written
again, and of what has changed a little only that.

A *pack* `000000000012.pack` holds the new blocks of one checkpoint, one behind the other; those of a column
begin at a page, so that they can be mapped into memory as they lie. A block is found by the digest of its
content, so a manifest is a list of (pack, offset, length, digest, check); the check, a CRC-32, is computed
anew whenever a block is read or mapped.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from headrace.errors import StorageError
from headrace.log.files import Files, read_exactly, write_all
from headrace.state.patches import patch_of

BLOCK_BYTES = 1 << 17
PAGE_BYTES = 1 << 12
WRITE_BYTES = 8 << 20
DIGEST_BYTES = 16
PACK_NAME = re.compile(r"\d{12}\.pack")

Place = tuple[int, int, int, str, int]
"""Pack, offset, length, digest in hex, CRC-32."""


@dataclass(frozen=True, slots=True)
class Laid:
    """Where one column lies.

    Attributes:
        blocks: the places of its blocks, in order.
        patches: number of a block, and the place of what has changed in it since.
        fixed: whether it can never change, as Arrow's columns.
    """

    blocks: Sequence[Place]
    patches: Sequence[tuple[int, Place]] = ()
    fixed: bool = False

    def places(self) -> list[Place]:
        """Return every place."""
        return [*self.blocks, *(place for _, place in self.patches)]


def digest_of(data: memoryview | bytes) -> str:
    """Return the digest that tells one block from another."""
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
    _before: PackReader | None = None

    def add(self, data: memoryview, before: Laid | None = None, *, fixed: bool = False) -> Laid:
        """Store a column; return where it lies.

        Args:
            data: its bytes.
            before: where it, or what was then in its place in memory, lay at the last checkpoint.
            fixed: it can never change.

        Raises:
            OSError: the disk refuses.
        """
        blocks: list[Place] = []
        patches: list[tuple[int, Place]] = []
        bases = () if before is None else before.blocks
        for at, start in enumerate(range(0, data.nbytes, BLOCK_BYTES)):
            block = data[start : start + BLOCK_BYTES]
            digest = digest_of(block)
            place = self.known.get(digest)
            change = None if place is not None or at >= len(bases) else self._patch(block, bases[at])
            if change is not None:
                place = bases[at]
                patches.append((at, self._put(memoryview(change), digest_of(change))))
            blocks.append(self._put(block, digest, aligned=True) if place is None else place)
        return Laid(blocks, patches, fixed)

    def take_over(self, laid: Laid, reader: PackReader) -> Laid:
        """Store a column that lies in packs of another folder; return where it lies here.

        Raises:
            OSError: the disk refuses.
            StorageError: a block is missing or damaged there.
        """
        blocks = [self._put(memoryview(reader.block(at)), at[3], aligned=True) for at in laid.blocks]
        patches = [(n, self._put(memoryview(reader.block(at)), at[3])) for n, at in laid.patches]
        return Laid(blocks, patches, laid.fixed)

    def _patch(self, block: memoryview, base: Place) -> bytes | None:
        """Return what makes a block of its base; None where it has changed too much, or the base is lost."""
        if self._before is None:
            self._before = PackReader(self.files, self.folder)
        try:
            return patch_of(block, self._before.block(base))
        except StorageError:
            return None

    def _put(self, block: memoryview, digest: str, *, aligned: bool = False) -> Place:
        known = self.known.get(digest)
        if known is not None:
            return known
        if aligned and block.nbytes >= PAGE_BYTES:
            gap = -self.written_bytes % PAGE_BYTES
            self._waiting += bytes(gap)
            self.written_bytes += gap
        place = (self.number, self.written_bytes, block.nbytes, digest, zlib.crc32(block))
        self.known[digest] = place
        self.written_bytes += block.nbytes
        self._waiting += block
        if len(self._waiting) >= WRITE_BYTES:
            self._flush()
        return place

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
        """Give the files back."""
        if self._before is not None:
            self._before.close()
            self._before = None
        if self._descriptor >= 0:
            self.files.close(self._descriptor)
            self._descriptor = -1


class PackReader:
    """Reads blocks; keeps the packs open until `close`. Thread-safe."""

    def __init__(self, files: Files, folder: Path) -> None:
        self.files = files
        self._folder = folder
        self._open: dict[int, int] = {}
        self._lock = Lock()

    def read(self, places: Sequence[Place]) -> bytearray:
        """Return the bytes of blocks, one behind the other.

        Raises:
            StorageError: a block is missing or damaged.
        """
        found = bytearray()
        for place in places:
            found += self.block(place)
        return found

    def block(self, place: Place) -> bytes:
        """Return the bytes of a block.

        Raises:
            StorageError: it is missing or damaged.
        """
        pack, offset, length, *_ = place
        try:
            data = read_exactly(self.files, self.descriptor(pack), length, offset)
        except OSError as error:
            raise StorageError(
                f"a pack of a checkpoint cannot be read: {error.strerror}",
                where=str(pack_path(self._folder, pack)),
            ) from error
        self.check(memoryview(data), place)
        return data

    def check(self, data: memoryview, place: Place) -> None:
        """Refuse what is not what was written there.

        Raises:
            StorageError: it is damaged, or cut short.
        """
        pack, offset, length, _, check = place
        if data.nbytes != length or zlib.crc32(data) != check:
            raise StorageError(
                "a block of a checkpoint is damaged",
                where=f"{pack_path(self._folder, pack)} at byte {offset}",
            )

    def descriptor(self, pack: int) -> int:
        """Return the open file of a pack.

        Raises:
            StorageError: it cannot be opened.
        """
        with self._lock:
            if pack not in self._open:
                path = pack_path(self._folder, pack)
                try:
                    self._open[pack] = self.files.open_read(path)
                except OSError as error:
                    raise StorageError(
                        f"a pack of a checkpoint cannot be read: {error.strerror}", where=str(path)
                    ) from error
            return self._open[pack]

    def close(self) -> None:
        """Give the files back."""
        for descriptor in self._open.values():
            self.files.close(descriptor)
        self._open = {}


def remove_packs(files: Files, folder: Path, needed: Collection[int]) -> int:
    """Delete the packs that nobody needs; return how many bytes that freed."""
    freed = 0
    for name in files.names(folder):
        if PACK_NAME.fullmatch(name) and int(name.partition(".")[0]) not in needed:
            freed += files.size(folder / name)
            files.remove(folder / name)
    return freed
