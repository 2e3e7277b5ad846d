"""The log's files read from outside: copied while a run writes them, and checked frame by frame."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from headrace.errors import StorageError
from headrace.log.files import Files, write_all
from headrace.log.frames import COMMIT, BadFrameError, FrameReader
from headrace.log.segments import SEGMENT_NAME, Segment, check_next, find, read_tail

LOG = "log"
BLOCK_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy holds.

    Attributes:
        segments: files.
        bytes: bytes in them.
        last_commit: the last whole commit.
    """

    segments: int
    bytes: int
    last_commit: int


def copy_log(folder: Path, target: Path) -> Copied:
    """Copy the log of a data folder, which may be in use: the copy ends where the log stood at that moment.

    Segments only grow, and a later one exists only when the one before it is finished, so that files copied
    in their order are a beginning of the log; a record that was being written is cut when the copy is opened.

    Args:
        folder: the data folder.
        target: a folder that is missing or empty.

    Raises:
        StorageError: there is no log, or the target holds something, or a file cannot be copied.
        LogDamaged: what was copied is not whole.
    """
    names = sorted(
        (path.name for path in (folder / LOG).glob("*.seg") if SEGMENT_NAME.fullmatch(path.name)),
        key=lambda name: int(name[:-4]),
    )
    if not names:
        raise StorageError("there is no log to copy", where=str(folder), expected="a data folder")
    if target.exists() and any(target.iterdir()):
        raise StorageError("the target is not empty", where=str(target), hint="name a folder of its own")
    files = Files()
    try:
        files.make_folder(target / LOG)
        for name in names:
            _copy(files, folder / LOG / name, target / LOG / name)
        files.sync_folder(target / LOG)
        files.sync_folder(target)
    except OSError as error:
        raise StorageError(f"the copy failed: {error.strerror or error}", where=str(target)) from error
    size = sum((target / LOG / name).stat().st_size for name in names)
    return Copied(len(names), size, checked(target))


def _copy(files: Files, source: Path, target: Path) -> None:
    descriptor = files.create(target)
    try:
        with source.open("rb") as stream:
            while block := stream.read(BLOCK_BYTES):
                write_all(files, descriptor, block)
        files.sync(descriptor)
    finally:
        files.close(descriptor)
    shutil.copystat(source, target)


def checked(folder: Path) -> int:
    """Read every frame of a data folder's log, which nobody may have open; return the last whole commit.

    Raises:
        LogDamaged: acknowledged data is unreadable; it says which bytes of which file.
        StorageError: a file cannot be read.
    """
    files = Files()
    try:
        segments = find(files, folder / LOG)
        last = 0
        for segment in segments[:-1]:
            for number in _commits(files, segment):
                last = number
        return read_tail(files, segments[-1]).last_commit if segments else last
    except OSError as error:
        raise StorageError(f"the log cannot be read: {error.strerror or error}", where=str(folder)) from error


def _commits(files: Files, segment: Segment) -> Iterator[int]:
    seen = segment.first_commit - 1
    with FrameReader(files, segment.path, segment.salt, segment.end) as reader:
        try:
            for frame in reader.frames(segment.start):
                if frame.kind == COMMIT:
                    check_next(seen, frame, segment.path)
                    seen = frame.number
                    yield seen
        except BadFrameError as bad:
            raise reader.damage(bad) from bad
