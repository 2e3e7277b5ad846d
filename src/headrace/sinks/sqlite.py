"""`sqlite:///file.db`: a table in a SQLite file, exactly once.

SQLite knows five types. Numbers up to 64 bits, floating-point numbers and blobs are what they are; decimals
and larger integers are text, so that nothing is lost; times, UUIDs, lists, structs and maps are text as in
JSON answers.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
import pyarrow as pa
from typing_extensions import override

from headrace.change import Change
from headrace.contracts.encode import column_values
from headrace.contracts.schema import Column, Schema
from headrace.contracts.types import sql_type
from headrace.sinks.registry import Sink, SinkKind, Target, register_sink
from headrace.sinks.shipment import Shipment, quoted
from headrace.sinks.sqlfile import OPTIONS, TableSink

_WHOLE_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "BOOLEAN")
WAIT_S = 5.0
"""How long another writer is waited for before the shipment is tried again."""


class SqliteTable(TableSink):
    """A table in a SQLite file, in WAL mode, so that readers are never in the way."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        target.path.parent.mkdir(parents=True, exist_ok=True)
        self._con = sqlite3.connect(
            target.path, timeout=WAIT_S, isolation_level=None, check_same_thread=False
        )
        self._con.execute("PRAGMA journal_mode = WAL")
        self._con.execute("PRAGMA synchronous = FULL")

    @override
    def run(self, sql: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        return self._con.execute(sql, tuple(values)).fetchall()

    @override
    def begin(self) -> None:
        self.run("BEGIN IMMEDIATE")

    @override
    def types(self, schema: Schema) -> list[str]:
        return [_type_of(column) for column in schema]

    @override
    def make(self, shipment: Shipment, more: str = "") -> None:
        super().make(shipment, more)
        key = shipment.key or shipment.schema.names
        self.run(f"CREATE INDEX {quoted(self.name + ' rows')} ON {self.table} ({_listed(key)})")

    @override
    def insert(self, shipment: Shipment, change: Change) -> None:
        marks = ", ".join("?" for _ in shipment.schema.names)
        rows = _values(change, shipment.schema)
        copies = (
            row for row, weight in zip(rows, change.weights.tolist(), strict=True) for _ in range(weight)
        )
        self._con.executemany(f"INSERT INTO {self.table} VALUES ({marks})", copies)

    @override
    def delete(self, shipment: Shipment, change: Change) -> int:
        same = " AND ".join(f"{quoted(name)} IS ?" for name in shipment.schema.names)
        sql = f"DELETE FROM {self.table} WHERE rowid IN (SELECT rowid FROM {self.table} WHERE {same} LIMIT ?)"
        rows = zip(_values(change, shipment.schema), change.weights.tolist(), strict=True)
        return sum(self._con.execute(sql, (*row, -weight)).rowcount for row, weight in rows)

    @override
    def close(self) -> None:
        self._con.close()


def _listed(names: Sequence[str]) -> str:
    return ", ".join(quoted(name) for name in names)


def _type_of(column: Column) -> str:
    if column.sql_type in _WHOLE_NUMBERS:
        return "INTEGER"
    if column.sql_type in ("FLOAT", "DOUBLE"):
        return "REAL"
    return "BLOB" if column.sql_type == "BLOB" else "TEXT"


def _values(change: Change, schema: Schema) -> list[tuple[Any, ...]]:
    columns = [_column(change.rows.column(at), column) for at, column in enumerate(schema)]
    return list(zip(*columns, strict=True))


def _column(array: pa.Array, column: Column) -> list[Any]:
    if _type_of(column) != "TEXT":
        values: list[Any] = array.to_pylist()
        return ["NaN" if value != value else value for value in values]
    return [_text(value) for value in column_values(array, sql_type(column.sql_type))]


def _text(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) else orjson.dumps(value).decode()


def _open(target: Target) -> Sink:
    return SqliteTable(target)


register_sink(SinkKind("sqlite", "exactly once", "a table in a SQLite file: the view's rows", _open, OPTIONS))
