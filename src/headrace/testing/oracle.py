"""The oracle: what every view must hold, found without the engine.

It keeps every accepted row in plain Python, decides repeated, late and rejected rows by its own simple rules,
and asks DuckDB for the view's SQL over all of them, from scratch. Slow and obvious on purpose; only the
tables that DuckDB reads are kept between two questions, and its answer while none of them has changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from headrace.contracts.schema import Column, Schema
from headrace.contracts.shared_duckdb import SharedDuckdb
from headrace.contracts.types import sql_type
from headrace.declarations import StreamDecl, TableDecl
from headrace.intake import side_schemas
from headrace.query.python_functions import Registered
from headrace.results import RowStatus
from headrace.sql import plan_view, relations_of
from headrace.sql.plan import Session, ViewPlan
from headrace.testing.values import RefusedError, read_value
from headrace.testing.versions import Versions

if TYPE_CHECKING:
    from headrace.app import App

Row = dict[str, Any]
_OPTIMISER_FAILS = "BindBuiltinScalarFunction did not return"
"""What DuckDB 2.0 says where its statistics stumble over a constant part of, say, a `split_part`."""
_AS_TEXT = ("huge", "uuid", "json", "enum")


class ExpectedError(Exception):
    """DuckDB answers an error for a view over the accepted rows, such as a cast that fails.

    Attributes:
        is_limit: DuckDB cannot compute it, such as a join that it has not implemented, or where its
            optimiser fails: it has no opinion.
    """

    def __init__(self, message: str, *, is_limit: bool = False) -> None:
        super().__init__(message)
        self.is_limit = is_limit


@dataclass(slots=True)
class _Stream:
    """What the oracle knows of a stream: ids it has seen, and where its watermark stood when."""

    decl: StreamDecl
    late: list[Row] = field(default_factory=list)
    ids: dict[Any, Row] = field(default_factory=dict)
    stood: datetime | None = None
    heard: datetime | None = None

    def watermark(self, clock: datetime) -> datetime | None:
        """Return the watermark at a reading of the clock: it moves on by itself in silence."""
        if self.stood is None or self.heard is None:
            return None
        silence = clock - self.heard - self.decl.idle_after
        return self.stood + silence if silence.total_seconds() > 0 else self.stood

    def hear(self, clock: datetime, accepted: Iterable[Row]) -> None:
        """Move the watermark after a commit that brought accepted or late rows."""
        if self.decl.event_time is None or self.decl.lateness is None:
            return
        times = [utc(row[self.decl.event_time]) - self.decl.lateness for row in accepted]
        stood = self.watermark(clock)
        self.stood = max([*times, *([stood] if stood else [])], default=None)
        self.heard = clock


class Oracle:
    """A second opinion on an app; feed it the same rows as the run, then compare `expected(view)`.

    Rows are dicts of JSON or Python values; what a column does not accept is rejected here as at the door.

    Args:
        app: the declarations; only streams, tables and SQL texts are read.
    """

    def __init__(self, app: App) -> None:
        self._decls: dict[str, StreamDecl | TableDecl] = {**app.streams, **app.tables}
        self._views: dict[str, str] = {decl.name: decl.sql for decl in app.view_decls.values()}
        self._functions = dict(app.functions)
        self._rows: dict[str, list[Row]] = {name: [] for name in self._decls}
        self._keyed: dict[str, dict[Any, Row]] = {name: {} for name, decl in app.tables.items() if decl.key}
        self._sequences: dict[str, dict[Any, Any]] = {name: {} for name in app.tables}
        self._streams = {name: _Stream(decl) for name, decl in app.streams.items()}
        self._histories: dict[str, str] = {}
        self._versions = {name: Versions(decl) for name, decl in app.tables.items() if decl.effective}
        for name, versions in self._versions.items():
            history = app.tables[name].history_name
            self._decls[history] = TableDecl(history, versions.schema)
            self._histories[history] = name
            self._rows[history] = []
        self._plans: dict[str, ViewPlan] = {}
        self._con: duckdb.DuckDBPyConnection | None = None
        self._stale: set[str] = set(self._decls)
        self._held: dict[str, int] = {}
        self._moved: Counter[str] = Counter()
        self._asked: dict[str, tuple[tuple[str | int, ...], pa.Table | ExpectedError]] = {}
        self._kept: dict[str, pa.Table | ExpectedError] = {}
        self._refreshed: dict[str, datetime] = {}
        self._due: set[str] = set()
        self._open: dict[str, tuple[datetime | None, list[Row]]] | None = None

    # --- rows in ------------------------------------------------------------------------------------

    @contextmanager
    def commit(self, clock: datetime) -> Iterator[None]:
        """Take the calls of the block as one commit: lateness is decided against the watermark before it."""
        self._open = {}
        try:
            yield
        finally:
            heard, self._open = self._open, None
            for name, (_, rows) in heard.items():
                self._streams[name].hear(clock, rows)

    def append(self, stream: str, rows: Iterable[Row], clock: datetime) -> list[RowStatus]:
        """Take rows into a stream and return what must become of each."""
        if self._open is None:
            with self.commit(clock):
                return self.append(stream, rows, clock)
        known = self._streams[stream]
        watermark, _ = self._open.get(stream, (known.watermark(clock), []))
        statuses = []
        for row in rows:
            read = self._read(known.decl, row)
            status = RowStatus.REJECTED if read is None else self._decide(known, read, watermark, clock)
            if read is not None and status in (RowStatus.ACCEPTED, RowStatus.LATE):
                heard = self._open.setdefault(stream, (watermark, []))[1]
                if status == RowStatus.ACCEPTED:
                    heard.append(read)
            statuses.append(status)
        return statuses

    def _decide(self, stream: _Stream, row: Row, watermark: datetime | None, clock: datetime) -> RowStatus:
        decl = stream.decl
        at = None if decl.event_time is None else row[decl.event_time]
        if decl.event_time is not None and (at is None or utc(at) > clock + decl.max_ahead):
            return RowStatus.REJECTED
        if decl.event_id is not None:
            if row[decl.event_id] is None:
                return RowStatus.REJECTED
            known = stream.ids.get(row[decl.event_id])
            if known is not None:
                return RowStatus.REPEATED if repr(known) == repr(row) else RowStatus.REJECTED
            stream.ids[row[decl.event_id]] = row
        if at is not None and watermark is not None and utc(at) < watermark:
            stream.late.append(row)
            return RowStatus.LATE
        self._rows[decl.name].append(row)
        self._stale.add(decl.name)
        return RowStatus.ACCEPTED

    def upsert(self, table: str, rows: Iterable[Row]) -> list[RowStatus]:
        """Insert or replace rows by key, the last of a call wins; into a bag: add them."""
        decl = self._table(table)
        read = [self._read(decl, row) for row in rows]
        if decl.key is None:
            self._rows[table] += [row for row in read if row is not None]
            return [RowStatus.REJECTED if row is None else RowStatus.ACCEPTED for row in read]
        if table in self._versions:
            return self._versions[table].upsert(read)
        held = self._keyed[table]
        older = self._older(decl, read)
        last = {_key(row, decl.key): at for at, row in enumerate(read) if row is not None and at not in older}
        statuses = []
        for at, row in enumerate(read):
            if row is None or at in older:
                statuses.append(RowStatus.REJECTED if row is None else RowStatus.REPEATED)
                continue
            key = _key(row, decl.key)
            is_same = last[key] == at and key in held and repr(held[key]) == repr(row)
            statuses.append(RowStatus.REPEATED if is_same else RowStatus.ACCEPTED)
        held.update({key: read[at] for key, at in last.items() if statuses[at] == RowStatus.ACCEPTED})
        return statuses

    def _older(self, decl: TableDecl, rows: list[Row | None]) -> set[int]:
        """Return which rows have a smaller sequence than one before them, held, deleted or of this call."""
        older: set[int] = set()
        if decl.key is None or decl.sequence is None:
            return older
        known = self._sequences[decl.name]
        for at, row in enumerate(rows):
            if row is None:
                continue
            key, sequence = _key(row, decl.key), row[decl.sequence]
            if key in known and sequence < known[key]:
                older.add(at)
            else:
                known[key] = sequence
        return older

    def delete(self, table: str, rows: Iterable[Row], clock: datetime | None = None) -> list[RowStatus]:
        """Delete by key, or one copy of a whole row from a bag; rows that are not held are rejected.

        Args:
            table: its name.
            rows: keys, with sequence and effective time where the table has them and the call says them.
            clock: the append clock, from which a deletion holds that says nothing else.
        """
        decl = self._table(table)
        if table in self._versions:
            loose = [replace(column, nullable=column.name not in (decl.key or ())) for column in decl.schema]
            names = (*(decl.key or ()), *(name for name in (decl.sequence, decl.effective) if name))
            read = [self._read(replace(decl, schema=Schema.of(loose)), row, names) for row in rows]
            return self._versions[table].delete(read, utc(clock or datetime.now(UTC)))
        return [self._delete(decl, row) for row in rows]

    def _delete(self, decl: TableDecl, row: Row) -> RowStatus:
        read = self._read(decl, row, decl.key)
        if read is None:
            return RowStatus.REJECTED
        if decl.key is not None:
            gone = self._keyed[decl.name].pop(_key(read, decl.key), None)
            return RowStatus.REJECTED if gone is None else RowStatus.ACCEPTED
        for at, held in enumerate(self._rows[decl.name]):
            if repr(held) == repr(read):
                del self._rows[decl.name][at]
                return RowStatus.ACCEPTED
        return RowStatus.REJECTED

    def _table(self, name: str) -> TableDecl:
        decl = self._decls[name]
        assert isinstance(decl, TableDecl)
        self._stale |= {name, decl.history_name} & self._decls.keys()
        return decl

    def _read(
        self, decl: StreamDecl | TableDecl, row: Row, only: tuple[str, ...] | None = None
    ) -> Row | None:
        """Return a row with every declared column, or None where a column refuses its value."""
        columns = [column for column in decl.schema if only is None or column.name in only]
        if only is None and row.keys() - {column.name for column in columns}:
            return None
        try:
            read = {
                column.name: read_value(sql_type(column.sql_type), row.get(column.name)) for column in columns
            }
        except RefusedError:
            return None
        missing = any(read[column.name] is None and not column.nullable for column in columns)
        return None if missing else read

    # --- definitions --------------------------------------------------------------------------------

    def define(self, view: str, sql: str) -> None:
        """Add a view, or give it another definition."""
        self._views[view] = sql
        self._plans, self._asked, self._kept = {}, {}, {}

    def drop(self, view: str) -> None:
        """Forget a view."""
        del self._views[view]
        self._plans, self._asked, self._kept = {}, {}, {}

    @property
    def views(self) -> tuple[str, ...]:
        """The names of the views."""
        return tuple(self._views)

    # --- views that refresh apart -------------------------------------------------------------------

    def open(self, clock: datetime) -> None:
        """Take the run as opened, also again: every view that refreshes apart is computed."""
        self._refreshed = {}
        self.advance(clock)

    def advance(self, clock: datetime) -> None:
        """Take the rows so far as stepped: views that refresh apart are computed where they are due."""
        every = {name: plan.refresh for name, plan in self._planned().items() if plan.refresh is not None}
        last = self._refreshed
        self._due = {name for name in every if name not in last or clock - last[name] >= every[name]}
        if self._due:
            self.answers(self._due, clock)
        self._refreshed |= dict.fromkeys(self._due, clock)
        self._due = set()

    # --- answers ------------------------------------------------------------------------------------

    def rows(self, relation: str) -> list[Row]:
        """Return the accepted rows of a stream, or the present rows of a table."""
        if relation in self._versions:
            return self._versions[relation].held()
        if relation in self._histories:
            return self._versions[self._histories[relation]].history()
        if relation in self._keyed:
            return list(self._keyed[relation].values())
        return self._rows[relation]

    def late(self, stream: str) -> list[Row]:
        """Return the late rows of a stream."""
        return self._streams[stream].late

    def watermarks(self, clock: datetime) -> dict[str, datetime]:
        """Return where the watermark of each stream that has one stands."""
        found = ((name, stream.watermark(clock)) for name, stream in self._streams.items())
        return {name: at for name, at in found if at is not None}

    def expected(self, view: str, clock: datetime | None = None) -> pa.Table:
        """Return DuckDB's answer for the view over the accepted rows.

        Args:
            view: its name.
            clock: what `now()` is, and how long streams have been silent; only views about them need it.

        Raises:
            ExpectedError: where DuckDB answers an error about the data; the view must then be in error too.
        """
        answer = self.answers([view], clock)[view]
        if isinstance(answer, ExpectedError):
            raise answer
        return answer

    def answers(
        self, views: Iterable[str] | None = None, clock: datetime | None = None
    ) -> dict[str, pa.Table | ExpectedError]:
        """Return DuckDB's answer, or its error, for several views; None: for all."""
        con = self._connected()
        answers: dict[str, pa.Table | ExpectedError] = {}
        wanted = set(self._views if views is None else views)
        plans = self._planned()
        read = {at for plan in plans.values() for at in plan.relations}
        self._load_what_changed(con, read)
        for name, plan in plans.items():
            if name in wanted or name.lower() in read:
                answer = self._answer(con, name, plan, clock, is_read=name.lower() in read)
                answers |= {name: answer} if name in wanted else {}
        return answers

    def _answer(
        self,
        con: duckdb.DuckDBPyConnection,
        name: str,
        plan: ViewPlan,
        clock: datetime | None,
        *,
        is_read: bool,
    ) -> pa.Table | ExpectedError:
        """Return DuckDB's answer for a view; the same question about the same rows is asked once.

        A view that refreshes apart keeps its answer between two times, and shows it where none of those that
        it reads is in error.
        """
        below = (self._asked[at][1] for at in self._views if at.lower() in plan.relations)
        error = next((answer for answer in below if isinstance(answer, ExpectedError)), None)
        if name in self._refreshed and name in self._kept and name not in self._due:
            answer = error or self._kept[name]
            if answer is not self._asked[name][1]:
                self._moved[name.lower()] += 1
                self._asked[name] = (self._asked[name][0], answer)
            return answer
        sql = self._sql(plan, clock)
        asked: tuple[str | int, ...] = (sql, *(self._moved[at] for at in plan.relations))
        if name in self._asked and self._asked[name][0] == asked and plan.refresh is None:
            return self._asked[name][1]
        answer = error or _answer(con, sql, name if is_read else None)
        self._asked[name] = (asked, answer)
        self._kept[name] = answer
        self._moved[name.lower()] += 1
        return answer

    def _sql(self, plan: ViewPlan, clock: datetime | None) -> str:
        """Return what DuckDB is asked: with now() as it was, and without what may still change."""
        if clock is None:
            return plan.reference_sql
        sql = plan.reference_at(clock)
        if plan.emit is None:
            return sql
        column = "window_end" if "window_end" in plan.schema else plan.event_time_columns[0]
        marks = self.watermarks(clock)
        streams = self._streams_below(plan)
        reached = min((marks[name] for name in streams if name in marks), default=None)
        if reached is None or not streams <= marks.keys():
            return f"SELECT * FROM ({sql}) WHERE false"
        grows = any(isinstance(node, Session) for node in plan.root.walk())  # a row at its end is in it
        sign = "<=" if column == "window_end" and not grows else "<"
        bound = reached.replace(tzinfo=None).isoformat(sep=" ")
        return f"SELECT * FROM ({sql}) WHERE \"{column}\" {sign} TIMESTAMP '{bound}'"

    def _streams_below(self, plan: ViewPlan) -> set[str]:
        """Return the streams whose rows a view is made of, through other views."""
        plans = {name.lower(): other for name, other in self._planned().items()}
        streams = {name for name in self._streams if name.lower() in plan.relations}
        below = (self._streams_below(plans[at]) for at in plan.relations if at in plans)
        return streams.union(*below)

    def plan(self, view: str) -> ViewPlan:
        """Return the plan of a view, whose reference SQL DuckDB is asked."""
        return self._planned()[view]

    def _planned(self) -> dict[str, ViewPlan]:
        """Return the plans of all views, each after those that it reads."""
        if self._plans.keys() == self._views.keys():
            return self._plans
        catalog = {name.lower(): decl.schema for name, decl in self._decls.items()}
        for decl in self._decls.values():
            catalog |= {name.lower(): schema for name, schema in side_schemas(decl).items()}
        times = {
            name.lower(): stream.decl.event_time
            for name, stream in self._streams.items()
            if stream.decl.event_time
        }
        waiting = dict(self._views)
        made: dict[str, ViewPlan] = {}
        needs = {name: set(relations_of(sql)) for name, sql in waiting.items()}
        while waiting:
            open_ = {name.lower() for name in waiting}
            name = next(name for name in waiting if not needs[name] & open_)
            made[name] = plan_view(
                name, waiting.pop(name), catalog, event_times=times, functions=self._functions
            )
            catalog[name.lower()] = made[name].schema
        self._plans = made
        return made

    def _connected(self) -> duckdb.DuckDBPyConnection:
        """Return the connection whose temporary tables hold the rows."""
        if self._con is None:
            self._con = self._connection()
            for name, decl in self._decls.items():
                columns = ", ".join(f'"{column.name}" {column.sql_type}' for column in decl.schema)
                self._con.execute(f'CREATE TEMP TABLE "{name}" ({columns})')
        return self._con

    def _connection(self) -> duckdb.DuckDBPyConnection:
        """Return a new connection; with Python functions to a database of its own: they are known by name."""
        if not self._functions:
            return _DATABASE.cursor()
        con = _database()
        Registered(lambda: self._functions).refresh(con)
        return con

    def _load_what_changed(self, con: duckdb.DuckDBPyConnection, read: set[str]) -> None:
        """Fill the tables that a view reads, where rows came or went."""
        stale = {name for name in self._stale if name.lower() in read}
        for name in sorted(stale):
            self._load(con, self._decls[name])
            self._moved[name.lower()] += 1
        self._stale -= stale

    def _load(self, con: duckdb.DuckDBPyConnection, decl: StreamDecl | TableDecl) -> None:
        rows = self.rows(decl.name)
        held = self._held.get(decl.name, 0)
        if isinstance(decl, StreamDecl):  # its rows never go
            rows = rows[held:]
        elif held:
            con.execute(f'DELETE FROM "{decl.name}"')
        self._held[decl.name] = len(self.rows(decl.name))
        if not rows:
            return
        arrays = [_carried(column, [row[column.name] for row in rows]) for column in decl.schema]
        con.register("__rows", pa.Table.from_arrays(arrays, names=list(decl.schema.names)))  # until the next
        con.execute(f'INSERT INTO "{decl.name}" SELECT * FROM __rows')

    def close(self) -> None:
        """Give DuckDB's connection back; the next question opens another."""
        if self._con is not None:
            self._con.close()
            self._con = None
            self._stale = set(self._decls)
            self._held, self._asked, self._kept = {}, {}, {}

    def __enter__(self) -> Oracle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _answer(con: duckdb.DuckDBPyConnection, sql: str, keep: str | None) -> pa.Table | ExpectedError:
    """Ask DuckDB for a view; keep the answer as a table of that name for the views that read it."""
    try:
        if keep is None:
            return con.sql(sql).to_arrow_table()
        con.execute(f'CREATE OR REPLACE TEMP TABLE "{keep}" AS {sql}')
        return con.sql(f'SELECT * FROM "{keep}"').to_arrow_table()
    except duckdb.Error as error:
        if isinstance(error, (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException)):
            raise
        is_limit = isinstance(error, (duckdb.NotImplementedException, duckdb.InternalException))
        is_limit = is_limit or _OPTIMISER_FAILS in str(error)
        return ExpectedError(str(error), is_limit=is_limit)


def _database() -> duckdb.DuckDBPyConnection:
    """Open the DuckDB whose cursors the oracles ask; temporary tables are a cursor's own.

    With one thread it would wait for ever in an ASOF RIGHT or FULL JOIN where right rows have no match.
    """
    con = duckdb.connect(":memory:", config={"threads": 2})
    con.execute("SET GLOBAL TimeZone = 'UTC'")
    con.execute("SET enable_progress_bar = false")
    con.execute("SET python_enable_replacements = false")
    return con


_DATABASE = SharedDuckdb(_database)


def _carried(column: Column, values: list[Any]) -> pa.Array:
    """Return values as they travel to DuckDB; what Arrow lacks goes as text and is cast there."""
    if sql_type(column.sql_type).kind not in _AS_TEXT:
        return pa.array(values, type=column.arrow)
    return pa.array([None if value is None else str(value) for value in values], type=pa.string())


def _key(row: Mapping[str, Any], key: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(row[name] for name in key)


def utc(at: datetime) -> datetime:
    """Return the time as aware UTC; naive values are UTC already."""
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
