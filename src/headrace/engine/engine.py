"""The engine: all views of an app, moved together one step at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from graphlib import TopologicalSorter
from typing import Any

import pyarrow as pa

from headrace.change import Change
from headrace.contracts.schema import Schema
from headrace.engine.adoption import Adoption, adoption
from headrace.engine.circuit import Circuit
from headrace.engine.columns import TextsRead
from headrace.engine.duck import Duck
from headrace.engine.levels import Threads, levels_of, step_threads
from headrace.engine.memory import Memory
from headrace.engine.monotone import Bounds
from headrace.engine.operators.base import OperatorInfo, StepContext
from headrace.engine.operators.refreshed import RefreshedOperator
from headrace.engine.reach import JOINS, reach
from headrace.engine.store import ViewStore, is_large
from headrace.engine.view import Advanced, View
from headrace.engine.zset import consolidate
from headrace.errors import DeclarationError, HeadraceError, UnknownName, UnsupportedSql
from headrace.results import Version
from headrace.sql.plan import Final, Refreshed, ViewPlan

logger = logging.getLogger("headrace")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
AGAIN_AFTER, AGAIN_AFTER_MAX = timedelta(seconds=10), timedelta(minutes=10)
"""After what time a view that found no memory is built anew, if no row reaches it before; twice as long each
time.
"""

History = Callable[[str], Iterator[Change]]
"""Of a base relation's name: everything that `step` was given for it so far, in order, in changes of any
size.
"""


Tap = Callable[[Mapping[str, Change], datetime, Mapping[str, datetime]], None]
"""Called after a step with the change of every relation and view that moved, by lower-case name, the clock
and the watermarks; views in error included, with what readers do not see yet.
"""


@dataclass(frozen=True, slots=True)
class StepOutput:
    """What a step did.

    Attributes:
        changes: per view that changed, its consolidated change.
        errors: per view that has no answer at present, why.
    """

    changes: dict[str, Change] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lent:
    """A copy of a running circuit, the rows of its view, and what is not what it was."""

    circuit: Circuit
    rows: pa.Table
    changed: frozenset[str]


class Engine:
    """Base relations and views. Not thread-safe: the runtime serialises; snapshots are immutable."""

    def __init__(
        self,
        *,
        duck_threads: int = 1,
        memory: Memory | None = None,
        recompute_rows_max: int | None = None,
        threads: int | None = None,
    ) -> None:
        self.memory = memory or Memory()
        self._recompute_rows_max = recompute_rows_max
        self._relations: dict[str, Schema] = {}
        self._append_only: set[str] = set()
        self._event_times: dict[str, str] = {}
        self._clock: datetime | None = None
        self._bounds: dict[str, Bounds] = {}
        self.outside: Mapping[str, Bounds] = {}
        self._views: dict[str, View] = {}
        self._order: list[str] = []
        self._reads: dict[str, set[str]] = {}
        self._levels: tuple[tuple[str, ...], ...] = ()
        self._has_refreshing = False
        self._threads = Threads(step_threads() if threads is None else threads)
        self._duck_threads = duck_threads
        self._ducks: dict[str, Duck] = {}
        self._history: History | None = None
        self._taps: tuple[Tap, ...] = ()
        self._texts = TextsRead()
        self._unshown: list[tuple[View, Change]] = []
        self._later: list[Callable[[], None]] = []
        self._lent: dict[str, Lent] = {}

    # --- declarations
    # ------------------------------------------------------------------------------------------
    def add_relation(
        self, name: str, schema: Schema, *, append_only: bool = False, event_time: str | None = None
    ) -> None:
        """Declare a base relation.

        Args:
            name: its name.
            schema: its columns.
            append_only: no change ever takes a row back.
            event_time: the column in which no row is ever below the watermark that an earlier step was given
                for this relation; state is freed by it. It needs `append_only`.
        """
        self._refuse_known(name)
        self._relations[name.lower()] = schema
        if append_only:
            self._append_only.add(name.lower())
            if event_time is not None:
                self._event_times[name.lower()] = schema[event_time].name.lower()

    def alter_relation(self, name: str, schema: Schema, *, event_time: str | None = None) -> None:
        """Give a base relation other columns; those that views read are still there, and of their types."""
        self._relations[name.lower()] = schema
        if name.lower() in self._event_times and event_time is not None:
            self._event_times[name.lower()] = schema[event_time].name.lower()

    def add_view(self, plan: ViewPlan, history: History) -> None:
        """Add a view, computed over all that its relations hold.

        Raises:
            DeclarationError: the name is taken.
            UnknownName: it reads a relation that does not exist.
            UnsupportedSql: the plan has no circuit.
        """
        self._refuse_known(plan.name)
        view = self._passed(self._build(plan, history))
        self._views[plan.name.lower()] = view
        self._history = history
        self._sort()

    def drop_view(self, name: str) -> None:
        """Remove a view.

        Raises:
            DeclarationError: other views read it.
        """
        key = self._key(name)
        readers = [view.plan.name for view in self._views.values() if key in _reads(view.plan)]
        if readers:
            raise DeclarationError(
                f"{name} is read by {', '.join(readers)}",
                where=name,
                hint=f"drop or change {readers[0]} first",
            )
        del self._views[key]
        self._sort()

    def replace_view(self, plan: ViewPlan, history: History) -> dict[str, Change]:
        """Give a view another definition; return the change of it and of every view that reads it.

        A reader is recomputed over the new content; where it no longer fits, DeclarationError says so and
        nothing has changed.
        """
        key = self._key(plan.name)
        replaced = {key: self._passed(self._build(plan, history))}
        for name in self._order:
            if name not in replaced and _reads(self._views[name].plan) & replaced.keys():
                fresh = self._build(self._views[name].plan, history, replaced)
                replaced[name] = self._passed(fresh, replaced)
        changes = {view.plan.name: _difference(self._views[name], view) for name, view in replaced.items()}
        self._views.update(replaced)
        self._history = history
        self._sort()
        return {name: change for name, change in changes.items() if len(change)}

    def _refuse_known(self, name: str) -> None:
        if name.lower() in self._relations or name.lower() in self._views:
            raise DeclarationError(f"there is already a relation named {name!r}", where=name)

    def _key(self, name: str) -> str:
        if name.lower() not in self._views:
            raise UnknownName.of("view", name, [view.plan.name for view in self._views.values()])
        return name.lower()

    def _duck(self, name: str) -> Duck:
        """Return the connection of a view: no two views share one."""
        if name not in self._ducks:
            self._ducks[name] = Duck(self._duck_threads)
        return self._ducks[name]

    def _sort(self) -> None:
        graph = {name: _reads(view.plan) & self._views.keys() for name, view in self._views.items()}
        self._order = [name for name in TopologicalSorter(graph).static_order() if name in self._views]
        self._levels = levels_of(self._order, graph)
        self._reads = {name: _reads(view.plan) for name, view in self._views.items()}
        self._has_refreshing = any(view.plan.refresh is not None for view in self._views.values())

    # --- building
    # ----------------------------------------------------------------------------------------------
    def _build(self, plan: ViewPlan, history: History, newer: Mapping[str, View] | None = None) -> View:
        """Return the view computed over the present content of its relations."""
        with self.memory.watching(), self._threads.working():
            return self._computed(plan, history, newer)

    def _computed(self, plan: ViewPlan, history: History, newer: Mapping[str, View] | None) -> View:
        views = {**self._views, **(newer or {})}
        for name in _reads(plan):
            if name not in self._relations and name not in views:
                raise UnknownName.of("relation", name, [*self._relations, *views])
        circuit = self._circuit(plan, views)
        if isinstance(circuit.root, RefreshedOperator):
            first = self._computed(replace(plan, refresh=None), history, newer)
            content = first.store.snapshot()
            circuit.root.content = content
            first.plan, first.circuit = plan, circuit
            return first
        context = StepContext(self._duck(plan.name.lower()), self._clock)
        self._adopt(plan, circuit)
        view = View(plan, circuit)
        view.store.apply(circuit.start(context))
        for name in sorted(name for name in _reads(plan) if circuit.is_fed(name)):
            for change in self._content(name, history, views):
                view.store.apply(circuit.step({name: change}, context))
                self.memory.settle()
        circuit.loaded()
        upstream = next(
            (views[name].error for name in _reads(plan) if name in views and views[name].error), None
        )
        _settle(view, circuit.error or upstream)
        view.bounds = _lowered(circuit.bounds({**self._bounds, **_bounds_of(newer or {})}))
        return view

    def _passed(self, view: View, newer: Mapping[str, View] | None = None) -> View:
        """Give out what is final by now; for views that are built between two steps."""
        bounds = {**self._bounds, **_bounds_of(newer or {})}
        context = StepContext(self._duck(view.plan.name.lower()), self._clock, {}, bounds)
        if view.circuit.is_due(context):
            view.store.apply(view.circuit.step({}, context))
        return view

    def _is_append_only(self, name: str, views: Mapping[str, View]) -> bool:
        if name.lower() in views:
            return views[name.lower()].circuit.append_only
        return name.lower() in self._append_only

    def _content(self, name: str, history: History, views: Mapping[str, View]) -> Iterator[Change]:
        if name not in views:
            yield from history(name)
            return
        view = views[name]
        for batch in view.store.snapshot().to_batches():
            yield Change.inserts(batch)
        yield from view.pending
        yield from (seen for other, seen in self._unshown if other is view)

    # --- steps
    # -------------------------------------------------------------------------------------------------
    def step(
        self, changes: Mapping[str, Change], clock: datetime, watermarks: Mapping[str, datetime]
    ) -> StepOutput:
        """Move all views by the changes of base relations; one that fails is in error, the others go on."""
        output = self.compute(changes, clock, watermarks)
        self.show()
        self.turn()
        self.memory.make_room()
        return output

    def compute(
        self, changes: Mapping[str, Change], clock: datetime, watermarks: Mapping[str, datetime]
    ) -> StepOutput:
        """Do the work of a step, while readers read the version before; `show` and `turn` end the step."""
        self._texts = TextsRead()
        with self.memory.watching(), self._threads.working(), self._texts.reading():
            return self._moved(changes, clock, watermarks)

    @property
    def unshown_rows(self) -> int:
        """Rows of the computed changes that `show` puts into contents."""
        return sum(self._shown_rows(seen) for _, seen in self._unshown)

    def _shown_rows(self, seen: Change) -> int:
        return 0 if self._large_wait and is_large(seen) else len(seen)

    @property
    def _large_wait(self) -> bool:
        """Whether large changes go in after their version shows, by another thread; not in bounded memory."""
        return self._threads.count > 1 and self.memory.limit_bytes is None

    def exhibit(self) -> None:
        """Have readers read the version before while `show` goes on, until `turn`."""
        for view, _ in self._unshown:
            view.store.exhibit()

    def turn(self) -> None:
        """Have readers see what `show` has made."""
        for view in self._views.values():
            view.shown_error = view.error
            view.store.end_exhibit()
        later, self._later = self._later, []
        self._threads.start(later)

    def show(self) -> None:
        """Put the computed changes into the contents of views; one that its change does not fit is given up:
        the view and its readers are built anew at the next step that reaches them. Large ones are put in by
        another thread after `turn`, or by who reads the view before that.
        """
        unshown, self._unshown = self._unshown, []
        texts, self._texts = self._texts, TextsRead()
        with self.memory.watching(), self._threads.working(), texts.reading():
            jobs = [partial(_applied, view, seen, self._large_wait) for view, seen in unshown]
            rows = [self._shown_rows(seen) for _, seen in unshown]
            failures = self._threads.run(jobs, rows)
            large = [view for (view, _), count in zip(unshown, rows, strict=True) if not count]
            self._later += [partial(copy_context().run, _settled, view) for view in large]
        for (view, _), failure in zip(unshown, failures, strict=True):
            if failure is not None:
                name = view.plan.name
                logger.error(
                    "the change of %s does not fit its content; it will be built anew", name, exc_info=failure
                )
                self._break(name.lower(), f"{type(failure).__name__}: {failure}")
        self.memory.moved(sum(len(seen) for _, seen in unshown))

    def _moved(
        self, changes: Mapping[str, Change], clock: datetime, watermarks: Mapping[str, datetime]
    ) -> StepOutput:
        self._clock = clock if self._clock is None else max(self._clock, clock)
        self._bounds = {**self.outside, **self._stream_bounds(watermarks)}
        limit = self._recompute_rows_max
        moved = {name.lower(): change for name, change in changes.items() if len(change)}
        output = StepOutput()
        for level in self._levels:
            contexts = [
                StepContext(self._duck(name), self._clock, watermarks, self._bounds, limit) for name in level
            ]
            jobs = [
                partial(self._advance, name, moved, context)
                for name, context in zip(level, contexts, strict=True)
            ]
            rows = [sum(len(moved[at]) for at in self._reads[name] if at in moved) for name in level]
            for name, advanced in zip(level, self._threads.run(jobs, rows), strict=True):
                self._take(self._views[name], advanced, moved, output)
        for tap in self._taps:
            tap(moved, clock, watermarks)
        return output

    def _stream_bounds(self, watermarks: Mapping[str, datetime]) -> dict[str, Bounds]:
        return {
            name.lower(): {self._event_times[name.lower()]: _micros(at)}
            for name, at in watermarks.items()
            if name.lower() in self._event_times
        }

    def _forget(self, view: View) -> Bounds:
        """Let a view free what no later change can reach, and return the bounds of its columns; a broken one
        stands still, and its bounds with it.
        """
        if view.broken is None:
            view.bounds = _lowered(view.circuit.forget(self._bounds))
        return view.bounds

    @property
    def due(self) -> datetime | None:
        """When some view changes by itself as the clock passes, or None."""
        views = [view for view in self._views.values() if view.broken is None]
        roots = [view.circuit.root for view in views]
        if any(isinstance(root, RefreshedOperator) and root.is_waiting for root in roots):
            return _EPOCH
        times = [view.circuit.due_us for view in views]
        times += [_micros(view.again) for view in self._views.values() if view.broken and view.again]
        due_us = min((time for time in times if time is not None), default=None)
        return None if due_us is None else _EPOCH + timedelta(microseconds=due_us)

    # --- views that refresh apart
    # --------------------------------------------------------------------------------------------------
    @property
    def refreshing(self) -> list[ViewPlan]:
        """The views that refresh apart, inputs first."""
        plans = [self._views[name].plan for name in self._order]
        return [plan for plan in plans if plan.refresh is not None]

    def refreshed(self, view: str) -> RefreshedOperator:
        """Return what holds the rows of a view that refreshes apart."""
        root = self._views[self._key(view)].circuit.root
        assert isinstance(root, RefreshedOperator)
        return root

    @property
    def has_refreshing(self) -> bool:
        """Whether any view refreshes apart."""
        return self._has_refreshing

    def as_of(self, view: str) -> Version | None:
        """Return the version of which a view that refreshes apart is; None: none yet, or no such view."""
        found = self._views.get(view.lower())
        root = None if found is None else found.circuit.root
        return root.as_of if isinstance(root, RefreshedOperator) else None

    def fail(self, view: str, message: str, as_of: Version) -> None:
        """Say that a view that refreshes apart has no answer."""
        self.refreshed(view).fail(message, as_of)

    def _circuit(self, plan: ViewPlan, views: Mapping[str, View]) -> Circuit:
        """Return the circuit of a plan; with `emit="final"`, behind it what holds back rows until their time
        has passed: `window_end` where there is one, else the first column that follows event time.
        """
        if plan.refresh is not None:
            every_us = plan.refresh // timedelta(microseconds=1)
            return Circuit(replace(plan, root=Refreshed(plan.schema, every_us)), lambda _: False)
        circuit = Circuit(plan, lambda name: self._is_append_only(name, views))
        if plan.emit is None:
            return circuit
        bounds = circuit.bounds(self._bounded(views))
        columns = [name for name in plan.schema.names if name in bounds]
        columns.sort(key=lambda name: name.lower() != "window_end")
        if not columns:
            raise UnsupportedSql(
                "emit='final' has no column by which rows become final",
                where=f"view {plan.name!r}",
                expected="window_end, or another column that follows a stream's event time with a lateness",
                hint="group by a window, join streams on time, or leave emit out",
                view=plan.name,
            )
        root = Final(plan.root.schema, plan.root, columns[0])
        return Circuit(replace(plan, root=root), lambda name: self._is_append_only(name, views))

    def _advance(self, name: str, moved: Mapping[str, Change], context: StepContext) -> Advanced:
        """Step one view and publish its change; touches nothing but the view."""
        view = self._views[name]
        reads = self._reads[name]
        done = Advanced()
        if (reads & moved.keys() and view.again is None) or _is_due(view, context):
            done.change = self._step_view(view, moved, context)
        upstream = next(
            (self._views[at].error for at in reads if at in self._views and self._views[at].error), None
        )
        error = view.broken or view.circuit.error or upstream
        if done.change is not None or error != view.error:
            change = Change.empty(view.plan.schema.arrow) if done.change is None else done.change
            done.seen = view.take(change, error)
        if done.change is not None or view.bounds or any(self._bounds.get(at) for at in reads):
            self._forget(view)
        return done

    def _take(self, view: View, done: Advanced, moved: dict[str, Change], output: StepOutput) -> None:
        """Put what a view did into the step."""
        name = view.plan.name
        if done.change is not None:
            moved[name.lower()] = done.change
        if done.seen is not None and len(done.seen):
            output.changes[name] = done.seen
            self._unshown.append((view, done.seen))
        if view.error is not None:
            output.errors[name] = view.error
        self._bounds[name.lower()] = view.bounds

    def give_up(self, reason: str) -> None:
        """Have every view built anew at the next step: one that broke off has moved some of them and not
        others. Readers go on reading the version before.
        """
        self._unshown = []
        for view in self._views.values():
            if view.plan.refresh is None:
                view.broken, view.again, view.pending = reason, _EPOCH, []

    def _break(self, name: str, reason: str) -> None:
        view = self._views[name]
        view.broken = view.error = reason
        view.pending = []
        for other, reader in self._views.items():
            if name in _reads(reader.plan) and reader.broken is None:
                self._break(other, f"{self._views[name].plan.name}: {reason}")

    def _step_view(self, view: View, moved: Mapping[str, Change], context: StepContext) -> Change:
        """Return the view's change; whatever goes wrong puts the view in error, and it is built anew next
        time.
        """
        try:
            if view.broken is not None:
                return self._rebuilt(view, moved, context)
            return view.circuit.step(moved, context)
        except Exception as error:  # noqa: BLE001 - one view must never stop the others
            if _is_starved(error) and context.clock is not None:
                view.again = context.clock + min(AGAIN_AFTER * 2**view.tries, AGAIN_AFTER_MAX)
                view.tries = min(view.tries + 1, 10)
            view.broken = (
                error.problem if isinstance(error, HeadraceError) else f"{type(error).__name__}: {error}"
            )
            return Change.empty(view.plan.schema.arrow)

    def _rebuilt(self, view: View, moved: Mapping[str, Change], context: StepContext) -> Change:
        """Compute a broken view anew from history and this step's changes; return the change to what
        readers have.
        """
        assert self._history is not None
        fresh = self._build(view.plan, self._history)
        base = {name: change for name, change in moved.items() if name in self._relations}
        is_due = _reads(view.plan) & base.keys() or fresh.circuit.is_due(context)
        last = fresh.circuit.step(base, context) if is_due else None
        parts = [Change.inserts(batch) for batch in fresh.store.snapshot().to_batches()]
        parts += [Change.inserts(batch).negated() for batch in view.store.snapshot().to_batches()]
        view.circuit, view.broken, view.pending = fresh.circuit, None, []
        view.again, view.tries = None, 0
        return consolidate(
            Change.concat(
                [Change.empty(view.plan.schema.arrow), *parts, *fresh.pending, *([last] if last else [])]
            )
        )

    def __contains__(self, name: object) -> bool:
        """Whether there is a view of that name, in lower case."""
        return name in self._views

    # --- written down and read back
    # ------------------------------------------------------------------------------
    def state(self) -> dict[str, Any]:
        """Return everything that steps have made, for a checkpoint: not a copy."""
        self.settle(self._views)
        return {"views": self._views, "clock": self._clock, "bounds": self._bounds}

    def settle(self, views: Collection[str]) -> None:
        """Put in what waits to go into the contents of views (lower case), so that they may be copied."""
        for name in views:
            _settled(self._views[name])

    def restore(self, state: dict[str, Any], history: History) -> None:
        """Take over the state of an engine with the same relations and views; this one has no views."""
        with self.memory.watching():
            self._views = state["views"]
        self._clock, self._bounds, self._history = state["clock"], state["bounds"], history
        self._sort()

    # --- taking over what runs
    # -------------------------------------------------------------------------------
    def donor(self, plan: ViewPlan, changed: Collection[str]) -> tuple[Circuit, ViewStore, Adoption] | None:
        """Return circuit and rows of the running view of that name, and what of it a new plan can take over;
        None: nothing.
        """
        view = self._views.get(plan.name.lower())
        if view is None or view.error is not None or plan.refresh is not None or plan.emit is not None:
            return None
        if isinstance(view.circuit.root, RefreshedOperator) or view.plan.emit is not None:
            return None
        found = adoption(self._circuit(plan, self._views), view.circuit, changed)
        return None if found is None else (view.circuit, view.store, found)

    def operators(self, plan: ViewPlan, changed: Collection[str]) -> list[tuple[str, str, bool]]:
        """Return name and detail of every operator of a plan, inputs first, and whether it would be taken
        over from the running view of that name.

        Raises:
            UnsupportedSql: the plan has no circuit.
        """
        circuit, donor = self._circuit(plan, self._views), self.donor(plan, changed)
        kept = frozenset(mine for mine, _ in donor[2].pairs) if donor is not None else frozenset()
        stages = enumerate(circuit.stages)
        return [(one.operator.name, one.operator.detail, at in kept) for at, one in stages]

    def state_bytes(self, view: str) -> int:
        """Return about how many bytes a view holds: its operators, and its rows."""
        found = self._views[self._key(view)]
        return found.store.nbytes + sum(stage.operator.state_bytes for stage in found.circuit.stages)

    def lend(self, view: str, circuit: Circuit, rows: pa.Table, changed: Collection[str]) -> None:
        """Give a view that is built next a copy of a running circuit, to take over what it can."""
        self._lent[view.lower()] = Lent(circuit, rows, frozenset(changed))

    def _adopt(self, plan: ViewPlan, circuit: Circuit) -> None:
        lent = self._lent.pop(plan.name.lower(), None)
        found = None if lent is None else adoption(circuit, lent.circuit, lent.changed)
        if lent is not None and found is not None:
            circuit.adopt(found, lent.circuit, lent.rows)

    # --- two engines side by side
    # -------------------------------------------------------------------------------
    def tap(self, tap: Tap) -> Callable[[], None]:
        """Call `tap` after every step; return a function that ends it."""
        self._taps = (*self._taps, tap)

        def remove() -> None:
            self._taps = tuple(known for known in self._taps if known is not tap)

        return remove

    def content(self, name: str) -> Callable[[], Iterator[Change]]:
        """Return a reader of what all changes of a view so far add up to, as the circuit has seen it; any
        thread may call it later.
        """
        view = self._views[self._key(name)]
        rows, pending = view.store.freeze(), tuple(view.pending)

        def read() -> Iterator[Change]:
            for batch in rows.table().to_batches():
                yield Change.inserts(batch)
            yield from pending

        return read

    # --- some views aside
    # -------------------------------------------------------------------------------
    @property
    def clock(self) -> datetime | None:
        """Where the views stand."""
        return self._clock

    @property
    def bounds(self) -> dict[str, Bounds]:
        """Per relation and view, in lower case, the bounds of its columns after the last step."""
        return self._bounds

    def reached(self, relations: Collection[str]) -> dict[str, View]:
        """Return the views that changes of relations (lower case) move, inputs first; not what refreshes
        apart.
        """
        moved, found = set(relations), {}
        for name in self._order:
            if self._reads[name] & moved and self._views[name].plan.refresh is None:
                moved.add(name)
                found[name] = self._views[name]
        return found

    def joined_rows(self, relations: Collection[str]) -> int:
        """Return how many rows are kept by the joins that changes of relations (lower case) may meet."""
        stages = (stage for view in self.reached(relations).values() for stage in view.circuit.stages)
        joins = (one.operator for one in stages if isinstance(one.operator, JOINS))
        return sum(operator.state_rows for operator in joins)

    def reach(self, changes: Mapping[str, Change], rows_max: int) -> int:
        """Return about how many rows changes of base relations would move; counts no further than beyond
        `rows_max`.
        """
        moved = {name.lower(): change.rows for name, change in changes.items() if len(change)}
        rows = 0
        for name, view in self.reached(moved).items():
            found, moved[name] = reach(view.circuit, moved, rows_max - rows)
            rows += found
            if rows > rows_max:
                break
        return rows

    def beside(self, views: dict[str, View]) -> Engine:
        """Return an engine of some views' copies, to which all else that they read is given, as it is here
        step by step, with the bounds of it in `outside`.
        """
        other = Engine(memory=self.memory, recompute_rows_max=self._recompute_rows_max, threads=1)
        others = {name: view.plan.schema for name, view in self._views.items() if name not in views}
        other._relations = {**self._relations, **others}
        other._event_times = dict(self._event_times)
        other._views = views
        other.stand_beside(self)
        other._sort()
        return other

    def tell(self, moved: Mapping[str, Change], clock: datetime, watermarks: Mapping[str, datetime]) -> None:
        """Tell those who listen of changes that came by no step: of views that were traded."""
        for tap in self._taps:
            tap(moved, clock, watermarks)

    def is_append_only(self, name: str) -> bool:
        """Return whether a relation or view never takes a row back."""
        return self._is_append_only(name, self._views)

    def broken(self) -> tuple[str, str] | None:
        """Return a view that has lost its way and must be built anew, and why; None: all is well."""
        for view in self._views.values():
            if view.broken is not None:
                return view.plan.name, view.broken
        return None

    def stand_beside(self, other: Engine) -> None:
        """Stand at the clock and the watermarks of an engine that is fed the same."""
        self._clock, self._bounds = other._clock, dict(other._bounds)

    def exchange(self, other: Engine, names: Collection[str]) -> None:
        """Trade views with another engine, each with its state; a view that only one has goes to the other.

        Both must have been fed the same, and both know what the views read.
        """
        for key in (name.lower() for name in names):
            mine, theirs = self._views.pop(key, None), other._views.pop(key, None)
            if theirs is not None:
                self._views[key] = theirs
            if mine is not None:
                other._views[key] = mine
        self._sort()
        other._sort()

    # --- reading
    # -----------------------------------------------------------------------------------------------
    def snapshot(self, view: str) -> pa.Table:
        """Return the rows of a view at the last step; the last right ones while it is in error."""
        return self.store(view).snapshot()

    def store(self, view: str) -> ViewStore:
        """Return the content of a view."""
        return self._views[self._key(view)].store

    def view_error(self, view: str) -> str | None:
        """Return why a view has no answer at present, or None."""
        return self._views[self._key(view)].shown_error

    @property
    def errors(self) -> dict[str, str]:
        """Why views have no answer at present, by lower-case name; those that have one are left out."""
        errors = {name: view.shown_error for name, view in self._views.items()}
        return {name: error for name, error in errors.items() if error is not None}

    def explain(self, view: str) -> OperatorInfo:
        """Return the view's operators as a tree."""
        wanted = self._views[self._key(view)]
        return wanted.circuit.explain(self._bounded())

    def _bounded(self, views: Mapping[str, View] | None = None) -> dict[str, Bounds]:
        """Return for every relation the columns that can have a bound."""
        found: dict[str, Bounds] = {name: {column: 0} for name, column in self._event_times.items()}
        for name in self._order:
            found[name] = _lowered((views or self._views)[name].circuit.bounds(found))
        return found

    @property
    def views(self) -> tuple[str, ...]:
        """The names of all views, inputs first."""
        return tuple(self._views[name].plan.name for name in self._order)

    def close(self) -> None:
        """Free what DuckDB holds."""
        self._threads.close()
        for duck in self._ducks.values():
            duck.close()


def _is_due(view: View, context: StepContext) -> bool:
    """Whether a view moves though nothing reaches it: time passes, or memory may be there again."""
    if view.broken is None:
        return view.circuit.is_due(context)
    return view.again is not None and context.clock is not None and context.clock >= view.again


def _is_starved(error: Exception) -> bool:
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryException"


def _applied(view: View, seen: Change, large_waits: bool) -> Exception | None:
    """Put a change into a content; return why it does not fit."""
    try:
        view.store.put_off(seen, large_waits=large_waits)
    except Exception as failure:  # noqa: BLE001 - one view must never stop the others
        return failure
    return None


def _settled(view: View) -> None:
    """Put in what waits; where it does not fit, the next step says so."""
    with suppress(Exception):
        view.store.settle()


def _lowered(bounds: Bounds) -> Bounds:
    return {column.lower(): at_us for column, at_us in bounds.items()}


def _bounds_of(views: Mapping[str, View]) -> dict[str, Bounds]:
    return {name: view.bounds for name, view in views.items()}


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def _reads(plan: ViewPlan) -> set[str]:
    return {name.lower() for name in plan.relations}


def _settle(view: View, error: str | None) -> None:
    view.publish(Change.empty(view.plan.schema.arrow), error)


def _difference(old: View, new: View) -> Change:
    """Return what readers of the old definition must apply to have the new one's rows."""
    if old.plan.schema.arrow != new.plan.schema.arrow:
        return Change.inserts(
            pa.concat_batches(new.store.snapshot().to_batches() or [Change.empty(new.plan.schema.arrow).rows])
        )
    parts = [Change.inserts(batch) for batch in new.store.snapshot().to_batches()]
    parts += [Change.inserts(batch).negated() for batch in old.store.snapshot().to_batches()]
    return consolidate(Change.concat(parts)) if parts else Change.empty(new.plan.schema.arrow)
