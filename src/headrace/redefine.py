"""How a running app takes other declarations: plan, apply, rollback."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from threading import Lock
from typing import TYPE_CHECKING, Literal

from headrace.app import App
from headrace.change import Change
from headrace.contracts.schema import Schema
from headrace.definitions import Changeover, ChangePlan, compare
from headrace.definitions.changeover import Definition
from headrace.definitions.shadow import Source
from headrace.engine.engine import Engine
from headrace.errors import ChangeFailed, DeclarationError
from headrace.histories import history_plans
from headrace.log.records import Commit, Record
from headrace.results import Version
from headrace.sql import plan_view, relations_of
from headrace.sql.plan import ViewPlan

if TYPE_CHECKING:
    from headrace.runtime import Run

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

    # --- planning ---------------------------------------------------------------------------------
    def definition(self, app: App) -> Definition:
        """Return the declarations of an app, and what was created while running, planned.

        Raises:
            DeclarationError: views read each other in a circle, or a created view's name is declared now.
            SqlError, UnsupportedSql: a view's SQL.
        """
        created = dict(self._run._created)
        taken = {name.lower() for name in (*app.streams, *app.tables, *app.view_decls)}
        for name in created:
            if name.lower() in taken:
                raise DeclarationError(
                    "a view of that name was created while running", where=name, hint="drop it first"
                )
        texts = {decl.name: decl.sql for decl in app.view_decls.values()} | created
        plans: dict[str, ViewPlan] = {}
        catalog, event_times = self._catalog(app)
        plans |= history_plans(app, catalog)
        catalog |= {name: plan.schema for name, plan in plans.items()}
        for name in in_order(texts):
            plan = plan_view(name, texts[name], catalog, event_times=event_times, functions=app.functions)
            plans[name.lower()] = plan
            catalog[name.lower()] = plan.schema
        return Definition(app, plans, created)

    def _catalog(self, app: App) -> tuple[dict[str, Schema], dict[str, str]]:
        bases = {name: info.schema for name, info in self._run._base_relations(app)}
        times = {
            name.lower(): decl.event_time for name, decl in app.streams.items() if decl.event_time is not None
        }
        return bases, times

    def plan(self, wanted: Definition) -> ChangePlan:
        """Return what leads from the definitions in force to the wanted ones."""
        now = self._run._definition
        return compare(
            now.app.fingerprint(), wanted.app.fingerprint(), now.plans, wanted.plans, self.rows.counts,
            rows_per_s=self.rows.per_s,
        )  # fmt: skip

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
            wanted = self.definition(app)
            plan = self.plan(wanted)
            if plan.refused:
                item = plan.refused[0]
                raise ChangeFailed(
                    f"the {item.kind} cannot change so: {item.refused}", where=item.name,
                    hint="declare another one beside it, or start in a new folder", notes=list(item.notes),
                )  # fmt: skip
            now = self._run._definition
            change = Changeover(self, plan, now, wanted, self._sources(plan, now, wanted), share=share)
            self.change = change
            change.start(preview=preview)
            return change

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

    def rollback(self) -> Version:
        """Go back to the definitions before the last change."""
        with self._lock:
            if self.change is None:
                raise ChangeFailed(
                    "nothing has been changed since the folder was opened",
                    hint="apply the earlier declarations; they are built from history",
                )
            return self.change.rollback()

    def forget(self) -> None:
        """Give up what stands beside the running views: a view has been changed without it."""
        with self._lock:
            if self.change is not None and self.change.is_open:
                raise ChangeFailed(
                    "a change of the declarations is on its way", hint="wait for it or cancel it"
                )
            if self.change is not None:
                self.change.close()
                self.change = None

    def close(self) -> None:
        """End what is on its way; the folder stays as the last switch left it."""
        if self.change is not None:
            self.change.close()

    def _sources(self, plan: ChangePlan, now: Definition, wanted: Definition) -> list[Source]:
        """Return what the touched views read and what is not touched itself."""
        touched = {name.lower() for name in plan.of("added", "changed", "removed", "recomputed")}
        plans = [side[name] for side in (now.plans, wanted.plans) for name in sorted(touched) if name in side]
        names = sorted({name.lower() for view in plans for name in view.relations} - touched)
        return [self._source(name, wanted) for name in names]

    def _source(self, name: str, wanted: Definition) -> Source:
        view = wanted.plans.get(name)
        if view is not None:
            return Source(name, view.schema, True, self.engine.is_append_only(name))
        info = dict(self._run._base_relations(wanted.app)).get(name) or self._run.relation(name)
        return Source(name, info.schema, False, info.kind != "table", self._run._watched(name))

    # --- what a change asks of its host -----------------------------------------------------------
    @property
    def engine(self) -> Engine:
        """The running engine."""
        return self._run._engine

    def gate(self) -> AbstractContextManager[object]:
        """Keep steps and readers out for a moment."""
        return self._run._stepper.gate

    def fed(self) -> int:
        """Return the last commit that the engine has seen."""
        return self._run.version.commit

    def history(self, relation: str, commit: int) -> Iterator[Change]:
        """Yield all changes of a base relation up to a commit."""
        return self._run._logged(relation, commit)

    def install(
        self, definition: Definition, exchange: Callable[[], None], changes: Mapping[str, Change],
        restarted: Sequence[str],
    ) -> Version:  # fmt: skip
        """Make the definition durable, exchange the views and publish one version; under the gate."""
        return self._run._install(definition, exchange, changes, restarted)


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
