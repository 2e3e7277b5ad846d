"""Rebuilding the intake's memory from the log: changes are collected and applied many commits at a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from headrace.change import Change
from headrace.intake.answers import Answers
from headrace.intake.bags import BagTable
from headrace.intake.index import Entries
from headrace.intake.side import WATERMARK
from headrace.intake.streams import StreamState
from headrace.intake.tables import KeyedTable
from headrace.intake.versions import VersionedTable
from headrace.log.codec import to_us
from headrace.log.records import Commit, Record, Step

ROWS_AT_ONCE = 1 << 16


class Recovery:
    """Collects what commits did to each relation; `flush` applies it. Not thread-safe."""

    def __init__(
        self,
        streams: Mapping[str, StreamState],
        tables: Mapping[str, KeyedTable | BagTable],
        answers: Answers,
    ) -> None:
        self._answers = answers
        self._keys: list[tuple[str, int, int]] = []
        self._streams = streams
        self._tables = tables
        self._late = {stream.decl.late_name: name for name, stream in streams.items()}
        self._waiting: dict[str, list[tuple[Change, int]]] = {}
        self._rows = 0

    def take(self, record: Record) -> int:
        """Take in one record and return its clock, microseconds (0 where it has none)."""
        if isinstance(record, Step):
            for name, moment in record.watermarks.items():
                stream = self._streams.get(name)
                if stream is not None and stream.watermark is not None:
                    stream.watermark.raise_floor(to_us(moment))
            return to_us(record.clock)
        if not isinstance(record, Commit):
            return 0
        clock_us = to_us(record.clock)
        if record.idempotency_key is not None:
            self._keys.append((record.idempotency_key, record.number, clock_us))
            self._rows += 1
        for name in {
            self._late.get(relation, relation) for relation in record.changes
        } & self._streams.keys():
            watermark = self._streams[name].watermark
            if watermark is not None:
                moved = record.watermarks.get(name)
                watermark.restore(clock_us, to_us(moved) if moved is not None else None)
        for relation, change in record.changes.items():
            table = self._tables.get(relation)
            if isinstance(table, VersionedTable) and table.decl.versions_name in record.changes:
                continue
            stream = self._streams.get(self._late.get(relation, relation))
            if (
                table is not None
                or self._versioned(relation) is not None
                or (stream is not None and stream.ids is not None)
            ):
                self._waiting.setdefault(relation, []).append((change, clock_us))
                self._rows += len(change)
        if self._rows >= ROWS_AT_ONCE:
            self.flush()
        return clock_us

    def _versioned(self, relation: str) -> VersionedTable | None:
        """Return the table whose versions a relation holds."""
        table = self._tables.get(relation.removesuffix("__versions"))
        is_its = isinstance(table, VersionedTable) and table.decl.versions_name == relation
        return table if is_its and isinstance(table, VersionedTable) else None

    def flush(self) -> None:
        """Apply what has been collected."""
        if self._keys:
            self._answers.add_many(self._keys)
            self._keys = []
        waiting, self._waiting, self._rows = self._waiting, {}, 0
        for relation, parts in waiting.items():
            change = Change.concat([part for part, _ in parts])
            table, versioned = self._tables.get(relation), self._versioned(relation)
            if versioned is not None:
                versioned.recover_versions(change)
            if table is not None:
                table.recover(change)
            if table is not None or versioned is not None:
                continue
            clocks = np.repeat([clock_us for _, clock_us in parts], [len(part) for part, _ in parts])
            self._recover_ids(relation, change.rows, clocks.astype(np.int64))

    def _recover_ids(self, relation: str, rows: pa.RecordBatch, clocks_us: Entries) -> None:
        name = self._late.get(relation, relation)
        if name != relation:
            kept = [at for at, column in enumerate(rows.schema.names) if column != WATERMARK]
            rows = rows.select(kept)
        self._streams[name].recover(rows, clocks_us)
