"""A segment of the past: one file that holds what changed from one version to another, written once.

    file     magic "HEADPAST", format u32, zero u32, blocks, footer, trailer
    block    an Arrow IPC stream, compressed with zstd where it is worth it
    footer   JSON: which versions, and where each block lies, with its digest
    trailer  length of the footer u64, digest of the footer 16 bytes, magic "HEADPAST"

All integers are little-endian; digests are BLAKE2b of 16 bytes. A file appears under its name only when its
bytes are on stable storage, so it is whole or not there; a digest that fails is damage and is told.
"""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from headrace.errors import FormatTooNew, StorageError
from headrace.log.files import Files, read_exactly, write_all

MAGIC = b"HEADPAST"
FORMAT = 1
HEAD = struct.Struct("<8sII")
TRAILER = struct.Struct("<Q16s8s")
COMPRESS_FROM_BYTES = 512
WRITE_BYTES = 8 << 20
BATCH_ROWS = 65_536

Place = tuple[int, int, str]
"""Offset, length, digest in hex."""


def digest_of(data: bytes | memoryview | pa.Buffer) -> bytes:
    """Return what tells whole bytes from damaged ones."""
    return hashlib.blake2b(memoryview(data), digest_size=16).digest()


def packed(table: pa.Table) -> memoryview:
    """Return a table as the bytes of a block."""
    options = pa.ipc.IpcWriteOptions(compression="zstd" if table.nbytes >= COMPRESS_FROM_BYTES else None)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=BATCH_ROWS)
    return memoryview(sink.getvalue())


class SegmentWriter:
    """Writes one segment; call `finish`, or `give_up`.

    Args:
        files: the file system.
        path: the segment's name; a draft beside it is written first.

    Raises:
        OSError: the disk refuses, here and in every method.
    """

    def __init__(self, files: Files, path: Path) -> None:
        self._files = files
        self._path = path
        self._draft = path.with_suffix(".tmp")
        self._descriptor = files.create(self._draft)
        self._waiting = bytearray(HEAD.pack(MAGIC, FORMAT, 0))
        self._end = len(self._waiting)

    def add(self, table: pa.Table) -> Place:
        """Write a block; return where it lies."""
        return self.add_bytes(packed(table))

    def add_bytes(self, data: bytes | memoryview) -> Place:
        """Write a block that is packed already."""
        place = (self._end, len(data), digest_of(data).hex())
        self._waiting += data
        self._end += len(data)
        if len(self._waiting) >= WRITE_BYTES:
            self._flush()
        return place

    def _flush(self) -> None:
        write_all(self._files, self._descriptor, self._waiting)
        self._waiting = bytearray()

    def finish(self, footer: dict[str, Any]) -> int:
        """Make the segment durable under its name; return its bytes."""
        text = orjson.dumps(footer)
        self._waiting += text + TRAILER.pack(len(text), digest_of(text), MAGIC)
        self._flush()
        self._files.sync(self._descriptor)
        self._close()
        self._files.rename(self._draft, self._path)
        self._files.sync_folder(self._path.parent)
        return self._end + len(text) + TRAILER.size

    def give_up(self) -> None:
        """Close what is open; the draft is removed at the next start."""
        self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            self._files.close(self._descriptor)
            self._descriptor = -1


def read_footer(files: Files, path: Path) -> dict[str, Any]:
    """Return the footer of a segment.

    Raises:
        StorageError: the file is not a whole segment, or fails its checksum.
        FormatTooNew: a later version of Headrace wrote it.
        OSError: it cannot be read.
    """
    size = files.size(path)
    descriptor = files.open_read(path)
    try:
        head = read_exactly(files, descriptor, HEAD.size, 0)
        if len(head) < HEAD.size or size < HEAD.size + TRAILER.size or head[:8] != MAGIC:
            raise _damaged(path, "the file does not begin as a segment of the past does")
        form = HEAD.unpack(head)[1]
        if form > FORMAT:
            raise FormatTooNew(
                f"the segment has format {form}", where=str(path), expected=f"format {FORMAT} or older"
            )
        trailer = read_exactly(files, descriptor, TRAILER.size, size - TRAILER.size)
        length, digest, magic = TRAILER.unpack(trailer)
        if magic != MAGIC or length > size - HEAD.size - TRAILER.size:
            raise _damaged(path, "the file does not end as a segment of the past does")
        text = read_exactly(files, descriptor, length, size - TRAILER.size - length)
    finally:
        files.close(descriptor)
    if digest_of(text) != digest:
        raise _damaged(path, "the footer fails its checksum")
    footer: dict[str, Any] = orjson.loads(text)
    return footer


class BlockReader:
    """Reads the blocks of one segment; use as a context manager.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, files: Files, path: Path) -> None:
        self._files = files
        self._path = path
        self._descriptor = files.open_read(path)

    def bytes_of(self, place: Place) -> bytes:
        """Return a block's bytes.

        Raises:
            StorageError: they fail their checksum.
        """
        offset, length, digest = place
        data = read_exactly(self._files, self._descriptor, length, offset)
        if len(data) != length or digest_of(data).hex() != digest:
            raise _damaged(self._path, f"bytes {offset} to {offset + length} fail their checksum")
        return data

    def table(self, place: Place) -> pa.Table:
        """Return a block's table; errors as for `bytes_of`."""
        with pa.ipc.open_stream(self.bytes_of(place)) as reader:
            return reader.read_all()

    def __enter__(self) -> BlockReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close(self._descriptor)


def _damaged(path: Path, reason: str) -> StorageError:
    return StorageError(
        reason,
        where=str(path),
        hint="the present and the log are whole; restore this file from a copy, or delete it: versions that "
        "need it are then told as gone",
    )
