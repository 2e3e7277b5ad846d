"""`ndjson:///file.ndjson`: every change as a line with `_weight` and `_version`, at least once.

Lines are only ever added. After a crash the lines of the last version may stand there twice; they are equal
to the letter, so whoever reads the file takes equal lines once. The view is the sum of the weights.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from headrace.change import VERSION, WEIGHT, Change
from headrace.contracts.encode import ndjson
from headrace.contracts.schema import Column, Schema
from headrace.contracts.validate import validate
from headrace.engine.zset import consolidate
from headrace.errors import StorageError
from headrace.log.files import Files
from headrace.sinks.files import Mark, columns_of, put_aside, read_mark, write_mark
from headrace.sinks.registry import Sink, SinkKind, Target, register_sink
from headrace.sinks.shipment import Position, Shipment, leading

_STAMPS = (Column(WEIGHT, "BIGINT", pa.int64()), Column(VERSION, "BIGINT", pa.int64()))


class JsonLines:
    """A file that grows by one line per row of a change."""

    def __init__(self, target: Target) -> None:
        self._path = target.path
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._mark_path = self._path.with_name(self._path.name + ".position")

    def position(self) -> Position | None:
        """Return the position in the file beside; a torn last line is cut off."""
        mend(self._path)
        mark = read_mark(self._mark_path)
        return None if mark is None or not self._path.exists() else mark.position

    def write(self, shipment: Shipment) -> None:
        """Add the lines, then move the position."""
        rows = self._begun(shipment) if shipment.is_whole else shipment.rows
        self.add(ndjson(rows, Schema((*shipment.schema, *_STAMPS))))
        at = shipment.position
        write_mark(self._mark_path, Mark(columns_of(shipment), at.history, at.version))

    def add(self, text: bytes) -> None:
        """Append to the file, durable when it returns."""
        is_new = not self._path.exists()
        with self._path.open("ab") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            Files().sync_folder(self._path.parent)

    def _begun(self, shipment: Shipment) -> pa.Table:
        """Return the rows that lead from what the file adds up to; a file with other columns is put aside."""
        columns, mark = columns_of(shipment), read_mark(self._mark_path)
        if self._path.exists() and (mark is None or mark.columns != columns):
            put_aside(self._path)
        if not self._path.exists():
            write_mark(self._mark_path, Mark(columns))
            return shipment.rows
        held = sum_of(self._path, shipment.schema)
        return leading(held, shipment.rows, shipment.schema, shipment.position.version)

    def close(self) -> None:
        """Nothing is open between deliveries."""


def mend(path: Path) -> None:
    """Cut off a last line that a crash has torn."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        at = end
        while at > 0:
            start = max(0, at - 65_536)
            file.seek(start)
            found = file.read(at - start).rfind(b"\n")
            if found >= 0:
                at = start + found + 1
                break
            at = start
        if at < end:
            file.truncate(at)


def sum_of(path: Path, schema: Schema) -> pa.Table:
    """Return the rows that the lines of a file add up to, equal lines taken once.

    Raises:
        StorageError: a line is not what this sink wrote.
    """
    with path.open("rb") as file:
        rows: list[dict[str, Any]] = [orjson.loads(line) for line in dict.fromkeys(file)]
    weights = np.array([row[WEIGHT] for row in rows], dtype=np.int64)
    plain = [{name: row[name] for name in schema.names} for row in rows]
    checked = validate(schema, plain)
    if checked.rejections:
        raise StorageError("a line cannot be read back", where=str(path), hint="move the file away")
    total = consolidate(Change(checked.batch, weights))
    return pa.table(total.rows.take(pa.array(np.repeat(np.arange(len(total)), total.weights))))


def _open(target: Target) -> Sink:
    return JsonLines(target)


register_sink(
    SinkKind(
        "ndjson", "at least once", "a file of JSON lines, one per row of a change, that only grows", _open
    )
)
