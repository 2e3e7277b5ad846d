"""Views of another definition, computed beside those that run and kept at their version.

The shadow is an engine of its own. Whatever the changed views read and that does not change itself (streams,
tables, other views) is a base relation of it: history first, as of one version, and from then on every change
that the running engine sees, in its order. So nothing of the building is in the way of a step.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock

from headrace.change import Change
from headrace.contracts.schema import Schema
from headrace.engine.engine import Engine
from headrace.engine.heap import Snapshot
from headrace.errors import HeadraceError, StorageError, ViewInError
from headrace.sql.plan import ViewPlan
from headrace.state.frozen import Frozen, freeze, thaw

logger = logging.getLogger("headrace")

CATCH_UP_ROWS_MAX = 200_000
"""Rows that one step takes while the shadow catches up."""

Fit = Callable[[str, Change], Change]
Moved = tuple[Mapping[str, Change], datetime, Mapping[str, datetime]]


@dataclass(frozen=True, slots=True)
class Source:
    """What the changed views read and what does not change itself.

    Attributes:
        name: lower case.
        schema: its columns.
        is_view: a view that runs; otherwise a stream, table or side table, whose history the log has.
        append_only: it never takes a row back.
        event_time: the event-time column of a stream that has a watermark.
    """

    name: str
    schema: Schema
    is_view: bool
    append_only: bool
    event_time: str | None = None


@dataclass(slots=True)
class Pace:
    """How much of the machine the building may take, and where it stands.

    Attributes:
        share: of one core, 0 to 1.
        rows: rows read so far.
        pause: waits for so many seconds; True ends the building.
        free_s: so much work at the beginning needs no rest: somebody waits for what is small.
    """

    share: float
    pause: Callable[[float], bool]
    rows: int = 0
    free_s: float = 0.0
    _since: float = field(default_factory=time.perf_counter)

    def paced(self, changes: Iterator[Change]) -> Iterator[Change]:
        """Yield the changes, counted, with pauses in between; what is done with one counts as work."""
        for change in changes:
            self.rows += len(change)
            yield change
            self.rest()

    def rest(self) -> None:
        """Pause for as long as the share says, after the work since the last pause.

        Raises:
            BuildingEnded: it has been cancelled.
        """
        worked = time.perf_counter() - self._since
        free = min(worked, self.free_s)
        self.free_s -= free
        if self.pause((worked - free) * (1 - self.share) / self.share):
            raise BuildingEnded
        self._since = time.perf_counter()


def as_it_is(_: str, change: Change) -> Change:
    """Return a change whose columns stay."""
    return change


class BuildingEnded(Exception):  # noqa: N818
    """The building was cancelled; caught by who started it."""


class Shadow:
    """An engine beside the running one.

    Args:
        engine: the running engine.
        gate: held while it steps.
        sources: what the views read, of the old and of the new definitions.
        fit: a change of a base relation, by lower-case name, in its new columns.
    """

    def __init__(
        self, engine: Engine, gate: Callable[[], AbstractContextManager[object]], sources: Sequence[Source],
        fit: Fit,
    ) -> None:  # fmt: skip
        self.engine = Engine(memory=engine.memory)
        self._running = engine
        self._fit = fit
        self._gate = gate
        self._sources = {source.name: source for source in sources}
        self._queue: deque[Moved] = deque()
        self._lock = Lock()
        self._remove_tap: Callable[[], None] = lambda: None
        self.changes: dict[str, list[Change]] | None = None
        for source in sources:
            self.engine.add_relation(
                source.name, source.schema, append_only=source.append_only, event_time=source.event_time
            )

    def build(
        self, plans: Sequence[ViewPlan], history: Callable[[str, int], Iterator[Change]],
        fed: Callable[[], int], pace: Pace, *, changed: Collection[str] = (),
    ) -> None:  # fmt: skip
        """Compute views, inputs first, over all that their sources hold, at the running engine's version.

        Args:
            plans: the views.
            history: of a base relation's name and a commit: all its changes up to there.
            fed: the last commit that the running engine has seen; asked under the gate.
            pace: how fast.
            changed: relations and views, in lower case, that are not what they were: operators that read none
                of them are taken over from the running views, with their state.

        Raises:
            BuildingEnded: it has been cancelled.
            HeadraceError: a view cannot be computed.
        """
        with self._gate():
            commit = fed()
            contents = {name: self._running.content(name) for name in self._views_read()}
            donors = {plan.name: self._donor(plan, changed) for plan in plans} if changed else {}
            self._remove_tap = self._running.tap(self._listen)
            self.engine.stand_beside(self._running)

        def content(name: str) -> Iterator[Change]:
            if name.lower() in contents:
                return pace.paced(contents[name.lower()]())
            return pace.paced(self._fit(name.lower(), change) for change in history(name, commit))

        for plan in plans:
            donor = donors.get(plan.name)
            if donor is not None:
                self._lend(plan.name, *donor, changed)
            self.engine.add_view(plan, content)

    def _donor(self, plan: ViewPlan, changed: Collection[str]) -> tuple[Frozen, Snapshot] | None:
        """Return the running circuit of a view as it is now, and its rows, where the plan can use them."""
        found = self._running.donor(plan, changed)
        if found is None:
            return None
        try:
            return freeze(found[0]), found[1].freeze()
        except StorageError as error:
            logger.info("%s is built from history: %s", plan.name, error.problem)
            return None

    def _lend(self, view: str, frozen: Frozen, rows: Snapshot, changed: Collection[str]) -> None:
        try:
            with self.engine.memory.watching():
                circuit = thaw(frozen.shape, [bytearray(column) for column in frozen.columns])
        except StorageError as error:
            logger.info("%s is built from history: %s", view, error.problem)
            return
        self.engine.lend(view, circuit, rows.table(), changed)

    def _views_read(self) -> list[str]:
        return [source.name for source in self._sources.values() if source.is_view]

    def _listen(
        self, moved: Mapping[str, Change], clock: datetime, watermarks: Mapping[str, datetime]
    ) -> None:
        mine = {name: self._fit(name, change) for name, change in moved.items() if name in self._sources}
        self._queue.append((mine, clock, dict(watermarks)))

    @property
    def waiting_rows(self) -> int:
        """Rows that the running engine has seen and the shadow has not."""
        return sum(len(change) for moved, _, _ in tuple(self._queue) for change in moved.values())

    def catch_up(self) -> None:
        """Take all that the running engine has seen so far; under the gate that ends at its version.

        Raises:
            ViewInError: a view of the shadow could not follow.
        """
        with self._lock:
            while self._queue:
                changes, clock, watermarks = self._next()
                output = self.engine.step(changes, clock, watermarks)
                if self.changes is not None:
                    for name, change in output.changes.items():
                        self.changes.setdefault(name.lower(), []).append(change)
            broken = self.engine.broken()
            if broken is not None:
                raise ViewInError(broken[1], where=broken[0])

    def _next(self) -> tuple[dict[str, Change], datetime, Mapping[str, datetime]]:
        """Return the changes of the next steps as one."""
        parts: dict[str, list[Change]] = {}
        rows = 0
        while True:
            moved, clock, watermarks = self._queue.popleft()
            for name, change in moved.items():
                parts.setdefault(name, []).append(change)
                rows += len(change)
            if not self._queue or rows >= CATCH_UP_ROWS_MAX or self.changes is not None:
                break
        return {name: Change.concat(changes) for name, changes in parts.items()}, clock, watermarks

    def close(self) -> None:
        """Stop listening and free what it holds."""
        self._remove_tap()
        with self._lock:
            self._queue.clear()
            self.engine.close()


def first_error(engine: Engine, allowed: Collection[str] = ()) -> HeadraceError | None:
    """Return the error of a view that has no answer at present and must have one, or None."""
    for name in engine.views:
        error = engine.view_error(name)
        if error is not None and name.lower() not in allowed:
            return ViewInError(error, where=name, hint="change the definition, or the row that causes it")
    return None
