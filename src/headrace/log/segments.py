"""Segment files: naming, creation, opening with the cut of a torn tail.

A segment `000000000042.seg` is named by the first commit that it may hold. It appears under its name only
when its head is on stable storage, and the head repeats what came before: the length of the previous
segment, so that bytes beyond it (of a write that failed) never count, and the last step.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from headrace.log.codec import commit_clock_us, step_from_json, step_json
from headrace.log.files import Files, read_exactly, write_all
from headrace.log.frames import (
    COMMIT,
    DECLARED,
    HEAD,
    PREFIX,
    STEP,
    BadFrameError,
    Frame,
    FrameReader,
    checksum,
    damaged,
    frame_header,
    padding,
    prefix,
    read_prefix,
)
from headrace.log.records import Step

SEGMENT_NAME = re.compile(r"\d{12,}\.seg")
RECORD_KINDS = frozenset((COMMIT, STEP, DECLARED))


@dataclass(slots=True)
class Segment:
    """One segment file.

    Attributes:
        path: the file.
        first_commit: number of the first commit that it may hold.
        salt: start of its checksums.
        start: offset of the first frame behind the head.
        end: bytes that count; the file may be longer, but what follows was never acknowledged.
        commits: how many commits it holds (only known of the last segment).
        previous: name and length of the segment before, or None.
        last_step: the last step before this segment, or None.
        first_clock_us: append clock of the first commit, once it is known.
    """

    path: Path
    first_commit: int
    salt: int
    start: int
    end: int
    commits: int = 0
    previous: tuple[str, int] | None = None
    last_step: Step | None = None
    first_clock_us: int | None = None


@dataclass(slots=True)
class Tail:
    """What the last segment ends with, found when it is opened."""

    last_commit: int
    last_step: Step | None
    is_closed: bool = False
    cut_bytes: int = 0
    commits: int = 0
    last_clock_us: int | None = None


def segment_path(folder: Path, first_commit: int) -> Path:
    """Return the name of the segment that starts with that commit."""
    return folder / f"{first_commit:012d}.seg"


def create(
    files: Files, folder: Path, first_commit: int, previous: Segment | None, last_step: Step | None
) -> tuple[Segment, int]:
    """Write a new segment with its head, durably, and return it with its descriptor.

    Raises:
        OSError: nothing was created under the segment's name.
    """
    head: dict[str, Any] = {
        "first_commit": first_commit,
        "previous": previous and [previous.path.name, previous.end],
        "last_step": last_step and step_json(last_step),
    }
    salt = int.from_bytes(os.urandom(4), "little")
    payload = orjson.dumps(head)
    header = frame_header(HEAD, first_commit, len(payload), checksum(payload, salt), 0, salt)
    data = prefix(salt) + header + payload + bytes(padding(len(payload)))
    path = segment_path(folder, first_commit)
    descriptor = place(files, path, data)
    before = (previous.path.name, previous.end) if previous is not None else None
    return Segment(path, first_commit, salt, len(data), len(data), 0, before, last_step), descriptor


def place(files: Files, path: Path, data: bytes) -> int:
    """Write a file so that it stands under its name only when it is whole; return an appending descriptor."""
    draft = path.with_suffix(".tmp")
    descriptor = files.create(draft)
    try:
        write_all(files, descriptor, data)
        files.sync(descriptor)
        files.rename(draft, path)
        files.sync_folder(path.parent)
    except OSError:
        files.close(descriptor)
        with suppress(OSError):
            files.remove(draft)
        raise
    return descriptor


def open_segment(files: Files, path: Path) -> Segment:
    """Return an existing segment, its head checked; it ends where the file does.

    Raises:
        LogDamaged: the head is damaged.
        FormatTooNew: a later version wrote it.
    """
    size = files.size(path)
    descriptor = files.open_read(path)
    try:
        salt = read_prefix(read_exactly(files, descriptor, PREFIX.size, 0), path)
    finally:
        files.close(descriptor)
    with FrameReader(files, path, salt, size) as reader:
        try:
            frame = reader.frame(PREFIX.size)
        except BadFrameError as bad:
            raise reader.damage(bad, "the segment's head fails its checksum") from bad
    head = orjson.loads(frame.payload)
    if frame.kind != HEAD or head["first_commit"] != int(path.stem):
        raise damaged(path, PREFIX.size, frame.end, "the segment's head does not belong to its name")
    previous = tuple(head["previous"]) if head["previous"] else None
    step = step_from_json(head["last_step"]) if head["last_step"] else None
    return Segment(path, head["first_commit"], salt, frame.end, size, 0, previous, step)


def join(before: tuple[str, int], after: Segment) -> None:
    """Check that a segment follows on the name and length of the one before it.

    Raises:
        LogDamaged: another one stood before it.
    """
    if after.previous is None or after.previous[0] != before[0]:
        named = after.previous[0] if after.previous else "none"
        raise damaged(after.path, 0, 0, f"it follows {named}, but stands behind {before[0]}")


def join_segments(before: Segment, after: Segment) -> None:
    """Check that a segment follows on another, and cut that one to the length that is told of it.

    Raises:
        LogDamaged: it does not, or bytes are missing.
    """
    join((before.path.name, before.end), after)
    length = after.previous[1] if after.previous else 0
    if before.end < length:
        raise damaged(before.path, before.end, length, f"the file ends {length - before.end} bytes too early")
    before.end = length


def read_tail(files: Files, segment: Segment) -> Tail:
    """Read the last segment through, check every frame, and find where what counts ends.

    A bad frame ends the log if no whole frame stands behind it that was written after the bad one had been
    fsynced: then it was never acknowledged. Otherwise acknowledged data is gone.

    Raises:
        LogDamaged: acknowledged data is unreadable.
    """
    tail = Tail(segment.first_commit - 1, segment.last_step)
    last_payload: bytes | None = None
    with FrameReader(files, segment.path, segment.salt, segment.end) as reader:
        try:
            for frame in reader.frames(segment.start):
                _count(tail, frame, segment.path)
                segment.commits = tail.commits
                last_payload = frame.payload if frame.kind == COMMIT else last_payload
                if segment.first_clock_us is None and last_payload is not None:
                    segment.first_clock_us = commit_clock_us(last_payload)
        except BadFrameError as bad:
            for frame in reader.whole_frames_after(bad.offset + 1):
                if frame.group > bad.offset:
                    raise damaged(segment.path, bad.offset, frame.group, bad.reason) from bad
            tail.cut_bytes = segment.end - bad.offset
            tail.is_closed = False
            segment.end = bad.offset
    if last_payload is not None:
        tail.last_clock_us = commit_clock_us(last_payload)
    return tail


def _count(tail: Tail, frame: Frame, path: Path) -> None:
    tail.is_closed = frame.kind not in RECORD_KINDS
    if frame.kind == COMMIT:
        check_next(tail.last_commit, frame, path)
        tail.last_commit = frame.number
        tail.commits += 1
    elif frame.kind == STEP:
        tail.last_step = step_from_json(orjson.loads(frame.payload))


def check_next(last_commit: int, frame: Frame, path: Path) -> None:
    """Check that a commit follows the last one.

    Raises:
        LogDamaged: commits are missing or stand twice.
    """
    if frame.number != last_commit + 1:
        reason = f"commit {frame.number} follows commit {last_commit}"
        raise damaged(path, frame.offset, frame.end, reason)
