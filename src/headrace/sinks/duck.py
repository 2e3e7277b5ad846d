"""`duckdb:///file.duckdb`: a table in a DuckDB file, exactly once."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import duckdb
import pyarrow as pa
from typing_extensions import override

from headrace.change import VERSION, WEIGHT, Change
from headrace.contracts.schema import Schema
from headrace.sinks.registry import Sink, SinkKind, Target, register_sink
from headrace.sinks.shipment import Position, Shipment, leading, quoted, summed
from headrace.sinks.sqlfile import OPTIONS, POSITIONS, TableSink

_ROWS = "_headrace_rows"
_GUARD = threading.Lock()
_TURNS: dict[str, threading.RLock] = {}
"""Sinks of one file take turns: DuckDB opens a file once per process."""
_CHANGES = "True: append every change with `_weight` and `_version` instead of keeping the view's rows"


class DuckTable(TableSink):
    """A table in a DuckDB file, which is open during a shipment only, so that others may read it between."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        target.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = str(target.path)
        with _GUARD:
            self._turn = _TURNS.setdefault(str(target.path.resolve()), threading.RLock())
        self._con: duckdb.DuckDBPyConnection | None = None

    def _connected(self) -> duckdb.DuckDBPyConnection:
        if self._con is None:
            self._con = duckdb.connect(self._file, config={"threads": 1})
        return self._con

    @override
    def run(self, sql: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        return self._connected().execute(sql, list(values)).fetchall()

    @override
    def position(self) -> Position | None:
        with self._turn:
            found = super().position()
            self.close()
            return found

    @override
    def write(self, shipment: Shipment) -> None:
        with self._turn:
            try:
                super().write(shipment)
            finally:
                self.close()

    @override
    def types(self, schema: Schema) -> list[str]:
        return [column.sql_type for column in schema]

    @override
    def insert(self, shipment: Shipment, change: Change) -> None:
        asked = ", ".join(column.restored_sql for column in shipment.schema)
        copies = f"range(CAST({_ROWS}.{WEIGHT} AS BIGINT))"
        self._with_rows(change.to_table(), f"INSERT INTO {self.table} SELECT {asked} FROM {_ROWS}, {copies}")

    @override
    def delete(self, shipment: Shipment, change: Change) -> int:
        asked = ", ".join(column.restored_sql for column in shipment.schema)
        same = " AND ".join(
            f"t.{quoted(n)} IS NOT DISTINCT FROM g.{quoted(n)}" for n in shipment.schema.names
        )
        gone = f"SELECT {asked}, {WEIGHT}, row_number() OVER () AS _headrace_at FROM {_ROWS}"
        found = (
            f"SELECT t.rowid AS its, g.{WEIGHT} AS n, "
            "row_number() OVER (PARTITION BY g._headrace_at) AS place "
            f"FROM {self.table} t JOIN ({gone}) g ON {same}"
        )
        sql = f"DELETE FROM {self.table} WHERE rowid IN (SELECT its FROM ({found}) WHERE place <= -n)"
        counted = self._with_rows(change.to_table(), sql)
        return int(counted[0][0]) if counted else 0

    def _with_rows(self, rows: pa.Table, sql: str) -> list[tuple[Any, ...]]:
        if not rows.num_rows:
            return []
        con = self._connected()
        con.register(_ROWS, rows)
        found = con.execute(sql).fetchall()
        con.unregister(_ROWS)
        return found

    @override
    def close(self) -> None:
        if self._con is not None:
            self._con.close()
            self._con = None


class DuckChanges(DuckTable):
    """A table to which every change is appended, with `_weight` and `_version`."""

    @override
    def place(self, shipment: Shipment) -> None:
        rows = shipment.rows
        if shipment.is_whole:
            known = self.run(f"SELECT columns FROM {POSITIONS} WHERE sink = ?", [self.name])
            if known and known[0][0] == self.columns_of(shipment):
                held = summed(self._connected(), self.table, shipment.schema)
                rows = leading(held, rows, shipment.schema, shipment.position.version)
            else:
                self.make(shipment, f", {WEIGHT} BIGINT, {VERSION} BIGINT")
        asked = ", ".join(column.restored_sql for column in shipment.schema)
        self._with_rows(rows, f"INSERT INTO {self.table} SELECT {asked}, {WEIGHT}, {VERSION} FROM {_ROWS}")


def _open(target: Target) -> Sink:
    return DuckChanges(target) if target.options.get("changes") else DuckTable(target)


register_sink(
    SinkKind(
        "duckdb",
        "exactly once",
        "a table in a DuckDB file: the view's rows, or its changes",
        _open,
        {**OPTIONS, "changes": _CHANGES},
    )
)
