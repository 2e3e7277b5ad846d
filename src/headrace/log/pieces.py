"""The pieces of a log, in the order of their commits: sealed stretches, then segments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from headrace.change import Change
from headrace.log.codec import Decoder, commit_clock_us
from headrace.log.files import Files
from headrace.log.frames import COMMIT, DECLARED, BadFrameError, Frame, FrameReader, damaged
from headrace.log.records import Commit, Declared, Record
from headrace.log.sealed import NOTHING
from headrace.log.segments import RECORD_KINDS, Segment, check_next


class Piece(Protocol):
    """A run of commits, wherever they lie. Reading raises `LogDamaged` and `OSError`."""

    @property
    def first_commit(self) -> int:
        """Number of its first commit."""

    @property
    def last_commit(self) -> int:
        """Number of its last commit; one less than the first where it has none."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that a reader needs."""

    @property
    def bytes(self) -> int:
        """Bytes in them."""

    def first_clock_us(self) -> int | None:
        """Return the append clock of its first commit; None: it has none."""

    def commit_at(self, clock_us: int) -> int:
        """Return the last commit whose append clock is not later; the one before the piece if all are."""

    def records(self, start_commit: int, trimmed: Mapping[str, int] = NOTHING) -> Iterator[Record]:
        """Yield the records from a commit on; changes of relations are empty up to where they are
        `trimmed`.
        """

    def changes(self, relation: str, after_commit: int, upto_commit: int) -> Iterator[Change]:
        """Yield one relation's changes of the commits between."""

    def commit(self, number: int, trimmed: Mapping[str, int] = NOTHING) -> Commit | None:
        """Return one commit."""

    def last_declared(self) -> Declared | None:
        """Return the last declarations in it."""

    def check(self, trimmed: Mapping[str, int] = NOTHING) -> Iterator[int]:
        """Read it through and yield the number of each commit."""


class SegmentPiece:
    """A segment up to where it stood at one moment, as a piece of the log; it is never trimmed."""

    def __init__(
        self, files: Files, decoder: Decoder, segment: Segment, last_commit: int, end: int | None = None
    ) -> None:
        self._files, self._decoder = files, decoder
        self.segment = segment
        self.first_commit, self.last_commit = segment.first_commit, last_commit
        self.bytes = segment.end if end is None else end

    @property
    def paths(self) -> tuple[Path, ...]:
        """The file."""
        return (self.segment.path,)

    def _reader(self) -> FrameReader:
        return FrameReader(self._files, self.segment.path, self.segment.salt, self.bytes)

    def _frames(self) -> Iterator[Frame]:
        """Yield every frame with a record, checked.

        Raises:
            LogDamaged: a frame fails its checksum, or a commit is missing.
        """
        seen = self.first_commit - 1
        with self._reader() as reader:
            try:
                for frame in reader.frames(self.segment.start):
                    if frame.kind == COMMIT:
                        check_next(seen, frame, self.segment.path)
                        seen = frame.number
                    if frame.kind in RECORD_KINDS:
                        yield frame
            except BadFrameError as bad:
                raise reader.damage(bad) from bad
        if seen != self.last_commit:
            reason = f"commits {seen + 1} to {self.last_commit} are missing"
            raise damaged(self.segment.path, self.bytes, self.bytes, reason)

    def records(self, start_commit: int, trimmed: Mapping[str, int] = NOTHING) -> Iterator[Record]:  # noqa: ARG002
        """Yield the records from a commit on."""
        seen = self.first_commit - 1
        for frame in self._frames():
            seen = frame.number if frame.kind == COMMIT else seen
            if seen >= start_commit or start_commit == 1:
                yield self._decoder.decode(frame.kind, frame.payload)

    def changes(self, relation: str, after_commit: int, upto_commit: int) -> Iterator[Change]:
        """Yield one relation's changes of the commits between; other relations are not decoded."""
        for frame in self._frames():
            if frame.kind != COMMIT or frame.number <= after_commit:
                continue
            if frame.number > upto_commit:
                return
            change = self._decoder.relation(frame.payload, relation)
            if change is not None:
                yield change

    def _skim(self, reader: FrameReader) -> Iterator[Frame]:
        """Yield the frames without their payloads.

        Raises:
            LogDamaged: a header fails its checksum.
        """
        offset = self.segment.start
        while offset < self.bytes:
            try:
                frame = reader.frame(offset, payload=False)
            except BadFrameError as bad:
                raise reader.damage(bad) from bad
            yield frame
            offset = frame.end

    @staticmethod
    def _payload(reader: FrameReader, offset: int) -> bytes:
        try:
            return reader.frame(offset).payload
        except BadFrameError as bad:
            raise reader.damage(bad) from bad

    def commit(self, number: int, trimmed: Mapping[str, int] = NOTHING) -> Commit | None:  # noqa: ARG002
        """Return one commit; the frames before it are skipped, not read."""
        with self._reader() as reader:
            for frame in self._skim(reader):
                if frame.kind == COMMIT and frame.number == number:
                    record = self._decoder.decode(COMMIT, self._payload(reader, frame.offset))
                    return record if isinstance(record, Commit) else None
        return None

    def last_declared(self) -> Declared | None:
        """Return the last declarations; other frames are skipped."""
        last = None
        with self._reader() as reader:
            for frame in self._skim(reader):
                last = frame.offset if frame.kind == DECLARED else last
            if last is None:
                return None
            record = self._decoder.decode(DECLARED, self._payload(reader, last))
        return record if isinstance(record, Declared) else None

    def first_clock_us(self) -> int | None:
        """Return the append clock of the first commit; None: there is none."""
        if self.segment.first_clock_us is None:
            with self._reader() as reader:
                for frame in self._skim(reader):
                    if frame.kind == COMMIT:
                        payload = self._payload(reader, frame.offset)
                        self.segment.first_clock_us = commit_clock_us(payload)
                        break
        return self.segment.first_clock_us

    def commit_at(self, clock_us: int) -> int:
        """Return the last commit whose append clock is not later; the one before the segment if all are."""
        reached = self.first_commit - 1
        for frame in self._frames():
            if frame.kind == COMMIT:
                if commit_clock_us(frame.payload) > clock_us:
                    break
                reached = frame.number
        return reached

    def check(self, trimmed: Mapping[str, int] = NOTHING) -> Iterator[int]:  # noqa: ARG002
        """Read every frame and yield the number of each commit."""
        for frame in self._frames():
            if frame.kind == COMMIT:
                yield frame.number
