"""Frames: how one record lies in a segment file, and how a reader knows that it is whole.

A segment is a prefix and then frames, each starting at a multiple of 8 bytes:

    prefix   magic "HEADRACE", format u32, salt u32, crc32 of the 16 bytes before u32, zero u32
    frame    mark u32, kind u8, zero u24, length u32, crc32 of the payload u32,
             number u64, group u64, crc32 of the 32 bytes before u32, zero u32, payload, zeros to a multiple
             of 8

All integers are little-endian. Both checksums of a frame start from the segment's random salt, so bytes
that a user sent can never pass for a frame. `number` is the commit's or version's. `group` is the offset at
which the frame's group of writes began: everything before it had been fsynced when the frame was written.
That tells a torn tail (nothing that was acknowledged is missing) from damage (something is).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from headrace.errors import FormatTooNew, LogDamaged
from headrace.log.files import Files, read_exactly

MAGIC = b"HEADRACE"
FORMAT = 1
PREFIX = struct.Struct("<8sIIII")
HEADER = struct.Struct("<IB3xIIQQII")
MARK = 0x9D52_48F3
MARK_BYTES = struct.pack("<I", MARK)
PAYLOAD_BYTES_MAX = (1 << 31) - 64
BLOCK_BYTES = 1 << 20

HEAD, COMMIT, STEP, DECLARED, CLOSED = range(5)
"""Kinds of frames: the segment's own head, the three kinds of records, and the sign of a clean close."""
KINDS = frozenset(range(5))


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole frame as read: `payload` has passed its checksum; `end` is where the next frame begins."""

    kind: int
    number: int
    group: int
    payload: bytes
    offset: int
    end: int


class BadFrameError(Exception):
    """No whole frame stands at `offset`; internal, turned into a cut tail or `LogDamaged`."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(reason)
        self.offset = offset
        self.reason = reason


def checksum(data: bytes | bytearray | memoryview, salt: int) -> int:
    """Return the CRC-32 of `data`, started from the salt."""
    return zlib.crc32(data, salt)


def prefix(salt: int) -> bytes:
    """Return the first bytes of a segment."""
    head = PREFIX.pack(MAGIC, FORMAT, salt, 0, 0)[:16]
    return head + struct.pack("<II", zlib.crc32(head), 0)


def padding(length: int) -> int:
    """Return how many zeros follow `length` bytes so that the next frame is aligned."""
    return -length % 8


def framed_bytes(length: int) -> int:
    """Return the bytes that a payload of `length` takes in the file."""
    return HEADER.size + length + padding(length)


def frame_header(kind: int, number: int, length: int, payload_crc: int, group: int, salt: int) -> bytes:
    """Return the header that precedes a payload."""
    head = HEADER.pack(MARK, kind, length, payload_crc, number, group, 0, 0)[:32]
    return head + struct.pack("<II", checksum(head, salt), 0)


def read_prefix(data: bytes, path: Path) -> int:
    """Check a segment's first bytes and return its salt.

    Raises:
        LogDamaged: they are not a segment's.
        FormatTooNew: a later version of Headrace wrote them.
    """
    if len(data) < PREFIX.size:
        raise damaged(path, 0, len(data), "the file is too short for a segment")
    magic, version, salt, crc, _ = PREFIX.unpack_from(data)
    if magic != MAGIC or zlib.crc32(data[:16]) != crc:
        raise damaged(path, 0, PREFIX.size, "the file does not begin as a segment does")
    if version > FORMAT:
        raise FormatTooNew(
            f"the segment has format {version}",
            where=str(path),
            expected=f"format {FORMAT} or older",
            hint="open the folder with the version of Headrace that wrote it, or a newer one",
            format=version,
        )
    return int(salt)


def damaged(path: Path, offset: int, end: int, reason: str) -> LogDamaged:
    """Return the error that names a damaged range of bytes."""
    return LogDamaged(
        reason,
        where=f"{path} at byte {offset}",
        expected="an unbroken sequence of frames",
        hint=f"bytes {offset} to {end} are unreadable: restore this file from a copy",
        file=str(path),
        offset=offset,
        end=end,
    )


class FrameReader:
    """Reads the frames of one file between two offsets, block by block, with bounded memory."""

    def __init__(self, files: Files, path: Path, salt: int, end: int) -> None:
        self._files = files
        self._path = path
        self._salt = salt
        self._end = end
        self._descriptor = files.open_read(path)
        self._block = b""
        self._at = 0

    def close(self) -> None:
        """Give the file back."""
        if self._descriptor >= 0:
            self._files.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> FrameReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def bytes_at(self, offset: int, length: int) -> memoryview:
        """Return bytes of the file, fewer only at its end."""
        start = offset - self._at
        if start < 0 or start + length > len(self._block):
            wanted = min(max(length, BLOCK_BYTES), max(self._end - offset, 0))
            self._block = read_exactly(self._files, self._descriptor, wanted, offset)
            self._at, start = offset, 0
        return memoryview(self._block)[start : start + length]

    def frame(self, offset: int, *, payload: bool = True) -> Frame:
        """Return the frame at `offset`; without `payload` the payload is neither read nor checked.

        Raises:
            BadFrameError: there is no whole frame.
        """
        head = self.bytes_at(offset, HEADER.size)
        if len(head) < HEADER.size:
            raise BadFrameError(offset, "the file ends inside a frame")
        mark, kind, length, crc, number, group, head_crc, _ = HEADER.unpack(head)
        if mark != MARK or checksum(head[:32], self._salt) != head_crc:
            raise BadFrameError(offset, "a frame's header fails its checksum")
        end = offset + framed_bytes(length)
        if kind not in KINDS or end > self._end:
            raise BadFrameError(
                offset, "the file ends inside a frame" if kind in KINDS else "a frame of unknown kind"
            )
        data = b""
        if payload:
            found = self.bytes_at(offset + HEADER.size, length)
            data = self._block if len(found) == len(self._block) else bytes(found)  # a long one is not copied
            if len(data) < length or checksum(data, self._salt) != crc:
                raise BadFrameError(offset, "a frame's content fails its checksum")
        return Frame(kind, number, group, data, offset, end)

    def frames(self, offset: int) -> Iterator[Frame]:
        """Yield the frames from `offset` to the end.

        Raises:
            BadFrameError: at the first offset where no whole frame stands.
        """
        while offset < self._end:
            frame = self.frame(offset)
            yield frame
            offset = frame.end

    def whole_frames_after(self, offset: int) -> Iterator[Frame]:
        """Yield the whole frames that can still be found by their mark, up to the end."""
        while offset < self._end:
            block = self.bytes_at(offset, BLOCK_BYTES)
            if len(block) < HEADER.size:
                return
            found = bytes(block).find(MARK_BYTES)
            if found < 0:
                offset += len(block) - len(MARK_BYTES) + 1
                continue
            offset += found
            try:
                frame = self.frame(offset)
            except BadFrameError:
                offset += 1
                continue
            yield frame
            offset = frame.end

    def damage(self, bad: BadFrameError, reason: str | None = None) -> LogDamaged:
        """Return the error for a bad frame, with the range up to the next whole one."""
        after = next(self.whole_frames_after(bad.offset + 1), None)
        end = after.offset if after is not None else self._end
        return damaged(self._path, bad.offset, end, reason or bad.reason)
