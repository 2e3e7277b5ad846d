"""What a user declares: streams, tables, views and dashboards. Declaring runs nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from headrace.contracts.annotations import EventTime
from headrace.contracts.column_list import parse_columns
from headrace.contracts.durations import Duration, duration
from headrace.contracts.keeping import check_window, delivery_of, retention_of
from headrace.contracts.models import event_time_of, model_schema
from headrace.contracts.names import check_column, check_columns, check_name
from headrace.contracts.schema import Schema
from headrace.contracts.types import sql_type
from headrace.declarations import (
    DEFAULT_EVENT_ID_WINDOW,
    DEFAULT_IDLE_AFTER,
    DEFAULT_MAX_AHEAD,
    REACH_ROWS_MAX,
    RECOMPUTE_ROWS_MAX,
    Checkpointing,
    SinkDecl,
    StreamDecl,
    TableDecl,
    ViewDecl,
    options_of,
    with_options,
)
from headrace.deliveries import Receive, SourceDecl
from headrace.errors import DeclarationError, ProjectError
from headrace.facts import stream_of, table_of
from headrace.functions import Form, PythonFunction, declare, folded, recalled
from headrace.named_queries import NamedQuery, PythonAnswer, named_query, python_query
from headrace.query_parts import QueryPart, with_parts

if TYPE_CHECKING:
    from headrace.runtime import Run

Columns = type[BaseModel] | str | Schema
"""A model, or a SQL column list such as `"url TEXT NOT NULL, price DECIMAL(18,2)"`."""

OnChange = Literal["refuse", "apply", "keep"]
"""What to do with a data folder that was written under other declarations."""

_KEY_KINDS_REFUSED = {"float", "json", "struct", "list", "array", "map", "interval", "other"}
_HISTORY_COLUMNS = ("valid_from", "valid_to", "_deleted", "_order", "_valid_from", "_valid_to")
_EVENT_TIME_TYPES = ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE")


class App:
    """The declarations of one application.

    Args:
        name: shown on pages and kept in the data folder.
        folder: what relative paths start from; the folder of the calling file where it is not given.

    Raises:
        DeclarationError: an empty name.
    """

    def __init__(self, name: str, *, folder: str | Path | None = None) -> None:
        if not isinstance(name, str) or not name.strip():
            raise DeclarationError("an app needs a name", expected='text, such as hr.App("shop")')
        self.name = name
        self.folder = Path(folder) if folder is not None else _calling_folder()
        self.dashboards: list[Any] = []
        self._streams: dict[str, StreamDecl] = {}
        self._tables: dict[str, TableDecl] = {}
        self._views: dict[str, ViewDecl] = {}
        self._functions: dict[str, PythonFunction] = {}
        self._sinks: dict[str, SinkDecl] = {}
        self._queries: dict[str, NamedQuery] = {}
        self._parts: dict[str, QueryPart] = {}
        self._metrics: dict[str, NamedQuery] = {}
        self._sources: dict[str, SourceDecl] = {}

    def __repr__(self) -> str:
        counts = f"{len(self._streams)} streams, {len(self._tables)} tables, {len(self._views)} views"
        return f"<App {self.name!r}: {counts}>"

    @property
    def streams(self) -> Mapping[str, StreamDecl]:
        """The declared streams by name, in the order of declaration."""
        return MappingProxyType(self._streams)

    @property
    def tables(self) -> Mapping[str, TableDecl]:
        """The declared tables by name, in the order of declaration."""
        return MappingProxyType(self._tables)

    @property
    def view_decls(self) -> Mapping[str, ViewDecl]:
        """The declared views by name; a view may read another one that is declared later."""
        return MappingProxyType(self._views)

    @property
    def functions(self) -> Mapping[str, PythonFunction]:
        """The declared Python functions by lower-case name."""
        return MappingProxyType(self._functions)

    @property
    def sources(self) -> Mapping[str, SourceDecl]:
        """The declared sources of deliveries by name."""
        return MappingProxyType(self._sources)

    @property
    def named_queries(self) -> Mapping[str, NamedQuery]:
        """The declared queries by name."""
        return MappingProxyType(self._queries)

    @property
    def metrics(self) -> Mapping[str, NamedQuery]:
        """The app's own metrics by name."""
        return MappingProxyType(self._metrics)

    @property
    def sinks(self) -> Mapping[str, SinkDecl]:
        """The declared sinks by name."""
        return MappingProxyType(self._sinks)

    def stream(
        self,
        name: str,
        columns: Columns,
        *,
        event_id: str | None = None,
        event_time: str | None = None,
        lateness: Duration | None = None,
        idle_after: Duration | None = None,
        max_ahead: Duration | None = None,
        event_id_window: Duration | None = None,
        append_time: str | None = None,
        retention: Duration | None = None,
        delivery: str = "exactly_once",
        renamed: Mapping[str, str] = MappingProxyType({}),
    ) -> StreamDecl:
        """Declare an append-only stream.

        Args:
            name: unique among streams, tables and views, without regard to case.
            columns: a model, or a SQL column list.
            event_id: column whose repeated values count once.
            event_time: column that says when the event happened; or annotate it with `hr.event_time`.
            lateness: allowed disorder; a row that is later is kept in `<name>__late`. None: never late.
            idle_after: silence after which the watermark moves on at the clock's pace (default 5 min).
            max_ahead: how far beyond the append clock an event time may lie (default 1 h).
            event_id_window: how long event ids are remembered (default 30 days).
            append_time: TIMESTAMP column that is filled with the append clock, whatever the sender wrote.
            retention: how long rows are kept, such as `"90d"`, or how much of them, such as `"20GB"`; views
                over the stream must then say `history_from="kept"`. None: for ever.
            renamed: former names of columns, each with the name of now: `{"total": "amount"}`; rows may carry
                either, and rows in the log are read so.
            delivery: what an append promises: `"exactly_once"`; `"at_least_once"`, where a repeated event id
                counts once whatever its row says; `"at_most_once"`, where it returns before the row is on
                disk, and a crash may lose it.

        Raises:
            DeclarationError: a name, column or duration makes no sense.
        """
        where = f"stream {check_name('stream', name, self._taken())!r}"
        schema, model = _read_columns(where, columns)
        marked = event_time_of(model) if model else None
        if event_time is None and marked:
            event_time = marked[0]
        marks = marked[1] if marked and marked[0] == event_time else EventTime()
        spans = {
            "lateness": _span(where, "lateness", lateness, marks.lateness),
            "idle_after": _span(where, "idle_after", idle_after, marks.idle_after),
            "max_ahead": _span(where, "max_ahead", max_ahead, marks.max_ahead),
        }
        event_time = _check_event_time(where, event_time, schema, spans)
        if event_id is not None:
            event_id = check_column(where, "event_id", event_id, schema)
            _check_key_type(where, "event_id", event_id, schema)
        elif event_id_window is not None:
            raise DeclarationError("event_id_window without event_id", where=where, expected="event_id=…")
        declared = StreamDecl(
            name,
            _not_null(schema, [column for column in (event_id, event_time) if column]),
            model,
            event_id,
            event_time,
            spans["lateness"],
            spans["idle_after"] or DEFAULT_IDLE_AFTER,
            DEFAULT_MAX_AHEAD if spans["max_ahead"] is None else spans["max_ahead"],
            _span(where, "event_id_window", event_id_window, None) or DEFAULT_EVENT_ID_WINDOW,
            _check_append_time(where, append_time, schema, (event_id, event_time)),
            retention_of(retention, where=where),
            delivery_of(delivery, event_id, where=where),
            _check_renamed(where, renamed, schema),
        )
        check_window(declared.retention, declared.event_id_window, event_id, where)
        self._streams[name] = declared
        return declared

    def table(
        self,
        name: str,
        columns: Columns,
        *,
        key: str | Sequence[str] | None = None,
        effective: str | None = None,
        sequence: str | None = None,
        renamed: Mapping[str, str] = MappingProxyType({}),
    ) -> TableDecl:
        """Declare a table that changes by key, or a bag of rows where `key` is None.

        Args:
            name: unique among streams, tables and views, without regard to case.
            columns: a model, or a SQL column list.
            key: one column or several; a NULL in them is rejected.
            effective: TIMESTAMP column from when a row is valid; with it, `<name>__history` holds every
                accepted version with `valid_from` and `valid_to`.
            sequence: column that orders the versions of one key; an older one never overwrites a newer one.
                With `effective`, it enters the history, and a sequence that has been, with other content, is
                rejected.
            renamed: former names of columns, as for `stream`.

        Raises:
            DeclarationError: a name or column makes no sense.
        """
        where = f"table {check_name('table', name, self._taken())!r}"
        schema, model = _read_columns(where, columns)
        keys = _read_key(where, key, schema)
        for role, value in (("effective", effective), ("sequence", sequence)):
            if value is not None and keys is None:
                raise DeclarationError(f"{role} without key", where=where, expected="key=…")
        if effective is not None:
            effective = check_column(where, "effective", effective, schema)
            _check_time_type(where, "effective", effective, schema)
            _check_history(where, effective, schema)
        if sequence is not None:
            sequence = check_column(where, "sequence", sequence, schema)
            _check_key_type(where, "sequence", sequence, schema)
        required = [*(keys or ()), *(column for column in (effective, sequence) if column)]
        others = _check_renamed(where, renamed, schema)
        declared = TableDecl(name, _not_null(schema, required), model, keys, effective, sequence, others)
        self._tables[name] = declared
        return declared

    def view(
        self, name: str, sql: str, *, emit: str | None = None, refresh: str | None = None,
        history: str | None = None, history_from: str | None = None,
    ) -> ViewDecl:  # fmt: skip
        """Declare a view: its SQL reads streams, tables and other views, declared before or later.

        Args:
            name: unique among streams, tables and views, without regard to case.
            sql: one SELECT.
            emit: `"final"`: only rows that nothing can change any more, because `window_end`, or another
                column that follows event time, has passed the watermark. A line `-- emit: final` in the SQL
                says the same. None: every row as it is now.
            refresh: such as `"10s"`: the view is computed anew so often, beside the steps and from a
                consistent snapshot; it then is of an older version than the others, which every answer names.
                A line `-- refresh: 10s` in the SQL says the same. None: it moves with every step.
            history: such as `"30d"`: how long it can be asked what the view was; `"0"`: not at all. A line
                `-- history: 30d` in the SQL says the same. None: 7 days.
            history_from: `"kept"`: over the rows that are kept, where a stream has a `retention`; its answers
                then say from when on its rows are all there. A line `-- history_from: kept` in the SQL says
                the same. None: over all rows there ever were; refused where a stream has a retention.

        Raises:
            DeclarationError: the name or an option makes no sense, or there is no SQL.
        """
        where = f"view {check_name('view', name, self._taken())!r}"
        if isinstance(sql, str) and sql.strip().strip(";"):
            sql = with_options(sql, emit=emit, refresh=refresh, history=history, history_from=history_from)
            options_of(sql, where=where)
        return self._add_view(ViewDecl(name, sql))

    def views(self, folder: str | Path) -> list[ViewDecl]:
        """Declare one view for each `.sql` file in a folder; the file's name is the view's name.

        A relative folder starts from the file that made the app.

        Raises:
            ProjectError: there is no such folder, or a file cannot be read.
            DeclarationError: a file's name cannot be the name of a view, or the file is empty.
        """
        return [self._add_view(self._read_view(file)) for file in self._sql_files(folder, "views")]

    def _sql_files(self, folder: str | Path, call: str) -> list[Path]:
        path = self.folder / folder
        if not path.is_dir():
            raise ProjectError(
                f"there is no folder {folder}", where=f"{call}({str(folder)!r})", expected=str(path)
            )
        return sorted(path.glob("*.sql"))

    def _read_view(self, file: Path) -> ViewDecl:
        sql = _text_of(file)
        try:
            name = check_name("view", file.stem, self._taken())
        except DeclarationError as error:
            error.where = f"{file}: {error.where}"
            error.args = (error.render(),)
            raise
        return ViewDecl(name, sql, file)

    def _add_view(self, declared: ViewDecl) -> ViewDecl:
        if not isinstance(declared.sql, str) or not declared.sql.strip().strip(";"):
            where = str(declared.path) if declared.path else f"view {declared.name!r}"
            raise DeclarationError("the view has no SQL", where=where, expected="a SELECT")
        self._views[declared.name] = declared
        return declared

    def query(self, name: str, sql: str) -> NamedQuery:
        """Declare a query that is asked for by name: `run.ask`, `GET /v1/queries/{name}`, a panel.

        Its parameters stand as `$name` in the SQL, and are described in comments before it, as in
        `-- $merchant TEXT: whose` or `-- $since DATE = 2026-01-01: the first day`; one without a default must
        be given.

        Raises:
            DeclarationError: the name is taken, or a parameter is not described.
        """
        return self._add_query(name, sql)

    def queries(self, folder: str | Path) -> list[NamedQuery]:
        """Declare one query for each `.sql` file in a folder; the file's name is the query's name.

        Raises:
            ProjectError: there is no such folder, or a file cannot be read.
            DeclarationError: as for `query`.
        """
        files = self._sql_files(folder, "queries")
        return [self._add_query(file.stem, _text_of(file), file) for file in files]

    def python_query(
        self, name: str, answer: PythonAnswer, *, columns: Columns, wants: str = ""
    ) -> NamedQuery:
        """Declare a query that a Python function answers, for what SQL cannot tell, such as `run.difference`.

        Args:
            name: unique among queries, views, tables and streams.
            answer: takes the run, and a value by parameter, cast to its type; returns a pyarrow.Table, or a
                list of dicts. Called in a reader's thread; must not write, nor change at the same version.
            columns: a model, or a SQL column list.
            wants: what it answers and its parameters, as the comments of `query`.

        Raises:
            DeclarationError: the name is taken, or columns or parameters are described wrongly.
        """
        name = check_name("query", name, self._taken())
        schema, _ = _read_columns(f"query {name!r}", columns)
        self._queries[name] = python_query(name, answer, schema, wants)
        return self._queries[name]

    def _add_query(self, name: str, sql: str, path: Path | None = None) -> NamedQuery:
        self._queries[name] = named_query(check_name("query", name, self._taken()), sql, path, self._parts)
        return self._queries[name]

    def query_part(self, name: str, sql: str) -> QueryPart:
        """Declare SQL that several queries share: a SELECT or an expression, which they name as `{name}`.

        It stands in parentheses there, and its parameters become the query's; `{name(by => $other)}` gives it
        `$other` for its `$by`. Parts may name parts; they are declared before the queries that name them.

        Raises:
            DeclarationError, UnknownName: the name is taken, or it cannot be put together.
        """
        self._parts = with_parts(self._parts, [(name, sql, None)])
        return self._parts[name]

    def query_parts(self, folder: str | Path) -> list[QueryPart]:
        """Declare one part of queries for each `.sql` file in a folder; they may name each other.

        Raises:
            ProjectError: there is no such folder, or a file cannot be read.
            DeclarationError, UnknownName: as for `query_part`.
        """
        files = self._sql_files(folder, "query_parts")
        self._parts = with_parts(self._parts, [(file.stem, _text_of(file), file) for file in files])
        return [self._parts[file.stem] for file in files]

    def metric(self, name: str, sql: str) -> NamedQuery:
        """Declare numbers of the app's own for `/metrics`, as `headrace_app_<name>`.

        The SQL is asked at each scrape, with the defaults of its parameters. Its column `value` is the
        number; all other columns are labels, each row a sample. Its first comments are the metric's help.

        Raises:
            DeclarationError: the name is taken by another metric, or the SQL cannot be read.
        """
        taken = [(known, "metric") for known in self._metrics]
        declared = named_query(check_name("metric", name, taken), sql, parts=self._parts)
        if any(one.is_required for one in declared.parameters):
            raise DeclarationError("nobody gives a metric's parameters", where=f"metric {name!r}",
                                   expected="a default for each")  # fmt: skip
        self._metrics[name] = declared
        return declared

    def source(self, name: str, receive: Receive, *, signed: bool = False) -> SourceDecl:
        """Declare what a delivery to `POST /v1/sources/{name}` means, such as a webhook of another system.

        Args:
            name: unique among sources.
            receive: takes an `hr.Delivery` and returns the changes it means, as a list of `hr.Put`; what it
                raises is answered. It must not read the clock or the run, so that a delivery that comes again
                means the same.
            signed: `receive` itself checks who sends; the server then asks for no token.

        Raises:
            DeclarationError: the name makes no sense or is taken, or `receive` cannot be called.
        """
        where = f"source {check_name('source', name, [(known, 'source') for known in self._sources])!r}"
        if not callable(receive):
            raise DeclarationError("receive cannot be called", where=where, expected="a function")
        declared = self._sources[name] = SourceDecl(name, receive, signed)
        return declared

    def function(
        self,
        name: str,
        fn: Callable[..., Any],
        *,
        args: Sequence[str],
        returns: str,
        version: str = "1",
        rowwise: bool = False,
    ) -> PythonFunction:
        """Declare a Python function that the SQL of any view may call, row by row.

        Its answer is stored under its arguments while some row holds them, and taken back as it was stored.
        Another source text, another type or another `version` is another function: the views that call it are
        built again.

        Args:
            name: as SQL calls it, without regard to case; none of SQL's own.
            fn: takes one pyarrow array per argument and returns an array, or a list, of the same length.
            args: SQL types of the arguments, which are cast to them; NULL comes as NULL.
            returns: SQL type of the answer.
            version: say another one where what `fn` does changes but not its text, such as a new model.
            rowwise: `fn` takes the Python values of one row instead, and returns one value.

        Raises:
            DeclarationError: the name is SQL's own, a type is unknown, or `fn` cannot be called.
        """
        form: Form = "rowwise" if rowwise else "columnar"
        return self._add_function(declare(name, fn, args, returns, version, form))

    def aggregate_function(
        self,
        name: str,
        fn: Callable[[list[Any]], Any] | None = None,
        *,
        args: Sequence[str],
        returns: str,
        version: str = "1",
        init: Callable[[], Any] | None = None,
        update: Callable[..., Any] | None = None,
        finish: Callable[[Any], Any] | None = None,
    ) -> PythonFunction:
        """Declare a Python function of the rows of a group; FILTER, DISTINCT and ORDER BY work inside it.

        A step asks for the touched groups only, and costs their size.

        Args:
            name: as SQL calls it, without regard to case; none of SQL's own.
            fn: takes the list of the group's values, or of tuples where there are several arguments, in the
                order of the ORDER BY inside the call, else ascending; empty where FILTER leaves nothing.
            args: SQL types of the arguments.
            returns: SQL type of the answer.
            version: as for `function`.
            init: instead of `fn`: makes a state,
            update: takes the state and the values of a row, and returns the next state,
            finish: takes the last state and returns the answer; without it the state is the answer.

        Raises:
            DeclarationError: as for `function`; or neither `fn` nor `init` with `update`.
        """
        if fn is None:
            if init is None or update is None:
                raise DeclarationError(
                    "nothing to call", where=f"function {name!r}", expected="fn, or init and update"
                )
            fn = folded(init, update, finish, len(args))
        return self._add_function(declare(name, fn, args, returns, version, "aggregate"))

    def _add_function(self, declared: PythonFunction) -> PythonFunction:
        if declared.name in self._functions:
            raise DeclarationError("declared twice", where=f"function {declared.name!r}")
        self._functions[declared.name] = declared
        return declared

    def sink(
        self, view: str, url: str, *, name: str | None = None, every: Duration | None = None, **options: Any
    ) -> SinkDecl:
        """Declare that a view's changes go to a database, a file or a store, in the background.

        A sink is no definition: it may come, go or change at any opening of a data folder.

        Args:
            view: a view or a table.
            url: its scheme names the kind of sink; `kind:///relative` starts from the app's folder.
            name: the sink keeps its position under it; `<view>-<scheme>` where it is not given.
            every: pause between deliveries, such as `10s`; None: as soon as there is something.
            options: of that kind of sink.

        Raises:
            UnknownName: no kind of sink has that scheme, or the kind has no such option.
            DeclarationError: a second sink of that name.
        """
        from headrace.sinks.registry import kind_of

        name = name or f"{view}-{url.partition(':')[0].lower()}"
        where = f"sink {name!r}"
        if name in self._sinks:
            raise DeclarationError("declared twice", where=where, hint="give one of them a name=")
        pause = None if every is None else duration(every, where=f"{where}, every")
        declared = SinkDecl(name, view, url, dict(options), pause)
        kind_of(declared)
        self._sinks[name] = declared
        return declared

    def dashboard(self, what: Any) -> Any:
        """Declare a page: a `hr.Dashboard`, a YAML file, or a folder of YAML files; returns it.

        Raises:
            ProjectError: there is no such file or folder.
        """
        if isinstance(what, (str, Path)):
            path = self.folder / what
            if not path.exists():
                raise ProjectError(
                    f"there is no file or folder {what}",
                    where=f"dashboard({str(what)!r})",
                    expected=str(path),
                )
            what = path
        self.dashboards.append(what)
        return what

    def open(
        self,
        path: str | Path | None,
        *,
        auto: bool = False,
        clock: Callable[[], datetime] | None = None,
        on_change: OnChange = "refuse",
        state_bytes_max: int | None = None,
        recompute_rows_max: int = RECOMPUTE_ROWS_MAX,
        reach_rows_max: int = REACH_ROWS_MAX,
        checkpoints: Checkpointing | None = None,
        sinks: bool | None = None,
    ) -> Run:
        """Open the app: in memory, or durable in a data folder, which is made where it is missing.

        Args:
            path: the data folder; None: everything in memory.
            auto: step in the background as soon as something is committed, as `headrace run` does.
            clock: the present time, UTC; None: the machine's. Tests give a `headrace.testing.ManualClock`.
            on_change: where the folder was written under other declarations: `refuse` it with the plan of the
                change, `apply` the change before anything else, or `keep` those of the folder.
            state_bytes_max: bytes of state that may lie in memory; what is beyond, the longest unused first,
                lies in files of the data folder, or of the system's temporary folder. None: all in memory.
            recompute_rows_max: input rows up to which a part without an incremental rule may be recomputed at
                every step; beyond, its view is in error until it declares `refresh`.
            reach_rows_max: rows that a change of a few rows of a keyed table may reach in a step, where the
                run steps by itself (`auto`); one that reaches more is computed aside while steps go on, and
                is in all views at once when it is done.
            checkpoints: when the state is written down in the background, and how many times over it is kept.
            sinks: deliver to the declared sinks; None: where there is a data folder and it is not only looked
                at (`on_change="keep"`). So a trial in memory never empties what the real run has filled.

        Raises:
            SqlError: a view's SQL does not parse or bind.
            DeclarationsChanged: the folder was written under other declarations.
            ChangeFailed: they cannot be applied to what the folder holds.
            StorageError: the folder cannot be used.
        """
        from headrace.runtime import open_run

        return open_run(
            self,
            None if path is None else Path(path),
            auto=auto,
            clock=clock,
            on_change=on_change,
            state_bytes_max=state_bytes_max,
            recompute_rows_max=recompute_rows_max,
            reach_rows_max=reach_rows_max,
            checkpoints=checkpoints,
            sinks=sinks,
        )

    def fingerprint(self) -> dict[str, Any]:
        """Return all declarations as JSON values, for the log: equal declarations give equal values."""
        functions = {name: item.facts() for name, item in sorted(self._functions.items())}
        return {
            "app": self.name,
            "streams": {name: _stream_facts(item) for name, item in sorted(self._streams.items())},
            "tables": {name: _table_facts(item) for name, item in sorted(self._tables.items())},
            "views": {name: item.sql for name, item in sorted(self._views.items())},
            **({"functions": functions} if functions else {}),
        }

    def _as_declared(self, facts: Mapping[str, Any]) -> App:
        """Return the app that `fingerprint` gave those facts of; what is declared alike keeps its models."""
        now = self.fingerprint()
        app = App(facts["app"], folder=self.folder)
        for name, found in facts["streams"].items():
            same = found == now["streams"].get(name)
            app._streams[name] = self._streams[name] if same else stream_of(name, found)
        for name, found in facts["tables"].items():
            same = found == now["tables"].get(name)
            app._tables[name] = self._tables[name] if same else table_of(name, found)
        app._views = {name: ViewDecl(name, sql) for name, sql in facts["views"].items()}
        for name, found in facts.get("functions", {}).items():
            same = found == now.get("functions", {}).get(name)
            app._functions[name] = self._functions[name] if same else recalled(name, found)
        app._queries, app._metrics = self._queries, self._metrics
        app._sources = self._sources
        app.dashboards = self.dashboards
        app._sinks = dict(self._sinks)
        return app

    def _taken(self) -> Iterable[tuple[str, str]]:
        kinds: dict[str, Iterable[str]] = {
            "stream": self._streams,
            "table": self._tables,
            "view": self._views,
            "query": self._queries,
        }
        for kind, names in kinds.items():
            yield from ((name, kind) for name in names)


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(
            f"the file cannot be read: {error}", where=str(file), expected="UTF-8 text"
        ) from None


def _calling_folder() -> Path:
    """Return the folder of the file that called `App(…)`, or the working folder."""
    frame = sys._getframe(2)
    file = frame.f_globals.get("__file__")
    return Path(file).resolve().parent if file else Path.cwd()


def _read_columns(where: str, columns: Columns) -> tuple[Schema, type[BaseModel] | None]:
    model = None
    if isinstance(columns, type) and issubclass(columns, BaseModel) and columns is not BaseModel:
        schema, model = model_schema(columns), columns
    elif isinstance(columns, str):
        schema = parse_columns(columns, where=where)
    elif isinstance(columns, Schema):
        schema = columns
    else:
        raise DeclarationError(
            f"{columns!r} declares no columns",
            where=where,
            expected="a class derived from hr.Event or hr.Table, "
            'or a SQL column list such as "url TEXT NOT NULL, price DECIMAL(18,2)"',
        )
    check_columns(where, schema)
    return schema, model


def _span(where: str, role: str, given: Duration | None, marked: timedelta | None) -> timedelta | None:
    return marked if given is None else duration(given, where=f"{where}, {role}")


def _check_event_time(
    where: str, name: str | None, schema: Schema, spans: Mapping[str, timedelta | None]
) -> str | None:
    if name is not None:
        name = check_column(where, "event_time", name, schema)
        _check_time_type(where, "event_time", name, schema)
        return name
    for role, span in spans.items():
        if span is not None:
            raise DeclarationError(
                f"{role} without event time",
                where=where,
                expected="event_time=…, or a field with hr.event_time(…)",
            )
    return None


def _check_append_time(
    where: str, name: str | None, schema: Schema, others: tuple[str | None, str | None]
) -> str | None:
    if name is None:
        return None
    name = check_column(where, "append_time", name, schema)
    _check_time_type(where, "append_time", name, schema)
    if name in others or not schema[name].nullable:
        raise DeclarationError(
            f"append_time={name!r} is not free to be filled",
            where=where,
            expected="a column that may be NULL, and is neither event id nor event time",
        )
    return name


def _check_renamed(where: str, renamed: Mapping[str, str], schema: Schema) -> tuple[tuple[str, str], ...]:
    """Return the other names of columns, sorted, each with the column's name as declared."""
    for other in renamed:
        if not isinstance(other, str) or not other or other in schema:
            raise DeclarationError(
                f"renamed says {other!r}, which is no former name", where=where,
                expected='former names that no column has now: {"total": "amount"}',
            )  # fmt: skip
    return tuple(
        sorted((other, check_column(where, "renamed", name, schema)) for other, name in renamed.items())
    )


def _check_time_type(where: str, role: str, name: str, schema: Schema) -> None:
    found = schema[name].sql_type
    if found not in _EVENT_TIME_TYPES:
        raise DeclarationError(f"{role}={name!r} is a {found}", where=where, expected="a TIMESTAMP column")


def _check_history(where: str, effective: str, schema: Schema) -> None:
    """Refuse columns that a table's history has itself."""
    for name in schema.names:
        given = name.lower() in _HISTORY_COLUMNS
        if given and (name, name.lower(), schema[name].sql_type) != (effective, "valid_from", "TIMESTAMP"):
            raise DeclarationError(
                f"the column name {name!r} is reserved where a table keeps its history",
                where=where,
                expected="valid_from as a TIMESTAMP and effective=, or another name",
            )


def _check_key_type(where: str, role: str, name: str, schema: Schema) -> None:
    found = sql_type(schema[name].sql_type)
    if found.kind in _KEY_KINDS_REFUSED:
        raise DeclarationError(
            f"{role}={name!r} is a {found.sql}, whose equality or order is not exact",
            where=where,
            expected="integer, decimal, text, UUID, date or time",
        )


def _read_key(where: str, key: str | Sequence[str] | None, schema: Schema) -> tuple[str, ...] | None:
    if key is None:
        return None
    names = (key,) if isinstance(key, str) else tuple(key)
    found = tuple(check_column(where, "key", name, schema) for name in names)
    if not found or len(set(found)) < len(found):
        raise DeclarationError(
            f"key={key!r} is no key", where=where, expected="one column or several, each once"
        )
    for name in found:
        _check_key_type(where, "key", name, schema)
    return found


def _not_null(schema: Schema, names: Sequence[str]) -> Schema:
    """Return the schema in which those columns refuse NULL."""
    return Schema.of(replace(column, nullable=False) if column.name in names else column for column in schema)


def _column_facts(schema: Schema) -> list[list[Any]]:
    return [[column.name, column.sql_type, column.nullable, column.privacy] for column in schema]


def _ms(span: timedelta | None) -> float | None:
    return None if span is None else span / timedelta(milliseconds=1)


def _stream_facts(declared: StreamDecl) -> dict[str, Any]:
    return {
        "columns": _column_facts(declared.schema),
        "event_id": declared.event_id,
        "event_time": declared.event_time,
        "lateness_ms": _ms(declared.lateness),
        "idle_after_ms": _ms(declared.idle_after),
        "max_ahead_ms": _ms(declared.max_ahead),
        "event_id_window_ms": _ms(declared.event_id_window),
        **({"append_time": declared.append_time} if declared.append_time else {}),
        **({"retention": declared.retention.text} if declared.retention else {}),
        **({"delivery": declared.delivery} if declared.delivery != "exactly_once" else {}),
        **({"renamed": dict(declared.renamed)} if declared.renamed else {}),
    }


def _table_facts(declared: TableDecl) -> dict[str, Any]:
    return {
        "columns": _column_facts(declared.schema),
        "key": list(declared.key) if declared.key else None,
        "effective": declared.effective,
        "sequence": declared.sequence,
        **({"renamed": dict(declared.renamed)} if declared.renamed else {}),
    }
