"""The one place that ties log, engine, state and outlets together: a running app."""

from __future__ import annotations

import atexit
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any
from weakref import WeakSet

from headrace.app import App, OnChange
from headrace.change import Change
from headrace.declarations import (
    REACH_ROWS_MAX,
    RECOMPUTE_ROWS_MAX,
    Checkpointing,
    StreamDecl,
    TableDecl,
)
from headrace.defining import Defining
from headrace.definitions import ChangePlan
from headrace.definitions.changeover import BEFORE
from headrace.differing import Differing
from headrace.engine.engine import Engine
from headrace.engine.memory import Memory
from headrace.errors import DeclarationError, DeclarationsChanged, HeadraceError, StorageError
from headrace.evolving import fitting_of, lineages_in
from headrace.feed import Feed
from headrace.history.difference import Difference
from headrace.history.store import History
from headrace.holding import Holding
from headrace.intake import Intake, side_schemas
from headrace.keeper import Keeper, version_in
from headrace.lateness import late_rows
from headrace.log.files import Files
from headrace.log.log import Log
from headrace.log.records import Declared, Record
from headrace.past import Moment, Past
from headrace.query import Reader
from headrace.redefine import Redefinition
from headrace.refresher import Refresher
from headrace.relations import (
    KEPT_PREFIX,
    RelationInfo,
    kept_plan,
    watched,
)
from headrace.results import Freshness, HeldChange, SinkStatus, Version
from headrace.retention import Trimmer
from headrace.sql.plan import ViewPlan
from headrace.state.checkpoint import Facts, Written
from headrace.state.replay import Replay
from headrace.stepper import Outlet, Sinks, Stepper
from headrace.turns import Turns
from headrace.ways_in import WaysIn

_open_runs: WeakSet[Run] = WeakSet()
logger = logging.getLogger("headrace")


class Run(WaysIn, Defining):
    """An open app. Thread-safe. Use as a context manager, or call `close`.

    Args:
        app: the declarations.
        path: the data folder, or None for memory only.
        auto: step in the background by itself; otherwise `advance` steps.
        clock: current UTC time; tests set their own.
        on_change: what to do where the folder was written under other declarations.
        memory: the bound on state in memory; None: no bound.
        recompute_rows_max: input rows up to which what has no incremental rule is recomputed at every step.
        reach_rows_max: rows that a change of a table may reach in a step; what reaches more is computed
            aside, where the run steps by itself.
        checkpoints: when they are taken in the background, where the run steps by itself; how many are kept.
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
        reach_rows_max: int = REACH_ROWS_MAX,
        checkpoints: Checkpointing | None = None,
        files: Files | None = None,
    ) -> None:
        self.app = app
        self.path = path
        self._memory = memory
        self._recompute_rows_max = recompute_rows_max
        self._reach_rows_max = reach_rows_max
        self._clock = clock or (lambda: datetime.now(UTC))
        self._closed = False
        self._decls: dict[str, StreamDecl | TableDecl] = {}
        self._bases: dict[str, RelationInfo] = {}
        self._plans: dict[str, ViewPlan] = {}
        self._created: dict[str, str] = {}
        self._files = files
        self._checkpoints = checkpoints or Checkpointing()
        self._definitions = Redefinition(self)
        self._keeper: Keeper | None = None
        self._sinks: Sinks | None = None
        self._holding: Holding | None = None
        self._fed: Callable[[], tuple[int, tuple[int, ...]]] = lambda: (0, ())
        self._reader = Reader(functions=lambda: self.app.functions)
        self._feed = Feed()
        self._log = Log.open(path, files=files)
        self._trimmer = Trimmer(self._log, lambda: self.app.streams.values(), self._needed_from, self._clock)
        try:
            self._open(auto, on_change)
            if self._keeper is not None and auto:
                self._keeper.start()
                self._past.start()
                self._trimmer.start()
        except BaseException:
            self._give_up()
            raise

    def _give_up(self) -> None:
        """End what an opening has begun that did not come to its end; nothing more is written."""
        self._closed = True
        with ExitStack() as ends:
            ends.callback(self._log.close)
            ends.callback(self._reader.close)
            for name in ("_engine", "_stepper", "_holding", "_refresher", "_definitions"):
                part = getattr(self, name, None)
                if part is not None:
                    ends.callback(part.close)

    def _needed_from(self) -> int | None:
        """Return the last commit of which nothing is needed but what declarations keep; None: not now."""
        change = self._definitions.change
        if self._closed or (change is not None and change.is_open):
            return None
        commit = self.version.whole_commit
        kept = None if self._keeper is None else self._keeper.needed_from()
        return commit if kept is None else min(commit, kept)

    # --- opening ----------------------------------------------------------------------------------

    def _base_relations(self, app: App) -> Iterator[tuple[str, RelationInfo]]:
        """Yield the readable names that an app's streams and tables bring, by lower-case name."""
        decls: list[StreamDecl | TableDecl] = [*app.streams.values(), *app.tables.values()]
        for decl in decls:
            kind = "stream" if isinstance(decl, StreamDecl) else "table"
            key = decl.key if isinstance(decl, TableDecl) else None
            yield (
                decl.name.lower(),
                RelationInfo(decl.name, kind, decl.schema, key=key, is_logged=kind == "stream"),
            )
            for name, schema in side_schemas(decl).items():
                is_logged = isinstance(decl, TableDecl) and name == decl.versions_name
                yield name.lower(), RelationInfo(name, "side", schema, is_logged=is_logged)

    def _open(self, auto: bool, on_change: OnChange) -> None:
        wanted, logged = self.app, self._log.last_declared()
        facts = None if logged is None else logged.declarations
        if facts is not None:
            self._definitions.before = facts.get(BEFORE)
            facts = {kind: found for kind, found in facts.items() if kind != BEFORE}
            self._created = dict(facts.get("created", {}))
            if any(facts.get(kind) != found for kind, found in wanted.fingerprint().items()):
                self.app = wanted._as_declared(facts)
        self._definitions.lineages = lineages_in(facts)
        self._log.fitting = fitting_of(self.app, self._definitions.lineages)
        self._engine = Engine(memory=self._memory, recompute_rows_max=self._recompute_rows_max)
        self._intake = Intake(dict(self.app.streams), dict(self.app.tables), self._log, self._clock)
        holding = self._holding = self._opened_holding() if auto else None
        self._stepper = Stepper(
            self._engine, self._intake, self._log, self._feed, self._clock, auto=auto, holding=holding
        )
        self._refresher = Refresher(self._engine, self._stepper, self._asked, self._clock, auto=auto)
        going_on = self._definitions.interrupted(wanted) if self.app is not wanted else None
        is_refused = on_change == "refuse" and self.app is not wanted and going_on is None
        change = self._refused(wanted) if is_refused else None
        self._past = self._opened_past()
        begun = self._restored(facts)
        self._declare_relations(self.app)
        for plan in self._definitions.definition(self.app, self._created).plans.values():
            if plan.name.lower() not in self._engine:
                self._engine.add_view(plan, self._history)
            self._plans[plan.name.lower()] = plan
        version, switched = self._replay(begun)
        self._log.on_durable(self._stepper.on_durable)
        self._log.on_durable(self._definitions.rows.count)
        self._stepper.start(version)
        self._intake.begin_histories()
        is_as_wanted = facts is None or (change is not None and change.is_empty)
        if is_as_wanted:
            self.app = wanted
            self._declare()
        if (switched and not is_as_wanted) or (self._engine.refreshing and self._stepper.version.number):
            with self._stepper.gate:  # a reader of the version before must not take what is shown now for it
                self._stepper.publish({})
        looks_only = on_change == "keep"
        if going_on is None or looks_only:
            self._definitions.tidy(facts, goes_on=going_on is not None, looks_only=looks_only)
        if self.app is not wanted and on_change == "apply":
            self.apply(wanted)
        elif going_on is not None and on_change == "refuse":
            self._definitions.resume(wanted, going_on)
        self._refresher.start()

    def _opened_holding(self) -> Holding:
        return Holding(self._engine, self._keyed, lambda: self.app.functions, self._reach_rows_max)

    def _keyed(self) -> dict[str, tuple[str, ...]]:
        """Return the tables with a key and their side tables, by lower-case name, with the key columns."""
        found: dict[str, tuple[str, ...]] = {}
        for decl in self._decls.values():
            if isinstance(decl, TableDecl) and decl.key is not None:
                found |= {name.lower(): () for name in side_schemas(decl)}
                found[decl.name.lower()] = decl.key
        return found

    def _opened_past(self) -> Past:
        history = None
        try:
            history = None if self.path is None else History(self.path, self._files)
        except OSError as error:
            logger.warning("the past cannot be opened, and is not kept: %s", error)
        return Past(
            self._engine, self._feed, lambda: self._stepper.gate, lambda: self._stepper.version, history,
            self._clock,
        )  # fmt: skip

    def _restored(self, declarations: dict[str, Any] | None) -> Facts | None:
        """Take over the newest checkpoint of the folder, if there is one that can be used."""
        if self.path is None:
            return None
        self._keeper = Keeper(
            self.path, self._engine, self._intake, gate=lambda: self._stepper.gate,
            version=lambda: self._stepper.version, declared=self._declared_facts,
            rows=lambda: dict(self._definitions.rows.counts), waiting=lambda: self._stepper.pending_rows,
            files=self._files, functions=lambda: self.app.functions, when=self._checkpoints,
            log_bytes=lambda: int(self._log.stats()["bytes"]), frozen=self._past.flush,
        )  # fmt: skip
        facts = self._keeper.restore(declarations, self._history)
        if facts is not None:
            self._definitions.rows.counts.update(facts.rows)
        return facts

    def _declared_facts(self) -> dict[str, Any]:
        return self._definition.facts()

    def _refused(self, wanted: App) -> ChangePlan:
        """Return the plan of a change that changes nothing.

        Raises:
            DeclarationsChanged: it changes something.
        """
        self._plans = dict(self._definitions.definition(self.app, self._created).plans)
        plan = self._definitions.plan(self._definitions.definition(wanted))
        self._plans = {}
        if plan.is_empty:
            return plan
        raise DeclarationsChanged(
            "the data folder was written under other declarations:\n" + plan.text(),
            where=str(self.path) if self.path else self.app.name,
            hint="put the files back as they were, or make the change: `headrace plan` shows it; "
            '`headrace apply`, or open(…, on_change="apply"), does it',
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
            if not info.is_logged and KEPT_PREFIX + name not in self._engine:
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
        self._past.join(replay, self._described)
        self._fed = lambda: (replay.fed, replay.held)
        replay.run()
        self._fed = lambda: (self._stepper.version.commit, self._stepper.version.held)
        self._definitions.rows.took(time.perf_counter() - began)
        for commit in replay.waiting:
            self._stepper.on_durable(commit)
        return replay.version, replay.declared_last

    def _declare(self) -> None:
        self._log.append(Declared(self._declared_facts())).wait()

    def _history(self, relation: str) -> Iterator[Change]:
        """Yield what the engine has been fed of a relation so far, for views that are built later or anew."""
        commit, held = self._fed()
        return self._log.history(self._bases[relation.lower()].name, upto_commit=commit, without=held)

    @property
    def turns(self) -> Turns:
        """What computes in small pieces beside the steps asks here for its turn."""
        return self._stepper.turns

    # --- versions ---------------------------------------------------------------------------------

    def advance(self) -> Version:
        """Return the version once everything committed before the call is in every view."""
        self._check_open()
        if any(decl.delivery == "at_most_once" for decl in self.app.streams.values()):
            with suppress(StorageError):  # what is lost was never promised
                self._log.flush()
        version = self._refresher.after(self._stepper.advance())
        self._past.relieve()
        return version

    def wait_for(self, commit: int, timeout_s: float | None = 10.0) -> Version:
        """Block until `commit` is in a published version or the time is up; return the version then."""
        self._check_open()
        return self._stepper.wait_for(commit, timeout_s)

    @property
    def held(self) -> tuple[HeldChange, ...]:
        """The commits that reach too many rows for a step and are computed aside, in order."""
        return () if self._holding is None else self._holding.status()

    @property
    def freshness(self) -> Freshness:
        """How much is committed but not in the published version."""
        return self._stepper.freshness

    @property
    def trouble(self) -> HeadraceError | None:
        """Why the views stand still at present though something waits: a disk or memory that is full; they
        go on by themselves. None: they do not.
        """
        return self._stepper.trouble

    # --- outlets and life -------------------------------------------------------------------------

    def attach(self, outlet: Outlet) -> Callable[[], None]:
        """Call `outlet.publish` after every version; return a function that ends it."""
        self._stepper.outlets.append(outlet)
        return lambda: self._stepper.outlets.remove(outlet)

    def sinks(self) -> tuple[SinkStatus, ...]:
        """Return where the declared sinks stand."""
        return () if self._sinks is None else self._sinks.status()

    def deliver(self, timeout_s: float = 10.0) -> bool:
        """Return whether every sink holds the present version, after waiting for it for at most so long."""
        self._check_open()
        return self._sinks is None or self._sinks.wait(self.version.number, timeout_s)

    def difference(
        self, view: str, since: Moment, until: Moment | None = None,
        causes: Mapping[str, Sequence[str] | str] | None = None, *, where: Mapping[str, Any] | None = None,
    ) -> Difference:  # fmt: skip
        """Return the rows of a view, table or side table that differ between two moments, and why.

        The input between the two moments is sorted into causes, and played one cause after the other into
        views of their own, from the state at `since` and under the definitions of then: late data,
        corrections, new data, the causes that the caller names, the passing of time, and at last the
        definitions that have changed. The changes of all causes add up to the whole difference exactly. It
        costs as much as building the view over what was there at `since`, beside the steps, at half of one
        core; nothing where there is one cause only.

        Args:
            view: its name.
            since: a version or a time: the first moment. An event time at or before it is late.
            until: the second moment; None: now.
            causes: relations by cause, such as `{"exchange rate": ["fx_rates"]}`: all changes of those have
                that cause.
            where: values by column, such as `{"merchant_id": "acme"}`: only rows that have them are looked at
                and played, of the view and of every relation that has the column. Right, and far cheaper,
                where the view's rows of one tenant rest on rows of that tenant alone.

        Raises:
            VersionGone, VersionAhead: a moment is not kept, or does not exist yet.
            UnknownName: a relation in `causes` does not exist.
            DeclarationError: the view lacks a column that `where` names.
            ViewInError: the view had no answer at one of the moments, or with a part of the input.
        """
        self._check_open()
        return Differing(self, view, since, until, causes, where).difference()

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
        with self._stepper.shown:
            late = late_rows(self._engine, self._plans).by_view()
        return {
            "version": self.version.number,
            "commit": self._log.last_commit,
            "pending_rows": self._stepper.pending_rows,
            "steps": steps.steps,
            "step_rows": steps.rows,
            "trouble": None if self._stepper.trouble is None else self._stepper.trouble.problem,
            "step_busy_s": steps.busy_s,
            "last_step_s": steps.last_step_s,
            "step_buckets": dict(steps.steps_by_bucket),
            "log": self._log.stats(),
            "intake": self._intake.stats(),
            "held": [asdict(one) for one in self.held],
            "late_rows": late,
            "sinks": [asdict(status) for status in self.sinks()],
            "checkpoint": {} if self._keeper is None else self._keeper.stats(),
            "history": self._past.stats(),
        }

    def close(self) -> None:
        """Stop stepping and release the folder; what was acknowledged is on disk. Idempotent."""
        if self._closed:
            return
        if self._sinks is not None:
            self._sinks.close()
        self._closed = True
        with ExitStack() as ends:  # from the last to the first; each one, whatever another raises
            ends.callback(self._engine.close)
            ends.callback(self._log.close)
            ends.callback(self._reader.close)
            ends.callback(self._feed.wake)
            if self._keeper is not None:
                ends.callback(self._keeper.close)
            ends.callback(self._past.close)
            ends.callback(self._stepper.close)
            if self._holding is not None:
                ends.callback(self._holding.close)
            ends.callback(self._refresher.close)
            ends.callback(self._definitions.close)
            ends.callback(self._trimmer.close)
            ends.callback(self._stepper.end)

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
    reach_rows_max: int = REACH_ROWS_MAX,
    checkpoints: Checkpointing | None = None,
    files: Files | None = None,
    sinks: bool | None = None,
) -> Run:
    """Open an app on a data folder, or in memory with None; see `App.open` and, for `files`, `Run`."""
    run = Run(
        app, path, auto=auto, clock=clock, on_change=on_change, memory=Memory(state_bytes_max, path),
        recompute_rows_max=recompute_rows_max, reach_rows_max=reach_rows_max, checkpoints=checkpoints,
        files=files,
    )  # fmt: skip
    _open_runs.add(run)
    if sinks or (sinks is None and path is not None and on_change != "keep"):
        _open_sinks(run)
    return run


def _open_sinks(run: Run) -> None:
    """Start what delivers to sinks; they lie downstream, so they are imported when there is a run."""
    from headrace.sinks.outlet import open_sinks

    try:
        run._sinks = open_sinks(run)
    except BaseException:
        run.close()
        raise


@atexit.register
def _close_open_runs() -> None:
    """Close what the program left open, so that the log ends cleanly and DuckDB is given back."""
    for run in list(_open_runs):
        run.close()
