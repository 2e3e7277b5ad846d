"""Where the log's records lie: segment files in a folder, or a list in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from headrace.change import Change
from headrace.log.codec import Decoder, Encoded, Encoder
from headrace.log.files import Files, FolderLock, read_exactly, write_all
from headrace.log.frames import (
    CLOSED,
    COMMIT,
    DECLARED,
    BadFrameError,
    Frame,
    FrameReader,
    checksum,
    damaged,
    frame_header,
    padding,
)
from headrace.log.records import Commit, Declared, Record, Step
from headrace.log.segments import RECORD_KINDS, Segment, check_next, create, find, place, read_tail

Entry = tuple[Record, Encoded | None]
"""A record and its payload; the memory store needs no payload."""


class Store(Protocol):
    """What the log's writer thread needs. `write` and `repair` are called by one thread at a time."""

    last_commit: int
    last_step: Step | None

    def encode(self, record: Record) -> Encoded | None:
        """Return what `write` will want."""

    def write(self, group: Sequence[Entry]) -> None:
        """Make a group durable as a whole; `OSError` when it may not be."""

    def repair(self) -> None:
        """Make ready to write behind the last durable record after `write` has failed."""

    def records(self, start_commit: int) -> Iterator[Record]:
        """Yield the durable records from a commit on."""

    def changes(self, relation: str, upto_commit: int) -> Iterator[Change]:
        """Yield one relation's change of every commit up to that one."""

    def commit(self, number: int) -> Commit | None:
        """Return one durable commit."""

    def last_declared(self) -> Declared | None:
        """Return the last durable declarations."""

    def stats(self) -> dict[str, Any]:
        """Return what there is to count."""

    def close(self, *, clean: bool) -> None:
        """Give everything back."""


class MemoryStore:
    """Records in a list: the log of `app.open(None)`."""

    def __init__(self) -> None:
        self.last_commit = 0
        self.last_step: Step | None = None
        self._records: list[Record] = []
        self._commit_at: list[int] = []

    def encode(self, record: Record) -> Encoded | None:  # noqa: ARG002 - the store's protocol
        """Nothing is written, so nothing is encoded."""
        return None

    def write(self, group: Sequence[Entry]) -> None:
        """Keep the records."""
        for record, _ in group:
            if isinstance(record, Commit):
                self._commit_at.append(len(self._records))
                self.last_commit = record.number
            elif isinstance(record, Step):
                self.last_step = record
            self._records.append(record)

    def repair(self) -> None:
        """Memory does not fail half-way."""

    def records(self, start_commit: int) -> Iterator[Record]:
        """Yield the records from a commit on."""
        if start_commit > len(self._commit_at):
            return
        start = self._commit_at[start_commit - 1] if start_commit > 1 else 0
        for at in range(start, len(self._records)):
            yield self._records[at]

    def changes(self, relation: str, upto_commit: int) -> Iterator[Change]:
        """Yield one relation's change of every commit up to that one."""
        for at in self._commit_at[:upto_commit]:
            record = self._records[at]
            if isinstance(record, Commit) and relation in record.changes:
                yield record.changes[relation]

    def commit(self, number: int) -> Commit | None:
        """Return one commit."""
        if not 1 <= number <= len(self._commit_at):
            return None
        record = self._records[self._commit_at[number - 1]]
        return record if isinstance(record, Commit) else None

    def last_declared(self) -> Declared | None:
        """Return the last declarations."""
        return next((record for record in reversed(self._records) if isinstance(record, Declared)), None)

    def stats(self) -> dict[str, Any]:
        """Return the number of records."""
        return {"records": len(self._records), "bytes": 0, "segments": 0}

    def close(self, *, clean: bool) -> None:
        """Memory needs no closing."""


class FileStore:
    """Segment files in `folder/log`, owned through `folder/lock`."""

    def __init__(self, folder: Path, files: Files, *, segment_bytes: int, fsync: bool) -> None:
        self._files = files
        self._folder = folder / "log"
        self._segment_bytes = segment_bytes
        self._fsync = fsync
        self._encoder = Encoder()
        self._decoder = Decoder()
        self._guard = Lock()
        self._descriptor = -1
        self._dirty = False
        self.syncs = 0
        self.cut_bytes = 0
        files.make_folder(self._folder)
        self._lock = FolderLock(folder)
        self._lock.acquire()
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise

    def _open(self) -> None:
        self._segments = find(self._files, self._folder)
        if not self._segments:
            segment, self._descriptor = create(self._files, self._folder, 1, None, None)
            self._segments = [segment]
        active = self._segments[-1]
        tail = read_tail(self._files, active)
        self.last_commit, self.last_step = tail.last_commit, tail.last_step
        self._dirty = not tail.is_closed and active.end > active.start
        if self._descriptor < 0:
            self._descriptor = self._files.open_append(active.path)
        if tail.cut_bytes:
            self.cut_bytes = tail.cut_bytes
            self._files.truncate(active.path, active.end)
            self._files.sync(self._descriptor)

    # --- writing ----------------------------------------------------------------------------------
    def encode(self, record: Record) -> Encoded | None:
        """Return the record's payload."""
        return self._encoder.encode(record)

    def write(self, group: Sequence[Entry]) -> None:
        """Write the group's frames at once and fsync once.

        Raises:
            OSError: the group is not durable; only `repair` may follow.
        """
        active = self._segments[-1]
        if active.end >= self._segment_bytes and active.commits:
            active = self._roll()
        data, commits = self._frames(group, active)
        try:
            self._put(data)
        except OSError:
            self._undo_tail(active)
            raise
        step = next((record for record, _ in reversed(group) if isinstance(record, Step)), self.last_step)
        with self._guard:
            active.end += len(data)
            active.commits += commits
            self.last_commit += commits
            self.last_step = step
        self._dirty = True

    def _put(self, data: bytes) -> None:
        write_all(self._files, self._descriptor, data)
        if self._fsync:
            self._files.sync(self._descriptor)
            self.syncs += 1

    def _undo_tail(self, active: Segment) -> None:
        """Cut what a failed write may have left; else the next head says where the file ends."""
        try:
            self._files.truncate(active.path, active.end)
        except OSError:
            return

    @staticmethod
    def _frames(group: Sequence[Entry], active: Segment) -> tuple[bytes, int]:
        parts: list[bytes] = []
        commits = 0
        for _, encoded in group:
            if encoded is None:
                raise AssertionError("a file store writes encoded records")
            payload = encoded.payload
            crc = checksum(payload, active.salt)
            number = encoded.number
            parts.append(frame_header(encoded.kind, number, len(payload), crc, active.end, active.salt))
            parts.append(payload)
            parts.append(bytes(padding(len(payload))))
            commits += encoded.kind == COMMIT
        return b"".join(parts), commits

    def _roll(self) -> Segment:
        before = self._segments[-1]
        segment, descriptor = create(self._files, self._folder, self.last_commit + 1, before, self.last_step)
        self._files.close(self._descriptor)
        self._descriptor = descriptor
        with self._guard:
            self._segments = [*self._segments, segment]
        return segment

    def repair(self) -> None:
        """Continue in a new file: the one whose write or fsync failed is never written or fsynced again.

        Raises:
            OSError: the cause is still there; try again later.
        """
        active = self._segments[-1]
        if active.commits:
            self._roll()
            return
        descriptor = self._files.open_read(active.path)
        try:
            kept = read_exactly(self._files, descriptor, active.end, 0)
        finally:
            self._files.close(descriptor)
        replaced = place(self._files, active.path, kept)
        self._files.close(self._descriptor)
        self._descriptor = replaced

    # --- reading ----------------------------------------------------------------------------------
    def _snapshot(self) -> tuple[list[tuple[Segment, int]], int]:
        with self._guard:
            return [(segment, segment.end) for segment in self._segments], self.last_commit

    def _frames_from(self, start_commit: int) -> Iterator[Frame]:
        """Yield the frames of records from a commit on, in the segments that can hold them.

        Raises:
            LogDamaged: a frame fails its checksum, or a commit is missing.
        """
        segments, last_commit = self._snapshot()
        for at, (segment, end) in enumerate(segments):
            next_commit = segments[at + 1][0].first_commit if at + 1 < len(segments) else last_commit + 1
            if next_commit <= start_commit and next_commit <= last_commit:
                continue
            seen = segment.first_commit - 1
            with FrameReader(self._files, segment.path, segment.salt, end) as reader:
                try:
                    for frame in reader.frames(segment.start):
                        if frame.kind == COMMIT:
                            check_next(seen, frame, segment.path)
                            seen = frame.number
                        if frame.kind in RECORD_KINDS and (seen >= start_commit or start_commit == 1):
                            yield frame
                except BadFrameError as bad:
                    raise reader.damage(bad) from bad
            if seen != next_commit - 1:
                raise damaged(segment.path, end, end, f"commits {seen + 1} to {next_commit - 1} are missing")

    def records(self, start_commit: int) -> Iterator[Record]:
        """Yield the durable records from a commit on, segment by segment, with bounded memory."""
        for frame in self._frames_from(start_commit):
            yield self._decoder.decode(frame.kind, frame.payload)

    def changes(self, relation: str, upto_commit: int) -> Iterator[Change]:
        """Yield one relation's change of every commit up to that one; other relations are not decoded."""
        for frame in self._frames_from(1):
            if frame.kind != COMMIT:
                continue
            if frame.number > upto_commit:
                return
            change = self._decoder.relation(frame.payload, relation)
            if change is not None:
                yield change

    def commit(self, number: int) -> Commit | None:
        """Return one durable commit; the frames before it in its segment are skipped, not read."""
        segments, last_commit = self._snapshot()
        if not 1 <= number <= last_commit:
            return None
        segment, end = [pair for pair in segments if pair[0].first_commit <= number][-1]
        with FrameReader(self._files, segment.path, segment.salt, end) as reader:
            offset = segment.start
            try:
                while offset < end:
                    frame = reader.frame(offset, payload=False)
                    if frame.kind == COMMIT and frame.number == number:
                        record = self._decoder.decode(COMMIT, reader.frame(offset).payload)
                        return record if isinstance(record, Commit) else None
                    offset = frame.end
            except BadFrameError as bad:
                raise reader.damage(bad) from bad
        return None

    def last_declared(self) -> Declared | None:
        """Return the last durable declarations; other frames are skipped, the last segment comes first."""
        segments, _ = self._snapshot()
        for segment, end in reversed(segments):
            with FrameReader(self._files, segment.path, segment.salt, end) as reader:
                found = self._last_declared(reader, segment.start, end)
            if found is not None:
                return found
        return None

    def _last_declared(self, reader: FrameReader, offset: int, end: int) -> Declared | None:
        last = None
        try:
            while offset < end:
                frame = reader.frame(offset, payload=False)
                last = offset if frame.kind == DECLARED else last
                offset = frame.end
            payload = None if last is None else reader.frame(last).payload
        except BadFrameError as bad:
            raise reader.damage(bad) from bad
        record = None if payload is None else self._decoder.decode(DECLARED, payload)
        return record if isinstance(record, Declared) else None

    def stats(self) -> dict[str, Any]:
        """Return bytes, segments and fsyncs."""
        segments, _ = self._snapshot()
        size = sum(end for _, end in segments)
        return {"bytes": size, "segments": len(segments), "syncs": self.syncs, "cut_bytes": self.cut_bytes}

    def close(self, *, clean: bool) -> None:
        """Mark a clean end, so that later damage there is told from a torn tail; give the lock back."""
        if self._descriptor < 0:
            return
        if clean and self._dirty:
            active = self._segments[-1]
            header = frame_header(
                CLOSED, self.last_commit, 0, checksum(b"", active.salt), active.end, active.salt
            )
            try:
                self._put(header)
            except OSError:
                self._undo_tail(active)
        self._files.close(self._descriptor)
        self._descriptor = -1
        self._lock.release()
