"""What the intake remembers between calls; all of it can be rebuilt from the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from headrace.declarations import StreamDecl, TableDecl
from headrace.intake.answers import Answers
from headrace.intake.bags import BagTable
from headrace.intake.digest import Hasher
from headrace.intake.recovery import Recovery
from headrace.intake.streams import StreamState
from headrace.intake.tables import KeyedTable
from headrace.intake.versions import VersionedTable
from headrace.log.records import Commit, Record

Table = KeyedTable | BagTable


class Memory:
    """Watermarks and event ids of streams, rows of tables, idempotency keys, positions of sources, the clock.

    Attributes:
        streams: by declared name.
        tables: by declared name.
        answers: the idempotency keys of the last day.
        positions: the last position of each source.
        clock_us: the append clock's last reading; it never goes back.
        last_commit: number of the last commit decided.
    """

    def __init__(self, streams: Mapping[str, StreamDecl], tables: Mapping[str, TableDecl]) -> None:
        self._hasher = Hasher()
        self.streams: dict[str, StreamState] = {}
        self.tables: dict[str, Table] = {}
        self.declare(streams, tables)
        self.answers = Answers()
        self.positions: dict[str, Any] = {}
        self.clock_us = 0
        self.last_commit = 0
        self._recovery = Recovery(self.streams, self.tables, self.answers)

    def declare(self, streams: Mapping[str, StreamDecl], tables: Mapping[str, TableDecl]) -> None:
        """Take in declarations: new relations, and known streams with other settings.

        Models are left out: they belong to the user, have done their work, and are in no checkpoint.
        """
        for stream in (replace(decl, model=None) for decl in streams.values()):
            known = self.streams.get(stream.name)
            if known is None:
                self.streams[stream.name] = StreamState(stream, self._hasher)
            elif known.decl != stream:
                known.redeclare(stream)
        for table in (replace(decl, model=None) for decl in tables.values()):
            if table.name not in self.tables:
                self.tables[table.name] = _table(table, self._hasher)

    def adopt(self, other: Memory) -> None:
        """Take over what another memory knows of its streams and tables, but for the watermarks."""
        for name, stream in other.streams.items():
            known = self.streams.get(name)
            if known is not None and known.watermark is not None and stream.watermark is not None:
                known.watermark.redeclare(stream.decl)
                stream.watermark = known.watermark
            self.streams[name] = stream
        self.tables.update(other.tables)

    def recover(self, record: Record) -> None:
        """Take in a record of the log, in order; it is applied in bulk, at the latest by `flush`."""
        self.clock_us = max(self.clock_us, self._recovery.take(record))
        if isinstance(record, Commit):
            if record.source is not None:
                self.positions[record.source] = record.position
            self.last_commit = record.number

    def flush(self) -> None:
        """Apply what `recover` has collected."""
        self._recovery.flush()

    def tidy(self) -> None:
        """Free a slice of what is dead in tables; only when nothing may have to be taken back."""
        for table in self.tables.values():
            table.tidy()

    def forget_old(self) -> None:
        """Free ids and keys that ran out of their windows; only when nothing may have to be taken back."""
        for stream in self.streams.values():
            if stream.ids is not None:
                stream.ids.forget_old(self.clock_us)
        self.answers.forget_old(self.clock_us)


def _table(decl: TableDecl, hasher: Hasher) -> Table:
    if decl.key is None:
        return BagTable(decl, hasher)
    return KeyedTable(decl, hasher) if decl.effective is None else VersionedTable(decl, hasher)
