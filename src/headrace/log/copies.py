"""The log's files read from outside: copied while a run writes them, and checked frame by frame."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from headrace.errors import StorageError
from headrace.log.base import NAME as BASE
from headrace.log.codec import Decoder
from headrace.log.files import Files, write_all
from headrace.log.finding import find, parquet_files
from headrace.log.pieces import SegmentPiece
from headrace.log.sealed import MANIFEST_NAME, SEALED, Sealed
from headrace.log.segments import SEGMENT_NAME, read_tail

LOG = "log"
BLOCK_BYTES = 8 << 20
TRIES_MAX = 5


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy holds.

    Attributes:
        files: how many.
        bytes: bytes in them.
        last_commit: the last whole commit.
    """

    files: int
    bytes: int
    last_commit: int


def copy_log(folder: Path, target: Path) -> Copied:
    """Copy the log of a data folder, which may be in use: the copy ends where the log stood at that moment.

    Segments only grow, and a later one exists only when the one before it is finished, so that files copied
    in their order are a beginning of the log; a record that was being written is cut when the copy is opened.
    Should a file go while it is copied, because it has been sealed or trimmed, the copy is begun again.

    Args:
        folder: the data folder.
        target: a folder whose `log` is missing or empty.

    Raises:
        StorageError: there is no log, or the target holds one, or a file cannot be copied.
        LogDamaged: what was copied is not whole.
    """
    files = Files()
    refuse_occupied(folder, target, LOG)
    try:
        _copy_all(files, folder / LOG, target / LOG)
        files.sync_folder(target)
    except OSError as error:
        raise StorageError(f"the copy failed: {error.strerror or error}", where=str(target)) from error
    last_commit = checked(target)
    sizes = [path.stat().st_size for path in (target / LOG).rglob("*") if path.is_file()]
    return Copied(len(sizes), sum(sizes), last_commit)


def refuse_occupied(folder: Path, target: Path, part: str = "") -> None:
    """Check that there is a log to copy, and a place for it.

    Args:
        folder: the data folder.
        target: where it goes.
        part: the folder in `target` that must be missing or empty; all of it by default.

    Raises:
        StorageError: there is no log, or the target holds something.
    """
    if not (folder / LOG).is_dir() or not _files(Files(), folder / LOG):
        raise StorageError("there is no log to copy", where=str(folder), expected="a data folder")
    place = target / part
    if place.exists() and any(place.iterdir()):
        raise StorageError(
            "the target is not empty", where=str(place), hint="name another folder, or move it away"
        )


def _files(files: Files, log: Path) -> list[Path]:
    """Return the files of a log; segments are looked for first and last, so that none falls through."""
    found = [log / name for name in files.names(log) if SEGMENT_NAME.fullmatch(name)]
    sealed = log / SEALED
    if sealed.is_dir():
        found += [sealed / name for name in files.names(sealed) if MANIFEST_NAME.fullmatch(name)]
    found += [path for path in parquet_files(files, log) if path.suffix == ".parquet"]
    found += [log / name for name in files.names(log) if name == BASE or SEGMENT_NAME.fullmatch(name)]
    return list(dict.fromkeys(found))


def _copy_all(files: Files, log: Path, target: Path) -> None:
    for _ in range(TRIES_MAX):
        found = _files(files, log)
        try:
            before = [_identity(path) for path in found]
            for path in found:
                place = target / path.relative_to(log)
                files.make_folder(place.parent)
                copy_file(files, path, place)
            is_whole = before == [_identity(path) for path in found]
        except FileNotFoundError:
            is_whole = False
        if is_whole:
            for folder in {target, *(path.parent for path in target.rglob("*") if path.is_file())}:
                files.sync_folder(folder)
            return
        shutil.rmtree(target, ignore_errors=True)
    raise StorageError("the log was sealed or trimmed again and again while it was copied", hint="try again")


def _identity(path: Path) -> tuple[int, int]:
    """Return what changes when another file takes the place of this one; segments only grow."""
    found = path.stat()
    return (found.st_ino, 0 if path.suffix == ".seg" else found.st_mtime_ns)


def copy_file(files: Files, source: Path, target: Path) -> None:
    """Copy one file onto stable storage, with its times.

    Raises:
        OSError: it is gone, or the disk refuses.
    """
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
    """Read all of a data folder's log, which nobody may have open; return the last whole commit.

    Raises:
        LogDamaged: acknowledged data is unreadable; it says which bytes of which file.
        StorageError: a file cannot be read.
    """
    files, log = Files(), folder / LOG
    try:
        found = find(files, log)
        last = found.base.upto_commit
        for manifest in found.manifests:
            for number in Sealed(files, log, manifest).check(found.base.trimmed):
                last = number
        for before, after in pairwise(found.segments):
            piece = SegmentPiece(files, Decoder(), before, after.first_commit - 1)
            for number in piece.check():
                last = number
        for name in found.base.tables:
            found.base.table(files, log, name)
        return read_tail(files, found.segments[-1]).last_commit if found.segments else last
    except OSError as error:
        raise StorageError(f"the log cannot be read: {error.strerror or error}", where=str(folder)) from error
