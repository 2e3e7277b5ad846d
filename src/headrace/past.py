"""The past of a running app: every view at every kept version, and the changes from any of them.

The newest versions lie in memory (the feed), and are written to the history on disk in the background, many
at a time; no step waits for that. What had not been written when the power failed is computed again at the
next start, version by version, from the log.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.change import VERSION, WEIGHT, Change
from headrace.engine.engine import Engine
from headrace.engine.heap import Snapshot
from headrace.errors import (
    BadRequest,
    HeadraceError,
    StorageError,
    UnknownName,
    VersionAhead,
    VersionGone,
    ViewInError,
)
from headrace.feed import Entry, Feed, clock_us_of, with_version
from headrace.history.chapters import Chapter, Chapters, Described
from headrace.history.contents import apart, shifted
from headrace.history.store import Draft, History, as_change, between
from headrace.log.codec import to_us
from headrace.relations import KEPT_PREFIX
from headrace.results import Version
from headrace.state.replay import Replay

logger = logging.getLogger("headrace")

FLUSH_S = 10.0
"""How often the newest versions are written to disk."""
FLUSH_ROWS, FLUSH_VERSIONS = 200_000, 2_000
"""So many rows or versions are written at once, whatever the time."""
WORK_S, REST_S = 0.001, 0.008
"""After so much CPU time the writer in the background leaves the interpreter to steps and doors for so long:
what it computes in one go would stand before every row that comes in meanwhile."""
LONG_ROWS = 10_000
"""Changes of so many rows on average are written one after the other, without being copied together first."""
BASE_ROWS_MIN = 100_000
"""A content is written down once so many rows have changed since the last, or as many as it has."""
ROW_COST = 0.2
"""What a row of a known content costs that changes are added to, beside a row of a change."""
Moment = int | Version | datetime | str
"""A version, its number, or a time: a `datetime` (naive: UTC) or its ISO text."""


@dataclass(slots=True)
class Frozen:
    """What must be held still for a moment to read or write the past.

    Attributes:
        now: the published version.
        entries: the versions in memory, oldest first.
        begun: the version before them.
        failing: views without an answer at `begun`.
        rows: the content of views at `now`, by lower-case name.
        chapters: of all views.
    """

    now: Version
    entries: list[Entry]
    begun: Version
    failing: Mapping[str, str]
    rows: dict[str, Snapshot]
    chapters: Chapters


class Past:
    """The past of one run. Thread-safe.

    Args:
        engine: whose views; read under `gate` only.
        feed: the newest versions.
        gate: held while the engine steps.
        version: the published version.
        history: what is on disk; None: an app in memory, whose past is what the feed holds.
        clock: the present time, UTC.
    """

    def __init__(
        self, engine: Engine, feed: Feed, gate: Callable[[], AbstractContextManager[object]],
        version: Callable[[], Version], history: History | None, clock: Callable[[], datetime],
    ) -> None:  # fmt: skip
        self._engine = engine
        self._feed = feed
        self._gate = gate
        self._version = version
        self._history = history
        self._clock = clock
        self._chapters = Chapters() if history is None else history.chapters
        self._ends: dict[tuple[str, int], Snapshot] = {}
        self._since_base: dict[tuple[str, int], int] = {}
        self._busy = threading.Lock()
        self._end = threading.Event()
        self._write_s = 0.0
        self._is_closed = False
        self._thread: threading.Thread | None = None
        self.is_begun = False

    # --- life -------------------------------------------------------------------------------------
    def begin(self, version: Version, views: Sequence[Described]) -> None:
        """Take over at a version: the engine stands there, and what is on disk should lead to it."""
        history = self._history
        newest = None if history is None else history.newest
        if history is not None and newest is not None and not _fits(newest, version):
            logger.warning("the past in the folder is of another log, and is removed")
            history.forget()
            self._chapters, newest = history.chapters, None
        is_known = newest is not None and newest.number == version.number
        self._feed.start_at(version, self._engine.errors)
        for view in views:
            self._take_up(view, version.number, is_known=is_known)
        names = {view.name.lower() for view in views}
        for chapter in self._chapters.all():
            if chapter.last is None and chapter.name not in names:
                self._chapters.end(chapter.name, version.number)
        if history is not None:
            self._feed.hold(version.number)
            if newest is None:
                self._try_to_write(self._draft(self._frozen([]), version))
        self.is_begun = True

    def join(self, replay: Replay, views: Callable[[], Sequence[Described]]) -> None:
        """Have a replay of the log begin the past, and give it the versions that are not on disk yet."""
        newest = None if self._history is None else self._history.newest
        if newest is not None:
            replay.exact_after = newest.number
        replay.begin = lambda version: self.begin(version, views())
        replay.told = lambda version, output: self._feed.push(version, output.changes, self._engine.errors)

    def _take_up(self, view: Described, version: int, *, is_known: bool) -> None:
        """Go on with a view's chapter where what is on disk leads to what the view holds."""
        before = self._chapters.open(view.name)
        if before is None:
            is_empty = self._engine.store(view.name).row_count == 0
            since = version + 1 if is_known else version  # it came with a version that is not on disk
            self._chapters.begin(view, since, is_empty=is_empty and not is_known)
        elif is_known and _same(before.view, view) and self._engine.view_error(view.name) is None:
            self._chapters.go_on(view)
        else:
            self._chapters.begin(view, version + 1, is_empty=False)

    def start(self) -> None:
        """Write in the background from now on."""
        if self._history is not None:
            self._thread = threading.Thread(target=self._loop, name="headrace-history", daemon=True)
            self._thread.start()

    def _loop(self) -> None:
        waited = 0.0
        while not self._end.wait(1.0):
            waited += 1.0
            if waited >= FLUSH_S or self._is_full:
                waited = 0.0
                try:
                    self.flush()
                except Exception:
                    logger.exception("the past could not be written; it is tried again")

    def close(self) -> None:
        """Write what is not on disk yet."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()
        if self._history is not None and self.is_begun:
            self.flush()
        self._is_closed = True

    @property
    def _is_full(self) -> bool:
        versions, rows = self._feed.held
        return rows >= FLUSH_ROWS or versions >= FLUSH_VERSIONS

    def relieve(self) -> None:
        """Write what is not on disk yet where that has become much; for runs without a thread."""
        if self._history is not None and self._thread is None and self._is_full:
            self.flush()

    # --- definitions that change ------------------------------------------------------------------
    def settle(self, names: Sequence[str]) -> None:
        """Before views change their columns or go, under the gate: make their past durable as it is.

        Raises:
            StorageError: the disk refuses.
        """
        for name in names:
            chapter = self._chapters.open(name)
            if chapter is not None:
                self._ends[chapter.id] = self._engine.store(name).freeze()
        if self._history is not None and self.is_begun:
            with self._busy:
                try:
                    self._write(self._draft(self._frozen(self._wanting()), None))
                except OSError as error:
                    raise StorageError(f"the past cannot be written: {error.strerror or error}") from error

    def turn(self, version: int, views: Sequence[Described]) -> None:
        """Say, under the gate, which views there are from a version on, which may not be published yet."""
        self._let_go_of_ends()
        names = {view.name.lower() for view in views}
        for chapter in self._chapters.all():
            if chapter.last is None and chapter.name not in names:
                self._chapters.end(chapter.name, version - 1)
        for view in views:
            before = self._chapters.open(view.name)
            if before is not None and _same_columns(before.view, view):
                self._chapters.go_on(view)
            else:
                is_empty = self._engine.store(view.name).row_count == 0
                self._chapters.begin(view, version, is_empty=is_empty)

    def _let_go_of_ends(self) -> None:
        """Forget the last contents of chapters whose changes have left the memory."""
        begun = self._feed.begun.number
        known = {chapter.id: chapter for chapter in self._chapters.all()}
        self._ends = {
            at: rows
            for at, rows in self._ends.items()
            if at in known and (known[at].last is None or (known[at].last or 0) >= begun)
        }

    # --- moments ----------------------------------------------------------------------------------
    def moment(self, asked: Moment) -> Version:
        """Return the version that is meant: of a time, the newest whose clock is not later.

        Raises:
            VersionGone: it is no longer kept.
            VersionAhead: it does not exist yet.
        """
        if isinstance(asked, str):
            asked = int(asked) if asked.strip().isdigit() else as_time(asked)
        if isinstance(asked, datetime):
            return self._at_time(asked)
        number, now = int(asked), self._version()
        if number == now.number:
            return now
        if number > now.number:
            raise VersionAhead(
                f"version {number} does not exist yet", expected=f"at most {now.number}, the newest version"
            )
        found = self._feed.version(number)
        if found is None and self._history is not None:
            found = self._history.version(number)
        if found is None or number < 0:
            raise self._gone(f"version {number}")
        return found

    def _at_time(self, asked: datetime) -> Version:
        asked = asked.replace(tzinfo=UTC) if asked.tzinfo is None else asked
        at_us, now = to_us(asked), self._version()
        if clock_us_of(now) <= at_us:
            if now.clock is not None and asked > max(now.clock, self._clock()):
                raise VersionAhead(
                    f"{asked.isoformat()} is in the future",
                    expected=f"at most the present, {self._clock().isoformat()}",
                )
            return now
        found = self._feed.newest_at(at_us)
        if found is None and self._history is not None:
            found = self._history.newest_at(at_us)
        if found is None:
            raise self._gone(asked.isoformat())
        return found

    def _gone(self, what: str, where: str | None = None) -> VersionGone:
        oldest = self.oldest
        since = "" if oldest.clock is None else f" of {oldest.clock.isoformat()}"
        return VersionGone(
            f"{what} is no longer kept", where=where, expected=f"version {oldest.number}{since}, or later",
            hint='keep more with history="30d" at the view, or -- history: 30d in its SQL',
        )  # fmt: skip

    @property
    def oldest(self) -> Version:
        """The oldest version that can be asked for."""
        begun = self._feed.begun
        oldest = None if self._history is None else self._history.oldest
        return begun if oldest is None or oldest.number > begun.number else oldest

    # --- reading ----------------------------------------------------------------------------------
    def names(self) -> list[str]:
        """Return the names of all views that are or were, as they are or were declared."""
        return [mine[-1].view.name for name in self._names() if (mine := self._chapters.of(name))]

    def _names(self) -> list[str]:
        return list(dict.fromkeys(chapter.name for chapter in self._chapters.all()))

    def described(self, name: str, version: int) -> Described | None:
        """Return a view as it was at a version, or None where there was none of that name."""
        with self._gate():
            chapter = self._chapters.at(name, version)
        return None if chapter is None else chapter.view

    def content(self, name: str, version: Version) -> tuple[Described, pa.Table]:
        """Return a view as it was at a version, and its rows.

        Raises:
            VersionGone: that is no longer kept, or there was no such view then.
            UnknownName: there has never been such a view.
            ViewInError: the view had no answer at that version.
        """
        with self._gate():
            chapter = self._chapters.at(name, version.number)
            if chapter is None:
                open_ = self._chapters.open(name)
                if open_ is None or version.number != self._version().number:
                    raise self._no_view(name, version)
                return open_.view, self._engine.store(name).freeze().table()
            live = [name] if chapter.last is None and chapter.first <= self._version().number else []
            frozen = self._frozen(live)
        failing = self._failing(chapter.name, version.number, frozen)
        if failing is not None:
            raise ViewInError(failing, where=f"{chapter.view.name} at version {version.number}")
        return chapter.view, self._rows(chapter, version.number, frozen)

    def _no_view(self, name: str, version: Version) -> HeadraceError:
        chapters = self._chapters.of(name)
        if not chapters:
            known = [one for one in self.names() if not one.startswith(KEPT_PREFIX)]
            return UnknownName.of("view", name.removeprefix(KEPT_PREFIX), known)
        return VersionGone(
            f"there is no {name} at version {version.number}", where=name,
            expected=f"version {chapters[0].first} or later",
        )  # fmt: skip

    def _failing(self, name: str, version: int, frozen: Frozen) -> str | None:
        if version > frozen.begun.number:
            return frozen.entries[version - frozen.begun.number - 1].errors.get(name)
        if self._history is None or self._history.version(version) is None:
            return frozen.failing.get(name) if version == frozen.begun.number else None
        return self._history.failing(name, version)

    def _rows(self, chapter: Chapter, version: int, frozen: Frozen) -> pa.Table:
        """Return the rows of a chapter at a version from the nearest content that is known."""
        best: tuple[float, int, Callable[[], pa.Table]] | None = None
        for at, rows, read in self._known(chapter, frozen):
            changed = self._rows_between(chapter, min(at, version), max(at, version), frozen)
            if changed is not None and (best is None or changed + rows * ROW_COST < best[0]):
                best = (changed + rows * ROW_COST, at, read)
        if best is None:
            raise self._gone(f"version {version} of {chapter.view.name}", chapter.view.name)
        at, content = best[1], best[2]()
        parts = list(self._changes(chapter, min(at, version), max(at, version), frozen))
        if not parts:
            return content
        change = as_change(pa.concat_tables(parts))
        return shifted(content, change if at < version else change.negated(), where=chapter.view.name)

    def _known(self, chapter: Chapter, frozen: Frozen) -> Iterator[tuple[int, int, Callable[[], pa.Table]]]:
        """Yield the contents of a chapter that are known: version, rows, and how they are read."""
        live = frozen.rows.get(chapter.name)
        if live is not None and chapter.last is None:
            yield frozen.now.number, live.row_count, live.table
        end = self._ends.get(chapter.id)
        if end is not None and chapter.last is not None:
            yield chapter.last, end.row_count, end.table
        if chapter.starts_empty:
            yield chapter.first, 0, chapter.view.schema.arrow.empty_table
        if self._history is not None:
            history = self._history
            for base in history.bases(chapter):
                yield base.version, base.rows, partial(history.content, base)

    def _rows_between(self, chapter: Chapter, after: int, upto: int, frozen: Frozen) -> int | None:
        begun = frozen.begun.number
        rows = 0
        if after < begun:
            on_disk = None
            if self._history is not None:
                on_disk = self._history.rows_between(chapter, after, min(upto, begun))
            if on_disk is None:
                return None
            rows = on_disk
        for entry in _entries(frozen, after, upto):
            change = entry.changes.get(chapter.name)
            rows += 0 if change is None else len(change)
        return rows

    def _changes(self, chapter: Chapter, after: int, upto: int, frozen: Frozen) -> Iterator[pa.Table]:
        """Yield the changes of a chapter after one version and up to another, in order."""
        begun = frozen.begun.number
        if after < begun and after < upto:
            assert self._history is not None
            for table in self._history.changes(chapter, after, min(upto, begun)):
                yield self._as(chapter, table)
        for entry in _entries(frozen, after, upto):
            change = entry.changes.get(chapter.name)
            if change is not None:
                yield self._as(chapter, with_version(change, entry.version.number))

    @staticmethod
    def _as(chapter: Chapter, table: pa.Table) -> pa.Table:
        schema = chapter.view.schema.arrow.append(pa.field(WEIGHT, pa.int64()))
        return pa.Table.from_arrays(table.columns, schema=schema.append(pa.field(VERSION, pa.int64())))

    def since(self, name: str, version: int) -> tuple[int, Iterator[pa.Table]]:
        """Return the newest version, and the changes of a view after a version, one table per version.

        Raises:
            VersionGone: they are no longer kept, or the view had other columns then.
        """
        with self._gate():
            chapter = self._chapters.open(name)
            is_recent = chapter is not None and max(chapter.first, self._feed.begun.number) <= version
            if is_recent:
                latest, tables = self._feed.since(name, version)
                return latest, iter(tables)
            frozen = self._frozen([])
        chapters = frozen.chapters.of(name)
        if not chapters or version >= frozen.now.number:
            return frozen.now.number, iter(())
        now = frozen.now.number
        wanted = [c for c in chapters if (c.last is None or c.last >= version) and c.first <= now]
        if not wanted or wanted[0].first > version or (wanted[-1].last or now) < now:
            first = chapters[-1].first
            raise self._too_old(name, version, first, "the view is not as old as that")
        for one, other in pairwise(wanted):
            if not _same_columns(one.view, other.view) or one.last != other.first - 1:
                raise self._too_old(name, version, wanted[-1].first, "its columns are others")
        for chapter in wanted:
            after = max(version, chapter.first)
            upto = frozen.now.number if chapter.last is None else chapter.last
            if self._rows_between(chapter, after, upto, frozen) is None:
                raise self._too_old(name, version, self.oldest.number, "they are no longer kept")
        return frozen.now.number, self._told(wanted, version, frozen)

    def _too_old(self, name: str, version: int, floor: int, why: str) -> VersionGone:
        return VersionGone(
            f"changes since version {version} cannot be told: {why}", where=name,
            expected=f"a version of {floor} or later (now: {self._version().number})",
            hint="start again with since=None, which begins with all rows",
        )  # fmt: skip

    def _told(self, chapters: Sequence[Chapter], version: int, frozen: Frozen) -> Iterator[pa.Table]:
        for at, chapter in enumerate(chapters):
            if at:
                yield from self._seam(chapters[at - 1], chapter)
            after = max(version, chapter.first)
            upto = frozen.now.number if chapter.last is None else chapter.last
            for table in self._changes(chapter, after, upto, frozen):
                yield from by_version(table)

    def _seam(self, before: Chapter, after: Chapter) -> Iterator[pa.Table]:
        """Yield the change from one chapter to the next of the same columns."""
        assert before.last is not None
        with self._gate():
            live = [after.name] if after.last is None else []
            frozen = self._frozen(live)
        old, new = self._rows(before, before.last, frozen), self._rows(after, after.first, frozen)
        change = apart(old, new)
        if len(change):
            yield self._as(after, with_version(change, after.first))

    # --- writing ----------------------------------------------------------------------------------
    def _frozen(self, live: Sequence[str]) -> Frozen:
        """Hold still what is needed; under the gate."""
        rows = {name.lower(): self._engine.store(name).freeze() for name in live}
        begun, entries = self._feed.window()
        copy = self._chapters.copy()
        return Frozen(self._version(), entries, begun.version, begun.errors, rows, copy)

    def flush(self) -> bool:
        """Write what is not on disk yet, and tidy up; False: the disk refuses, or there is no memory for it,
        and what has not been written is held until the next call.
        """
        try:
            return self._flushed()
        except MemoryError:
            logger.warning("the past cannot be written, and is held: there is no memory left")
            return False

    def _flushed(self) -> bool:
        if self._history is None or not self.is_begun:
            return True
        if self._is_closed:  # everything is on disk by then, or the disk refuses
            return self._feed.held[0] == 0
        while True:
            with self._gate():
                if self._busy.acquire(blocking=False):
                    try:
                        frozen = self._frozen(self._wanting())
                    except BaseException:
                        self._busy.release()
                        raise
                    break
            with self._busy:
                pass  # another thread is writing: after that, what is left
        began = time.perf_counter()
        try:
            if not self._try_to_write(self._draft(frozen, None)):
                return False
            self._tend()
            return True
        finally:
            self._write_s += time.perf_counter() - began
            self._busy.release()

    def _try_to_write(self, draft: Draft | None) -> bool:
        try:
            self._write(draft)
        except OSError as error:
            logger.warning("the past cannot be written, and is held in memory: %s", error)
            return False
        return True

    def _write(self, draft: Draft | None) -> None:
        if draft is None or self._history is None:
            return
        segment = self._history.write(draft)
        for block in segment.blocks:
            self._since_base[block.chapter] = self._since_base.get(block.chapter, 0) + block.rows
        for base in segment.bases:
            self._since_base[base.chapter] = 0
        self._feed.hold(segment.newest.number)

    def _wanting(self) -> list[str]:
        """Return the views whose content should be written down."""
        assert self._history is not None
        found, version = [], self._version().number
        for chapter in self._chapters.all():
            if chapter.last is not None or chapter.view.kept_ms == 0 or version < chapter.first:
                continue
            rows = self._engine.store(chapter.name).row_count
            if chapter.id not in self._since_base:
                self._since_base[chapter.id] = self._changed_since_base(chapter)
            if self._since_base[chapter.id] > max(BASE_ROWS_MIN, rows):
                found.append(chapter.name)
        return found

    def _changed_since_base(self, chapter: Chapter) -> int:
        """Return how many rows changed since the last content on disk; very many where there is none."""
        assert self._history is not None
        bases = [base.version for base in self._history.bases(chapter)]
        newest = self._history.newest
        if not bases and not chapter.starts_empty:
            return 1 << 62
        after = max([chapter.first, *bases])
        upto = after if newest is None else max(after, newest.number)
        return self._history.rows_between(chapter, after, upto) or 0

    def _draft(self, frozen: Frozen, origin: Version | None) -> Draft | None:
        """Return what is to be written; None where that is nothing."""
        assert self._history is not None
        newest = self._history.newest
        before = origin or newest or frozen.begun
        if before.number < frozen.begun.number:
            logger.warning(
                "versions %d to %d are missing in the past", before.number + 1, frozen.begun.number
            )
            before = frozen.begun
        entries = [entry for entry in frozen.entries if entry.version.number > before.number]
        touched = tuple(frozen.chapters.touched.values())
        bases = [
            (chapter.id, frozen.now.number, rows.table(keep=False))
            for name, rows in frozen.rows.items()
            if (chapter := frozen.chapters.open(name)) is not None
        ]
        if origin is None and not (entries or bases or touched):
            return None
        failing: Mapping[str, str] = frozen.failing
        if before.number > frozen.begun.number:
            failing = frozen.entries[before.number - frozen.begun.number - 1].errors
        elif newest is not None and before.number == newest.number:
            failing = self._failing_on_disk(before.number)
        return Draft(
            before, [entry.version for entry in entries], self._tables(entries, frozen.chapters), bases,
            frozenset(c.name for c in frozen.chapters.all() if c.view.kept_ms == 0), dict(failing),
            tuple(_failed(failing, entries)), touched,
        )  # fmt: skip

    def _failing_on_disk(self, version: int) -> dict[str, str]:
        assert self._history is not None
        found = {name: self._history.failing(name, version) for name in self._names()}
        return {name: why for name, why in found.items() if why is not None}

    def _tables(self, entries: Sequence[Entry], chapters: Chapters) -> dict[tuple[str, int], pa.Table]:
        parts: dict[tuple[str, int], tuple[Chapter, list[Change], list[int]]] = {}
        for entry in entries:
            number = entry.version.number
            for name, change in entry.changes.items():
                chapter = chapters.at(name, number)
                if chapter is not None and chapter.view.kept_ms:
                    _, changes, numbers = parts.setdefault(chapter.id, (chapter, [], []))
                    changes.append(change)
                    numbers.append(number)
        found: dict[tuple[str, int], pa.Table] = {}
        began_s = time.thread_time()
        for at, (chapter, changes, numbers) in parts.items():
            found[at] = self._as(chapter, _together(changes, numbers))
            began_s = self._rested(began_s)
        return found

    def _rested(self, began_s: float) -> float:
        """Rest where the background has worked long enough; return since when, in CPU time, it works."""
        if threading.current_thread() is not self._thread or time.thread_time() - began_s < WORK_S:
            return began_s
        self._end.wait(REST_S)
        return time.thread_time()

    def _tend(self) -> None:
        """Merge and trim; under `_busy`."""
        assert self._history is not None
        kept_ms = {chapter.name: chapter.view.kept_ms for chapter in self._chapters.all()}
        longest_ms = max(kept_ms.values(), default=0)
        now = self._clock()

        def is_kept(name: str, version: Version) -> bool:
            if version.clock is None:
                return True
            span_ms = kept_ms.get(name, 0) if name else longest_ms
            return version.clock >= now - timedelta(milliseconds=span_ms)

        try:
            self._history.tend(is_kept)
        except OSError as error:
            logger.warning("the past cannot be tidied: %s", error)

    def stats(self) -> dict[str, Any]:
        """Return what is kept, and what is not on disk yet."""
        versions, rows = self._feed.held
        kept = {} if self._history is None else self._history.stats()
        return {
            **kept, "oldest": self.oldest.number, "held_versions": versions, "held_rows": rows,
            "write_s": self._write_s,
        }  # fmt: skip


def _fits(newest: Version, version: Version) -> bool:
    """Whether a past that ends with `newest` can be that of a log that has reached `version`."""
    if newest.number != version.number:
        return newest.number < version.number
    return (newest.commit, newest.clock, newest.held) == (version.commit, version.clock, version.held)


def _entries(frozen: Frozen, after: int, upto: int) -> list[Entry]:
    begun = frozen.begun.number
    return frozen.entries[max(0, after - begun) : max(0, upto - begun)]


def _together(changes: Sequence[Change], numbers: Sequence[int]) -> pa.Table:
    """Return changes of a view as one table, each with its version; long ones are not copied."""
    sizes = [len(change) for change in changes]
    if sum(sizes) >= LONG_ROWS * len(sizes):
        return pa.concat_tables(with_version(*one) for one in zip(changes, numbers, strict=True))
    return with_version(Change.concat(changes), np.repeat(np.array(numbers, dtype=np.int64), sizes))


def _failed(failing: Mapping[str, str], entries: Sequence[Entry]) -> Iterator[tuple[int, str, str | None]]:
    """Yield where views lost their answer or had it again."""
    now = dict(failing)
    for entry in entries:
        if entry.errors == now:
            continue
        for name in now.keys() | entry.errors.keys():
            if now.get(name) != entry.errors.get(name):
                yield entry.version.number, name, entry.errors.get(name)
        now = dict(entry.errors)


def _same_columns(one: Described, other: Described) -> bool:
    shown = [[(column.name, column.sql_type) for column in view.schema] for view in (one, other)]
    return shown[0] == shown[1]


def _same(one: Described, other: Described) -> bool:
    is_known = one.definition is not None and one.definition == other.definition
    return is_known and _same_columns(one, other)


def by_version(table: pa.Table) -> Iterator[pa.Table]:
    """Yield the parts of a table of changes that belong to one version each."""
    while table.num_rows:
        number = table.column(VERSION)[0].as_py()
        part = between(table, number - 1, number)
        yield part
        table = table.slice(part.num_rows)


def as_time(text: str) -> datetime:
    """Return the time that a text writes; without a zone it is UTC.

    Raises:
        BadRequest: it writes none.
    """
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise BadRequest(
            f"{text!r} is neither a version nor a time"[:200], expected="2026-01-31T12:00:00Z, or a number"
        ) from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def written(moment: Moment) -> int | str:
    """Return a moment as it travels: a version's number, or a time as ISO text."""
    if isinstance(moment, datetime):
        return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).isoformat()
    return moment if isinstance(moment, str) else int(moment)


__all__ = ["Moment", "Past", "as_time", "by_version", "written"]
