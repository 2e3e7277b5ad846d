"""The intake: decides about every row once, writes the decision to the log, and answers when it is durable.

Decisions are made one commit at a time under a lock and applied to memory at once, so that the next call is
decided against them; waiting for the disk happens outside the lock, so that many calls share one fsync.
Should the disk fail, everything that is not durable is taken back, newest first, before the next decision.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from headrace.change import Change
from headrace.contracts.lineage import Fitting
from headrace.declarations import StreamDecl, TableDecl
from headrace.errors import (
    DeclarationError,
    HeadraceError,
    IdempotencyConflict,
    RowsRejected,
    StorageError,
    UnknownName,
)
from headrace.intake.answers import answer_json, content_digest, results_again
from headrace.intake.calls import Call
from headrace.intake.event_ids import Undo
from headrace.intake.memory import Memory
from headrace.intake.side import rejected_change
from headrace.intake.streams import Outcome
from headrace.intake.versions import VersionedTable
from headrace.log.codec import from_us, to_us
from headrace.log.log import Log, Ticket
from headrace.log.records import Commit, Record
from headrace.results import AppendResult, Rejection, RowStatus

REASONS_SHOWN_MAX = 5
Frozen = TypeVar("Frozen")


_STATUS_NAMES = tuple(status.name.lower() for status in RowStatus)


@dataclass(slots=True)
class _Draft:
    """A commit in the making."""

    clock_us: int
    undo: Undo = field(default_factory=list)
    changes: dict[str, list[Change]] = field(default_factory=dict)
    watermarks: dict[str, datetime] = field(default_factory=dict)
    largest_us: dict[str, int | None] = field(default_factory=dict)
    results: list[tuple[str, AppendResult]] = field(default_factory=list)

    def add(self, relation: str, change: Change) -> None:
        self.changes.setdefault(relation, []).append(change)


@dataclass(frozen=True, slots=True)
class _Request:
    """What a commit carries beside its rows."""

    key: str | None
    content: str
    source: str | None
    position: Any


@dataclass(slots=True)
class _Pending:
    """A commit that has been decided and is on its way to the disk."""

    number: int
    ticket: Ticket
    undo: Undo


class Converted:
    """What is to be known of relations in other columns, read from the log.

    Attributes:
        memory: of these relations only.
        fitting: how their rows are read.
    """

    def __init__(self, memory: Memory, fitting: Fitting) -> None:
        self.memory = memory
        self.fitting = fitting
        self._reached = 0

    def read(self, log: Log) -> None:
        """Read what has come since the last time."""
        for record in log.records(self._reached + 1):
            if isinstance(record, Commit) and record.number > self._reached:
                changes = {name: self.fitting(name, change) for name, change in record.changes.items()}
                self.memory.recover(replace(record, changes=changes))
                self._reached = record.number
        self.memory.flush()


def _arrows(streams: Mapping[str, StreamDecl], tables: Mapping[str, TableDecl]) -> dict[str, pa.Schema]:
    decls: list[StreamDecl | TableDecl] = [*streams.values(), *tables.values()]
    return {decl.name: decl.schema.arrow for decl in decls}


class Intake:
    """The door of a run. Thread-safe.

    Args:
        streams: the declared streams by name.
        tables: the declared tables by name.
        log: where commits go.
        clock: the time of day, UTC; it may jump, the append clock made from it never goes back.
    """

    def __init__(
        self,
        streams: Mapping[str, StreamDecl],
        tables: Mapping[str, TableDecl],
        log: Log,
        clock: Callable[[], datetime],
    ) -> None:
        self._log = log
        self._fitting = log.fitting
        self._clock = clock
        self._lock = Lock()
        self._declared = dict(streams), dict(tables)
        self._memory = Memory(*self._declared)
        self._memory.last_commit = log.last_commit
        self._arrows = _arrows(streams, tables)
        self._names = {name.lower(): name for name in [*self._memory.streams, *self._memory.tables]}
        self._pending: deque[_Pending] = deque()
        self._is_doubtful = False
        self._counts = {name: dict.fromkeys(_STATUS_NAMES, 0) for name in self._names.values()}

    def frozen(self, freeze: Callable[[Any], Frozen]) -> tuple[int, Frozen]:
        """Return the last durable commit, and what is remembered after it, frozen.

        Raises:
            StorageError: the log is in trouble.
        """
        with self._lock:
            self._settle()
            for pending in self._pending:
                pending.ticket.wait()
            return self._memory.last_commit, freeze(self._memory)

    def restore(self, memory: Memory) -> None:
        """Take over what an intake with the same declarations remembered; this one has seen nothing yet."""
        with self._lock:
            self._memory = memory

    def convert(
        self, streams: Mapping[str, StreamDecl], tables: Mapping[str, TableDecl], fitting: Fitting
    ) -> Converted:
        """Read the log for what is to be known of known relations in other columns; nothing is changed yet.

        Args:
            streams: those with other columns.
            tables: those with other columns.
            fitting: how their rows are read in these.
        """
        converted = Converted(Memory(streams, tables), fitting)
        converted.read(self._log)
        return converted

    def redeclare(
        self, streams: Mapping[str, StreamDecl], tables: Mapping[str, TableDecl],
        converted: Converted | None = None,
    ) -> None:  # fmt: skip
        """Take other declarations: new relations, streams with other settings; what is missing takes no rows.

        Columns, keys and event ids of known relations must be as they were, or come with what `convert`
        returned.

        Raises:
            StorageError: what has been decided so far cannot be made durable.
        """
        with self._lock:
            if converted is not None:
                self._settle()
                for pending in self._pending:
                    pending.ticket.wait()
                converted.read(self._log)
                self._memory.adopt(converted.memory)
                self._fitting = converted.fitting
            self._declared = dict(streams), dict(tables)
            self._memory.declare(streams, tables)
            self._arrows = _arrows(streams, tables)
            names = [decl.name for decl in streams.values()] + [decl.name for decl in tables.values()]
            self._names = {name.lower(): name for name in names}
            for name in self._names.values():
                self._counts.setdefault(name, dict.fromkeys(_STATUS_NAMES, 0))

    # --- ways in ------------------------------------------------------------------------------------
    def submit(
        self,
        calls: Sequence[Call],
        *,
        idempotency_key: str | None = None,
        source: str | None = None,
        position: Any = None,
        on_reject: str = "keep",
    ) -> tuple[AppendResult, ...]:
        """Decide about calls as one commit and return one result each, once they are durable.

        Args:
            calls: in order; a later one sees what an earlier one did.
            idempotency_key: a repeat with the same content gets the first answer again and does nothing.
            source: a source whose `position` is stored with the commit.
            position: any JSON value.
            on_reject: `keep` puts bad rows into the side table, `raise` refuses the whole commit.

        Raises:
            UnknownName: a relation that is not declared, or of the wrong kind.
            RowsRejected: a row is bad and `on_reject` is `raise`; nothing was kept.
            IdempotencyConflict: the key was used with other content.
            StorageError: the commit could not be made durable; nothing was kept.
        """
        return self.begin(
            calls, idempotency_key=idempotency_key, source=source, position=position, on_reject=on_reject
        )()

    def begin(
        self,
        calls: Sequence[Call],
        *,
        idempotency_key: str | None = None,
        source: str | None = None,
        position: Any = None,
        on_reject: str = "keep",
    ) -> Callable[[], tuple[AppendResult, ...]]:
        """Decide about calls as `submit` does, and return at once what waits for the disk and returns the
        results.
        """
        if on_reject not in ("keep", "raise"):
            raise DeclarationError(f"on_reject is {on_reject!r}", expected="'keep' or 'raise'")
        calls = [self._resolved(call) for call in calls]
        content = content_digest(calls, source, position) if idempotency_key is not None else ""
        with self._lock:
            self._settle()
            draft = _Draft(self._read_clock())
            first = self._memory.answers.find(idempotency_key, draft.clock_us)
            if first is None:
                request = _Request(idempotency_key, content, source, position)
                ticket = self._decide(draft, calls, request, on_reject)
            else:
                ticket = self._ticket_of(first)

        waits = idempotency_key is not None or source is not None or not self._may_be_lost(draft)

        def results() -> tuple[AppendResult, ...]:
            if ticket is not None and waits:
                ticket.wait()
            if first is not None:
                return self._again(idempotency_key or "", first, content)
            self._count(draft.results)
            return tuple(result for _, result in draft.results)

        return results

    def _delivery(self, relation: str) -> str:
        stream = self._memory.streams.get(relation)
        return "exactly_once" if stream is None else stream.decl.delivery

    @staticmethod
    def _may_be_lost(draft: _Draft) -> bool:
        """Return whether all that was told may be told before it is on disk."""
        return bool(draft.results) and all(told.delivery == "at_most_once" for _, told in draft.results)

    def _count(self, results: Sequence[tuple[str, AppendResult]]) -> None:
        with self._lock:
            for name, result in results:
                counts, statuses = self._counts[name], result.statuses
                if not statuses.any():
                    counts[_STATUS_NAMES[RowStatus.ACCEPTED]] += len(statuses)
                    continue
                found = np.bincount(statuses, minlength=len(RowStatus)).tolist()
                for status, count in zip(_STATUS_NAMES, found, strict=True):
                    counts[status] += count

    def _resolved(self, call: Call) -> Call:
        name = self._names.get(call.relation.lower())
        wanted = self._memory.streams if call.kind == "append" else self._memory.tables
        if name is None or name not in wanted:
            raise UnknownName.of("stream" if call.kind == "append" else "table", call.relation, wanted)
        return call if name == call.relation else Call(call.kind, name, call.rows)

    def _read_clock(self) -> int:
        self._memory.clock_us = max(self._memory.clock_us, to_us(self._clock()))
        return self._memory.clock_us

    def _decide(
        self, draft: _Draft, calls: Sequence[Call], request: _Request, on_reject: str
    ) -> Ticket | None:
        """Decide, apply and queue one commit; return the ticket that its answer has to wait for."""
        is_decided = False
        try:
            for call in calls:
                self._decide_call(call, draft, on_reject)
            self._hear(draft)
            is_decided = True
            if not draft.changes and request.key is None and request.source is None:
                return self._pending[-1].ticket if self._pending else None
            number = self._memory.last_commit + 1
            for at, (name, result) in enumerate(draft.results):
                draft.results[at] = (name, replace(result, commit=number))
            self._remember(draft, number, request)
            commit = Commit(
                number,
                from_us(draft.clock_us),
                {name: Change.concat(changes) for name, changes in draft.changes.items()},
                draft.watermarks,
                request.key,
                answer_json(request.content, draft.results) if request.key is not None else None,
                request.source,
                request.position if request.source is not None else None,
            )
            pending = _Pending(number, self._log.append(commit), draft.undo)
            self._pending.append(pending)
            self._memory.last_commit = number
        except BaseException as error:
            is_short = is_decided and isinstance(error, MemoryError)
            is_kept = self._log.next_commit > self._memory.last_commit + 1
            is_whole = isinstance(error, HeadraceError) or (is_short and not is_kept)
            self._is_doubtful = not (is_whole and _can_take_back(draft.undo))
            raise
        return pending.ticket

    def _remember(self, draft: _Draft, number: int, request: _Request) -> None:
        if request.key is not None:
            self._memory.answers.add(request.key, number, draft.clock_us, draft.undo)
        source = request.source
        if source is not None:
            before = self._memory.positions.get(source)
            self._memory.positions[source] = request.position
            draft.undo.append(lambda: self._memory.positions.update({source: before}))

    def _decide_call(self, call: Call, draft: _Draft, on_reject: str) -> None:
        call = self._in_present_columns(call)
        stream = self._memory.streams.get(call.relation)
        if stream is not None:
            watermark_us = stream.watermark.at(draft.clock_us) if stream.watermark is not None else None
            outcome = stream.decide(call.rows, draft.clock_us, watermark_us, draft.undo)
            self._note_heard(call.relation, outcome, draft)
        else:
            table = self._memory.tables[call.relation]
            if call.kind == "upsert":
                outcome = table.upsert(call.rows, draft.undo)
            elif isinstance(table, VersionedTable):
                outcome = table.delete_at(call.rows, draft.undo, draft.clock_us)
            else:
                outcome = table.delete(call.rows, draft.undo)
        result = self._answer(call, outcome, draft)
        if on_reject == "raise" and result.rejections:
            raise _rows_rejected(call.relation, result.rejections)

    def _in_present_columns(self, call: Call) -> Call:
        """Return a call whose rows were checked just before the columns changed as one of those of now."""
        fitting, given, wanted = self._fitting, call.rows.batch.schema, self._arrows[call.relation]
        if call.relation not in fitting or given.equals(wanted):
            return call
        types = dict(zip(wanted.names, wanted.types, strict=True))
        if call.kind == "delete" and all(types.get(field.name) == field.type for field in given):
            return call
        fit = fitting.part if call.kind == "delete" else fitting.rows
        batch = fit(call.relation, call.rows.batch)
        return Call(call.kind, call.relation, replace(call.rows, batch=batch))  # type: ignore[type-var]

    def _note_heard(self, name: str, outcome: Outcome, draft: _Draft) -> None:
        if outcome.is_heard:
            known = draft.largest_us.get(name)
            given = outcome.largest_us
            draft.largest_us[name] = given if known is None else known if given is None else max(known, given)

    def _answer(self, call: Call, outcome: Outcome, draft: _Draft) -> AppendResult:
        rows = call.rows
        statuses = outcome.statuses
        if len(statuses) != rows.total:
            statuses = np.full(rows.total, RowStatus.REJECTED, dtype=np.uint8)
            statuses[rows.positions] = outcome.statuses
        for relation, change in outcome.changes:
            draft.add(relation, change)
        rejections = [*rows.rejections, *outcome.rejections]
        texts = [*rows.rejected_rows, *outcome.texts]
        if rejections:
            order = sorted(range(len(rejections)), key=lambda at: rejections[at].index)
            rejections = [rejections[at] for at in order]
            texts = [texts[at] for at in order]
            decl = (self._memory.streams.get(call.relation) or self._memory.tables[call.relation]).decl
            draft.add(decl.rejected_name, rejected_change(texts, rejections, draft.clock_us))
        result = AppendResult(None, statuses, tuple(rejections), delivery=self._delivery(call.relation))
        draft.results.append((call.relation, result))
        return result

    def _hear(self, draft: _Draft) -> None:
        """Move the watermarks of the streams that brought accepted or late rows."""
        for name, largest_us in draft.largest_us.items():
            watermark = self._memory.streams[name].watermark
            if watermark is None:
                continue
            state = watermark.state
            draft.undo.append(lambda watermark=watermark, state=state: watermark.reset(state))  # type: ignore[misc]
            moved_us = watermark.hear(draft.clock_us, largest_us)
            if moved_us is not None:
                draft.watermarks[name] = from_us(moved_us)

    def begin_histories(self) -> None:
        """Give tables that keep their history, but have rows and no versions, these rows as first versions:
        their log was written before versions were kept. Call it when all of the log has been recovered.

        Raises:
            StorageError: it could not be made durable; nothing was kept.
        """
        with self._lock:
            self._settle()
            tables = [table for table in self._memory.tables.values() if isinstance(table, VersionedTable)]
            firsts = {table.decl.versions_name: table.unversioned() for table in tables}
            changes = {name: change for name, change in firsts.items() if change is not None}
            if not changes:
                return
            clock_us, number = self._read_clock(), self._memory.last_commit + 1
            commit = Commit(number, from_us(clock_us), changes)
            self._log.append(commit).wait()
            self._memory.recover(commit)
            self._memory.flush()

    # --- durability ---------------------------------------------------------------------------------
    def _settle(self) -> None:
        """Forget how to take back what is durable; take back what failed and make the log go on.

        Raises:
            StorageError: the log still cannot be written.
        """
        self._memory.flush()
        if self._is_doubtful:
            self._rebuild()
        if self._log.failure is not None:
            self._take_back_failed()
            self._log.repair()
        while self._pending and self._pending[0].ticket.is_done and self._pending[0].ticket.error is None:
            self._pending.popleft()
        if not self._pending:
            self._memory.tidy()

    def _take_back_failed(self) -> None:
        durable = self._log.last_commit
        while self._pending and self._pending[-1].number > durable:
            _take_back(self._pending.pop().undo)
        self._memory.last_commit = durable

    def _rebuild(self) -> None:
        """Read the whole log again: what is in memory cannot be trusted any more."""
        with suppress(StorageError):
            self._log.flush()
        memory = Memory(*self._declared)
        for record in self._log.records():
            memory.recover(record)
        memory.flush()
        memory.clock_us = max(memory.clock_us, self._memory.clock_us)
        self._memory, self._is_doubtful = memory, False
        self._pending.clear()

    def heal(self) -> None:
        """After a failed write: take back what is not durable, and make the log go on.

        Every `submit` does this first; a caller that only writes steps calls it before trying again.

        Raises:
            StorageError: the cause is still there.
        """
        if self._log.failure is not None:
            with self._lock:
                self._settle()

    def _ticket_of(self, commit: int) -> Ticket | None:
        return next((pending.ticket for pending in self._pending if pending.number == commit), None)

    def _again(self, key: str, number: int, content: str) -> tuple[AppendResult, ...]:
        commit = self._log.commit(number)
        if commit is None or commit.answer is None:
            raise StorageError(f"the answer to idempotency key {key!r} in commit {number} is not in the log")
        if commit.answer["content"] != content:
            raise IdempotencyConflict(
                f"the idempotency key {key!r} was used before with other content",
                expected="the same rows again, or a new key",
                hint="use one key per request, and send a retry unchanged",
                commit=number,
            )
        names = [told[0] for told in commit.answer["calls"]]
        again = results_again(commit.answer, number)
        return tuple(
            replace(result, delivery=self._delivery(name)) for name, result in zip(names, again, strict=True)
        )

    # --- time ---------------------------------------------------------------------------------------
    def tick(self, now: datetime | None = None) -> dict[str, datetime]:
        """Let time pass: return the watermarks that silence has moved since the last time, and free old ids.

        Call it before collecting the commits of a step: every commit that such a watermark follows is
        durable.
        """
        with self._lock:
            self._settle()
            if now is not None:
                self._memory.clock_us = max(self._memory.clock_us, to_us(now))
            clock_us = self._read_clock() if now is None else self._memory.clock_us
            if self._pending:
                return {}
            moved: dict[str, datetime] = {}
            for name, stream in self._memory.streams.items():
                moved_us = stream.watermark.tell(clock_us) if stream.watermark is not None else None
                if moved_us is not None:
                    moved[name] = from_us(moved_us)
            self._memory.forget_old()
            return moved

    @property
    def watermarks(self) -> dict[str, datetime]:
        """The watermark of each stream that has one, also of commits that are not durable yet."""
        with self._lock:
            self._memory.flush()
            at_us = {
                name: stream.watermark.at(self._memory.clock_us)
                for name, stream in self._memory.streams.items()
                if stream.watermark is not None
            }
        return {name: from_us(moment_us) for name, moment_us in at_us.items() if moment_us is not None}

    @property
    def clock(self) -> datetime:
        """The append clock's last reading, UTC."""
        return from_us(self._memory.clock_us)

    def stats(self) -> dict[str, dict[str, int]]:
        """Return the rows of each stream and table since the opening, by what became of them."""
        with self._lock:
            return {name: dict(counts) for name, counts in self._counts.items()}

    # --- reading and recovery -----------------------------------------------------------------------
    def position(self, source: str) -> Any:
        """Return the position that the source's last commit carried, or None."""
        with self._lock:
            return self._memory.positions.get(source)

    def contents(self, table: str) -> pa.Table:
        """Return the durable rows of a table, in no particular order.

        Raises:
            UnknownName: there is no such table.
            StorageError: what was read could not be made durable.
        """
        name = self._names.get(table.lower())
        if name is None or name not in self._memory.tables:
            raise UnknownName.of("table", table, self._memory.tables)
        with self._lock:
            self._settle()
            rows = self._memory.tables[name].contents()
            ticket = self._pending[-1].ticket if self._pending else None
        if ticket is not None:
            ticket.wait()
        return rows

    def recover(self, record: Record) -> None:
        """Take in a record of the log, in order, before the first `submit`; nothing is decided again."""
        with self._lock:
            self._memory.recover(record)


def _can_take_back(undo: Undo) -> bool:
    """Take back what a call has done; otherwise, as where memory runs out once more, all is in doubt."""
    try:
        _take_back(undo)
    except MemoryError:
        return False
    return True


def _take_back(undo: Undo) -> None:
    while undo:
        undo.pop()()


def _rows_rejected(relation: str, rejections: Sequence[Rejection]) -> HeadraceError:
    shown = [_shown(given) for given in rejections[:REASONS_SHOWN_MAX]]
    more = len(rejections) - len(shown)
    listed = "; ".join(shown) + (f"; and {more} more" if more else "")
    count = "1 row was" if len(rejections) == 1 else f"{len(rejections)} rows were"
    return RowsRejected(
        f"{count} refused, nothing was kept: {listed}",
        where=relation,
        hint="mend the rows, or leave out on_reject='raise' to keep the good ones",
        rejections=[
            {"index": given.index, "field": given.field, "value": given.value, "reason": given.reason}
            for given in rejections[:100]
        ],
    )


def _shown(given: Rejection) -> str:
    about = f", {given.field} = {given.value}" if given.field else ""
    return f"row {given.index}{about}: {given.reason}"
