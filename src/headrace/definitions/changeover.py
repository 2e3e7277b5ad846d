"""One change of definitions on its way: built in the shadow, compared, switched in one version, kept for
rollback.

    building ──▶ ready ──▶ switched ◀──▶ rolled back
        │          │
        ▼          ▼
      failed    cancelled

Until the switch nothing has happened that a reader could see, and nothing stands in the log; a crash before
it leaves the old definitions, a crash after it the new ones. The switch itself is one record and one
version: the readers of version n had the old definitions, those of n + 1 have the new ones.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from threading import Condition, Event, Lock, Thread
from typing import Any, Protocol

from headrace.change import Change
from headrace.definitions.compare import ChangePlan
from headrace.definitions.difference import Content, ViewDifference, view_difference
from headrace.definitions.shadow import BuildingEnded, Fit, Pace, Shadow, Source, as_it_is, first_error
from headrace.engine.engine import Engine
from headrace.engine.zset import consolidate
from headrace.errors import ChangeFailed, HeadraceError
from headrace.results import Version
from headrace.sql.plan import ViewPlan

logger = logging.getLogger("headrace")

FOLLOW_S = 0.2
"""How often what stands beside the running views takes their changes."""
BEFORE = "before"
"""Under this name a record of declarations keeps those before it, for a rollback after a restart."""
LINEAGE = "lineage"
"""Under this name it keeps where the columns of streams and tables come from."""
END_S = 60.0
"""How long a cancelled building may take to notice."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One set of declarations.

    Attributes:
        app: what the user declared.
        plans: of all views by lower-case name, inputs first.
        created: views that were made while running: name and SQL.
        lineages: of streams and tables that once had other columns: where those of now come from, as facts.
    """

    app: Any
    plans: Mapping[str, ViewPlan]
    created: Mapping[str, str] = field(default_factory=dict)
    lineages: Mapping[str, Any] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """Return what the log keeps of it."""
        lineages = {LINEAGE: dict(self.lineages)} if self.lineages else {}
        return {**self.app.fingerprint(), "created": dict(self.created), **lineages}


class Host(Protocol):
    """What a change needs of the run."""

    @property
    def engine(self) -> Engine:
        """The running engine."""

    def gate(self) -> AbstractContextManager[object]:
        """Keep steps and readers out for a moment."""

    def prepare(self) -> None:
        """Read what the switch needs beside the views."""

    def fed(self) -> int:
        """Return the last commit that the engine has seen."""

    def history(self, relation: str, commit: int) -> Iterator[Change]:
        """Yield all changes of a base relation up to a commit."""

    def install(
        self, definition: Definition, exchange: Callable[[], None], changes: Mapping[str, Change],
        restarted: Sequence[str], *, undoes: bool,
    ) -> Version:  # fmt: skip
        """Under the gate: make the definition durable, exchange the views and publish one version.

        `changes` are those of readers that go on; views in `restarted` have other columns, or are new or
        gone. `undoes`: it leads back, and there is nothing before it to go back to.
        """

    def settled(self, change: Changeover) -> None:
        """Hear that a change is in force, or never will be."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a change stands.

    Attributes:
        state: `building`, `ready`, `switched`, `rolled back`, `cancelled` or `failed`.
        rows: rows of history read.
        rows_total: rows of history to read, about.
        seconds_left: about; None: nobody knows.
        waiting_rows: rows that the running views have seen and the new ones have not.
        error: why it failed.
    """

    state: str
    rows: int
    rows_total: int
    seconds_left: float | None
    waiting_rows: int
    error: str | None = None


class Changeover:
    """One change. Thread-safe.

    Args:
        host: the run.
        plan: what it touches.
        old: the definitions in force.
        new: the wanted ones.
        sources: what the touched views read and what does not change.
        share: of one core, for the building.
        undoes: it leads back to what was before the last change.
        resumed: a crash, or the end of a program, had interrupted it.
        kept: plans of what is kept of streams and tables whose columns change; it is exchanged too.
        fit: a change of a relation, by lower-case name, in its new columns.
    """

    def __init__(
        self, host: Host, plan: ChangePlan, old: Definition, new: Definition, sources: Sequence[Source],
        *, share: float = 0.5, undoes: bool = False, resumed: bool = False, kept: Sequence[ViewPlan] = (),
        fit: Fit = as_it_is,
    ) -> None:  # fmt: skip
        self.plan = plan
        self._kept = tuple(kept)
        self.undoes = undoes
        self.resumed = resumed
        self.old = old
        self.new = new
        self.difference: tuple[ViewDifference, ...] = ()
        self.version: Version | None = None
        self._host = host
        self._names = tuple(name.lower() for name in plan.of("added", "changed", "removed", "recomputed"))
        self._shadow = Shadow(host.engine, host.gate, sources, fit)
        self._end = Event()
        self._pace = Pace(share, self._end.wait)
        self._moved = Condition()
        self._switching = Lock()
        self._state = "building"
        self._error: HeadraceError | None = None
        self._built: dict[str, Change] = {}
        self._seen: dict[str, list[Change]] = {}
        self._thread: Thread | None = None
        self._remove_note: Callable[[], None] = _nothing

    # --- life -------------------------------------------------------------------------------------
    def start(self, *, preview: bool) -> None:
        """Build in a thread of its own; with `preview`, stop before the switch."""
        self._thread = Thread(target=self._run, args=(preview,), name="headrace-change", daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float | None = None, *, settled: bool = False) -> Changeover:
        """Return once the change is ready (not where it shall be `settled`), switched, cancelled or has
        failed.

        Raises:
            ChangeFailed: it has failed; the old definitions stand.
        """
        with self._moved:
            passing = ("building", "ready") if settled else ("building",)
            self._moved.wait_for(lambda: self._state not in passing or self._error is not None, timeout_s)
            if self._error is not None:
                raise self._error
        return self

    @property
    def state(self) -> str:
        """See `Progress.state`."""
        return self._state

    def wants(self, facts: Mapping[str, Any]) -> bool:
        """Whether it leads to those declarations."""
        return bool(self.new.app.fingerprint() == facts)

    @property
    def can_go_back(self) -> bool:
        """Whether what was before is kept beside, so that `rollback` is instant."""
        return self._state == "switched" and not self.plan.lineages

    @property
    def is_open(self) -> bool:
        """Whether it is neither switched nor given up."""
        return self._state in ("building", "ready")

    @property
    def progress(self) -> Progress:
        """Where it stands."""
        rows, total = self._pace.rows, self.plan.rows
        left = None
        if self.plan.seconds is not None and total:
            left = max(0.0, self.plan.seconds * (1 - rows / total)) / self._pace.share
        error = None if self._error is None else self._error.problem
        return Progress(self._state, rows, total, left, self._shadow.waiting_rows, error)

    def as_dict(self) -> dict[str, Any]:
        """Return state, progress, plan and difference as JSON values, and the difference for people."""
        return {
            "state": self._state,
            "resumed": self.resumed,
            "progress": asdict(self.progress),
            "plan": self.plan.as_dict(),
            "difference": [item.as_dict() for item in self.difference],
            "text": "\n".join(item.text() for item in self.difference),
        }

    def cancel(self) -> None:
        """Give it up, unless it has been switched; the old definitions go on as if nothing had been.

        Raises:
            ChangeFailed: it has been switched already; that is what rollback is for.
        """
        with self._switching:
            if self._state in ("switched", "rolled back"):
                raise ChangeFailed("the change is in force already", hint="roll it back")
            self._end.set()
            if self.is_open:
                self._become("cancelled")
        self.close()

    def close(self) -> None:
        """End the thread and free what stands beside the running views."""
        self._end.set()
        if self._thread is not None and self._thread.ident is not None:
            self._thread.join(END_S)
        self._shadow.close()
        with self._moved:  # nobody waits for what goes on at the next start, if at all
            if self.is_open and self._error is None:
                self._error = ChangeFailed("the run was closed before the change was in force")
            self._moved.notify_all()

    def _run(self, preview: bool) -> None:
        try:
            self._build()
            self._become("ready")
            if not preview:
                self.switch()
            while not self._end.wait(FOLLOW_S):
                if self._state == "switched" and not self.can_go_back:  # rows in other columns than before
                    self._shadow.close()
                    break
                self._shadow.catch_up()
        except BuildingEnded:
            return
        except HeadraceError as error:
            self._fail(error)
        except Exception as error:
            logger.exception("a change of definitions met a defect; the old definitions stand")
            self._fail(ChangeFailed(f"the new definitions cannot be built: {type(error).__name__}: {error}"))

    def _fail(self, error: HeadraceError) -> None:
        if not self.is_open:
            logger.warning(
                "the definitions before the change can no longer be kept beside: %s", error.problem
            )
            self._become("kept no longer")
        elif isinstance(error, ChangeFailed):
            self._become("failed", error)
        else:
            self._become("failed", ChangeFailed(error.problem, where=error.where, hint=error.hint))
        self._shadow.close()

    def _become(self, state: str, error: HeadraceError | None = None) -> None:
        with self._moved:
            self._state, self._error = state, error
            self._moved.notify_all()
        if not self.is_open:
            self._host.settled(self)

    # --- building ---------------------------------------------------------------------------------
    def _build(self) -> None:
        wanted = [plan for key, plan in self.new.plans.items() if key in self._names]
        self._host.prepare()
        plans, moved = (*self._kept, *wanted), self.plan.moved()
        self._shadow.build(plans, self._host.history, self._host.fed, self._pace, changed=moved)
        while self._shadow.waiting_rows > 0:
            self._shadow.catch_up()
            self._pace.rest()
        self._compare()

    def _compare(self) -> None:
        """Bring both to one version and tell them apart; from then on, both sides' changes are noted."""
        with self._host.gate():
            self._shadow.catch_up()
            before = {name: _frozen(self._host.engine, name) for name in self._names}
            after = {name: _frozen(self._shadow.engine, name) for name in self._names}
            self._note()
        self._built = {}
        found = []
        for name in self._names:
            old, new = _content(before[name], self.old, name), _content(after[name], self.new, name)
            shown = (self.new.plans.get(name) or self.old.plans[name]).name
            error = self._shadow.engine.view_error(name) if new is not None else None
            found.append(
                ViewDifference(shown, old.table.num_rows if old else None, 0, error=error)
                if error is not None
                else view_difference(shown, old, new)
            )
            if old is not None and new is not None and old.schema.arrow == new.schema.arrow:
                self._built[name] = _apart(old, new)
        self.difference = tuple(found)

    def _note(self) -> None:
        """Note the changes of both sides from this version on."""
        self._remove_note()
        seen: dict[str, list[Change]] = {}

        def note(moved: Mapping[str, Change], _: datetime, __: Mapping[str, datetime]) -> None:
            for name in self._names:
                if name in moved:
                    seen.setdefault(name, []).append(moved[name])

        self._seen, self._shadow.changes = seen, {}
        self._remove_note = self._host.engine.tap(note)

    # --- switching --------------------------------------------------------------------------------
    def switch(self) -> Version:
        """Put the new definitions in force, in one version.

        Raises:
            ChangeFailed: it is not ready, or a view would have no answer under the new definition.
        """
        with self._switching:
            if self._state != "ready":
                raise ChangeFailed(f"the change is {self._state}", expected="one that is ready")
            error = first_error(self._shadow.engine, self._allowed_in_error())
            if error is not None:
                raise ChangeFailed(error.problem, where=error.where, hint=error.hint)
            return self._exchange(self.new, "rolled back" if self.undoes else "switched")

    def _allowed_in_error(self) -> set[str]:
        """Return the views that may be in error: created ones, which nobody reads yet."""
        created = {name.lower() for name in self.new.created}
        return {name for name in self._names if name not in self.old.plans and name in created}

    def rollback(self) -> Version:
        """Put the definitions before the change back in force, in one version.

        Raises:
            ChangeFailed: the change is not in force, or what was before it is no longer kept.
        """
        with self._switching:
            if not self.can_go_back:
                raise ChangeFailed(
                    f"there is nothing to go back to: the last change is {self._state}",
                    expected="a change that is in force, with what was before it still kept",
                    hint="apply the earlier declarations instead; they are built from history",
                )
            self.old, self.new = self.new, self.old
            self._compare()
            return self._exchange(self.new, "rolled back")

    def _exchange(self, definition: Definition, state: str) -> Version:
        engine = self._host.engine
        with self._host.gate():
            self._shadow.catch_up()
            self._remove_note()
            changes = {}
            for name, built in self._built.items():
                plan = definition.plans[name]
                if engine.view_error(name) is None and self._shadow.engine.view_error(name) is None:
                    changes[plan.name] = self._sum(name, built)
                else:
                    changes[plan.name] = self._anew(name)
            kept = [plan.name.lower() for plan in self._kept]
            restarted = [*kept, *(name for name in self._names if name not in self._built)]
            self._shadow.changes = None
            self.version = self._host.install(
                definition, lambda: engine.exchange(self._shadow.engine, (*kept, *self._names)), changes,
                restarted,
                undoes=state == "rolled back",
            )  # fmt: skip
        self._seen, self._built = {}, {}
        self._become(state)
        return self.version

    def _sum(self, name: str, built: Change) -> Change:
        ours = self._seen.get(name, [])
        theirs = (self._shadow.changes or {}).get(name, [])
        if not ours and not theirs:
            return built
        return consolidate(Change.concat([built, *theirs, *(change.negated() for change in ours)]))

    def _anew(self, name: str) -> Change:
        old = _content(_frozen(self._host.engine, name), self.old, name)
        new = _content(_frozen(self._shadow.engine, name), self.new, name)
        assert old is not None
        assert new is not None
        return _apart(old, new)

    def shadow_view(self, name: str) -> tuple[ViewPlan, Engine] | None:
        """Return plan and engine of a view in preparation, or None; call `hold` before reading it."""
        key = name.lower()
        if self._state != "ready" or key not in self._names or key not in self.new.plans:
            return None
        return self.new.plans[key], self._shadow.engine

    def shadow_plans(self) -> list[ViewPlan]:
        """Return the plans of the views in preparation that can be read."""
        if self._state != "ready":
            return []
        return [plan for key, plan in self.new.plans.items() if key in self._names]

    def hold(self) -> None:
        """Under the gate: bring the views in preparation to the running version."""
        self._shadow.catch_up()


def _nothing() -> None:
    """Nothing is noted yet."""


def _frozen(engine: Engine, name: str) -> Any:
    return engine.store(name).freeze() if name in {view.lower() for view in engine.views} else None


def _content(frozen: Any, definition: Definition, name: str) -> Content | None:
    if frozen is None:
        return None
    plan = definition.plans[name]
    return Content(frozen.table(), plan.schema, plan.unique_key)


def _apart(old: Content, new: Content) -> Change:
    """Return the change that leads from one content to the other."""
    parts = [Change.inserts(batch) for batch in new.table.to_batches()]
    parts += [Change.inserts(batch).negated() for batch in old.table.to_batches()]
    return consolidate(Change.concat([Change.empty(new.schema.arrow), *parts]))
