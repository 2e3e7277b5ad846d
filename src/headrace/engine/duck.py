"""DuckDB as the kernel of last resort: a connection that sees nothing but the Arrow rows handed to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from threading import Lock
from typing import TypeVar

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from headrace.change import as_batch
from headrace.contracts.readable import readable
from headrace.contracts.schema import Schema
from headrace.contracts.shared_duckdb import SharedDuckdb, has_ended
from headrace.errors import ViewInError

T = TypeVar("T")
_CAREFUL = "SET disabled_optimizers = 'common_subexpressions'"
"""Without it, DuckDB may compute a part of an expression outside of the TRY that it stands in."""
_SETTINGS = (
    "SET GLOBAL TimeZone = 'UTC'",
    "SET enable_progress_bar = false",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET enable_external_access = false",
    "SET preserve_insertion_order = true",
    "SET lock_configuration = true",
)
_WAITS_ALONE = re.compile(r"\bASOF\s+(RIGHT|FULL)\b", re.IGNORECASE)
"""Joins in which one thread of DuckDB may wait for ever."""
_ZERO = pa.scalar(0, pa.decimal128(38, 0))
"""DuckDB hands out the upper half of UHUGEINT as negative numbers."""


def quote(name: str) -> str:
    """Return a name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


@lru_cache(maxsize=8)
def _database(threads: int, settings: tuple[str, ...]) -> SharedDuckdb:
    """Return the database of all connections with these settings: one costs 20 ms, a cursor little."""
    return SharedDuckdb(partial(_opened, threads, settings))


def _opened(threads: int, settings: tuple[str, ...]) -> duckdb.DuckDBPyConnection:
    database = duckdb.connect(":memory:", config={"threads": threads})
    for setting in settings:
        database.execute(setting)
    return database


class Duck:
    """One connection to an in-memory DuckDB; what it registers is its own. Threads wait for each other.

    It is made at the first question: most views never ask any.
    """

    def __init__(self, threads: int = 1, settings: Sequence[str] = _SETTINGS) -> None:
        self._shared = _database(threads, tuple(settings))
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._threads = threads
        self._lock = Lock()
        self._careful: Duck | None = None
        self._paired: Duck | None = None

    @property
    def paired(self) -> Duck:
        """A connection with two threads: with one, DuckDB waits for ever in an ASOF RIGHT or FULL JOIN where
        some right rows have no left row before them.
        """
        if self._paired is None:
            self._paired = Duck(threads=2)
        return self._paired

    @property
    def careful(self) -> Duck:
        """A connection in which TRY catches every error inside it."""
        if self._careful is None:
            self._careful = Duck(settings=(_CAREFUL, *_SETTINGS))
        return self._careful

    def select(
        self, rows: pa.RecordBatch, schema: Schema, items: Sequence[str], output: Schema
    ) -> pa.RecordBatch:
        """Return `items`, expressions over the columns of `rows`, row by row in order.

        Raises:
            ViewInError: DuckDB answers with an error.
        """
        sql = f"SELECT {', '.join(items)} FROM {_source('_rows', schema)}"
        return self.query(sql, {"_rows": pa.Table.from_batches([rows])}, output)

    def query(self, sql: str, tables: Mapping[str, pa.Table], output: Schema) -> pa.RecordBatch:
        """Return the answer to `sql` over those tables with the types of `output`, columns by position.

        Raises:
            ViewInError: DuckDB answers with an error.
        """
        if self._threads == 1 and _WAITS_ALONE.search(sql):
            return self.paired.query(sql, tables, output)
        try:
            answer = self._asked(lambda con: _answer(con, sql, tables))
        except duckdb.Error as error:
            raise ViewInError(
                plainly(error), hint="remove the row that causes it, or replace the view"
            ) from error
        return fit(answer, output)

    def _asked(self, ask: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Ask the connection; where a fatal error has ended its database before, one to a new database."""
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._shared.cursor()
                return ask(self._connection)
            except duckdb.FatalException as error:
                if not has_ended(error):
                    raise
            self._connection = self._shared.cursor()
            return ask(self._connection)

    def types(self, items: Sequence[str], source: Schema) -> list[str]:
        """Return DuckDB's types of expressions over the columns of `source`."""
        nulls = ", ".join(f"CAST(NULL AS {column.sql_type}) AS {quote(column.name)}" for column in source)
        listed = ", ".join(f"({item}) AS c{at}" for at, item in enumerate(items))
        sql = f"SELECT {listed} FROM (SELECT {nulls or '1'} WHERE false)"
        return self._asked(lambda con: [str(kind) for kind in con.sql(sql).types])

    def constant(self, item: str) -> pa.Array:
        """Return the value of an expression without columns, as a column of one row."""
        sql = f"SELECT ({item}) AS c"
        return self._asked(lambda con: con.sql(sql).to_arrow_table()).column(0).combine_chunks()

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
        for other in (self._careful, self._paired):
            if other is not None:
                other.close()


def _answer(con: duckdb.DuckDBPyConnection, sql: str, tables: Mapping[str, pa.Table]) -> pa.Table:
    """Ask with some tables registered, which are gone afterwards."""
    for name, table in tables.items():
        con.register(name, readable(table))
    try:
        return con.sql(sql).to_arrow_table()
    finally:
        for name in tables:
            with suppress(duckdb.FatalException):  # with the database, all of it is gone
                con.unregister(name)


def plainly(error: duckdb.Error) -> str:
    """Return DuckDB's message without the line of SQL that it points into, which is not the user's."""
    return str(error).split("\n\nLINE ")[0].strip()


def _source(name: str, schema: Schema) -> str:
    """Return a FROM item that gives the rows registered under `name` their SQL types back."""
    if not any(column.is_lossy for column in schema):
        return name
    items = [column.restored_sql for column in schema]
    return f"(SELECT {', '.join(items)} FROM {name}) AS _typed"


def typed_source(name: str, schema: Schema) -> str:
    """Return a FROM item for a registered table whose lossy columns have their SQL types again."""
    return _source(name, schema)


def fit(answer: pa.Table, output: Schema) -> pa.RecordBatch:
    """Return the columns of an answer under the names and Arrow types of `output`, by position.

    Raises:
        ViewInError: an integer is too large for Arrow.
    """
    wanted = output.arrow
    for column, data in zip(output, answer.columns, strict=True):
        if column.sql_type == "UHUGEINT" and pc.any(pc.less(data, _ZERO)).as_py():
            raise ViewInError(
                "Out of Range Error: a UHUGEINT of 2^127 or more cannot be carried by Arrow",
                hint="cast it to VARCHAR or DOUBLE in the view",
            )
    columns = [
        column if column.type == field.type else column.cast(field.type)
        for column, field in zip(answer.columns, wanted, strict=True)
    ]
    return as_batch(pa.Table.from_arrays(columns, schema=wanted))
