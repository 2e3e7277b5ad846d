"""Where the log's records lie: what its writer needs of a store, and the store that is a list in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

from headrace.change import Change
from headrace.log.codec import Encoded, to_us
from headrace.log.records import Commit, Declared, Record, Step
from headrace.log.rewriting import Rewritten, Transform
from headrace.log.trimming import Trimmed, Wish

Entry = tuple[Record, Encoded | None]
"""A record and its payload; the memory store needs no payload."""


class Store(Protocol):
    """What the log's writer thread needs. `write` and `repair` are called by one thread at a time."""

    last_commit: int
    last_step: Step | None
    rolls: int
    """How many segments have ended."""

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

    def commit_at(self, clock_us: int) -> int:
        """Return the last durable commit whose append clock is not later; 0: there is none."""

    def last_declared(self) -> Declared | None:
        """Return the last durable declarations."""

    def roll(self) -> None:
        """Begin a new file with the next record."""

    def seal_next(self, stopping: Callable[[], bool], *, everything: bool = False) -> bool:
        """Seal what is due, or all that can be; whether there was something to do."""

    def trim(self, wish: Wish) -> Trimmed:
        """Let go of what may go and fold tables; what was done."""

    def rewrite(self, relation: str, transform: Transform, note: dict[str, Any]) -> Rewritten:
        """Transform the sealed rows of a relation."""

    def rewrites(self) -> list[dict[str, Any]]:
        """Return what has been rewritten, and when."""

    def trimmed(self, *, folded: bool = False) -> dict[str, tuple[int, int]]:
        """Return per relation up to which commit, and its append clock, rows are gone with nothing in their
        place, or with the rows of a base.
        """

    def sizes(self, relations: Collection[str]) -> list[tuple[int, int]]:
        """Return of each sealed stretch its last commit and the bytes that some relations take there."""

    @property
    def last_clock_us(self) -> int | None:
        """Append clock of the last commit; None: it is not known."""

    def stats(self) -> dict[str, Any]:
        """Return what there is to count."""

    def close(self, *, clean: bool) -> None:
        """Give everything back."""


class MemoryStore:
    """Records in a list: the log of `app.open(None)`."""

    def __init__(self) -> None:
        self.last_commit = 0
        self.last_step: Step | None = None
        self.rolls = 0
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

    def commit_at(self, clock_us: int) -> int:
        """Return the last commit whose append clock is not later."""
        clocks = [record.clock for record in self._records if isinstance(record, Commit)]
        return bisect_right(clocks, clock_us, key=to_us)

    def roll(self) -> None:
        """Memory has no files."""

    def seal_next(self, stopping: Callable[[], bool], *, everything: bool = False) -> bool:  # noqa: ARG002
        """Memory is not sealed."""
        return False

    def trim(self, wish: Wish) -> Trimmed:  # noqa: ARG002 - the store's protocol
        """Memory keeps everything."""
        return Trimmed()

    def rewrite(self, relation: str, transform: Transform, note: dict[str, Any]) -> Rewritten:  # noqa: ARG002
        """Transform the rows of a relation where they are."""
        rows = 0
        for at, record in enumerate(self._records):
            change = record.changes.get(relation) if isinstance(record, Commit) else None
            if isinstance(record, Commit) and change is not None:
                new = Change(transform(change.rows), change.weights)
                self._records[at] = replace(record, changes={**record.changes, relation: new})
                rows += len(new)
        return Rewritten(0, rows)

    def rewrites(self) -> list[dict[str, Any]]:
        """Memory keeps no notes."""
        return []

    def trimmed(self, *, folded: bool = False) -> dict[str, tuple[int, int]]:  # noqa: ARG002
        """Nothing is."""
        return {}

    def sizes(self, relations: Collection[str]) -> list[tuple[int, int]]:  # noqa: ARG002
        """Nothing is sealed."""
        return []

    @property
    def last_clock_us(self) -> int | None:
        """Append clock of the last commit."""
        last = next((r for r in reversed(self._records) if isinstance(r, Commit)), None)
        return None if last is None else to_us(last.clock)

    def last_declared(self) -> Declared | None:
        """Return the last declarations."""
        return next((record for record in reversed(self._records) if isinstance(record, Declared)), None)

    def stats(self) -> dict[str, Any]:
        """Return the number of records."""
        return {"records": len(self._records), "bytes": 0, "segments": 0}

    def close(self, *, clean: bool) -> None:
        """Memory needs no closing."""
