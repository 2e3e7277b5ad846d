"""How a running app takes other declarations: plan, apply, rollback."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

from headrace.app import App
from headrace.change import Change
from headrace.contracts.lineage import Lineage
from headrace.contracts.schema import Schema
from headrace.definitions import Changeover, ChangePlan, compare
from headrace.definitions.changeover import Definition
from headrace.definitions.compare import Measured, PlannedOperator
from headrace.definitions.intent import Intent, IntentFile
from headrace.definitions.shadow import Source
from headrace.engine.engine import Engine
from headrace.errors import ChangeFailed, DeclarationError, HeadraceError, SqlError, StorageError
from headrace.evolving import Evolving, given
from headrace.histories import history_plans
from headrace.log.records import Commit, Record
from headrace.relations import KEPT_PREFIX, watched
from headrace.results import Version
from headrace.retention import check_histories
from headrace.sql import plan_view, relations_of
from headrace.sql.plan import Scan, ViewPlan

if TYPE_CHECKING:
    from headrace.runtime import Run

logger = logging.getLogger("headrace")

SHARE_RESUMED = 0.5
"""Of one core, for a change that goes on after a crash."""
MEASURED_ROWS_MIN = 10_000
"""Rows that must have been read for their pace to say anything."""
OnBusy = Literal["refuse", "queue", "replace"]


class Rows:
    """Rows per relation in the log, and how fast history is read; counted as records pass."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.per_s: float | None = None

    def took(self, seconds: float) -> None:
        """Say how long it took to read what has been counted so far."""
        rows = sum(self.counts.values())
        self.per_s = rows / seconds if rows >= MEASURED_ROWS_MIN else None

    def count(self, record: Record) -> None:
        """Take in a durable record."""
        if isinstance(record, Commit):
            for name, change in record.changes.items():
                self.counts[name.lower()] += len(change)


class Redefinition:
    """The definitions in force and the change that is on its way; implements
    `definitions.changeover.Host`.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lock = Lock()
        self.rows = Rows()
        self.change: Changeover | None = None
        self.before: dict[str, Any] | None = None
        self.undone: str | None = None
        self.lineages: dict[str, Lineage] = {}
        self.evolving: Evolving | None = None
        self.held: tuple[int, ...] = ()
        self._intents = IntentFile(run.path, run._files)

    # --- planning ---------------------------------------------------------------------------------
    def definition(self, app: App, created: Mapping[str, str] | None = None) -> Definition:
        """Return the declarations of an app, and what was created while running, planned.

        Args:
            app: the declarations.
            created: views made or replaced while running; None: those of now, without the replaced ones,
                which an app's own declarations take back.

        Raises:
            DeclarationError: views read each other in a circle, or a created view's name is declared now.
            SqlError, UnsupportedSql: a view's SQL.
        """
        if created is None:
            created = self._unless_declared(app)
        texts = {decl.name: decl.sql for decl in app.view_decls.values()} | dict(created)
        plans: dict[str, ViewPlan] = {}
        catalog, event_times = self._catalog(app)
        plans |= history_plans(app, catalog)
        catalog |= {name: plan.schema for name, plan in plans.items()}
        stranded: list[str] = []
        for name in in_order(texts):
            try:
                plan = plan_view(name, texts[name], catalog, event_times=event_times, functions=app.functions)
            except SqlError:
                found = self._stranded(name, texts[name], app)
                if found is None:
                    raise
                plan = found
                stranded.append(name)
            plans[name.lower()] = plan
            catalog[name.lower()] = plan.schema
        if stranded:
            raise ChangeFailed(
                f"columns that go, or have other names, are read by {', '.join(stranded)}", where=stranded[0],
                expected="views that do without them",
                hint="change these views in the same step, or keep the columns",
            )  # fmt: skip
        check_histories(app.streams.values(), texts, plans, self._run._log.trimmed())
        return Definition(app, plans, dict(created))

    def _stranded(self, name: str, sql: str, app: App) -> ViewPlan | None:
        """Return the plan in force of a view that stays as it is, but whose columns an app no longer has."""
        plan = self._run._plans.get(name.lower())
        if plan is None or plan.sql != sql:
            return None
        wanted = {key: info.schema for key, info in self._run._base_relations(app)}
        scans = [node for node in plan.root.walk() if isinstance(node, Scan)]
        lost = [
            column for scan in scans if scan.relation.lower() in wanted
            for column in scan.columns if column not in wanted[scan.relation.lower()]
        ]  # fmt: skip
        return plan if lost else None

    def _unless_declared(self, app: App) -> dict[str, str]:
        """Return the created views, without those that replace one that the app in force declares."""
        replaced = {name.lower() for name in self._run.app.view_decls}
        created = {name: sql for name, sql in self._run._created.items() if name.lower() not in replaced}
        taken = {name.lower() for name in (*app.streams, *app.tables, *app.view_decls)}
        for name in created:
            if name.lower() in taken:
                raise DeclarationError(
                    "a view of that name was created while running", where=name, hint="drop it first"
                )
        return created

    def _catalog(self, app: App) -> tuple[dict[str, Schema], dict[str, str]]:
        bases = {name: info.schema for name, info in self._run._base_relations(app)}
        times = {
            name.lower(): decl.event_time for name, decl in app.streams.items() if decl.event_time is not None
        }
        return bases, times

    def plan(self, wanted: Definition) -> ChangePlan:
        """Return what leads from the definitions in force to the wanted ones."""
        now = self._run._definition
        rows = {**self.rows.counts, **self._view_rows()}
        plan = compare(
            now.app.fingerprint(), wanted.app.fingerprint(), now.plans, wanted.plans, rows,
            measured=self._measured(now, rows), given=given(wanted.app, self.lineages),
        )  # fmt: skip
        moved = plan.moved()
        touched = plan.of("added", "changed", "recomputed")
        plan = plan.composed({name: self._operators(wanted.plans[name.lower()], moved) for name in touched})
        taken = {name: self._taken(wanted.plans[name.lower()], moved) for name in plan.of("changed")}
        return plan.taking_over({name: found for name, found in taken.items() if found is not None})

    def _view_rows(self) -> dict[str, int]:
        """Return the rows of every running view, by lower-case name."""
        names = [name.lower() for name in self.engine.views if not name.startswith(KEPT_PREFIX)]
        return {name: self.engine.store(name).row_count for name in names}

    def _measured(self, now: Definition, rows: Mapping[str, int]) -> Measured:
        """Return what the running views have cost: their state, and the time in steps or of the start."""
        read = {
            name: sum(rows.get(one.lower(), 0) for one in plan.relations)
            for name, plan in now.plans.items() if name in self.engine
        }  # fmt: skip
        known = {name: count for name, count in read.items() if count >= MEASURED_ROWS_MIN}
        held = {name: self.engine.state_bytes(name) for name in known}
        typical = sum(held.values()) / sum(known.values()) if known else None
        steps = self._run._stepper.stats
        stepped_per_s = steps.rows / steps.busy_s if steps.rows >= MEASURED_ROWS_MIN else None
        logged_per_s = self.rows.per_s or stepped_per_s
        logged = sum(self.rows.counts.values())
        fed = sum(read.values()) / logged if logged else 1.0
        per_s = None if logged_per_s is None else logged_per_s * max(fed, 1.0)
        return Measured(per_s, {name: held[name] / count for name, count in known.items()}, typical)

    def _operators(self, plan: ViewPlan, moved: frozenset[str]) -> tuple[PlannedOperator, ...]:
        try:
            return tuple(PlannedOperator(*one) for one in self.engine.operators(plan, moved))
        except HeadraceError:  # it is told when it is applied
            return ()

    def _taken(self, plan: ViewPlan, moved: frozenset[str]) -> tuple[str, int] | None:
        """Return which operator of a running view its new plan takes over, and how many rows that saves."""
        found = self.engine.donor(plan, moved)
        if found is None:
            return None
        adopted = found[2]
        return adopted.detail, sum(self.rows.counts[name] for name in adopted.relations)

    # --- applying ---------------------------------------------------------------------------------
    def apply(self, app: App, *, preview: bool, on_busy: OnBusy, share: float) -> Changeover:
        """Start a change; see `Run.apply`."""
        with self._lock:
            ready = self.change
            again = ready is not None and ready.state == "ready" and ready.wants(app.fingerprint())
            if ready is not None and again and not preview:
                ready.switch()
                return ready
            self._make_room(on_busy)
            return self._begin(self.definition(app), share, preview=preview)

    def redefine(self, created: Mapping[str, str], *, wait: bool) -> None:
        """Create, replace or drop views beside the app's own, by the same way."""
        with self._lock:
            self._make_room("refuse")
            change = self._begin(self.definition(self._run.app, created), 1.0)
        if wait:
            change.wait(settled=True)

    def _begin(
        self, wanted: Definition, share: float, *, preview: bool = False, undoes: bool = False,
        resumed: bool = False,
    ) -> Changeover:  # fmt: skip
        plan = self.plan(wanted)
        if plan.refused:
            item = plan.refused[0]
            raise ChangeFailed(
                f"the {item.kind} cannot change so: {item.refused}", where=item.name,
                hint="do as it says, declare another one beside it, or start in a new folder",
                notes=list(item.notes),
            )  # fmt: skip
        now, bases = self._run._definition, dict(self._run._base_relations(wanted.app))
        evolving = Evolving(wanted.app, plan, self.lineages, bases)
        wanted = replace(wanted, lineages=evolving.facts())
        change = Changeover(
            self, plan, now, wanted, self._sources(plan, now, wanted, evolving.kept), share=share,
            undoes=undoes, resumed=resumed, kept=evolving.kept, fit=evolving.fit,
        )  # fmt: skip
        self.evolving = evolving
        began = self._run._clock().isoformat()
        try:
            self._intents.write(Intent(wanted.facts(), began, preview, undoes))
        except OSError as error:
            raise StorageError(
                f"the change cannot be noted: {error.strerror or error}", where=str(self._run.path),
                hint="look at the disk; the definitions in force go on",
            ) from error  # fmt: skip
        self.change, self.undone = change, None
        change.start(preview=preview)
        return change

    # --- after a crash ----------------------------------------------------------------------------
    def interrupted(self, wanted: App) -> Intent | None:
        """Return the change that was interrupted and that the wanted declarations ask for again."""
        intent = self._intents.read()
        return intent if intent is not None and intent.leads_to(wanted.fingerprint()) else None

    def tidy(self, facts: Mapping[str, Any] | None, *, goes_on: bool, looks_only: bool) -> None:
        """Undo a change that was interrupted and that nobody asks for any more; or only say so."""
        intent = self._intents.read()
        if intent is None or facts is None:
            return
        if {**intent.declarations} != {**facts}:
            becomes = "goes on at the next start of these declarations" if goes_on else "is undone"
            self.undone = f"the change that began at {intent.began} was interrupted, and {becomes}"
            logger.warning("%s; nobody saw anything of it", self.undone)
        if not looks_only:
            self._forget_intent()

    def resume(self, app: App, intent: Intent) -> Changeover:
        """Begin again what was interrupted."""
        logger.info("the change that began at %s goes on", intent.began)
        wanted = self.definition(app, intent.declarations.get("created", {}))
        return self._begin(wanted, SHARE_RESUMED, preview=intent.preview, undoes=intent.undoes, resumed=True)

    def settled(self, change: Changeover) -> None:
        """Forget a change that is in force, or never will be."""
        if change is self.change:
            self._forget_intent()

    def _forget_intent(self) -> None:
        try:
            self._intents.remove()
        except OSError as error:
            logger.warning("a change that is over is still noted in the folder: %s", error)

    def _make_room(self, on_busy: OnBusy) -> None:
        before = self.change
        if before is None:
            return
        if before.is_open and on_busy == "refuse":
            raise ChangeFailed(
                f"another change is {before.state}",
                hint='wait for it, cancel it, or say on_busy="queue" or "replace"',
            )
        if before.state == "building" and on_busy == "queue":
            before.wait()
        if before.is_open:
            before.cancel()
        before.close()

    def rollback(self) -> Changeover:
        """Go back to the definitions before the last change: at once where they are kept beside, else from
        history.
        """
        with self._lock:
            if self.change is not None and self.change.can_go_back:
                self.change.rollback()
                return self.change
            if self.before is None:
                raise ChangeFailed(
                    "there is nothing to go back to",
                    expected="a change that is in force and has not been rolled back",
                    hint="apply the earlier declarations; they are built from history",
                )
            self._make_room("refuse")
            return self._begin(self._definition_before(self.before), 1.0, undoes=True)

    def _definition_before(self, facts: Mapping[str, Any]) -> Definition:
        return self.definition(self._run.app._as_declared(facts), facts.get("created", {}))

    def plan_back(self) -> ChangePlan | None:
        """Return what a rollback would do; None: there is nothing to go back to."""
        if self.before is None:
            return None
        if self.change is not None and self.change.can_go_back:
            return replace(self.plan(self._definition_before(self.before)), rows=0, seconds=0.0)
        return self.plan(self._definition_before(self.before))

    def close(self) -> None:
        """End what is on its way. A building goes on at the next opening; a preview is given up."""
        change = self.change
        if change is None:
            return
        if change.state == "ready":
            self._forget_intent()
        change.close()

    def _sources(
        self, plan: ChangePlan, now: Definition, wanted: Definition, kept: Sequence[ViewPlan]
    ) -> list[Source]:
        """Return what the touched views read and what is not touched itself."""
        touched = {name.lower() for name in plan.of("added", "changed", "removed", "recomputed")}
        plans = [side[name] for side in (now.plans, wanted.plans) for name in sorted(touched) if name in side]
        plans += kept
        names = sorted({name.lower() for view in plans for name in view.relations} - touched)
        return [self._source(name, wanted) for name in names]

    def _source(self, name: str, wanted: Definition) -> Source:
        view = wanted.plans.get(name)
        if view is not None:
            return Source(name, view.schema, True, self.engine.is_append_only(name))
        info = dict(self._run._base_relations(wanted.app)).get(name) or self._run.relation(name)
        decl = next((one for at, one in wanted.app.streams.items() if at.lower() == name), None)
        return Source(name, info.schema, False, info.kind != "table", watched(decl))

    # --- what a change asks of its host -----------------------------------------------------------
    @property
    def engine(self) -> Engine:
        """The running engine."""
        return self._run._engine

    def gate(self) -> AbstractContextManager[object]:
        """Keep steps and readers out for a moment."""
        return self._run._stepper.gate

    def prepare(self) -> None:
        """Read what the intake must know of rows in other columns."""
        if self.evolving is not None:
            self.evolving.prepare(self._run._intake)

    def fed(self) -> int:
        """Return the last commit that the engine has seen."""
        self.held = self._run.version.held
        return self._run.version.commit

    def history(self, relation: str, commit: int) -> Iterator[Change]:
        """Yield all changes of a base relation up to a commit."""
        return self._run._logged(relation, commit)

    def install(
        self, definition: Definition, exchange: Callable[[], None], changes: Mapping[str, Change],
        restarted: Sequence[str], *, undoes: bool,
    ) -> Version:  # fmt: skip
        """Make the definition durable, exchange the views and publish one version; under the gate."""
        return self._run._install(definition, exchange, changes, restarted, undoes=undoes)


def in_order(texts: Mapping[str, str]) -> list[str]:
    """Return the names of views so that each comes after those that it reads.

    Raises:
        DeclarationError: they read each other in a circle.
    """
    names = {name.lower(): name for name in texts}
    needs = {key: set(relations_of(texts[name])) & names.keys() for key, name in names.items()}
    found: list[str] = []
    while needs:
        ready = [key for key, reads in needs.items() if not reads & needs.keys()]
        if not ready:
            raise DeclarationError(
                f"views read each other in a circle: {', '.join(sorted(needs))}",
                expected="views that can be put in an order",
                hint="write the shared part as a view of its own",
            )
        for key in ready:
            del needs[key]
        found += [names[key] for key in ready]
    return found
