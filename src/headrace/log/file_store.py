"""The log in a folder: a segment that grows, segments that wait to be sealed, and sealed stretches.

log/000000000421.seg                      segments; the last one is written
log/sealed/000000000001.json              manifests of sealed stretches
log/records/000000000001.parquet          their steps, declarations, and what commits carry beside rows
log/parquet/orders/000000000001.parquet   their rows, relation by relation
log/base.json                             what stands in for trimmed history
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, pairwise
from pathlib import Path
from threading import Lock
from typing import Any

from headrace.change import Change
from headrace.log.base import Base
from headrace.log.codec import Bytes, Decoder, Encoded, Encoder, to_us
from headrace.log.files import Files, FolderLock, read_exactly, write_all
from headrace.log.finding import find
from headrace.log.frames import CLOSED, COMMIT, checksum, frame_header, padding
from headrace.log.pieces import Piece, SegmentPiece
from headrace.log.records import Commit, Declared, Record, Step
from headrace.log.rewriting import (
    Rewritten,
    Transform,
    rewrite_base,
    rewrite_stretch,
    rewrites,
)
from headrace.log.sealed import Sealed
from headrace.log.sealing import seal
from headrace.log.segments import Segment, create, place, read_tail
from headrace.log.shelf import Shelf, View
from headrace.log.store import Entry
from headrace.log.trimming import Trimmed, Wish, trim

WHOLE_BYTES = 256 << 10
"""From this size on a part of a record is written by itself, instead of being copied beside others."""


@dataclass(frozen=True, slots=True)
class Rolling:
    """When segments end and are sealed.

    Attributes:
        segment_bytes: a segment that has reached this size is followed by a new one.
        segment_age: so is one whose first commit is older, by the append clock.
        seal_bytes: segments are sealed together once they have this size, or the oldest has that age.
    """

    segment_bytes: int
    segment_age: timedelta
    seal_bytes: int

    @property
    def age_us(self) -> int:
        """The age in microseconds."""
        return self.segment_age // timedelta(microseconds=1)


class FileStore:
    """The records of a data folder, owned through `folder/lock`.

    Writing (`write`, `roll`, `repair`, `close`) is one thread's at a time; sealing another's; anybody reads.
    """

    def __init__(self, folder: Path, files: Files, rolling: Rolling, *, fsync: bool) -> None:
        self._files = files
        self._folder = folder / "log"
        self._rolling = rolling
        self._fsync = fsync
        self._encoder = Encoder()
        self._decoder = Decoder()
        self._guard = Lock()
        self._sealing = Lock()
        self._shelf = Shelf(files)
        self._descriptor = -1
        self._dirty = False
        self.syncs = 0
        self.rolls = 0
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
        found = find(self._files, self._folder)
        self._base: Base = found.base
        self._sealed = [Sealed(self._files, self._folder, manifest) for manifest in found.manifests]
        self._segments = found.segments
        if not self._segments:
            segment, self._descriptor = create(self._files, self._folder, 1, None, None)
            self._segments = [segment]
        active = self._segments[-1]
        tail = read_tail(self._files, active)
        self.last_commit, self.last_step = tail.last_commit, tail.last_step
        self._last_clock_us = tail.last_clock_us
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
        clocks_us = [to_us(record.clock) for record, _ in group if isinstance(record, Commit)]
        active = self._segments[-1]
        if active.commits and self._is_full(active, clocks_us):
            active = self._roll()
        data, commits = self._frames(group, active)
        try:
            self._put(*data)
        except OSError:
            self._undo_tail(active)
            raise
        step = next((record for record, _ in reversed(group) if isinstance(record, Step)), self.last_step)
        with self._guard:
            active.end += sum(map(len, data))
            active.commits += commits
            self.last_commit += commits
            self.last_step = step
            if clocks_us:
                self._last_clock_us = clocks_us[-1]
                if active.first_clock_us is None:
                    active.first_clock_us = clocks_us[0]
        self._dirty = True

    def _is_full(self, active: Segment, clocks_us: Sequence[int]) -> bool:
        if active.end >= self._rolling.segment_bytes:
            return True
        began_us = active.first_clock_us
        return bool(clocks_us and began_us is not None and clocks_us[0] - began_us >= self._rolling.age_us)

    def _put(self, *data: Bytes) -> None:
        for part in data:
            write_all(self._files, self._descriptor, part)  # an empty one writes nothing
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
    def _frames(group: Sequence[Entry], active: Segment) -> tuple[list[Bytes], int]:
        parts: list[Bytes] = []
        commits = 0
        for _, encoded in group:
            if encoded is None:
                raise AssertionError("a file store writes encoded records")
            crc, length = active.salt, encoded.size_bytes
            for part in encoded.parts:
                crc = checksum(part, crc)
            parts.append(frame_header(encoded.kind, encoded.number, length, crc, active.end, active.salt))
            parts += encoded.parts
            parts.append(bytes(padding(length)))
            commits += encoded.kind == COMMIT
        return _joined(parts), commits

    def _roll(self) -> Segment:
        before = self._segments[-1]
        segment, descriptor = create(self._files, self._folder, self.last_commit + 1, before, self.last_step)
        self._files.close(self._descriptor)
        self._descriptor = descriptor
        with self._guard:
            self._segments = [*self._segments, segment]
        self.rolls += 1
        return segment

    def roll(self) -> None:
        """End the segment that is written, if it holds anything.

        Raises:
            OSError: the next one cannot be created; the present one goes on.
        """
        if self._segments[-1].commits:
            self._roll()

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

    # --- sealing ----------------------------------------------------------------------------------
    def seal_next(self, stopping: Callable[[], bool], *, everything: bool = False) -> bool:
        """Seal one run of segments, if one is due; whether one was.

        Args:
            stopping: asked now and then; True gives up.
            everything: take any segment that has ended.

        Raises:
            OSError, LogDamaged, SealingStoppedError: nothing was sealed.
        """
        with self._sealing:
            run = self._due(everything=everything)
            if not run:
                return False
            with self._guard:
                firsts = [segment.first_commit for segment in self._segments]
            lasts = [after - 1 for after in firsts[1:]]
            pieces = [
                SegmentPiece(self._files, self._decoder, segment, last)
                for segment, last in zip(run, lasts, strict=False)
            ]
            manifest = seal(
                self._files, self._folder, chain.from_iterable(piece.records(1) for piece in pieces),
                last_segment=(run[-1].path.name, run[-1].end), last_step=run[0].last_step,
                stopping=stopping,
            )  # fmt: skip
            with self._guard:
                self._sealed = [*self._sealed, Sealed(self._files, self._folder, manifest)]
                self._segments = self._segments[len(run) :]
            self._shelf.doom([segment.path for segment in run])
            return True

    def _due(self, *, everything: bool) -> list[Segment]:
        """Return the segments to be sealed together next: the oldest, up to the size of one stretch."""
        with self._guard:
            ended, now_us = self._segments[:-1], self._last_clock_us
        run: list[Segment] = []
        size = 0
        for segment in ended:
            run.append(segment)
            size += segment.end
            if size >= self._rolling.seal_bytes:
                return run
        if not run or everything:
            return run
        began_us = SegmentPiece(self._files, self._decoder, run[0], run[0].first_commit).first_clock_us()
        is_old = began_us is not None and now_us is not None and now_us - began_us >= self._rolling.age_us
        return run if is_old else []

    # --- trimming ---------------------------------------------------------------------------------
    def trim(self, wish: Wish) -> Trimmed:
        """Let go of what may go and fold tables; what was done.

        Raises:
            OSError: the log is as it was.
        """
        with self._sealing:
            with self._guard:
                base, sealed = self._base, self._sealed
            done = trim(self._files, self._folder, base, sealed, wish, self.changes)
            if done is None:
                return Trimmed(upto_commit=base.upto_commit)
            with self._guard:
                self._base, self._sealed = done.base, done.kept
            self._shelf.doom(done.gone)
            return done.told

    def rewrite(self, relation: str, transform: Transform, note: dict[str, Any]) -> Rewritten:
        """Transform the sealed rows of a relation, stretch by stretch.

        Raises:
            OSError: the disk refuses; what was rewritten before stays so.
        """
        count = rows = 0
        with self._sealing:
            done = rewrite_base(self._files, self._folder, self._base, relation, transform, note)
            if done is not None:
                with self._guard:
                    self._base = done[0]
                self._shelf.doom([self._folder / done[1].path])
                count, rows = 1, done[1].rows
            for at, piece in enumerate(self._sealed):
                trimmed = self._base.trimmed.get(relation, 0)
                changed = rewrite_stretch(
                    self._files, self._folder, piece, relation, transform, trimmed, note
                )
                if changed is not None:
                    with self._guard:
                        self._sealed = [*self._sealed[:at], changed[0], *self._sealed[at + 1 :]]
                    self._shelf.doom([self._folder / entry.path for entry in changed[1]])
                    count, rows = count + len(changed[1]), rows + sum(entry.rows for entry in changed[1])
        return Rewritten(count, rows)

    def rewrites(self) -> list[dict[str, Any]]:
        """Return what has been rewritten, and when."""
        with self._guard:
            return list(rewrites(self._base, self._sealed))

    def trimmed(self, *, folded: bool = False) -> dict[str, tuple[int, int]]:
        """Return per relation whose history does not begin at the start: the commit up to which its changes
        are gone, and that commit's append clock; with `folded` also those whose rows stand in the base.
        """
        with self._guard:
            base = self._base
        return {
            name: (at, base.clocks_us[name])
            for name, at in base.trimmed.items()
            if folded or name not in base.tables
        }

    def sizes(self, relations: Collection[str]) -> list[tuple[int, int]]:
        """Return of each sealed stretch its last commit and the bytes that some relations take there."""
        with self._guard:
            sealed, base = self._sealed, self._base
        return [
            (
                piece.last_commit,
                sum(
                    entry.length
                    for entry in piece.manifest.relations
                    if entry.relation in relations and base.trimmed.get(entry.relation, 0) < piece.last_commit
                ),
            )
            for piece in sealed
        ]

    @property
    def last_clock_us(self) -> int | None:
        """Append clock of the last commit; None: it is not known."""
        return self._last_clock_us

    # --- reading ----------------------------------------------------------------------------------
    def _view(self) -> View:
        with self._guard:
            segments = self._segments
            pieces: list[Piece] = list(self._sealed)
            for before, after in pairwise(segments):
                pieces.append(SegmentPiece(self._files, self._decoder, before, after.first_commit - 1))
            active = segments[-1]
            pieces.append(SegmentPiece(self._files, self._decoder, active, self.last_commit, active.end))
            return View(self._files, self._folder, self._base, pieces, self.last_commit)

    def _reading(self) -> AbstractContextManager[View]:
        return self._shelf.reading(self._view)

    def records(self, start_commit: int) -> Iterator[Record]:
        """Yield the durable records from a commit on, piece by piece, with bounded memory."""
        with self._reading() as view:
            yield from view.records(start_commit)

    def changes(self, relation: str, upto_commit: int) -> Iterator[Change]:
        """Yield one relation's changes up to a commit; other relations are not decoded."""
        with self._reading() as view:
            yield from view.changes(relation, upto_commit)

    def commit(self, number: int) -> Commit | None:
        """Return one durable commit."""
        with self._reading() as view:
            return view.commit(number)

    def commit_at(self, clock_us: int) -> int:
        """Return the last durable commit whose append clock is not later; one piece is read for it."""
        with self._reading() as view:
            return view.commit_at(clock_us)

    def last_declared(self) -> Declared | None:
        """Return the last durable declarations."""
        with self._reading() as view:
            return view.last_declared()

    def stats(self) -> dict[str, Any]:
        """Return bytes, segments, sealed stretches and fsyncs."""
        view = self._view()
        return {
            "bytes": sum(piece.bytes for piece in view.pieces),
            "segments": sum(isinstance(piece, SegmentPiece) for piece in view.pieces),
            "sealed": sum(isinstance(piece, Sealed) for piece in view.pieces),
            "sealed_bytes": sum(piece.bytes for piece in view.pieces if isinstance(piece, Sealed)),
            "trimmed_upto_commit": view.base.upto_commit,
            "syncs": self.syncs,
            "cut_bytes": self.cut_bytes,
        }

    def close(self, *, clean: bool) -> None:
        """Mark a clean end, so that later damage there is told from a torn tail; give the lock back."""
        with self._sealing:  # what is on its way comes to its end while the folder is still owned
            self._close(clean=clean)

    def _close(self, *, clean: bool) -> None:
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


def _joined(parts: Sequence[Bytes]) -> list[Bytes]:
    """Return bytes in few pieces: small ones are put together, large ones are not copied."""
    joined: list[Bytes] = []
    small: list[Bytes] = []
    for part in parts:
        if len(part) < WHOLE_BYTES:
            small.append(part)
            continue
        joined += [b"".join(small), part]
        small = []
    return [*joined, b"".join(small)]
