"""The one place that ties log, engine, state and outlets together: a running app."""

from __future__ import annotations

import atexit
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal
from weakref import WeakSet

import pyarrow as pa

from headrace.app import App, OnChange
from headrace.change import Change, as_batch
from headrace.contracts.validate import validate
from headrace.declarations import RECOMPUTE_ROWS_MAX, StreamDecl, TableDecl
from headrace.definitions import Changeover, ChangePlan
from headrace.definitions.changeover import Definition
from headrace.engine.engine import Engine
from headrace.engine.memory import Memory
from headrace.engine.store import ViewStore
from headrace.errors import Busy, Closed, DeclarationError, DeclarationsChanged, UnknownName, ViewInError
from headrace.feed import Feed, with_version
from headrace.intake import Call, Intake, side_schemas
from headrace.keeper import EVERY_S, Keeper, version_in
from headrace.lateness import late_rows
from headrace.log.files import Files
from headrace.log.log import Log
from headrace.log.records import Declared, Record
from headrace.query import QueryLimits, Reader
from headrace.redefine import OnBusy, Redefinition
from headrace.refresher import Refresher, as_of
from headrace.relations import (
    KEPT_PREFIX,
    NEW_SUFFIX,
    Answer,
    RelationInfo,
    Rows,
    deletion_schema,
    kept_plan,
    order_sql,
    view_info,
    watched,
)
from headrace.results import AppendResult, Freshness, Version
from headrace.sql import plan_view
from headrace.sql.plan import ViewPlan
from headrace.state.checkpoint import Facts, Written
from headrace.state.replay import Replay
from headrace.stepper import Outlet, Stepper
from headrace.transaction import Transaction
from headrace.turns import Turns

Kind = Literal["append", "upsert", "delete"]

PENDING_ROWS_MAX = 2_000_000
"""Durable rows that may wait for a step before appends are told to come back later."""


_open_runs: WeakSet[Run] = WeakSet()


class Run:
    """An open app. Thread-safe. Use as a context manager, or call `close`.

    Args:
        app: the declarations.
        path: the data folder, or None for memory only.
        auto: step in the background by itself; otherwise `advance` steps.
        clock: current UTC time; tests set their own.
        on_change: what to do where the folder was written under other declarations.
        memory: the bound on state in memory; None: no bound.
        recompute_rows_max: input rows up to which what has no incremental rule is recomputed at every step.
        checkpoint_every_s: pause between checkpoints in the background, where the run steps by itself.
        files: the file system; tests give one with faults.
    """

    def __init__(
        self,
        app: App,
        path: Path | None,
        *,
        auto: bool = False,
        clock: Callable[[], datetime] | None = None,
        on_change: OnChange = "refuse",
        memory: Memory | None = None,
        recompute_rows_max: int = RECOMPUTE_ROWS_MAX,
        checkpoint_every_s: float = EVERY_S,
        files: Files | None = None,
    ) -> None:
        self.app = app
        self.path = path
        self._memory = memory
        self._recompute_rows_max = recompute_rows_max
        self._clock = clock or (lambda: datetime.now(UTC))
        self._closed = False
        self._decls: dict[str, StreamDecl | TableDecl] = {}
        self._bases: dict[str, RelationInfo] = {}
        self._plans: dict[str, ViewPlan] = {}
        self._created: dict[str, str] = {}
        self._definitions = Redefinition(self)
        self._keeper: Keeper | None = None
        self._files = files
        self._fed: Callable[[], int] = lambda: 0
        self._reader = Reader(functions=lambda: self.app.functions)
        self._feed = Feed()
        self._log = Log.open(path, files=files)
        try:
            self._open(auto, on_change)
            if self._keeper is not None and auto:
                self._keeper.start(checkpoint_every_s)
        except BaseException:
            self._log.close()
            raise

    # --- opening ----------------------------------------------------------------------------------

    def _base_relations(self, app: App) -> Iterator[tuple[str, RelationInfo]]:
        """Yield the readable names that an app's streams and tables bring, by lower-case name."""
        decls: list[StreamDecl | TableDecl] = [*app.streams.values(), *app.tables.values()]
        for decl in decls:
            kind = "stream" if isinstance(decl, StreamDecl) else "table"
            key = decl.key if isinstance(decl, TableDecl) else None
            yield decl.name.lower(), RelationInfo(decl.name, kind, decl.schema, key=key)
            for name, schema in side_schemas(decl).items():
                yield name.lower(), RelationInfo(name, "side", schema)

    def _open(self, auto: bool, on_change: OnChange) -> None:
        wanted, logged = self.app, self._log.last_declared()
        facts = None if logged is None else logged.declarations
        if facts is not None:
            self._created = dict(facts.get("created", {}))
            if any(facts.get(kind) != found for kind, found in wanted.fingerprint().items()):
                self.app = wanted._as_declared(facts)
        self._engine = Engine(memory=self._memory, recompute_rows_max=self._recompute_rows_max)
        self._intake = Intake(dict(self.app.streams), dict(self.app.tables), self._log, self._clock)
        self._stepper = Stepper(self._engine, self._intake, self._log, self._feed, self._clock, auto=auto)
        self._refresher = Refresher(self._engine, self._stepper, self._asked, self._clock, auto=auto)
        change = self._refused(wanted) if on_change == "refuse" and self.app is not wanted else None
        begun = self._restored(facts)
        self._declare_relations(self.app)
        for plan in self._definitions.definition(self.app).plans.values():
            if plan.name.lower() not in self._engine:
                self._engine.add_view(plan, self._history)
            self._plans[plan.name.lower()] = plan
        version, switched = self._replay(begun)
        self._log.on_durable(self._stepper.on_durable)
        self._log.on_durable(self._definitions.rows.count)
        self._stepper.start(version)
        if facts is None or (change is not None and change.is_empty):
            self.app = wanted
            self._declare()
        elif switched:
            with self._stepper.gate:  # a reader of the version before the switch must not take this for it
                self._stepper.publish({})
        if self.app is not wanted and on_change == "apply":
            self.apply(wanted)
        self._refresher.start()

    def _restored(self, declarations: dict[str, Any] | None) -> Facts | None:
        """Take over the newest checkpoint of the folder, if there is one that can be used."""
        if self.path is None:
            return None
        self._keeper = Keeper(
            self.path, self._engine, self._intake, gate=lambda: self._stepper.gate,
            version=lambda: self._stepper.version, declared=self._declared_facts,
            rows=lambda: dict(self._definitions.rows.counts), files=self._files,
            functions=lambda: self.app.functions,
        )  # fmt: skip
        facts = self._keeper.restore(declarations, self._history)
        if facts is not None:
            self._definitions.rows.counts.update(facts.rows)
        return facts

    def _declared_facts(self) -> dict[str, Any]:
        return {**self.app.fingerprint(), "created": dict(self._created)}

    def _refused(self, wanted: App) -> ChangePlan:
        """Return the plan of a change that changes nothing.

        Raises:
            DeclarationsChanged: it changes something.
        """
        self._plans = dict(self._definitions.definition(self.app).plans)
        plan = self._definitions.plan(self._definitions.definition(wanted))
        self._plans = {}
        if plan.is_empty:
            return plan
        raise DeclarationsChanged(
            "the data folder was written under other declarations:\n" + plan.text(),
            where=str(self.path) if self.path else self.app.name,
            hint='`headrace plan` shows it; `headrace apply`, or open(…, on_change="apply"), does it',
            plan=plan.as_dict(),
        )

    def _declare_relations(self, app: App) -> None:
        """Make streams and tables known to engine and readers; those that are known stay as they are."""
        decls: list[StreamDecl | TableDecl] = [*app.streams.values(), *app.tables.values()]
        self._decls = {decl.name.lower(): decl for decl in decls}
        for name, info in self._base_relations(app):
            if name in self._bases:
                continue
            self._bases[name] = info
            self._engine.add_relation(
                name, info.schema, append_only=info.kind != "table", event_time=self._watched(name)
            )
            if info.kind in ("table", "side") and KEPT_PREFIX + name not in self._engine:
                self._engine.add_view(kept_plan(info), self._history)

    def _watched(self, name: str) -> str | None:
        """Return the event-time column of a stream that has a watermark, None for all else."""
        return watched(self._decls.get(name.lower()))

    def _replay(self, begun: Facts | None) -> tuple[Version, bool]:
        """Return the last recorded version, and whether declarations were changed after it."""

        def decide(record: Record) -> None:
            self._definitions.rows.count(record)
            self._intake.recover(record)

        began = time.perf_counter()
        replay = Replay(self._log, self._engine, decide)
        if begun is not None:
            replay.version, replay.decided = version_in(begun), begun.intake_commit
        self._fed = lambda: replay.fed
        replay.run()
        self._fed = lambda: self._stepper.version.commit
        self._definitions.rows.took(time.perf_counter() - began)
        for commit in replay.waiting:
            self._stepper.on_durable(commit)
        return replay.version, replay.declared_last

    def _declare(self) -> None:
        self._log.append(Declared(self._declared_facts())).wait()

    def _history(self, relation: str) -> Iterator[Change]:
        """Yield what the engine has been fed of a relation so far, for views that are built later or anew."""
        return self._log.history(self._bases[relation.lower()].name, upto_commit=self._fed())

    # --- ways in ----------------------------------------------------------------------------------

    def append(
        self, stream: str, rows: Rows, *, on_reject: str = "keep", idempotency_key: str | None = None
    ) -> AppendResult:
        """Append rows to a stream; durable when it returns.

        Args:
            stream: the stream's name.
            rows: dicts, models, or anything with `__arrow_c_stream__`.
            on_reject: `keep` puts bad rows aside in `<stream>__rejected`; `raise` refuses the whole call.
            idempotency_key: a key under which a repeat of this call gets this answer again.

        Raises:
            UnknownName: there is no such stream.
            RowsRejected: with `on_reject="raise"`, when any row breaks the contract.
            Busy: too much waits to be computed; nothing was taken in.
            IdempotencyConflict: the key was used with other content.
            StorageError: the log could not be written; nothing was taken in.
        """
        return self._submit_one("append", stream, rows, on_reject, idempotency_key)

    def upsert(
        self, table: str, rows: Rows, *, on_reject: str = "keep", idempotency_key: str | None = None
    ) -> AppendResult:
        """Insert or replace rows by key (into a bag: add them); arguments and errors as for `append`."""
        return self._submit_one("upsert", table, rows, on_reject, idempotency_key)

    def delete(
        self, table: str, rows: Rows, *, on_reject: str = "keep", idempotency_key: str | None = None
    ) -> AppendResult:
        """Delete rows by key (from a bag: by whole row); arguments and errors as for `append`."""
        return self._submit_one("delete", table, rows, on_reject, idempotency_key)

    @contextmanager
    def transaction(
        self,
        source: str | None = None,
        position: Any = None,
        *,
        on_reject: str = "keep",
        idempotency_key: str | None = None,
    ) -> Iterator[Transaction]:
        """Collect several changes, and a source's position, into one commit at the end of the block."""
        transaction = Transaction(self)
        yield transaction
        transaction.results = tuple(
            self._submit(transaction.calls, on_reject, idempotency_key, source=source, position=position)
        )

    def position(self, source: str) -> Any:
        """Return the last committed position of a source, or None."""
        return self._intake.position(source)

    def _submit_one(
        self, kind: Kind, relation: str, rows: Rows, on_reject: str, idempotency_key: str | None
    ) -> AppendResult:
        return self._submit([self._call(kind, relation, rows)], on_reject, idempotency_key)[0]

    def _call(self, kind: Kind, relation: str, rows: Rows) -> Call:
        decl = self._declared(kind, relation)
        if kind == "delete" and isinstance(decl, TableDecl) and decl.key is not None:
            return Call(kind, decl.name, validate(deletion_schema(decl, rows), rows, extra="ignore"))
        return Call(kind, decl.name, validate(decl.schema, rows, model=decl.model))

    def _declared(self, kind: str, relation: str) -> StreamDecl | TableDecl:
        wanted = StreamDecl if kind == "append" else TableDecl
        decl = self._decls.get(relation.lower())
        if isinstance(decl, wanted):
            return decl
        label = "stream" if kind == "append" else "table"
        if decl is not None:
            verb = "upsert" if kind == "append" else "append"
            raise UnknownName(f"{relation!r} is not a {label}", where=relation, hint=f"use {verb} for it")
        raise UnknownName.of(label, relation, (d.name for d in self._decls.values() if isinstance(d, wanted)))

    def begin_append(self, stream: str, rows: Rows) -> Callable[[], AppendResult]:
        """Decide about rows as `append` does, and return at once what waits until they are durable.

        Raises:
            UnknownName, Busy, StorageError: as `append` does; the answer may raise StorageError too.
        """
        call = self._call("append", stream, rows)
        self._check_room()
        finish = self._intake.begin([call])
        return lambda: finish()[0]

    def _submit(
        self, calls: Sequence[Call], on_reject: str, idempotency_key: str | None, **source: Any
    ) -> list[AppendResult]:
        self._check_room()
        return list(
            self._intake.submit(calls, on_reject=on_reject, idempotency_key=idempotency_key, **source)
        )

    def _check_room(self) -> None:
        self._check_open()
        if self._stepper.pending_rows > PENDING_ROWS_MAX:
            raise Busy(
                f"{self._stepper.pending_rows:,} rows wait to be computed",
                expected=f"at most {PENDING_ROWS_MAX:,}",
                hint="send again a little later, or call advance()",
            )

    @property
    def turns(self) -> Turns:
        """What computes in small pieces beside the steps asks here for its turn."""
        return self._stepper.turns

    # --- versions ---------------------------------------------------------------------------------

    def advance(self) -> Version:
        """Return the version once everything committed before the call is in every view."""
        self._check_open()
        return self._refresher.after(self._stepper.advance())

    def wait_for(self, commit: int, timeout_s: float | None = 10.0) -> Version:
        """Block until `commit` is in a published version or the time is up; return the version then."""
        self._check_open()
        return self._stepper.wait_for(commit, timeout_s)

    @property
    def version(self) -> Version:
        """The published version."""
        return self._stepper.version

    @property
    def freshness(self) -> Freshness:
        """How much is committed but not in the published version."""
        return self._stepper.freshness

    # --- reading ----------------------------------------------------------------------------------

    def query(self, sql: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> pa.Table:
        """Answer one SELECT over views, tables, streams and side tables, all at one version."""
        return self.answer(sql, params).table

    def answer(
        self,
        sql: str,
        params: Sequence[Any] | Mapping[str, Any] = (),
        *,
        limits: QueryLimits | None = None,
        kinds: Sequence[str] = ("view", "table", "stream", "side"),
    ) -> Answer:
        """Answer one SELECT, with version and freshness.

        Args:
            sql: DuckDB SQL, read-only.
            params: values for `?` or `$name`.
            limits: time, memory and rows; None: the defaults.
            kinds: which kinds of relations may be read.

        Raises:
            SqlError, UnknownName, ViewInError, QueryStopped.
        """
        self._check_open()
        schemas = {info.name: info.schema for info in self._infos() if info.kind in kinds}
        names = self._reader.mentioned(sql, list(schemas))
        version, freshness, tables = self._tables(names)
        table, schema = self._reader.run(sql, params, tables, schemas, limits or QueryLimits())
        return Answer(table, schema, version, freshness, self.refreshed(*names))

    def refreshed(self, *views: str) -> dict[str, Version]:
        """Return of which version each view is that refreshes apart, among some views and all they read."""
        return as_of(self._engine, views, self._plans)

    def _asked(self, plan: ViewPlan) -> tuple[Version, pa.Table]:
        """Ask DuckDB for a view, over the newest version of all that it reads."""
        schemas = {info.name: info.schema for info in self._infos()}
        version, _, tables = self._tables([name for name in schemas if name.lower() in plan.relations])
        sql = plan.reference_at(version.clock or self._clock())
        return version, self._reader.run(sql, (), tables, schemas, QueryLimits.unbounded())[0]

    def read(self, view: str) -> Answer:
        """Return all rows of one view, table or side table, in the order that its SQL names, if any."""
        info = self.relation(view)
        plan = self._plans.get(info.name.lower())
        order = f" ORDER BY {order_sql(plan)}" if plan and plan.order else ""
        return self.answer(f'SELECT * FROM "{info.name}"{order}', limits=QueryLimits.unbounded())

    def snapshot(self, view: str) -> tuple[Version, pa.Table]:
        """Return the version and all rows of a view, table or side table, in no order."""
        self._check_open()
        version, _, tables = self._tables([self.relation(view).name])
        return version, next(iter(tables.values()))()

    def _tables(self, names: Sequence[str]) -> tuple[Version, Freshness, dict[str, Callable[[], pa.Table]]]:
        tables: dict[str, Callable[[], pa.Table]] = {}
        with self._stepper.gate:
            version, freshness = self._stepper.version, self._stepper.freshness
            for name in names:
                if self._is_stream(name):
                    tables[name] = partial(self._stream_rows, name, version.commit)
                else:
                    tables[name] = self._store(name).freeze().table
        return version, freshness, tables

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

    def _is_stream(self, name: str) -> bool:
        info = self._bases.get(name.lower())
        return info is not None and info.kind == "stream"

    def _engine_name(self, name: str) -> str:
        lowered = name.lower()
        if lowered in self._bases:
            return KEPT_PREFIX + lowered
        error = self._engine.view_error(lowered)
        if error is not None:
            raise ViewInError(error, where=name, hint="remove the row that causes it, or replace the view")
        return lowered

    def _stream_rows(self, name: str, commit: int) -> pa.Table:
        info = self._bases[name.lower()]
        schema = info.schema.arrow
        batches = [change.rows for change in self._log.history(info.name, upto_commit=commit)]
        return pa.Table.from_batches(batches, schema=schema)

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
            latest, tables = self._feed.since(name, seen)
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

    # --- definitions ------------------------------------------------------------------------------

    def create_view(self, name: str, sql: str) -> None:
        """Add a view computed over all history; it stays with the data folder.

        Raises:
            DeclarationError: the name is taken.
            SqlError: the SQL does not plan.
        """
        if name.lower() in self._plans or name.lower() in self._bases:
            raise DeclarationError("the name is taken", where=name, hint="use replace_view, or another name")
        self._definitions.forget()
        with self._stepper.gate:
            self._add_view(name, sql)
            self._remember(name, sql)

    def replace_view(self, name: str, sql: str) -> None:
        """Give a view a new definition over all history; readers see the old or the new, never a mixture."""
        old = self._plan_of(name)
        self._definitions.forget()
        with self._stepper.gate:
            plan = self._planned(old.name, sql)
            changes = self._engine.replace_view(plan, self._history)
            self._plans[old.name.lower()] = plan
            self._remember(old.name, sql)
            self._stepper.publish(changes)

    def drop_view(self, name: str) -> None:
        """Remove a view that `create_view` made.

        Raises:
            DeclarationError: other views read it, or the app declares it.
        """
        plan = self._plan_of(name)
        if plan.name not in self._created:
            raise DeclarationError(
                "the app declares this view", where=name, hint="remove it from the declarations"
            )
        self._definitions.forget()
        with self._stepper.gate:
            self._drop(plan.name)
            self._declare()

    def plan(self, app: App) -> ChangePlan:
        """Return what it would take to put an app's declarations in force: nothing is run.

        Raises:
            SqlError, UnsupportedSql, DeclarationError: the app's declarations are wrong in themselves.
        """
        self._check_open()
        return self._definitions.plan(self._definitions.definition(app))

    def apply(
        self, app: App, *, preview: bool = False, wait: bool = True, on_busy: OnBusy = "refuse",
        share: float = 0.5,
    ) -> Changeover:  # fmt: skip
        """Put an app's declarations in force while the present ones go on answering.

        The changed views, and those that read them, are built from history beside the running ones, brought
        to the same version, compared, and switched in one version. Readers see the old or the new, never a
        mixture; those who follow a view get the difference as changes. What was before stays beside, for
        `rollback`.

        Args:
            app: the wanted declarations.
            preview: stop before the switch: the new views are read as `<view>__new`, until `switch` or
                `cancel`.
            wait: return when it is switched (or ready); otherwise at once.
            on_busy: what becomes of a change that is on its way: `refuse` this one, `queue` behind it, or
                `replace` it.
            share: of one core, for the building; 0 to 1.

        Raises:
            SqlError, UnsupportedSql, DeclarationError: the declarations are wrong in themselves.
            ChangeFailed: it cannot be applied, or a view would have no answer; the old declarations stand.
        """
        self._check_open()
        if not 0 < share <= 1:
            raise DeclarationError(f"share is {share}", expected="more than 0, at most 1")
        change = self._definitions.apply(app, preview=preview, on_busy=on_busy, share=share)
        return change.wait(settled=not preview) if wait else change

    def rollback(self) -> Version:
        """Put the declarations before the last `apply` back in force, at once and in one version.

        Raises:
            ChangeFailed: there is none, or what was before it is no longer kept (after a restart).
        """
        self._check_open()
        return self._definitions.rollback()

    @property
    def change(self) -> Changeover | None:
        """The last change since the folder was opened: on its way, switched, or failed."""
        return self._definitions.change

    # --- what a change of definitions asks of the run -----------------------------------------------

    @property
    def _definition(self) -> Definition:
        """The declarations in force."""
        return Definition(self.app, dict(self._plans), dict(self._created))

    def _logged(self, relation: str, commit: int) -> Iterator[Change]:
        info = self._bases.get(relation.lower())
        return iter(()) if info is None else self._log.history(info.name, upto_commit=commit)

    def _install(
        self, definition: Definition, exchange: Callable[[], None], changes: Mapping[str, Change],
        restarted: Sequence[str],
    ) -> Version:  # fmt: skip
        """Put definitions in force; under the gate. Durable first, then exchanged, then seen."""
        facts = {**definition.app.fingerprint(), "created": dict(definition.created)}
        self._intake.heal()
        self._log.append(Declared(facts)).wait()
        self._declare_relations(definition.app)
        self._intake.redeclare(definition.app.streams, definition.app.tables)
        exchange()
        self.app, self._created = definition.app, dict(definition.created)
        self._plans = dict(definition.plans)
        self._feed.restart(restarted, self.version.number + 1)
        anew = [self._plans[name] for name in restarted if name in self._plans]
        return self._stepper.publish({**changes, **{p.name: Change.empty(p.schema.arrow) for p in anew}})

    def _remember(self, name: str, sql: str) -> None:
        self._created[name] = sql
        self._declare()

    def _drop(self, name: str) -> None:
        self._engine.drop_view(name.lower())
        del self._plans[name.lower()]
        self._created.pop(name, None)

    def _plan_of(self, name: str) -> ViewPlan:
        plan = self._plans.get(name.lower())
        if plan is None:
            raise UnknownName.of("view", name, (plan.name for plan in self._plans.values()))
        return plan

    def _planned(self, name: str, sql: str) -> ViewPlan:
        catalog = {info.name.lower(): info.schema for info in self._bases.values()}
        catalog |= {key: plan.schema for key, plan in self._plans.items()}
        event_times = {
            name: decl.event_time
            for name, decl in self._decls.items()
            if isinstance(decl, StreamDecl) and decl.event_time
        }
        return plan_view(name, sql, catalog, event_times=event_times, functions=self.app.functions)

    def _add_view(self, name: str, sql: str) -> None:
        plan = self._planned(name, sql)
        self._engine.add_view(plan, self._history)
        self._plans[name.lower()] = plan

    def relations(self) -> list[RelationInfo]:
        """Return every readable name: streams, tables, side tables and views, with counts and errors."""
        with self._stepper.gate:
            return [self._counted(info) for info in self._infos()]

    def relation(self, name: str) -> RelationInfo:
        """Return one readable name.

        Raises:
            UnknownName: with a *did you mean*.
        """
        infos = {info.name.lower(): info for info in self._infos()}
        if name.lower() not in infos:
            raise UnknownName.of("view", name, (info.name for info in infos.values()))
        return infos[name.lower()]

    def _infos(self) -> list[RelationInfo]:
        views = [view_info(plan) for plan in self._plans.values()]
        change = self._definitions.change
        new = [] if change is None else change.shadow_plans()
        views += [replace(view_info(plan), name=plan.name + NEW_SUFFIX) for plan in new]
        return [*self._bases.values(), *views]

    def _counted(self, info: RelationInfo) -> RelationInfo:
        if info.kind == "stream":
            return info
        lowered = info.name.lower()
        found = self._preparing(info.name)
        if found is not None:
            plan, engine = found
            rows, error = engine.store(plan.name).row_count, engine.view_error(plan.name)
            return replace(info, rows=rows, error=error)
        name = KEPT_PREFIX + lowered if lowered in self._bases else lowered
        return replace(info, rows=self._engine.store(name).row_count, error=self._engine.view_error(name))

    # --- outlets and life -------------------------------------------------------------------------

    def attach(self, outlet: Outlet) -> Callable[[], None]:
        """Call `outlet.publish` after every version; return a function that ends it."""
        self._stepper.outlets.append(outlet)
        return lambda: self._stepper.outlets.remove(outlet)

    def checkpoint(self) -> Written:
        """Write the state down now, so that the next start has less of the log to read.

        Raises:
            StorageError: it cannot be written; the checkpoints before it serve on.
            DeclarationError: the app is open in memory.
        """
        self._check_open()
        if self._keeper is None:
            raise DeclarationError(
                "an app that is open in memory has no checkpoints", expected="a data folder"
            )
        return self._keeper.take()

    def stats(self) -> dict[str, Any]:
        """Return counters for operators: steps, rows, log, doors."""
        steps = self._stepper.stats
        with self._stepper.gate:
            late = late_rows(self._engine, self._plans).by_view()
        return {
            "version": self.version.number,
            "commit": self._log.last_commit,
            "pending_rows": self._stepper.pending_rows,
            "steps": steps.steps,
            "step_rows": steps.rows,
            "step_busy_s": steps.busy_s,
            "last_step_s": steps.last_step_s,
            "step_buckets": dict(steps.steps_by_bucket),
            "log": self._log.stats(),
            "intake": self._intake.stats(),
            "late_rows": late,
            "checkpoint": {} if self._keeper is None else self._keeper.stats(),
        }

    def close(self) -> None:
        """Stop stepping and release the folder; what was acknowledged is on disk. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._stepper.end()
        self._definitions.close()
        self._refresher.close()
        self._stepper.close()
        if self._keeper is not None:
            self._keeper.close()
        self._feed.wake()
        self._reader.close()
        self._log.close()
        self._engine.close()

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("the run is closed", where=self.app.name, hint="open the app again")

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_run(
    app: App,
    path: Path | None,
    *,
    auto: bool = False,
    clock: Callable[[], datetime] | None = None,
    on_change: OnChange = "refuse",
    state_bytes_max: int | None = None,
    recompute_rows_max: int = RECOMPUTE_ROWS_MAX,
) -> Run:
    """Open an app on a data folder, or in memory with None; see `App.open`."""
    run = Run(
        app, path, auto=auto, clock=clock, on_change=on_change, memory=Memory(state_bytes_max, path),
        recompute_rows_max=recompute_rows_max,
    )  # fmt: skip
    _open_runs.add(run)
    return run


@atexit.register
def _close_open_runs() -> None:
    """Close what the program left open, so that the log ends cleanly and DuckDB is given back."""
    for run in list(_open_runs):
        run.close()
