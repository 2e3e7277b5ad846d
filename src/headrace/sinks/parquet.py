"""`parquet:///folder`: every shipment as one Parquet file with `_weight` and `_version`, exactly once.

A file appears under its name when it is complete and on disk, and its name says which shipment it is and
which versions it holds, so there is never a part of one and never the same one twice. The view is the sum of
the weights over all files.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from headrace.change import VERSION
from headrace.log.files import Files
from headrace.sinks.files import Mark, columns_of, put_aside, read_mark, write_mark
from headrace.sinks.registry import Sink, SinkKind, Target, register_sink
from headrace.sinks.shipment import Position, Shipment, leading, summed

_NAME = re.compile(r"part-(\d{9})-(\d+)-(\d+)\.parquet")
_HISTORY = b"headrace.history"


class ParquetFiles:
    """A folder of Parquet files, one per shipment."""

    def __init__(self, target: Target) -> None:
        self._path = target.path
        self._path.mkdir(parents=True, exist_ok=True)
        self._mark_path = self._path / "_position.json"

    def _files(self) -> list[Path]:
        return sorted(path for path in self._path.iterdir() if _NAME.fullmatch(path.name))

    def position(self) -> Position | None:
        """Return the position in the mark, or in the newest file where a crash came between the two."""
        mark, files = read_mark(self._mark_path), self._files()
        if mark is None:
            return None
        newest = _NAME.fullmatch(files[-1].name) if files else None
        if newest is None or int(newest[1]) <= mark.part:
            return mark.position
        history = (pq.read_schema(files[-1]).metadata or {}).get(_HISTORY, b"").decode()
        return Position(history, int(newest[3]))

    def write(self, shipment: Shipment) -> None:
        """Put the file in place, then move the position."""
        rows = self._begun(shipment) if shipment.is_whole else shipment.rows
        files = self._files()
        part = int(files[-1].name[5:14]) if files else 0
        at = shipment.position
        if rows.num_rows:
            part += 1
            first = min(rows.column(VERSION)[0].as_py(), at.version)
            draft = self.draft(rows.replace_schema_metadata({_HISTORY: at.history.encode()}))
            draft.rename(self._path / f"part-{part:09d}-{first}-{at.version}.parquet")
            Files().sync_folder(self._path)
        write_mark(self._mark_path, Mark(columns_of(shipment), at.history, at.version, part))

    def draft(self, rows: pa.Table) -> Path:
        """Write a file under a name that no reader looks for, durable when it returns."""
        path = self._path / "next.tmp"
        pq.write_table(rows, path, compression="zstd")
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        return path

    def _begun(self, shipment: Shipment) -> pa.Table:
        columns, mark = columns_of(shipment), read_mark(self._mark_path)
        files = self._files()
        if files and (mark is None or mark.columns != columns):
            put_aside(self._path)
            self._path.mkdir()
            files = []
        if not files:
            write_mark(self._mark_path, Mark(columns))
            return shipment.rows
        listed = ", ".join("'" + str(path).replace("'", "''") + "'" for path in files)
        with duckdb.connect() as con:
            held = summed(con, f"read_parquet([{listed}])", shipment.schema)
        return leading(held, shipment.rows, shipment.schema, shipment.position.version)

    def close(self) -> None:
        """Nothing is open between deliveries."""


def _open(target: Target) -> Sink:
    return ParquetFiles(target)


register_sink(
    SinkKind(
        "parquet", "exactly once", "a folder of Parquet files, one per shipment, with the changes", _open
    )
)
