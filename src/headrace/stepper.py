"""Steps: durable commits in, one published version out."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from headrace.change import Change
from headrace.engine.zset import consolidate
from headrace.errors import Closed, HeadraceError, OutOfMemory, StepFailed, StorageError, in_memory
from headrace.fairlock import FairLock
from headrace.feed import Feed
from headrace.log.records import Commit, Record, Step, merged, rows_of
from headrace.points import reach
from headrace.results import Freshness, SinkStatus, Version
from headrace.turns import Turns

if TYPE_CHECKING:
    from headrace.engine.engine import Engine, StepOutput
    from headrace.holding import Holding
    from headrace.intake.intake import Intake
    from headrace.log.log import Log

logger = logging.getLogger("headrace")

STEP_ROWS_MAX = 50_000
"""Rows that one step takes at most; a commit is never cut."""
SHOWN_ROWS_MAX = 5_000
"""Changed rows up to which readers wait while contents change; beyond, they read the version before."""
RETRY_S = 1.0
"""Pause before what the disk or the want of memory has stopped is tried again."""
TURN_WAIT_S = 0.1
"""How long a step waits for its turn."""
BREATH = 0.5
"""Pause after a step, as a share of the CPU time that the step took."""
BREATH_S_MAX = 0.03
GATHER_S = 0.02
"""How long a step waits for commits that are on their way to the disk."""
IDLE_TICK_S = 1.0
"""How often a silent run looks at the clock."""


class Outlet(Protocol):
    """Where views meet the outside: called after each version, in order; must return at once."""

    def publish(self, version: Version, changes: Mapping[str, Change]) -> None:
        """Take the consolidated changes of every view that changed in this version."""


class Sinks(Outlet, Protocol):
    """What keeps sinks at the views; see `headrace.sinks.outlet`."""

    def status(self) -> tuple[SinkStatus, ...]:
        """Return where every sink stands."""

    def wait(self, version: int, timeout_s: float) -> bool:
        """Return whether all sinks hold a version, after waiting for at most so long."""

    def close(self) -> None:
        """Deliver what is left, where a sink can take it, and end."""


@dataclass(slots=True)
class StepStats:
    """Counters since the run was opened."""

    steps: int = 0
    rows: int = 0
    busy_s: float = 0.0
    last_step_s: float = 0.0
    steps_by_bucket: dict[float, int] = field(default_factory=dict)

    BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, float("inf"))

    def add(self, rows: int, took_s: float) -> None:
        """Count one step of `rows` input rows that took `took_s` seconds."""
        self.steps += 1
        self.rows += rows
        self.busy_s += took_s
        self.last_step_s = took_s
        bucket = next(limit for limit in self.BUCKETS_S if took_s <= limit)
        self.steps_by_bucket[bucket] = self.steps_by_bucket.get(bucket, 0) + 1


class Stepper:
    """Takes durable commits in order, runs the engine once for a handful of them and publishes a version.

    Args:
        engine: the circuit; touched only under `gate`.
        intake: the door, which knows the watermarks that silence moves.
        log: where the step is recorded before anybody sees its version.
        feed: the recent changes.
        clock: the engine's clock, UTC.
        auto: step in a thread of its own as soon as something is committed.
        holding: what holds back commits that reach too far for a step; None: nothing is held back.
    """

    def __init__(
        self,
        engine: Engine,
        intake: Intake,
        log: Log,
        feed: Feed,
        clock: Callable[[], datetime],
        *,
        auto: bool,
        holding: Holding | None = None,
    ) -> None:
        self.gate = FairLock()
        self.shown = threading.RLock()
        self.turns = Turns()
        self.version = Version(0)
        self.stats = StepStats()
        self.outlets: list[Outlet] = []
        self._engine = engine
        self._intake = intake
        self._log = log
        self._feed = feed
        self._clock = clock
        self._holding = holding
        self._is_barred = False
        self._last_durable = 0
        self._moved = threading.Condition()
        self._pending: deque[tuple[Commit, float]] = deque()
        self._pending_rows = 0
        self._oldest: float | None = None
        self._waiting_commits = 0
        self._closing = False
        self._failure: HeadraceError | None = None
        self._again: list[Commit] = []
        self.trouble: HeadraceError | None = None
        self._told: deque[tuple[int, dict[str, datetime]]] = deque()
        self._silent: dict[str, datetime] = {}
        self._due: datetime | None = None
        self._thread = (
            threading.Thread(target=self._loop, name="headrace-step", daemon=True) if auto else None
        )

    def start(self, version: Version) -> None:
        """Begin at a recovered version."""
        self.version = version
        self._last_durable = max(self._last_durable, version.commit)
        self._due = self._engine.due
        if self._thread is not None:
            self._thread.start()
        if self._holding is not None:
            self._holding.start(self)

    def on_durable(self, record: Record) -> None:
        """Take a record that the log has made durable; commits queue up for the next step."""
        if not isinstance(record, Commit):
            return
        reach("commit durable")
        with self._moved:
            now = time.monotonic()
            rows, commits = self._pending_rows + rows_of(record), self._waiting_commits + 1
            self._pending.append((record, now))  # up to here memory may run out, and it is told again
            self._pending_rows, self._waiting_commits = rows, commits
            if self._oldest is None:
                self._oldest = now
            self._last_durable = record.number
            self._moved.notify_all()

    @property
    def pending_rows(self) -> int:
        """Rows that are durable but in no version yet."""
        return self._pending_rows

    @property
    def freshness(self) -> Freshness:
        """Age and number of the commits that are in no published version."""
        with self._moved:
            if self._oldest is None:
                return Freshness(0.0, 0)
            return Freshness((time.monotonic() - self._oldest) * 1000.0, self._waiting_commits)

    def advance(self) -> Version:
        """Return once everything that was durable at the call is in a published version."""
        target = self._last_durable
        with in_memory("the views stand where they stood; the next step tries again"):
            if self.version.has_all(target):
                self.step()
                return self.version
            if self._thread is not None:
                return self._wait_until(lambda: self.version.has_all(target), target, None)
            while not self.version.has_all(target) and self.step() is not None:
                pass
            return self.version

    def wait_for(self, commit: int, timeout_s: float | None) -> Version:
        """Block until `commit` is in a published version or the time is up; return the version then."""
        return self._wait_until(lambda: self.version.has(commit), commit, timeout_s)

    def _wait_until(self, holds: Callable[[], bool], commit: int, timeout_s: float | None) -> Version:
        with self._moved:
            self._moved.wait_for(lambda: holds() or self._closing or self._failure is not None, timeout_s)
            if self._failure is not None:
                raise self._failure
            if self._closing and not holds():
                raise Closed("the run was closed before the commit was computed", where=f"commit {commit}")
            return self.version

    def step(self) -> Version | None:
        """Run one step over what waits, up to `STEP_ROWS_MAX` rows, and over the time that has passed.

        None when nothing waits and no view changes by itself; that makes no version. Where memory runs out,
        `MemoryError` leaves the version as it was, and the next step takes the same commits, or fewer.

        Raises:
            StorageError: the disk is in trouble; the version is as it was.
            StepFailed: a step has met a defect; what the views hold since is not to be trusted.
        """
        with self.gate:
            self._check_whole()
            try:
                version = self._stepped()
            except MemoryError as error:
                self.trouble = _starved(self.version, error)
                raise
            except StorageError as error:  # before anything has moved
                self.trouble = error
                raise
            except Exception as error:
                if self._thread is not None:
                    self._fail(error)
                raise
            self.trouble = None
            return version

    def _check_whole(self) -> None:
        """Refuse to publish what a step may have left half done."""
        if self._failure is not None:
            raise self._failure

    def _stepped(self) -> Version | None:
        told = self._intake.tick()
        if told:
            self._told.append((self._log.last_commit, told))
        commits = self._again = self._fallen_back() or self._take()
        reached = self._reached(commits)
        has_moved = self._hear_silence(reached)
        clock = self._read_clock()
        self._due = None if commits else self._engine.due
        if not commits and not has_moved and (self._due is None or self._due > clock):
            return None
        with self.turns.turn(TURN_WAIT_S):  # up to the end: who decides meanwhile holds up those who wait
            return self._run(commits, clock)

    def _fallen_back(self) -> list[Commit]:
        """Return the commits of a step that was broken off, or half of them."""
        half = (len(self._again) + 1) // 2
        taken, left = self._again[:half], self._again[half:]
        if left:
            self.take_back([(commit, time.monotonic()) for commit in left])
        return taken

    def _read_clock(self) -> datetime:
        """Return the engine's clock, which never goes back."""
        now, last = self._clock(), self.version.clock
        return now if last is None else max(now, last)

    def _hear_silence(self, reached: int) -> bool:
        """Take over watermarks that silence has moved, once all commits before that are in a step: rows that
        were decided by the watermark before may still wait.
        """
        has_moved = False
        while self._told and self._told[0][0] <= reached:
            self._silent.update(self._told.popleft()[1])
            has_moved = True
        return has_moved

    def _reached(self, commits: Sequence[Commit]) -> int:
        """Return the last commit that a version with more commits contains."""
        return max(self.version.commit, commits[-1].number if commits else 0)

    def _without(self, commits: Sequence[Commit], reached: int) -> tuple[int, ...]:
        """Return the commits that a version lacks which has those of the present one and some more."""
        held = () if self._holding is None else self._holding.numbers(reached)
        taken = {commit.number for commit in commits}
        return tuple(sorted({*self.version.held, *held} - taken))

    def publish(self, changes: Mapping[str, Change]) -> Version:
        """Publish a version that no commit caused, as after a changed definition. Call under `gate`.

        The views move to its clock first, so that it means the same when it is computed again.
        """
        self._check_whole()
        now, clock = self.version, self._read_clock()
        passed = self._engine.step({}, clock, now.watermarks).changes
        version = Version(now.number + 1, now.commit, clock, dict(now.watermarks), now.held)
        self._record(version)
        self._show(version, _added(changes, passed))
        return version

    # --- commits that are held back -----------------------------------------------------------------
    def admit(
        self, commits: Sequence[Commit], exchange: Callable[[], None], changes: Mapping[str, Change]
    ) -> Version:
        """Publish the version that has commits which were held back; under `gate`.

        Args:
            commits: in order.
            exchange: puts the views that have them in place.
            changes: per view, what that changes.
        """
        self._check_whole()
        now, clock = self.version, self._read_clock()
        reached = self._reached(commits)
        held = self._without(commits, reached)
        version = Version(now.number + 1, reached, clock, dict(now.watermarks), held)
        self._record(version)
        reach("aside recorded")
        with self.shown:
            exchange()
            reach("aside exchanged")
            passed = self._engine.step({}, clock, now.watermarks).changes
            self._is_barred = False
            self._show(version, _added(changes, passed))
        return version

    def take_back(self, offered: Sequence[tuple[Commit, float]]) -> None:
        """Have the next step take commits that were held back; under `gate`."""
        with self._moved:
            self._pending.extendleft(reversed(offered))
            self._pending_rows += sum(rows_of(commit) for commit, _ in offered)
            self._is_barred = False
            self._moved.notify_all()

    def fitted(self, commit: Commit) -> Commit:
        """Return a commit in the present columns of its relations."""
        return self._log.fitted(commit)

    def end(self) -> None:
        """Let nobody wait any more: neither for a version nor for a disk in trouble."""
        with self._moved:
            self._closing = True
            self._moved.notify_all()

    def close(self) -> None:
        """Stop the step thread; what waits stays in the log and is computed at the next opening."""
        self.end()
        if self._thread is not None and self._thread.ident is not None:
            self._thread.join()

    def _take(self) -> list[Commit]:
        offered: list[tuple[Commit, float]] = []
        rows = 0
        with self._moved:
            while self._pending:
                size = rows_of(self._pending[0][0])
                if offered and rows + size > STEP_ROWS_MAX:
                    break
                offered.append(self._pending.popleft())
                rows += size
            self._pending_rows -= rows
        try:
            commits = [self._log.fitted(commit) for commit, _ in offered]
            if self._holding is None:
                return commits
            taken, left = self._holding.sift(commits, offered)
        except MemoryError:
            held = () if self._holding is None else self._holding.numbers(self._last_durable)
            self.take_back([one for one in offered if one[0].number not in held])
            raise
        if left:
            self.take_back(left)
            self._is_barred = not taken
        return taken

    def _run(self, commits: list[Commit], clock: datetime) -> Version | None:
        """Run the engine over commits, or over the time that has passed, which need not make a version."""
        began = time.perf_counter()
        watermarks = {**self.version.watermarks, **self._silent}
        for commit in commits:
            for stream, moment in commit.watermarks.items():
                watermarks[stream] = max(moment, watermarks.get(stream, moment))
        changes = merged(commits)
        output = self._computed(changes, clock, watermarks)
        self._again = []
        reach("version computed")
        self._due = self._engine.due
        if not commits and not output.changes:
            with self.shown:
                self._engine.show()
                self._engine.turn()
            self._make_room()
            return None
        reached = self._reached(commits)
        held = self._without(commits, reached)
        version = Version(self.version.number + 1, reached, clock, watermarks, held)
        self._silent = {}
        self._record(version)
        self._show(version, output.changes)
        self.stats.add(sum(len(change) for change in changes.values()), time.perf_counter() - began)
        return version

    def _computed(
        self, changes: dict[str, Change], clock: datetime, watermarks: dict[str, datetime]
    ) -> StepOutput:
        try:
            return self._engine.compute(changes, clock, watermarks)
        except MemoryError:
            self._engine.give_up("there was no memory left")
            raise

    def _record(self, version: Version) -> None:
        """Hold the version back until the log has its record, however long the disk is in trouble."""
        while True:
            try:
                self._intake.heal()
                self._log.append(step_record(version)).wait()
                return
            except (StorageError, MemoryError) as error:
                self.trouble = error if isinstance(error, StorageError) else _starved(self.version, error)
                logger.warning("version %d waits for the log: %s", version.number, self.trouble)
                if self._pause():
                    raise

    def _pause(self) -> bool:
        """Wait before something is tried again; whether the run is being closed."""
        with self._moved:
            return self._moved.wait_for(lambda: self._closing, RETRY_S)

    def _show(self, version: Version, changes: Mapping[str, Change]) -> None:
        reach("version recorded")
        with self.shown:
            is_long = self._engine.unshown_rows > SHOWN_ROWS_MAX
            if is_long:
                self._engine.exhibit()
            else:
                self._turn_to(version, changes)
        if is_long:
            self._engine.show()
            with self.shown:
                self._turn_to(version, changes)
        reach("version shown")
        for outlet in tuple(self.outlets):
            try:
                outlet.publish(version, changes)
            except Exception:
                logger.exception("an outlet failed at version %d; the views go on", version.number)
        self._make_room()

    def _make_room(self) -> None:
        """Put state beyond its bound into files, now that nobody waits for the step; a disk that refuses is
        asked again after the next one.
        """
        try:
            self._engine.memory.make_room()
        except (OSError, MemoryError) as error:
            logger.warning("state stays in memory beyond its bound: %s", error)

    def _turn_to(self, version: Version, changes: Mapping[str, Change]) -> None:
        """Have readers see a version; under `shown`, however long memory is short: it is recorded."""
        while True:
            try:
                self._engine.show()
                self._engine.turn()
                self._feed.push(version, changes, self._engine.errors)
                break
            except MemoryError as error:
                self.trouble = _starved(self.version, error)
                if self._pause():
                    raise
        with self._moved:
            self.version = version
            self._waiting_commits = len(self._pending)
            self._oldest = self._pending[0][1] if self._pending else None
            if self._holding is not None and len(self._holding):
                self._waiting_commits += len(self._holding)
                self._oldest = min(self._holding.oldest_s or math.inf, self._oldest or math.inf)
            self._moved.notify_all()

    def _breathe(self, cpu_s: float) -> None:
        """Leave the interpreter to the doors for a moment after a long step; the next one is larger for it.

        Without it, steps that follow each other at once take the time that appends need, and each pays its
        fixed cost for few rows. Whoever computes in turn has his before the next step, and needs no pause.
        """
        if self.turns.is_taken:
            return
        with self._moved:
            self._moved.wait_for(lambda: self._closing, min(cpu_s * BREATH, BREATH_S_MAX))

    def _gather(self) -> None:
        """Before a step: let those go first who wait for their turn, and take what they append along.

        A group of appends that is decided just before a step would wait for all of it, and for the next one.
        """
        with self.turns.turn(TURN_WAIT_S):
            pass
        with contextlib.suppress(HeadraceError):
            self._log.flush(GATHER_S)

    def _pause_s(self) -> float:
        """Return how long to wait for commits: until the next row comes or goes by itself, at most a tick."""
        if self._due is None:
            return IDLE_TICK_S
        return min(max((self._due - self._clock()).total_seconds(), 0.0), IDLE_TICK_S)

    def _loop(self) -> None:
        try:
            while True:
                with self._moved:
                    self._moved.wait_for(
                        lambda: (self._pending and not self._is_barred) or self._closing, self._pause_s()
                    )
                    if self._closing:
                        return
                began_s = time.thread_time()
                try:
                    if self._pending:
                        self._gather()
                    if self.step() is not None:
                        self._breathe(time.thread_time() - began_s)
                except (MemoryError, StorageError):
                    logger.warning("%s", self.trouble)
                    self._pause()
        except BaseException as error:  # noqa: BLE001 - told and logged in `_fail`
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Publish nothing any more: a defect may have left the views half moved."""
        if self._failure is not None:
            return
        logger.error("the step loop stopped; appends stay durable, views stand still", exc_info=error)
        with self._moved:
            self._failure = StepFailed(
                f"the views stand still since version {self.version.number}: {error}",
                hint="restart: everything acknowledged is in the log and will be computed again",
            )
            self._moved.notify_all()


def _starved(version: Version, error: BaseException) -> OutOfMemory:
    """Return what is told while views stand still for want of memory."""
    logger.debug("out of memory", exc_info=error)
    return OutOfMemory(
        f"there is no memory left: the views stand at version {version.number} until there is",
        hint="appends stay durable, and no restart is needed; bound the state with HEADRACE_STATE_BYTES_MAX",
    )


def _added(changes: Mapping[str, Change], passed: Mapping[str, Change]) -> dict[str, Change]:
    """Return changes, and those that the passing of time adds to them."""
    found = dict(changes)
    for name, change in passed.items():
        found[name] = consolidate(Change.concat([found[name], change])) if name in found else change
    return found


def step_record(version: Version) -> Step:
    """Return what the log keeps of a version."""
    assert version.clock is not None
    return Step(version.number, version.commit, version.clock, dict(version.watermarks), version.held)
