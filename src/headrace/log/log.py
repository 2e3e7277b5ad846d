"""The log: an append is queued, written with all that waits beside it, fsynced once, and then acknowledged.

One writer thread owns the files. It takes whatever is queued (a *group*), writes and fsyncs it as a whole,
calls the listeners in order, and resolves the tickets. When a write fails, nothing of the group and nothing
queued behind it is
kept: the log is then *failed* and refuses records until its owner, having forgotten them too, calls `repair`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Condition, Event, Lock, Thread, current_thread
from typing import Any, TypeVar

import pyarrow as pa

from headrace.change import Change
from headrace.contracts.lineage import NO_FITTING, Fitting
from headrace.errors import Busy, Closed, HeadraceError, StorageError, VersionGone
from headrace.log.codec import Encoded, from_us, to_us
from headrace.log.file_store import FileStore, Rolling
from headrace.log.files import Files
from headrace.log.records import Commit, Declared, Record, Step
from headrace.log.rewriting import Rewritten, Transform
from headrace.log.sealer import Sealer
from headrace.log.sealing import SealingStoppedError
from headrace.log.store import MemoryStore, Store
from headrace.log.trimming import Trimmed, Wish

SEGMENT_BYTES = 128 * 1024 * 1024
SEGMENT_AGE = timedelta(days=1)
GROUP_BYTES_MAX = 32 * 1024 * 1024
QUEUE_BYTES_MAX = 512 * 1024 * 1024
HISTORY_BATCH_ROWS = 100_000
MEMORY_PAUSE_S = 0.1
"""How long the writer waits where there is no memory."""

_log = logging.getLogger(__name__)

Listener = Callable[[Record], None]
_T = TypeVar("_T")


class Ticket:
    """A record on its way to the disk."""

    __slots__ = ("_done", "encoded", "error", "record")

    def __init__(self, record: Record, encoded: Encoded | None) -> None:
        self.record = record
        self.encoded = encoded
        self.error: StorageError | None = None
        self._done = Event()

    @property
    def size_bytes(self) -> int:
        """Bytes that the record takes in the queue."""
        return self.encoded.size_bytes if self.encoded is not None else 0

    @property
    def is_done(self) -> bool:
        """Whether the outcome is known."""
        return self._done.is_set()

    def resolve(self, error: StorageError | None) -> None:
        """Say what became of the record; called once, by the writer."""
        self.error = error
        self.encoded = None
        self._done.set()

    def wait(self, timeout_s: float | None = None) -> None:
        """Return once the record is durable.

        Raises:
            StorageError: it was not written, or its fate is still open after `timeout_s` seconds.
        """
        if not self._done.wait(timeout_s):
            raise StorageError(
                f"the record was not durable after {timeout_s} s; it may still become so",
                hint="look at the disk: writes are very slow or hang",
            )
        if self.error is not None:
            raise _again(self.error)


class Log:
    """The durable, ordered record of all input. Thread-safe.

    Make one with `Log.open`. Use as a context manager, or call `close`.

    Attributes:
        fitting: how rows that were written in other columns are read; whoever declares them sets it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._wake = Condition(Lock())
        self._queue: list[Ticket] = []
        self._queue_bytes = 0
        self._listeners: tuple[Listener, ...] = ()
        self._next_commit = store.last_commit + 1
        self._failure: StorageError | None = None
        self._closing = False
        self._closed = False
        self._groups = 0
        self._written = 0
        self._commit_s = 0.0
        self.fitting = NO_FITTING
        self._writer = Thread(target=self._run, name="headrace-log", daemon=True)
        self._rolls: list[Future[None]] = []
        self._sealer = Sealer(store)
        self._writer.start()

    @classmethod
    def open(
        cls,
        folder: Path | None,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        segment_age: timedelta = SEGMENT_AGE,
        seal_bytes: int = SEGMENT_BYTES,
        fsync: bool = True,
        files: Files | None = None,
    ) -> Log:
        """Open the log of a data folder, creating it where there is none, and cut a torn tail.

        Args:
            folder: the data folder; None keeps the records in memory.
            segment_bytes: a segment that has reached this size is followed by a new one.
            segment_age: so is one whose first commit is older, by the append clock.
            seal_bytes: segments are sealed together once they have this size, or the oldest has that age.
            fsync: False gives up durability, for tests and measurements only.
            files: the file system; tests give one with faults.

        Raises:
            FolderLocked: another process owns the folder.
            LogDamaged: acknowledged records cannot be read.
            FormatTooNew: a later version of Headrace wrote the log.
            StorageError: the folder cannot be used.
        """
        if folder is None:
            return cls(MemoryStore())
        files = files or Files()
        rolling = Rolling(segment_bytes, segment_age, seal_bytes)
        try:
            files.make_folder(Path(folder))
            store = FileStore(Path(folder), files, rolling, fsync=fsync)
        except OSError as error:
            raise _storage_error("the log cannot be opened", folder, error) from error
        log = cls(store)
        log._sealer.start()
        return log

    # --- writing ----------------------------------------------------------------------------------
    def append(self, record: Record) -> Ticket:
        """Queue a record for the writer and return its ticket; records keep the order of these calls.

        Raises:
            StorageError: an earlier write failed and `repair` has not been called, or the record is too
                large.
            Busy: too many bytes wait to be written.
            Closed: the log has been closed.
            ValueError: a commit whose number is not the next one.
        """
        with self._wake:
            self._check_open()
            if self._failure is not None:
                raise _again(self._failure)
            if self._queue_bytes > QUEUE_BYTES_MAX:
                raise Busy(
                    f"{self._queue_bytes:,} bytes wait to be written", hint="send less, or use a faster disk"
                )
            if isinstance(record, Commit) and record.number != self._next_commit:
                raise ValueError(f"commit {record.number} where {self._next_commit} is next")
            ticket = Ticket(record, self._store.encode(record))
            self._queue.append(ticket)  # up to here memory may run out, and nothing has happened
            if isinstance(record, Commit):
                self._next_commit += 1
            self._queue_bytes += ticket.size_bytes
            self._wake.notify()
        return ticket

    def on_durable(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every durable record, in order, on the writer thread, before its ticket.

        Returns:
            a function that takes the listener away.
        """
        with self._wake:
            self._listeners = (*self._listeners, listener)

        def remove() -> None:
            with self._wake:
                self._listeners = tuple(known for known in self._listeners if known is not listener)

        return remove

    @property
    def next_commit(self) -> int:
        """Number of the commit that may be appended next."""
        return self._next_commit

    @property
    def failure(self) -> StorageError | None:
        """Why the last write failed, until `repair`; every record that was not durable then is forgotten."""
        return self._failure

    def repair(self) -> None:
        """Go on after a failed write, behind the last durable record, in a file whose fsync has not failed.

        Raises:
            StorageError: the cause is still there.
        """
        with self._wake:
            self._check_open()
            if self._failure is None:
                return
            try:
                self._store.repair()
            except OSError as error:
                raise _storage_error("the log still cannot be written", None, error) from error
            self._next_commit = self._store.last_commit + 1
            self._failure = None

    def flush(self, timeout_s: float | None = None) -> None:
        """Return once everything queued so far is durable.

        Raises:
            StorageError: it was not written.
        """
        with self._wake:
            last = self._queue[-1] if self._queue else None
            busy = self._in_flight
        ticket = last or busy
        if ticket is not None:
            ticket.wait(timeout_s)

    _in_flight: Ticket | None = None

    def _check_open(self) -> None:
        if self._closing:
            raise Closed("the log has been closed", hint="open the app again")

    def _run(self) -> None:
        while True:
            try:
                return self._write_all()
            except MemoryError:  # while a group was put together: it is still queued
                time.sleep(MEMORY_PAUSE_S)  # sleeps: others have to give memory back

    def _write_all(self) -> None:
        """Write what is queued, until the log is closed."""
        seen = 0
        while True:
            with self._wake:
                self._in_flight = None
                while not self._queue and not self._rolls and not self._closing:
                    self._wake.wait()
                if not self._queue and not self._rolls:
                    return
                group = self._take()
                self._in_flight = group[-1] if group else None
                rolls, self._rolls = self._rolls, []
            if group:
                self._write(group)
            for roll in rolls:
                self._roll(roll)
            if self._store.rolls > seen:
                seen = self._store.rolls
                self._sealer.wake()

    def _roll(self, wanted: Future[None]) -> None:
        """End the segment that is written; a failure leaves everything as it is."""
        try:
            if self._failure is not None:
                raise _again(self._failure)
            self._store.roll()
        except OSError as error:
            wanted.set_exception(_storage_error("a new segment cannot be begun", None, error))
        except (HeadraceError, MemoryError) as error:
            wanted.set_exception(error)
        else:
            wanted.set_result(None)

    def seal(self, *, stopping: Callable[[], bool] = lambda: False) -> None:
        """Put everything that is durable into sealed stretches now, instead of in the background.

        Args:
            stopping: asked now and then; True gives up.

        Raises:
            StorageError: the disk refuses; what was sealed before stays so.
            Closed: the log has been closed.
        """
        rolled: Future[None] = Future()
        with self._wake:
            self._check_open()
            self._rolls.append(rolled)
            self._wake.notify()
        rolled.result()
        try:
            while self._store.seal_next(stopping, everything=True):
                pass
        except SealingStoppedError:
            return
        except OSError as error:
            raise _storage_error("the log cannot be sealed", None, error) from error

    def trim(self, wish: Wish) -> Trimmed:
        """Let go of what may go: whole files, never part of one; nothing of what is not sealed.

        Raises:
            StorageError: the disk refuses; the log is as it was.
            LogDamaged: what has to be read for it is damaged.
        """
        try:
            return self._store.trim(wish)
        except OSError as error:
            raise _storage_error("the log cannot be trimmed", None, error) from error

    def rewrite(self, relation: str, transform: Transform, *, note: dict[str, Any]) -> Rewritten:
        """Put the rows of a relation down anew, such as to erase one person's columns.

        Everything durable is sealed first. Commits, clocks, weights and the number of rows stay; the log
        notes what was done. What was computed from the rows (checkpoints, the past) is not touched:
        `headrace.history.erasing.erase` removes that too.

        Args:
            relation: a stream, table or side table, by its exact name.
            transform: is given rows and returns as many, in the same columns; what it returns unchanged is
                left alone, so that the same call again does the rest after a crash.
            note: JSON values that say why.

        Raises:
            DeclarationError: the transform returns something else.
            StorageError: the disk refuses; what was rewritten before stays so.
            LogDamaged: what has to be read for it is damaged.
        """
        self.seal()
        try:
            return self._store.rewrite(relation, transform, note)
        except OSError as error:
            raise _storage_error("the log cannot be rewritten", None, error) from error

    def rewrites(self) -> list[dict[str, Any]]:
        """Return what has been rewritten: relation, rows, `at` (microseconds since 1970, UTC), and the note
        of it.
        """
        return self._store.rewrites()

    def trimmed(self) -> dict[str, tuple[int, datetime]]:
        """Return the relations whose rows are gone up to some commit: the commit, and its append clock."""
        return {name: (commit, from_us(at_us)) for name, (commit, at_us) in self._store.trimmed().items()}

    def sizes(self, relations: Collection[str]) -> list[tuple[int, int]]:
        """Return of each sealed stretch, in order, its last commit and the bytes that some relations take."""
        return self._store.sizes(relations)

    @property
    def last_clock(self) -> datetime | None:
        """The append clock of the last durable commit; None: none is known."""
        at_us = self._store.last_clock_us
        return None if at_us is None else from_us(at_us)

    def _take(self) -> list[Ticket]:
        size = count = 0
        for ticket in self._queue:
            size += ticket.size_bytes
            count += 1
            if size >= GROUP_BYTES_MAX:
                break
        group, self._queue = self._queue[:count], self._queue[count:]
        self._queue_bytes -= size
        return group

    def _write(self, group: list[Ticket]) -> None:
        began = time.perf_counter()
        try:
            self._store.write([(ticket.record, ticket.encoded) for ticket in group])
        except OSError as error:
            self._fail(group, _storage_error("the log cannot be written", None, error))
            return
        except MemoryError:
            self._fail(group, StorageError("the log cannot be written: there is no memory left"))
            return
        except Exception as error:  # noqa: BLE001 - a defect must fail its callers, not hang them
            _log.exception("the log's writer met a defect")
            self._fail(group, StorageError(f"the log's writer met a defect: {error!r}"))
            return
        self._commit_s += time.perf_counter() - began
        self._groups += 1
        self._written += len(group)
        for ticket in group:
            for listener in self._listeners:
                self._tell(listener, ticket.record)
            ticket.resolve(None)

    def _tell(self, listener: Listener, record: Record) -> None:
        """Tell a listener of a durable record, however long memory is short: nobody would tell it again."""
        while True:
            try:
                return listener(record)
            except MemoryError:
                time.sleep(MEMORY_PAUSE_S)  # sleeps: others have to give memory back
            except Exception:  # noqa: BLE001 - a listener must not stop the log
                return _log.exception("a listener of the log failed")

    def _fail(self, group: list[Ticket], error: StorageError) -> None:
        with self._wake:
            self._failure = error
            behind, self._queue, self._queue_bytes = self._queue, [], 0
        for ticket in [*group, *behind]:
            ticket.resolve(error)

    # --- reading ----------------------------------------------------------------------------------
    @property
    def last_commit(self) -> int:
        """Number of the last durable commit; 0 where there is none."""
        return self._store.last_commit

    @property
    def last_step(self) -> Step | None:
        """The last durable step."""
        return self._store.last_step

    def last_declared(self) -> Declared | None:
        """Return the declarations in force at the end of the log, or None in an empty one.

        Raises:
            LogDamaged, StorageError: as for `records`.
        """
        try:
            return self._store.last_declared()
        except OSError as error:
            raise _storage_error("the log cannot be read", None, error) from error

    def records(self, start_commit: int = 1) -> Iterator[Record]:
        """Yield the durable records from a commit on, lazily, with bounded memory.

        Raises:
            LogDamaged: a frame fails its checksum; what came before it has been yielded.
            StorageError: a segment cannot be read.
        """
        return map(self._fitted, _reading(self._store.records(start_commit)))

    def _fitted(self, record: Record) -> Record:
        return self.fitted(record) if isinstance(record, Commit) else record

    def fitted(self, commit: Commit) -> Commit:
        """Return a commit with its changes in the present columns of their relations."""
        if self.fitting is NO_FITTING:
            return commit
        changes = {name: self.fitting(name, change) for name, change in commit.changes.items()}
        return replace(commit, changes=changes)

    def commit(self, number: int) -> Commit | None:
        """Return one durable commit, or None where there is none of that number.

        Raises:
            LogDamaged, StorageError: as for `records`.
        """
        try:
            found = self._store.commit(number)
            return None if found is None else self.fitted(found)
        except OSError as error:
            raise _storage_error("the log cannot be read", None, error) from error

    def commit_at(self, moment: datetime) -> int:
        """Return the last durable commit that was made at a moment or before it; 0: there is none.

        Append clocks never go back, so this is an offset by time. One piece of the log is read for it.

        Args:
            moment: UTC.

        Raises:
            VersionGone: that commit was trimmed.
            LogDamaged, StorageError: as for `records`.
        """
        try:
            return self._store.commit_at(to_us(moment))
        except OSError as error:
            raise _storage_error("the log cannot be read", None, error) from error

    def history(
        self, relation: str, upto_commit: int | None = None, *, batch_rows: int = HISTORY_BATCH_ROWS,
        fitting: Fitting | None = None, without: Collection[int] = (),
    ) -> Iterator[Change]:  # fmt: skip
        """Yield all changes of a relation up to a commit, in order, in batches of about that size; without
        those of some commits.

        Of what was trimmed there is nothing; a folded table's rows come as of the commit of its base.

        Raises:
            LogDamaged, StorageError: as for `records`.
        """
        upto = self.last_commit if upto_commit is None else upto_commit
        if without:
            yield from self._history_without(relation, upto, fitting or self.fitting, without)
            return
        waiting: list[Change] = []
        rows = 0
        for written in _reading(self._store.changes(relation, upto)):
            change = (fitting or self.fitting)(relation, written)
            if waiting and not waiting[0].schema.equals(change.schema):
                yield Change.concat(waiting)
                waiting, rows = [], 0
            waiting.append(change)
            rows += len(change)
            if rows >= batch_rows:
                yield Change.concat(waiting)
                waiting, rows = [], 0
        if waiting:
            yield Change.concat(waiting)

    def _history_without(
        self, relation: str, upto: int, fitting: Fitting, without: Collection[int]
    ) -> Iterator[Change]:
        first = min(without)
        yield from self.history(relation, min(first - 1, upto), fitting=fitting)
        for record in _reading(self._store.records(first)):
            if not isinstance(record, Commit) or record.number < first:
                continue
            if record.number > upto:
                return
            if record.number not in without and relation in record.changes:
                yield fitting(relation, record.changes[relation])

    def refuse_trimmed(self, relation: str, commit: int) -> None:
        """Check that what a relation was as of a commit can be told, and every change after it.

        Raises:
            VersionGone: rows of that time were trimmed, or folded.
        """
        trimmed, at_us = self._store.trimmed(folded=True).get(relation, (0, 0))
        if commit < trimmed:
            moment = f"{from_us(at_us):%Y-%m-%d %H:%M:%S} UTC"
            raise VersionGone(
                f"the history of {relation!r} begins after commit {trimmed} ({moment})",
                where=f"commit {commit}",
                expected=f"commit {trimmed} or later",
            )

    def stats(self) -> dict[str, Any]:
        """Return counters: bytes, segments, groups and records written since opening, what waits."""
        with self._wake:
            waiting, waiting_bytes = len(self._queue), self._queue_bytes
        return self._store.stats() | {
            "last_commit": self.last_commit,
            "groups": self._groups,
            "records_written": self._written,
            "write_s": self._commit_s,
            "queued": waiting,
            "queued_bytes": waiting_bytes,
            "failed": self._failure is not None,
        }

    def close(self) -> None:
        """Write what is queued, mark a clean end, and give the folder back. A second call does nothing."""
        with self._wake:
            if self._closed:
                return
            self._closing = True
            self._wake.notify()
        if current_thread() is not self._writer:
            self._writer.join()
        self._sealer.close()
        with self._wake:
            if not self._closed:
                self._closed = True
                self._store.close(clean=self._failure is None)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _reading(items: Iterator[_T]) -> Iterator[_T]:
    try:
        yield from items
    except OSError as error:
        raise _storage_error("the log cannot be read", None, error) from error
    except (pa.ArrowInvalid, KeyError, ValueError) as error:
        raise StorageError(f"a record of the log cannot be decoded: {error}") from error


def _again(error: StorageError) -> StorageError:
    """Return a copy to raise in one more thread."""
    return StorageError(
        error.problem, where=error.where, expected=error.expected, hint=error.hint, **error.details
    )


def _storage_error(problem: str, where: Path | None, error: OSError) -> StorageError:
    hints = {
        17: "a file has that name: name a folder",
        20: "a part of that path is a file: name a folder",
        28: "the disk is full: free space; appends go on by themselves then",
        30: "the disk is read-only: mount it for writing",
        13: "give this user the right to write there",
        5: "the disk reports errors: look at the system's log, and move the folder to another disk",
    }
    reason = error.strerror or str(error)
    place = str(where) if where is not None else (str(error.filename) if error.filename else None)
    return StorageError(
        f"{problem}: {reason}", where=place, hint=hints.get(error.errno or 0), errno=error.errno
    )
