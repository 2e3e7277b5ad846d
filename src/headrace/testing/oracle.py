"""The oracle: what every view must hold, found without the engine.

It keeps every accepted row in plain Python, decides repeated, late and rejected rows by its own simple rules,
and asks DuckDB for the view's SQL over all of them, from scratch. Slow and obvious on purpose.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from headrace.contracts.schema import Schema
from headrace.declarations import StreamDecl, TableDecl
from headrace.results import RowStatus
from headrace.sql import plan_view

if TYPE_CHECKING:
    from headrace.app import App

Row = dict[str, Any]


class ExpectedError(Exception):
    """DuckDB answers an error for a view over the accepted rows, such as a cast that fails."""


class Oracle:
    """A second opinion on an app; feed it the same valid rows as the run, then compare `expected(view)`.

    Args:
        app: the declarations; only streams, tables and SQL texts are read.
    """

    def __init__(self, app: App) -> None:
        self._decls: dict[str, StreamDecl | TableDecl] = {**app.streams, **app.tables}
        self._views = {decl.name: decl.sql for decl in app.view_decls.values()}
        self._rows: dict[str, list[Row]] = {name: [] for name in self._decls}
        self._late: dict[str, list[Row]] = {name: [] for name in app.streams}
        self._ids: dict[str, dict[Any, Row]] = {name: {} for name in app.streams}
        self._watermarks: dict[str, datetime] = {}

    def append(self, stream: str, rows: Iterable[Row], clock: datetime) -> list[RowStatus]:
        """Take valid rows into a stream and return what must become of each."""
        decl = self._decls[stream]
        assert isinstance(decl, StreamDecl)
        before = self._watermarks.get(stream)
        statuses = [self._decide(decl, dict(row), before, clock) for row in rows]
        if decl.event_time and decl.lateness is not None and self._rows[stream]:
            latest = max(utc(row[decl.event_time]) for row in self._rows[stream])
            reached = latest - decl.lateness
            self._watermarks[stream] = max(before, reached) if before else reached
        return statuses

    def _decide(self, decl: StreamDecl, row: Row, watermark: datetime | None, clock: datetime) -> RowStatus:
        if decl.event_time is not None:
            at = row.get(decl.event_time)
            if at is None or utc(at) > clock + decl.max_ahead:
                return RowStatus.REJECTED
        if decl.event_id is not None:
            known = self._ids[decl.name].get(row.get(decl.event_id))
            if row.get(decl.event_id) is None:
                return RowStatus.REJECTED
            if known is not None:
                return RowStatus.REPEATED if repr(known) == repr(row) else RowStatus.REJECTED
            self._ids[decl.name][row[decl.event_id]] = row
        if decl.event_time is not None and watermark is not None and utc(row[decl.event_time]) < watermark:
            self._late[decl.name].append(row)
            return RowStatus.LATE
        self._rows[decl.name].append(row)
        return RowStatus.ACCEPTED

    def upsert(self, table: str, rows: Iterable[Row]) -> None:
        """Insert or replace valid rows by key; into a bag: add them."""
        decl = self._decls[table]
        assert isinstance(decl, TableDecl)
        for row in rows:
            if decl.key is not None:
                self._remove(table, decl.key, row)
            self._rows[table].append(dict(row))

    def delete(self, table: str, rows: Iterable[Row]) -> None:
        """Delete by key, or one copy of a whole row from a bag; rows that are not held are ignored."""
        decl = self._decls[table]
        assert isinstance(decl, TableDecl)
        for row in rows:
            if decl.key is not None:
                self._remove(table, decl.key, row)
            elif row in self._rows[table]:
                self._rows[table].remove(row)

    def _remove(self, table: str, key: tuple[str, ...], row: Row) -> None:
        self._rows[table] = [held for held in self._rows[table] if any(held[k] != row[k] for k in key)]

    def rows(self, relation: str) -> list[Row]:
        """Return the accepted rows of a stream, or the present rows of a table."""
        return self._rows[relation]

    def late(self, stream: str) -> list[Row]:
        """Return the late rows of a stream."""
        return self._late[stream]

    def expected(self, view: str) -> pa.Table:
        """Return DuckDB's answer for the view over the accepted rows.

        Raises:
            ExpectedError: where DuckDB answers an error about the data; the view must then be in error too.
        """
        with duckdb.connect(config={"threads": 1}) as con:
            con.execute("SET enable_progress_bar = false")
            catalog = self._load(con)
            for name in self._in_order():
                plan = plan_view(name, self._views[name], catalog)
                try:
                    con.execute(f'CREATE TABLE "{name}" AS {plan.reference_sql}')
                except (duckdb.DataError, duckdb.NotSupportedError) as error:
                    raise ExpectedError(str(error)) from error
                catalog[name.lower()] = plan.schema
                if name == view:
                    break
            return con.sql(f'SELECT * FROM "{view}"').to_arrow_table()

    def _load(self, con: duckdb.DuckDBPyConnection) -> dict[str, Schema]:
        catalog: dict[str, Schema] = {}
        for name, decl in self._decls.items():
            columns = ", ".join(f'"{column.name}" {column.sql_type}' for column in decl.schema)
            con.execute(f'CREATE TABLE "{name}" ({columns})')
            rows = [{column.name: row.get(column.name) for column in decl.schema} for row in self._rows[name]]
            if rows:
                source = pa.Table.from_pylist(naive(rows), schema=decl.schema.arrow)
                con.register("__rows", source)
                con.execute(f'INSERT INTO "{name}" SELECT * FROM __rows')
                con.unregister("__rows")
            catalog[name.lower()] = decl.schema
        return catalog

    def _in_order(self) -> list[str]:
        return list(self._views)


def utc(at: datetime) -> datetime:
    """Return the time as aware UTC; naive values are UTC already."""
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def naive(rows: list[Row]) -> list[Mapping[str, Any]]:
    """Return the rows with aware times as naive UTC, as TIMESTAMP columns hold them."""
    return [
        {
            k: utc(v).replace(tzinfo=None) if isinstance(v, datetime) and v.tzinfo else v
            for k, v in row.items()
        }
        for row in rows
    ]
