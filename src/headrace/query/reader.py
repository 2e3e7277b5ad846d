"""Ad-hoc SQL: one hardened DuckDB that reads Arrow tables of one version and nothing else."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from headrace.contracts.readable import readable
from headrace.contracts.schema import Column, Schema
from headrace.contracts.shared_duckdb import answers, has_ended
from headrace.errors import Closed, HeadraceError, QueryStopped, SqlError, VersionGone
from headrace.functions import PythonFunction
from headrace.query.guard import Parsed, PastRelation, parse
from headrace.query.keyed import Rows, seen_rows
from headrace.query.python_functions import Registered

MEMORY_BYTES_MAX = 1 << 30
THREADS = 2
BATCH_ROWS = 65_536
PARSED_MAX = 500
"""Statements whose parse is remembered, together of at most `PARSED_CHARS_MAX` characters."""
PARSED_CHARS_MAX = 2_000_000
WATCH_S = 0.02
"""How often a running query is looked at."""
VALUE_SIZE_MAX = 100_000
"""Characters or elements that one call of a function such as `repeat` may make."""
OUT_OF_MEMORY = "the query needs more memory than it may have"

T = TypeVar("T")
TableSource = Any
"""A `pa.Table`, or a callable that returns one."""
Params = Sequence[Any] | Mapping[str, Any]
PastRows = Callable[[str, int | str], tuple[pa.Table, Schema]]
"""Of a name and a version or a time: the rows of that relation then, and its columns then."""


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """What one ad-hoc query may take; None lifts a limit.

    Attributes:
        timeout_s: wall-clock seconds.
        rows_max: rows of the answer.
        result_bytes_max: Arrow bytes of the answer.
    """

    timeout_s: float | None = 10.0
    rows_max: int | None = 1_000_000
    result_bytes_max: int | None = 1 << 28

    @classmethod
    def unbounded(cls) -> QueryLimits:
        """Return limits for the platform's own reads: only the reader's memory limit holds."""
        return cls(None, None, None)


SIZE_GUARDS = (
    ("repeat(s, n)", "n * len(s)", "n::INTEGER", "repeat(s, {bounded})"),
    ("lpad(s, n, p)", "n", "n::INTEGER", "lpad(s, {bounded}, p)"),
    ("rpad(s, n, p)", "n", "n::INTEGER", "rpad(s, {bounded}, p)"),
    ("list_resize(s, n)", "n", "n::INTEGER", "list_resize(s, {bounded})"),
    ("array_resize(s, n)", "n", "n::INTEGER", "array_resize(s, {bounded})"),
    ("bar(x, low, high, n)", "n", "n::INTEGER", "bar(x, low, high, {bounded})"),
    ("replace(s, f, t)", "(len(s) // greatest(len(f), 1)) * len(t)", "t", "replace(s, f, {bounded})"),
    ("regexp_replace(s, p, t)", "len(s) * len(t)", "t", "regexp_replace(s, p, {bounded})"),
    ("regexp_replace(s, p, t, o)", "len(s) * len(t)", "t", "regexp_replace(s, p, {bounded}, o)"),
)
"""Functions whose answer can be far larger than their input: head, size, argument to bound, call.

DuckDB's memory limit does not count the strings of a vector, so a macro before each bounds one value.
"""


_REFUSED = re.compile(r"'(\w+ would make a value of more than \d+ characters)'")


class Reader:
    """Answers ad-hoc DuckDB SQL over named Arrow tables. Thread-safe; queries share its memory and threads.

    It is a DuckDB instance of its own: no file, network, extension, setting or Python variable can be
    reached, and nothing of one query is left for the next.

    Args:
        memory_limit_bytes: what all running queries may hold together.
        threads: DuckDB's worker threads.
        functions: answers the Python functions that a query may call.
    """

    def __init__(
        self,
        memory_limit_bytes: int = MEMORY_BYTES_MAX,
        threads: int = THREADS,
        functions: Callable[[], Mapping[str, PythonFunction]] = dict,
    ) -> None:
        self._memory_limit_bytes = memory_limit_bytes
        self._threads = threads
        self._con: duckdb.DuckDBPyConnection | None = None
        self._known: dict[tuple[str, frozenset[str], bool], Parsed] = {}
        self._known_chars = 0
        self._opening = threading.Lock()
        self._declared = functions
        self._functions = Registered(functions)
        self._cursors = 0
        self._closed = False

    def run(
        self,
        sql: str,
        params: Params,
        tables: Mapping[str, TableSource],
        schemas: Mapping[str, Schema],
        limits: QueryLimits | None = None,
        past: PastRows | None = None,
        *,
        of_view: bool = False,
    ) -> tuple[pa.Table, Schema]:
        """Answer one SELECT.

        Args:
            sql: DuckDB SQL; also WITH, VALUES, `FROM x`, DESCRIBE, SUMMARIZE and SHOW TABLES.
            params: values for `?` (a sequence) or `$name` (a mapping).
            tables: the visible relations; a callable is called only when the query mentions its name, and
                can see anything of it.
            schemas: their columns; a name that stands only here is known, but its rows were not read.
            limits: time, rows and bytes.
            past: answers relations `AT (…)`; None: there is no past.
            of_view: it is the SQL of a view, which may call more than an ad-hoc query.

        Returns:
            The rows and their columns; repeated column names are told apart as `a`, `a_1`.

        Raises:
            SqlError: it does not parse or bind, is not one SELECT, or DuckDB answers an error for it.
            UnknownName: it reads a name that is not visible.
            VersionGone: it asks for a past that is not kept.
            QueryStopped: it ran into a limit.
        """
        limits = limits or QueryLimits()

        def ask(con: duckdb.DuckDBPyConnection) -> tuple[pa.Table, Schema]:
            parsed = self._parsed(con, sql, schemas, of_view=of_view)
            if parsed.lists_tables:
                return _listing(schemas)
            values = _named(params)
            for number, name in enumerate(parsed.relations):
                is_seen = any(place.is_seen(values) for place in parsed.places[name])
                rows = _loaded(tables, name) if is_seen else schemas[name].arrow.empty_table()
                _register(con, number, name, rows, schemas[name])
            for number, relation in enumerate(parsed.past, len(parsed.relations)):
                table, schema = _past(con, relation, params, past)
                _register(con, number, relation.shown, table, schema)
            with _watched(con, limits, self._memory_limit_bytes) as watch:
                asked = _statement(con, parsed, parsed.text or sql)
                return _answer(con, asked, _left(params, parsed), limits, watch)

        return self._asked(ask)

    def mentioned(self, sql: str, known: Sequence[str]) -> list[str]:
        """Return the names of `known` that the statement reads; errors as for `run`."""
        return self._asked(lambda con: self._parsed(con, sql, known).relations)

    def seen(
        self, sql: str, params: Params, schemas: Mapping[str, Schema], known: Sequence[str]
    ) -> dict[str, Rows]:
        """Return per relation of `known` which of its rows the statement can see at all; errors as for
        `run`.
        """
        places = self._asked(lambda con: self._parsed(con, sql, known).places)
        values = _named(params)
        return {
            name: seen_rows(found, schemas[name], values) for name, found in places.items() if name in schemas
        }

    def _parsed(
        self, con: duckdb.DuckDBPyConnection, sql: str, known: Collection[str], *, of_view: bool = False
    ) -> Parsed:
        """Return what a statement reads; a text that was asked before is not parsed again."""
        key = (sql, frozenset(known), of_view)
        found = self._known.get(key)
        if found is None:
            found = parse(con, sql, known, of_view=of_view)
            self._remember(key, found)
        return found

    def _remember(self, key: tuple[str, frozenset[str], bool], parsed: Parsed) -> None:
        """Keep a parse; where that makes too many, forget the others."""
        size = len(key[0])
        if len(self._known) >= PARSED_MAX or self._known_chars + size > PARSED_CHARS_MAX:
            self._known, self._known_chars = {}, 0
        if size <= PARSED_CHARS_MAX:
            self._known[key] = parsed
            self._known_chars += size

    def close(self) -> None:
        """Release DuckDB. Idempotent."""
        with self._opening:
            self._closed = True
            if self._con is None:
                return
            if self._cursors == 0 and self._functions.is_empty and answers(self._con):
                _keep(self._con, self._memory_limit_bytes, self._threads)
            else:
                with suppress(duckdb.Error):  # a query is still running: it ends with its last cursor
                    self._con.close()
            self._con = None

    def _asked(self, ask: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Ask with a connection of its own; once more where a fatal error had ended DuckDB before."""
        try:
            with self._cursor() as con:
                return ask(con)
        except (HeadraceError, duckdb.FatalException) as error:
            if not has_ended(error):
                raise
        with self._cursor() as con:
            return ask(con)

    @contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._opening:
            if self._closed:
                raise Closed("the reader is closed")
            base = self._opened()
            con = base.cursor()
            self._cursors += 1
        try:
            yield con
        except BaseException as error:
            if has_ended(error):
                self._forget(base)
            raise
        finally:
            con.close()
            with self._opening:
                self._cursors -= 1

    def _opened(self) -> duckdb.DuckDBPyConnection:
        """Return the DuckDB, which knows the functions declared at present."""
        if self._con is None:
            kind = (self._memory_limit_bytes, self._threads)
            self._con, self._functions = _kept(*kind) or _hardened(*kind), Registered(self._declared)
        self._functions.refresh(self._con)
        return self._con

    def _forget(self, ended: duckdb.DuckDBPyConnection) -> None:
        """Have the next question open another DuckDB; one that still runs ends with its own cursor."""
        with self._opening:
            if self._con is ended:
                self._con = None


_IDLE: dict[tuple[int, int, int], duckdb.DuckDBPyConnection] = {}
"""By process, memory limit and threads: a DuckDB that a closed reader left as it got it, for the next one.

Opening one costs 30 ms of CPU. After a fork its threads are gone: it serves the process that opened it.
"""


def _keep(con: duckdb.DuckDBPyConnection, memory_limit_bytes: int, threads: int) -> None:
    """Keep a DuckDB that nobody uses for the next reader of its kind, unless one waits already."""
    if _IDLE.setdefault((os.getpid(), memory_limit_bytes, threads), con) is not con:
        con.close()


def _kept(memory_limit_bytes: int, threads: int) -> duckdb.DuckDBPyConnection | None:
    """Return the DuckDB that waits for such a reader, which has it for itself now."""
    return _IDLE.pop((os.getpid(), memory_limit_bytes, threads), None)


def _hardened(memory_limit_bytes: int, threads: int) -> duckdb.DuckDBPyConnection:
    con = duckdb.connect(
        ":memory:",
        config={
            "enable_external_access": "false",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "allow_unsigned_extensions": "false",
            "python_enable_replacements": "false",
            "temp_directory": "",
            "memory_limit": f"{memory_limit_bytes}B",
            "threads": str(threads),
        },
    )
    for macro, definitions in _macros().items():
        con.execute(f"CREATE MACRO {macro}{', '.join(definitions)}")
    con.execute("SET lock_configuration = true")
    return con


def _macros() -> dict[str, list[str]]:
    """Return the overloads of each guarding macro."""
    macros: dict[str, list[str]] = {}
    for head, size, argument, call in SIZE_GUARDS:
        name, _, params = head.partition("(")
        problem = f"{name} would make a value of more than {VALUE_SIZE_MAX} characters"
        kind = "INTEGER" if argument.endswith("INTEGER") else "VARCHAR"
        refused = f"'{problem}'::INTEGER::{kind}"  # error() is volatile: no window and no JOIN may hold it
        bounded = f"CASE WHEN {size} > {VALUE_SIZE_MAX} THEN {refused} ELSE {argument} END"
        macros.setdefault(name, []).append(f"({params} AS system.main.{call.format(bounded=bounded)}")
    return macros


def _past(
    con: duckdb.DuckDBPyConnection, relation: PastRelation, params: Params, past: PastRows | None
) -> tuple[pa.Table, Schema]:
    """Return a relation at its moment."""
    if past is None:
        raise VersionGone("there is no past here", where=relation.name, hint="leave AT (…) away")
    values = {key: value for key, value in _named(params).items() if key in relation.parameters}
    try:
        moment = con.execute(relation.moment, values or None).fetchall()[0][0]
    except duckdb.Error as error:
        raise sql_error(error) from error
    if moment is None:
        raise SqlError("AT (…) is NULL", where=relation.name, expected="a version or a time")
    if relation.unit == "VERSION" and not moment.lstrip("-").isdigit():
        raise SqlError(f"AT (VERSION => {moment}) is no version", where=relation.name, expected="a number")
    return past(relation.name, int(moment) if relation.unit == "VERSION" else moment)


def _named(params: Params) -> dict[str, Any]:
    """Return parameters by name; those of a list are named 1, 2, 3."""
    if isinstance(params, Mapping):
        return dict(params)
    return {str(number): value for number, value in enumerate(params, 1)}


def _left(params: Params, parsed: Parsed) -> Params:
    """Return the parameters that a rewritten statement still has."""
    if parsed.text is None:
        return params
    used = frozenset().union(*(relation.parameters for relation in parsed.past))
    return {
        key: value
        for key, value in _named(params).items()
        if key in parsed.parameters or key not in used
    }  # fmt: skip


def _loaded(tables: Mapping[str, TableSource], name: str) -> pa.Table:
    source = tables.get(name)
    if source is None:
        source = next((tables[key] for key in tables if key.lower() == name.lower()), None)
    if source is None:
        raise SqlError("the rows were not read", where=name)
    return source() if callable(source) else source


def _register(
    con: duckdb.DuckDBPyConnection, number: int, name: str, table: pa.Table, schema: Schema
) -> None:
    if not any(column.is_lossy for column in schema):
        con.register(name, table)
        return
    hidden = f"__rows_{number}"
    con.register(hidden, readable(table))
    columns = ", ".join(column.restored_sql for column in schema)
    con.execute(f"CREATE TEMP VIEW {quoted(name)} AS SELECT {columns} FROM {hidden}")


def quoted(name: str) -> str:
    """Return a name as a quoted SQL identifier."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _listing(schemas: Mapping[str, Schema]) -> tuple[pa.Table, Schema]:
    names = pa.table({"name": pa.array(sorted(schemas), pa.string())})
    return names, Schema((Column("name", "VARCHAR", pa.string()),))


def _statement(con: duckdb.DuckDBPyConnection, parsed: Parsed, text: str) -> str | duckdb.Statement:
    """Return the statement of a text that was asked before; the text itself where it is asked but once, as
    most ad-hoc ones are. DuckDB would parse a text three times for one answer.
    """
    if parsed.was_asked and parsed.statement is None:
        with suppress(duckdb.Error):
            parsed.statement = con.extract_statements(text)[0]
    parsed.was_asked = True
    return parsed.statement or text


def _answer(
    con: duckdb.DuckDBPyConnection, sql: str | duckdb.Statement, params: Params, limits: QueryLimits,
    watch: _Watch,
) -> tuple[pa.Table, Schema]:  # fmt: skip
    try:
        values = dict(params) if isinstance(params, Mapping) else list(params)
        relation = con.sql(sql, params=values) if values else con.sql(sql)
        if relation is None:
            raise SqlError("the statement has no answer", expected="a SELECT")
        names = _told_apart(relation.columns)
        types = [str(sql_type) for sql_type in relation.types]
        reader = relation.to_arrow_reader(BATCH_ROWS)
        batches = list(_bounded(reader, limits))
        schema = pa.schema([field.with_name(name) for field, name in zip(reader.schema, names, strict=True)])
        table = pa.table(pa.Table.from_batches(batches, schema=reader.schema).columns, schema=schema)
    except HeadraceError:
        raise
    except (duckdb.Error, OSError, pa.ArrowException, MemoryError) as error:
        raise watch.stopped() or sql_error(error) from error
    columns = zip(names, types, table.schema.types, strict=True)
    return table, Schema(tuple(Column(name, sql_type, arrow) for name, sql_type, arrow in columns))


def _bounded(reader: pa.RecordBatchReader, limits: QueryLimits) -> Iterator[pa.RecordBatch]:
    rows = size = 0
    for batch in reader:
        rows += batch.num_rows
        size += batch.nbytes
        if limits.rows_max is not None and rows > limits.rows_max:
            raise QueryStopped(
                "the answer has too many rows",
                expected=f"at most {limits.rows_max:,} rows",
                hint="add a LIMIT, a filter or an aggregate",
            )
        if limits.result_bytes_max is not None and size > limits.result_bytes_max:
            raise QueryStopped(
                "the answer is too large",
                expected=f"at most {limits.result_bytes_max:,} bytes",
                hint="select fewer columns or rows",
            )
        yield batch


def _told_apart(names: Sequence[str]) -> list[str]:
    taken: set[str] = set()
    result = []
    for name in names:
        candidate, number = name, 0
        while candidate.lower() in taken:
            number += 1
            candidate = f"{name}_{number}"
        taken.add(candidate.lower())
        result.append(candidate)
    return result


def sql_error(error: BaseException) -> HeadraceError:
    """Return DuckDB's error as ours: its first line, and the place in the text that it underlines."""
    message = str(error).strip()
    head, _, rest = message.partition(": ")
    if isinstance(error, duckdb.OutOfMemoryException | MemoryError) or head == "Out of Memory Error":
        return QueryStopped(OUT_OF_MEMORY, hint="filter or aggregate before sorting or joining")
    text = rest if head.endswith("Error") and rest else message
    if refused := _REFUSED.search(text):
        return SqlError(refused[1])
    kept = [line for line in text.splitlines() if line.strip() and not line.startswith("Did you mean")]
    return SqlError("\n".join(kept[:8]) or "the query failed")


class _Watch:
    """Looks at a running query and interrupts it at a limit, again and again: DuckDB forgets an early one."""

    def __init__(self, con: duckdb.DuckDBPyConnection, limits: QueryLimits, memory_bytes: int) -> None:
        self._con = con
        self._timeout_s = limits.timeout_s
        self._memory_bytes = memory_bytes
        self._done = threading.Event()
        self._reason: QueryStopped | None = None
        self._thread = threading.Thread(target=self._loop, name="headrace-query-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._done.set()
        self._thread.join()

    def stopped(self) -> QueryStopped | None:
        """Return why the query was interrupted, or None where it was not."""
        return self._reason

    def _loop(self) -> None:
        began, before = time.monotonic(), resident_bytes()
        while not self._done.wait(WATCH_S):
            took_s = time.monotonic() - began
            if self._timeout_s is not None and took_s > self._timeout_s:
                self._reason = QueryStopped(
                    "the query took too long",
                    expected=f"at most {self._timeout_s:g} seconds",
                    hint="filter or aggregate more, or declare it as a view",
                )
            elif resident_bytes() - before > 2 * self._memory_bytes:
                self._reason = QueryStopped(OUT_OF_MEMORY)
            if self._reason is not None:
                self._con.interrupt()


@contextmanager
def _watched(con: duckdb.DuckDBPyConnection, limits: QueryLimits, memory_bytes: int) -> Iterator[_Watch]:
    watch = _Watch(con, limits, memory_bytes)
    watch.start()
    try:
        yield watch
    finally:
        watch.end()


def resident_bytes() -> int:
    """Return the resident memory of this process, or 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4096
    except (OSError, ValueError, IndexError):
        return 0
