"""Which history may go, and when: what the declarations allow, less what somebody still needs.

Rows of a stream with a `retention` may go once they are older, or the stream larger, than it says; tables are
folded to what stands in them. Nothing goes that a kept checkpoint or a version in the making needs, no row
whose event id is still remembered, and no answer to an idempotency key.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from headrace.contracts.keeping import KEPT, Retention
from headrace.declarations import DEFAULT_HISTORY, StreamDecl, TableDecl, options_of
from headrace.errors import DeclarationError, HeadraceError, VersionGone
from headrace.facts import stream_of, table_of
from headrace.intake.answers import KEPT_US
from headrace.intake.folding import folded
from headrace.log.log import Log
from headrace.log.trimming import Trimmed, Wish
from headrace.sql.plan import ViewPlan

EVERY_S = 600.0
AHEAD_MAX = timedelta(hours=1)
"""How far the clock may run ahead of the time that has passed since the start, before old rows stay."""
KEYS_KEPT = timedelta(microseconds=KEPT_US)
MOMENT = timedelta(microseconds=1)
logger = logging.getLogger("headrace")


def wish(
    log: Log, streams: Iterable[StreamDecl], tables: Iterable[TableDecl], needed_from: int, now: datetime,
    history: timedelta = DEFAULT_HISTORY,
) -> Wish:  # fmt: skip
    """Return what may go.

    Args:
        log: the log.
        streams: as declared.
        tables: as declared; those that are not declared any more are kept as they are.
        needed_from: the last commit of which nobody needs anything but what declarations keep.
        now: UTC; a clock that runs ahead of the last commit does not count.
        history: how long the past of views is kept; changes of tables within it are not folded.
    """
    last = log.last_clock
    now = now if last is None else min(now, last)
    rows: dict[str, int] = {}
    for decl in streams:
        if decl.retention is None:
            continue
        names = (decl.name, decl.late_name, decl.rejected_name)
        upto = min(needed_from, _outlived(log, decl.retention, names, now))
        if decl.event_id is not None:
            upto = min(upto, _commit_at(log, now - decl.event_id_window - MOMENT))
        rows |= dict.fromkeys(names, upto)
    folds = {decl.name: partial(folded, decl) for decl in tables if decl.effective is None}
    return Wish(
        rows, folds, min(needed_from, _commit_at(log, now - history)),
        min(needed_from, _commit_at(log, now - KEYS_KEPT)),
    )  # fmt: skip


def _outlived(log: Log, retention: Retention, names: tuple[str, ...], now: datetime) -> int:
    """Return the last commit whose rows a retention lets go."""
    if retention.age is not None:
        return _commit_at(log, now - retention.age - MOMENT)
    upto = size = 0
    for last_commit, taken in reversed(log.sizes(names)):
        size += taken
        if size > (retention.size_bytes or 0):
            upto = last_commit
            break
    return upto


def _commit_at(log: Log, moment: datetime) -> int:
    """Return the last commit of a moment; 0 where it was trimmed already."""
    try:
        return log.commit_at(moment)
    except VersionGone:
        return 0


def compact(log: Log, needed_from: int | None, now: datetime | None = None) -> Trimmed:
    """Seal all that can be, and let go what may go, by the declarations that stand in the log.

    Args:
        log: of a folder that is not in use otherwise.
        needed_from: the last commit of which the kept checkpoints need nothing; None: there are none.
        now: UTC.

    Raises:
        StorageError: the disk refuses, or the log is damaged; what went before stays gone.
    """
    log.seal()
    declared, step = log.last_declared(), log.last_step
    facts: Mapping[str, Any] = {} if declared is None else declared.declarations
    seen = 0 if step is None else min([step.last_commit, *(number - 1 for number in step.held)])
    streams = [stream_of(name, found) for name, found in facts.get("streams", {}).items()]
    tables = [table_of(name, found) for name, found in facts.get("tables", {}).items()]
    needed = seen if needed_from is None else min(seen, needed_from)
    texts = [*facts.get("views", {}).values(), *facts.get("created", {}).values()]
    history = max([DEFAULT_HISTORY, *(options_of(sql).history or DEFAULT_HISTORY for sql in texts)])
    return log.trim(wish(log, streams, tables, needed, now or datetime.now(UTC), history))


def steady_s() -> float:
    """Return seconds that only ever pass, those in which the machine slept included."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class Trimmer:
    """Lets rows go that have outlived their stream's retention, now and then.

    Args:
        log: the log.
        streams: those declared now.
        needed_from: the last commit of which nobody needs anything; None: not now.
        clock: UTC.
    """

    def __init__(
        self,
        log: Log,
        streams: Callable[[], Iterable[StreamDecl]],
        needed_from: Callable[[], int | None],
        clock: Callable[[], datetime],
    ) -> None:
        self._log, self._streams, self._needed_from, self._clock = log, streams, needed_from, clock
        self._began = clock(), steady_s()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look, where any stream has a retention now or later."""
        self._thread = threading.Thread(target=self._loop, name="headrace-retention", daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        while not self._end.wait(EVERY_S):
            try:
                self.trim_unless_jumped()
            except HeadraceError as error:
                logger.warning("old rows stay for now: %s", error)
            except Exception:
                logger.exception("old rows stay: trimming met a defect")

    def trim_unless_jumped(self) -> Trimmed:
        """Let go what may go, unless the clock has run ahead of the time that has passed since the start:
        what seems old then need not be, and would be gone for good.

        Raises:
            StorageError: the log is as it was.
        """
        clock, began_s = self._began
        ahead = self._clock() - clock - timedelta(seconds=steady_s() - began_s)
        if ahead <= AHEAD_MAX:
            return self.trim()
        logger.warning("old rows stay: the clock has jumped ahead by %s since the start", ahead)
        return Trimmed()

    def trim(self) -> Trimmed:
        """Let go what may go.

        Raises:
            StorageError: the log is as it was.
        """
        streams = [decl for decl in self._streams() if decl.retention is not None]
        needed = self._needed_from()
        if not streams or needed is None:
            return Trimmed()
        told = self._log.trim(wish(self._log, streams, (), needed, self._clock()))
        if told.relations:
            names = ", ".join(sorted(told.relations))
            logger.info("old rows of %s went: %d files, %d bytes", names, told.files, told.freed_bytes)
        return told

    def close(self) -> None:
        """End."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()


def check_histories(
    streams: Iterable[StreamDecl], texts: Mapping[str, str], plans: Mapping[str, ViewPlan],
    trimmed: Mapping[str, tuple[int, datetime]],
) -> None:  # fmt: skip
    """Refuse views that need rows which a stream's retention lets go, or has let go.

    Args:
        streams: as declared.
        texts: the SQL of each view as declared, by name.
        plans: of the views, by lower-case name.
        trimmed: the relations whose rows are gone up to some commit, that commit and its append clock.

    Raises:
        DeclarationError: a view reads such a stream and does not say that kept rows are enough.
    """
    short = {
        name.lower(): f"rows before {at:%Y-%m-%d %H:%M} UTC are gone" for name, (_, at) in trimmed.items()
    }
    for decl in streams:
        if decl.retention is not None:
            kept = f"rows are kept for {decl.retention.text} only"
            short |= {name.lower(): kept for name in (decl.name, decl.late_name, decl.rejected_name)}
    for name, text in texts.items():
        read = next((one for one in plans[name.lower()].relations if one in short), None)
        if read is not None and options_of(text).history_from is None:
            raise DeclarationError(
                f"it reads all of {read!r}, of which {short[read]}",
                where=f"view {name}",
                expected=f"history_from={KEPT!r}, or a line `-- history_from: {KEPT}` in its SQL",
                hint="its answers then say from when on its rows are all there",
            )


def history_from(
    names: Iterable[str], plans: Mapping[str, ViewPlan], trimmed: Mapping[str, tuple[int, datetime]]
) -> datetime | None:
    """Return from when on all rows are in an answer, where rows before that may be missing; UTC.

    Args:
        names: the relations that were read.
        plans: of the views, by lower-case name.
        trimmed: per relation whose rows are gone up to some commit, that commit and its append clock.
    """
    if not trimmed:
        return None
    clocks = {name.lower(): at for name, (_, at) in trimmed.items()}
    seen: set[str] = set()
    waiting = [name.lower() for name in names]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += [relation.lower() for relation in plans[name].relations] if name in plans else []
    return max((clocks[name] for name in seen if name in clocks), default=None)
