"""One thread per sink: brings it from the version it holds to the one that is published, again and again.

Nothing here is on the way of a step: the courier reads the kept changes of the run, as any follower does.
Where those since its position are no longer kept, it hands over the whole content instead, and the sink works
out the difference.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

import pyarrow as pa

from headrace.change import Change, as_batch
from headrace.declarations import SinkDecl
from headrace.errors import Closed, HeadraceError, VersionGone
from headrace.results import SinkStatus
from headrace.sinks.registry import Sink, SinkKind, Target, shown_url
from headrace.sinks.shipment import Position, Shipment, by_version, net, stamped

if TYPE_CHECKING:
    from headrace.relations import RelationInfo
    from headrace.runtime import Run

logger = logging.getLogger("headrace")

BACKOFF_S = 0.1
BACKOFF_S_MAX = 30.0
WAITING_MAX = 10_000
"""Versions whose age is remembered; behind by more, a sink's lag is counted from the oldest of them."""
END_S = 10.0
"""How long a run that closes waits for a shipment that is under way."""


class Courier:
    """Keeps one sink at its view.

    Args:
        run: whose view it is.
        declared: the sink.
        kind: of the sink.
        history: names the versions of this run; see `Position`.
    """

    def __init__(self, run: Run, declared: SinkDecl, kind: SinkKind, history: str) -> None:
        self.declared = declared
        self._run = run
        self._kind = kind
        self._history = history
        self._moved = threading.Condition()
        self._published = run.version.number
        self._moved_at = 0
        self._waiting: deque[tuple[int, float]] = deque()
        self._delivered: int | None = None
        self._kept: int | None = None
        self._state = "starting"
        self._error: str | None = None
        self._failures = 0
        self._rows = 0
        self._deliveries = 0
        self._asked = 0
        self._ending = False
        self._nudged = False
        self._thread = threading.Thread(target=self._loop, name=f"headrace-sink-{declared.name}", daemon=True)

    # --- life -------------------------------------------------------------------------------------
    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def published(self, version: int, *, has_moved: bool) -> None:
        """Hear of a version, and whether the view has changed in it."""
        with self._moved:
            self._published = version
            if has_moved:
                self._moved_at = version
                if len(self._waiting) < WAITING_MAX:
                    self._waiting.append((version, time.monotonic()))
                self._moved.notify_all()

    def wait(self, version: int, timeout_s: float) -> bool:
        """Return whether the sink holds a version, after waiting for at most so long."""
        with self._moved:
            self._asked = max(self._asked, version)
            self._moved.notify_all()
            self._moved.wait_for(lambda: self._holds(version) or self._state == "stopped", timeout_s)
            return self._holds(version)

    def _holds(self, version: int) -> bool:
        return self._delivered is not None and self._delivered >= version

    def nudge(self) -> None:
        """Try again at once: the definitions are other ones."""
        with self._moved:
            self._nudged = True
            self._moved.notify_all()

    def end(self) -> None:
        """Ask the thread to bring the sink to the present once more, and to end."""
        with self._moved:
            self._ending = True
            self._moved.notify_all()

    def join(self) -> None:
        """Wait for the end, not for ever: what a sink lacks then, it gets at the next start."""
        self._thread.join(END_S)

    @property
    def status(self) -> SinkStatus:
        """Where the sink stands."""
        with self._moved:
            oldest = self._waiting[0][1] if self._waiting else None
            behind = self._published - (self._delivered or 0)
            return SinkStatus(
                name=self.declared.name,
                view=self.declared.view,
                url=shown_url(self.declared.url),
                guarantee=self._kind.guarantee,
                state=self._state,
                version=self._delivered,
                versions_behind=behind if self._waiting or self._delivered is None else 0,
                lag_ms=0.0 if oldest is None else (time.monotonic() - oldest) * 1000.0,
                rows=self._rows,
                deliveries=self._deliveries,
                failures=self._failures,
                error=self._error,
            )

    # --- the thread -------------------------------------------------------------------------------
    def _loop(self) -> None:
        backoff_s = BACKOFF_S
        while True:
            before = self._deliveries
            try:
                self._serve()
                self._become("stopped")
                return
            except Closed:
                self._become("stopped")
                return
            except Exception as error:  # noqa: BLE001 - whatever a sink raises, it is tried again
                self._failed(error)
            backoff_s = BACKOFF_S if self._deliveries > before else min(2 * backoff_s, BACKOFF_S_MAX)
            with self._moved:
                self._moved.wait_for(lambda: self._ending or self._nudged, backoff_s)
                self._nudged = False
                if self._ending:
                    self._state = "stopped"
                    self._moved.notify_all()
                    return

    def _failed(self, error: Exception) -> None:
        text = error.problem if isinstance(error, HeadraceError) else f"{type(error).__name__}: {error}"
        with self._moved:
            self._failures += 1
            is_new = text != self._error
            self._error, self._state = text, "down"
        if is_new:
            logger.warning("sink %s: %s; it is tried again", self.declared.name, text)
            logger.debug("sink %s", self.declared.name, exc_info=error)

    def _become(self, state: str) -> None:
        with self._moved:
            self._state = state
            self._moved.notify_all()

    def _serve(self) -> None:
        """Deliver until the end; whatever goes wrong ends it too."""
        declared = self.declared
        folder = self._run.app.folder
        sink = self._kind.open(Target(declared.name, declared.view, declared.url, declared.options, folder))
        try:
            at = sink.position()
            self._kept = at.version if at is not None and at.history == self._history else None
            seen: int | None = self._kept
            while True:
                is_last = self._ending
                seen = self._bring(sink, seen)
                if is_last:
                    self._remember(sink, seen)
                    return
                self._rest(seen)
        finally:
            sink.close()

    def _bring(self, sink: Sink, seen: int | None) -> int:
        """Bring the sink to the present; return the version that it holds then."""
        shipment = self._next(seen)
        at = shipment.position
        if shipment.is_whole or shipment.rows.num_rows:
            self._become("delivering")
            sink.write(shipment)
            self._kept = at.version
        with self._moved:
            self._rows += shipment.rows.num_rows
            self._deliveries += int(self._kept == at.version)
            self._delivered, self._error, self._state = at.version, None, "up to date"
            while self._waiting and self._waiting[0][0] <= at.version:
                self._waiting.popleft()
            self._moved.notify_all()
        return at.version

    def _remember(self, sink: Sink, seen: int) -> None:
        """Store a position that has moved on though no row has, so that the next start need not compare."""
        if self._kept == seen:
            return
        info = self._run.relation(self.declared.view)
        sink.write(
            Shipment(info.name, info.schema, info.key, self._empty(info), Position(self._history, seen))
        )

    def _rest(self, seen: int) -> None:
        """Wait until the view has moved after `seen`, and for the pause that was asked for."""
        every = self.declared.every
        with self._moved:
            if every is not None:
                self._moved.wait_for(lambda: self._ending or self._asked > seen, every.total_seconds())
            self._moved.wait_for(lambda: self._ending or self._asked > seen or self._moved_at > seen)

    # --- reading the run --------------------------------------------------------------------------
    def _next(self, seen: int | None) -> Shipment:
        """Return what leads from the version that the sink holds to the present."""
        info = self._run.relation(self.declared.view)
        if seen is not None and seen <= self._run.version.number:
            try:
                return self._changes(info, seen)
            except VersionGone:
                logger.info("sink %s: changes since version %d are gone", self.declared.name, seen)
        return self._whole(info)

    def _changes(self, info: RelationInfo, seen: int) -> Shipment:
        reached = self._run.version.number
        tables = [by_version(table) for table in self._run.changes(info.name, since=seen)]
        parts = [(number, net(part)) for versions in tables for number, part in versions]
        if any(change.schema != info.schema.arrow for _, change in parts):
            raise VersionGone("the view has other columns now", where=info.name)
        rows = [stamped(change, number) for number, change in parts]
        at = Position(self._history, max([reached, *(number for number, _ in parts)]))
        return Shipment(info.name, info.schema, info.key, pa.concat_tables([self._empty(info), *rows]), at)

    def _whole(self, info: RelationInfo) -> Shipment:
        version, table = self._run.snapshot(info.name)
        if table.schema != info.schema.arrow:  # a definition was switched between the two questions
            return self._whole(self._run.relation(info.name))
        rows = stamped(Change.inserts(as_batch(table)), version.number)
        at = Position(self._history, version.number)
        return Shipment(info.name, info.schema, info.key, rows, at, is_whole=True)

    def _empty(self, info: RelationInfo) -> pa.Table:
        return stamped(Change.empty(info.schema.arrow), 0)
