"""What a reader of the log sees: the pieces as they stood at one moment, kept in place until it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

from headrace.change import Change
from headrace.errors import VersionGone
from headrace.log.base import Base
from headrace.log.codec import from_us, to_us
from headrace.log.files import Files
from headrace.log.pieces import Piece
from headrace.log.records import Commit, Declared, Record


@dataclass(frozen=True, slots=True)
class View:
    """The log at one moment.

    Attributes:
        base: what stands in for what was trimmed.
        pieces: in order; none begins before the base ends.
        last_commit: the last durable commit.
    """

    files: Files
    folder: Path
    base: Base
    pieces: Sequence[Piece]
    last_commit: int

    def _from(self, commit: int) -> Iterator[Piece]:
        """Yield the pieces that may hold a commit or what follows it; the last one in any case."""
        for piece in self.pieces:
            if piece.last_commit >= commit or piece is self.pieces[-1]:
                yield piece

    def records(self, start_commit: int) -> Iterator[Record]:
        """Yield the records from a commit on; what was trimmed is empty, and stands in the base."""
        if start_commit <= self.base.upto_commit:
            for record in self.base.records:
                yield self._based(record)
        for piece in self._from(start_commit):
            for record in piece.records(start_commit, self.base.trimmed):
                yield self._based(record)

    def _based(self, record: Record) -> Record:
        """Return a record with the rows of the tables whose history ends with it."""
        if not self.base.tables or not isinstance(record, Commit):
            return record
        if record.number not in self.base.trimmed.values():
            return record
        changes = dict(record.changes)
        for name, upto in self.base.trimmed.items():
            rows = self.base.table(self.files, self.folder, name) if upto == record.number else None
            if rows is not None:
                changes[name] = rows
        return replace(record, changes=changes)

    def changes(self, relation: str, upto_commit: int) -> Iterator[Change]:
        """Yield one relation's changes up to a commit; a folded table's rows as of its base."""
        trimmed = self.base.trimmed.get(relation, 0)
        if trimmed:
            if upto_commit < trimmed:
                return
            rows = self.base.table(self.files, self.folder, relation)
            if rows is not None:
                yield rows
        for piece in self._from(trimmed + 1):
            if piece.first_commit > upto_commit:
                return
            yield from piece.changes(relation, trimmed, upto_commit)

    def commit(self, number: int) -> Commit | None:
        """Return one commit; None where there is none, or none is left."""
        if not self.base.upto_commit < number <= self.last_commit:
            return None
        piece = next(piece for piece in self._from(number))
        record = piece.commit(number, self.base.trimmed)
        found = None if record is None else self._based(record)
        return found if isinstance(found, Commit) else None

    def commit_at(self, clock_us: int) -> int:
        """Return the last commit whose append clock is not later; 0: all are later.

        Raises:
            VersionGone: that commit was trimmed.
        """
        low, high = 0, len(self.pieces)
        while low < high:
            middle = (low + high) // 2
            first_us = self.pieces[middle].first_clock_us()
            if first_us is not None and first_us <= clock_us:
                low = middle + 1
            else:
                high = middle
        return self.pieces[low - 1].commit_at(clock_us) if low else self._trimmed_at(clock_us)

    def _trimmed_at(self, clock_us: int) -> int:
        last = next((record for record in reversed(self.base.records) if isinstance(record, Commit)), None)
        if last is not None and to_us(last.clock) > clock_us:
            raise VersionGone(
                f"the log begins after commit {last.number} ({last.clock:%Y-%m-%d %H:%M:%S} UTC)",
                where=f"{from_us(clock_us):%Y-%m-%d %H:%M:%S} UTC",
            )
        return self.base.upto_commit

    def last_declared(self) -> Declared | None:
        """Return the last declarations."""
        for piece in reversed(self.pieces):
            found = piece.last_declared()
            if found is not None:
                return found
        return self.base.last_declared


class Shelf:
    """Hands out views, and removes files that are no longer wanted once no view needs them. Thread-safe."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._guard = Lock()
        self._serial = 0
        self._open: set[int] = set()
        self._doomed: list[tuple[int, Path]] = []

    @contextmanager
    def reading(self, look: Callable[[], View]) -> Iterator[View]:
        """Give a view whose files stay until the block ends."""
        with self._guard:
            self._serial += 1
            serial = self._serial
            self._open.add(serial)
        try:
            yield look()
        finally:
            with self._guard:
                self._open.discard(serial)
            self.tidy()

    def doom(self, paths: Sequence[Path]) -> None:
        """Remove files, that no later view names, as soon as no view needs them."""
        with self._guard:
            self._doomed += [(self._serial, path) for path in paths]
        self.tidy()

    def tidy(self) -> None:
        """Remove what nobody needs any more; what cannot be removed now goes at the next opening."""
        with self._guard:
            oldest = min(self._open, default=self._serial + 1)
            ready = [path for serial, path in self._doomed if serial < oldest]
            self._doomed = [(serial, path) for serial, path in self._doomed if serial >= oldest]
        for path in ready:
            try:
                self._files.remove(path)
            except OSError:
                continue
