"""What is read of a running app: answers, snapshots, changes, what there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

import pyarrow as pa

from headrace.change import Change, as_batch
from headrace.contracts.lineage import Fitting
from headrace.contracts.schema import Schema
from headrace.engine.engine import Engine
from headrace.engine.store import ViewStore
from headrace.errors import BadRequest, DeclarationError, UnknownName, ViewInError, in_memory
from headrace.feed import with_version
from headrace.lateness import late_rows
from headrace.named_queries import NamedQuery
from headrace.parts import Parts
from headrace.past import Moment
from headrace.query import QueryLimits
from headrace.query.keyed import Rows
from headrace.recall import Recall, freshness_at
from headrace.refresher import as_of as refreshed_as_of
from headrace.relations import (
    KEPT_PREFIX,
    NEW_SUFFIX,
    Answer,
    RelationInfo,
    order_sql,
    view_info,
)
from headrace.results import Freshness, Version
from headrace.retention import history_from
from headrace.sql.plan import ViewPlan


class Reading(Parts):
    """How rows are read."""

    def query(
        self, sql: str, params: Sequence[Any] | Mapping[str, Any] = (), *, as_of: Moment | None = None
    ) -> pa.Table:
        """Answer one SELECT over views, tables, streams and side tables, all at one version: see `answer`."""
        return self.answer(sql, params, as_of=as_of).table

    def answer(
        self,
        sql: str,
        params: Sequence[Any] | Mapping[str, Any] = (),
        *,
        limits: QueryLimits | None = None,
        kinds: Sequence[str] = ("view", "table", "stream", "side"),
        as_of: Moment | None = None,
    ) -> Answer:
        """Answer one SELECT, with version and freshness.

        Args:
            sql: DuckDB SQL, read-only; `FROM view AT (VERSION => n)` or `AT (TIMESTAMP => t)` reads one
                relation as it was.
            params: values for `?` or `$name`.
            limits: time, memory and rows; None: the defaults.
            kinds: which kinds of relations may be read.
            as_of: read everything as it was: a version, or a time, which means the newest version whose clock
                is not later; None: as it is now.

        Raises:
            SqlError, UnknownName, ViewInError, QueryStopped.
            OutOfMemory: there was no memory for it; nobody else has suffered.
            VersionGone: the past of that version is not kept.
            VersionAhead: there is no such version yet.
        """
        self._check_open()
        with in_memory("the query was not answered"):
            return self._answered(sql, params, limits, kinds, as_of)

    def _answered(
        self, sql: str, params: Sequence[Any] | Mapping[str, Any], limits: QueryLimits | None,
        kinds: Sequence[str], as_of: Moment | None,
    ) -> Answer:  # fmt: skip
        recall = self._recall(kinds)
        names = self._reader.mentioned(sql, recall.names())
        if as_of is not None:
            return self._answer_at(sql, params, limits, recall, names, self._past.moment(as_of))
        recall.refuse_unknown(names)
        schemas = {info.name: info.schema for info in self._infos() if info.kind in kinds}
        seen = self._reader.seen(sql, params, schemas, recall.names())
        version, freshness, tables = self._tables(names, seen)
        known = {**dict.fromkeys(recall.names(), Schema(())), **schemas}
        table, schema = self._reader.run(
            sql, params, tables, known, limits or QueryLimits(), recall.at_moment
        )  # fmt: skip
        return Answer(table, schema, version, freshness, self.refreshed(*names), self.history_from(*names))

    def _recall(self, kinds: Sequence[str]) -> Recall:
        return Recall(self._past, self._log, self._bases, self._infos(), kinds)

    def freshness_of(self, version: Version) -> Freshness:
        """Return how old an answer of a version is, and how many commits are not in it."""
        now = self.version
        following = None if version.number >= now.number else self._past.moment(version.number + 1)
        return freshness_at(version, now, following, self._log.last_commit, self._clock())

    def _answer_at(
        self, sql: str, params: Sequence[Any] | Mapping[str, Any], limits: QueryLimits | None, recall: Recall,
        names: Sequence[str], version: Version,
    ) -> Answer:  # fmt: skip
        tables, schemas = recall.tables(names, version)
        table, schema = self._reader.run(
            sql, params, tables, schemas, limits or QueryLimits(), recall.at_moment
        )  # fmt: skip
        freshness = self.freshness_of(version)
        return Answer(table, schema, version, freshness, {}, self.history_from(*names))

    def history_from(self, *names: str) -> datetime | None:
        """Return from when on all rows are in some relations and all they read, UTC; None: all there ever
        were.
        """
        return history_from(names, self._plans, self._log.trimmed())

    def ask(
        self, name: str, params: Mapping[str, Any] | None = None, *, limits: QueryLimits | None = None,
        as_of: Moment | None = None,
    ) -> Answer:  # fmt: skip
        """Answer a declared query, with version and freshness.

        Args:
            name: as `app.query` declared it.
            params: values by parameter; text is cast to the parameter's type.
            limits: time, memory and rows; None: the defaults.
            as_of: as for `answer`.

        Raises:
            UnknownName: there is no such query.
            BadRequest: a parameter is missing, or unknown, or its value not of its type or no choice.
            SqlError, ViewInError, QueryStopped, VersionGone, VersionAhead: as for `answer`.
        """
        asked = self.named_query(name)
        if asked.answer is not None and as_of is not None:
            raise BadRequest(
                f"the query {asked.name!r} is answered of the present only", hint="leave out as_of"
            )
        values = asked.values(params or {})
        self._check_values(asked, values, as_of)
        given = self.answer(asked.text, values, limits=limits, as_of=as_of)
        return given if asked.answer is None else self._told(asked, given)

    def _check_values(self, asked: NamedQuery, values: Mapping[str, Any], as_of: Moment | None) -> None:
        """Refuse what a query cannot be asked with, before it is; what it has of itself is not looked at."""
        self._check_open()
        given = asked.unsure(values)
        if not given:
            return
        cast = self._reader.run(asked.cast_sql(given), given, {}, {}, QueryLimits())[0].to_pylist()[0]
        for one, text in asked.refuse(given, cast):
            assert one.choices_of is not None
            other = self.named_query(one.choices_of)
            wanted = {each.name: values[each.name] for each in other.parameters if each.name in values}
            found = self.answer(other.text, other.values(wanted), as_of=as_of).table.column(0).to_pylist()
            choices = list(dict.fromkeys([*one.choices, *(str(each) for each in found if each is not None)]))
            if text not in choices:
                raise asked.refusal(one, text, choices=choices)

    def _told(self, asked: NamedQuery, given: Answer) -> Answer:
        """Return what a Python function answers to values that have been cast, in the columns declared."""
        assert asked.answer is not None
        assert asked.columns is not None
        told = asked.answer(self, given.table.to_pylist()[0])
        arrow = asked.columns.arrow
        try:
            table = told if isinstance(told, pa.Table) else pa.Table.from_pylist(list(told), schema=arrow)
            table = table.select(arrow.names).cast(arrow)
        except (KeyError, TypeError, pa.ArrowException) as error:
            raise DeclarationError(
                f"the answer has other columns than declared: {error}"[:300],
                where=f"query {asked.name!r}",
                expected=", ".join(f"{column.name} {column.sql_type}" for column in asked.columns),
            ) from error
        return replace(given, table=table, schema=asked.columns)

    def named_query(self, name: str) -> NamedQuery:
        """Return a declared query.

        Raises:
            UnknownName: there is no such query.
        """
        found = {known.lower(): one for known, one in self.app.named_queries.items()}.get(name.lower())
        if found is None:
            raise UnknownName.of("query", name, self.app.named_queries)
        return found

    def asked_schema(self, name: str) -> Schema:
        """Return the columns that a declared query answers with.

        Raises:
            UnknownName, SqlError: there is none, or none that its choices are of, or its SQL does not bind.
        """
        asked = self.named_query(name)
        for one in asked.parameters:
            if one.choices_of is not None:
                self.named_query(one.choices_of)
        if asked.columns is not None:
            return asked.columns
        schemas = {info.name: info.schema for info in self._infos()}
        none = {known: schema.arrow.empty_table() for known, schema in schemas.items()}
        sql = f"SELECT * FROM ({asked.text}\n) LIMIT 0"
        return self._reader.run(sql, asked.unasked(), none, schemas)[1]

    def refreshed(self, *views: str) -> dict[str, Version]:
        """Return of which version each view is that refreshes apart, among some views and all they read."""
        return refreshed_as_of(self._engine, views, self._plans)

    def _asked(self, plan: ViewPlan) -> tuple[Version, pa.Table]:
        """Ask DuckDB for a view, over the newest version of all that it reads; `now()` is now, for a version
        may be old where nothing but time has passed since.
        """
        schemas = {info.name: info.schema for info in self._infos()}
        version, _, tables = self._tables([name for name in schemas if name.lower() in plan.relations])
        sql = plan.reference_at(self._clock())
        limits = QueryLimits.unbounded()
        return version, self._reader.run(sql, (), tables, schemas, limits, of_view=True)[0]

    def read(self, view: str, *, as_of: Moment | None = None) -> Answer:
        """Return all rows of one view, table or side table, in the order that its SQL names, if any; `as_of`
        as for `answer`.
        """
        name, listed = self._shown(view, as_of)
        order = f" ORDER BY {listed}" if listed else ""
        return self.answer(f'SELECT * FROM "{name}"{order}', limits=QueryLimits.unbounded(), as_of=as_of)

    def _shown(self, view: str, as_of: Moment | None) -> tuple[str, str | None]:
        """Return name and order of a relation as it is, or was."""
        if as_of is not None and view.lower() not in self._bases:
            described = self._past.described(view, self._past.moment(as_of).number)
            if described is not None:
                return described.name, described.order
        info = self.relation(view)
        plan = self._plans.get(info.name.lower())
        return info.name, order_sql(plan) if plan and plan.order else None

    def snapshot(self, view: str, *, as_of: Moment | None = None) -> tuple[Version, pa.Table]:
        """Return the version and all rows of a view, table or side table, in no order; `as_of` as for
        `answer`.
        """
        self._check_open()
        with in_memory("the rows were not read"):
            if as_of is not None:
                then = self._past.moment(as_of)
                return then, self._recall(("view", "table", "stream", "side")).at(view, then)[0]
            version, _, tables = self._tables([self.relation(view).name])
            return version, next(iter(tables.values()))()

    def _tables(
        self, names: Sequence[str], seen: Mapping[str, Rows] | None = None
    ) -> tuple[Version, Freshness, dict[str, Callable[[], pa.Table]]]:
        """Return the rows of relations at one version, without those that nobody would see."""
        tables: dict[str, Callable[[], pa.Table]] = {}
        for name in names:
            if not self._is_logged(name) and not name.lower().endswith(NEW_SUFFIX):
                with suppress(Exception):  # is told below
                    self._store(name).freeze()  # nobody else need wait for what this reader asks for
        with self._standing(names):
            version, freshness = self._stepper.version, self._stepper.freshness
            for name in names:
                if self._is_logged(name):
                    info, fitting = self._bases[name.lower()], self._log.fitting
                    tables[name] = partial(self._logged_rows, info, version, fitting)
                else:
                    rows, only = self._store(name).freeze(), (seen or {}).get(name)
                    tables[name] = partial(rows.where, only) if only else rows.table
        return version, freshness, tables

    @contextmanager
    def _standing(self, names: Sequence[str]) -> Iterator[None]:
        """Have one version stand for a moment; a step may go on computing the next one, unless views in
        preparation are asked for, which must be brought to the version first.
        """
        with ExitStack() as held:
            if any(name.lower().endswith(NEW_SUFFIX) for name in names):
                held.enter_context(self._stepper.gate)
            held.enter_context(self._stepper.shown)
            yield

    def _store(self, name: str) -> ViewStore:
        found = self._preparing(name)
        if found is None:
            return self._engine.store(self._engine_name(name))
        plan, engine = found
        error = engine.view_error(plan.name)
        if error is not None:
            raise ViewInError(error, where=name, hint="change the definition and apply it again")
        return engine.store(plan.name)

    def _preparing(self, name: str) -> tuple[ViewPlan, Engine] | None:
        """Return plan and engine of `<view>__new`, at the running version; None: no such view is prepared."""
        change = self._definitions.change
        if change is None or not name.lower().endswith(NEW_SUFFIX):
            return None
        found = change.shadow_view(name[: -len(NEW_SUFFIX)])
        if found is not None:
            change.hold()
        return found

    def _is_logged(self, name: str) -> bool:
        info = self._bases.get(name.lower())
        return info is not None and info.is_logged

    def _engine_name(self, name: str) -> str:
        lowered = name.lower()
        if self._is_logged(name):
            raise UnknownName(
                f"{name!r} is a stream: its rows only come, and nothing is kept of them beside the log",
                where=name, expected="a view or a table",
                hint=f"read it with query, or follow a view of it: SELECT * FROM {lowered}",
            )  # fmt: skip
        if lowered in self._bases:
            return KEPT_PREFIX + lowered
        error = self._engine.view_error(lowered)
        if error is not None:
            raise ViewInError(error, where=name, hint="remove the row that causes it, or replace the view")
        return lowered

    def _logged_rows(self, info: RelationInfo, version: Version, fitting: Fitting) -> pa.Table:
        changes = self._log.history(
            info.name, upto_commit=version.commit, fitting=fitting, without=version.held
        )
        return pa.Table.from_batches([change.rows for change in changes], schema=info.schema.arrow)

    def changes(
        self, view: str, since: int | Version | None = None, *, follow: bool = False
    ) -> Iterator[pa.Table]:
        """Yield Arrow tables with the view's columns, `_weight` and `_version`.

        Args:
            view: a view or a table.
            since: the version that the caller has; None begins with all rows of the present version.
            follow: wait for more instead of ending at the present.

        Raises:
            VersionGone: changes right after `since` are no longer kept.
        """
        name = self._engine_name(self.relation(view).name)
        if since is None:
            version, rows = self.snapshot(view)
            seen = version.number
            yield with_version(Change.inserts(as_batch(rows)), seen)
        else:
            seen = int(since)
        while True:
            ended = self._closed
            latest, tables = self._past.since(name, seen)
            yield from tables
            seen = max(seen, latest)
            if not follow or ended:
                return
            self._feed.wait_beyond(seen, timeout_s=1.0)

    def explain(self, view: str) -> Any:
        """Return the view's operators: rule, state, cost."""
        name = self._engine_name(self.relation(view).name)
        with self._stepper.gate:
            return late_rows(self._engine, self._plans).told(self._engine.explain(name))

    def relations(self) -> list[RelationInfo]:
        """Return every readable name: streams, tables, side tables and views, with counts and errors."""
        infos = self._infos()
        with self._standing([info.name for info in infos]):
            return [self._counted(info) for info in infos]

    def relation_errors(self) -> dict[str, str | None]:
        """Return of every readable name why it has no answer at present; None: it has one. It is asked often,
        and counts no rows: for that, what waits to go into the contents would have to be put in.
        """
        infos = self._infos()
        with self._standing([info.name for info in infos]):
            return {info.name: self._error_of(info) for info in infos}

    def relation(self, name: str, *, as_of: Moment | None = None) -> RelationInfo:
        """Return one readable name; `as_of`, as for `answer`: as it was.

        Raises:
            UnknownName: with a *did you mean*.
            VersionGone, VersionAhead: as for `answer`.
        """
        if as_of is not None and name.lower() not in self._bases:
            then = self._past.described(name, self._past.moment(as_of).number)
            if then is not None:
                return RelationInfo(
                    then.name, "view", then.schema, sql=then.sql, key=then.key, order=then.order
                )  # fmt: skip
        found = self._info(name.lower())
        if found is None:
            raise UnknownName.of("stream, table or view", name, (info.name for info in self._infos()))
        return found

    def _info(self, name: str) -> RelationInfo | None:
        """Return what has a name, in lower case; it is asked often, so not all are listed for it."""
        plan = self._plans.get(name)
        if plan is not None:
            return view_info(plan)
        known = self._bases.get(name)
        return known or next((info for info in self._new() if info.name.lower() == name), None)

    def _infos(self) -> list[RelationInfo]:
        return [*self._bases.values(), *(view_info(plan) for plan in self._plans.values()), *self._new()]

    def _new(self) -> list[RelationInfo]:
        change = self._definitions.change
        new = [] if change is None else change.shadow_plans()
        return [replace(view_info(plan), name=plan.name + NEW_SUFFIX) for plan in new]

    def _error_of(self, info: RelationInfo) -> str | None:
        if info.is_logged:
            return None
        found = self._preparing(info.name)
        if found is not None:
            plan, engine = found
            return engine.view_error(plan.name)
        lowered = info.name.lower()
        return self._engine.view_error(KEPT_PREFIX + lowered if lowered in self._bases else lowered)

    def _counted(self, info: RelationInfo) -> RelationInfo:
        if info.is_logged:
            return info
        lowered = info.name.lower()
        found = self._preparing(info.name)
        if found is not None:
            plan, engine = found
            rows, error = engine.store(plan.name).freeze().row_count, engine.view_error(plan.name)
            return replace(info, rows=rows, error=error)
        name = KEPT_PREFIX + lowered if lowered in self._bases else lowered
        rows = self._engine.store(name).freeze().row_count
        return replace(info, rows=rows, error=self._engine.view_error(name))
