"""The door of one stream: each row of an append is accepted, repeated, late or rejected, once and for all.

In this order, for each row:

1. a NULL event time, or one more than `max_ahead` beyond the append clock: rejected;
2. a NULL event id: rejected; an id that is remembered: repeated where the row is the same, else rejected
   (with `delivery="at_least_once"`: repeated, whatever the row);
3. an event time below the watermark that stood before the commit: late;
4. else accepted.

The ids of late rows are remembered too, so that sending one again does not count it twice. Rejected rows
leave nothing behind: the same id may come again, mended.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from headrace.change import Change
from headrace.contracts.schema import Schema
from headrace.declarations import StreamDecl
from headrace.intake.calls import CheckedRows
from headrace.intake.digest import Digests, Hasher, RowDigests, repeats
from headrace.intake.event_ids import EventIds, NewIds, Undo
from headrace.intake.index import Entries
from headrace.intake.side import late_change, row_texts, value_texts
from headrace.intake.watermark import MICROSECOND, Watermark
from headrace.log.codec import from_us
from headrace.results import Rejection, RowStatus

Mask = npt.NDArray[np.bool_]
Statuses = npt.NDArray[np.uint8]
ACCEPTED, REPEATED, LATE, REJECTED = (int(status) for status in RowStatus)
NO_TIME = np.iinfo(np.int64).min
DAY_US = 86_400_000_000
UNTOLD = np.uint64(0)
"""The content of a row that was accepted where contents are not compared; it equals any."""


@dataclass(slots=True)
class Outcome:
    """What was decided about the good rows of one call.

    Attributes:
        schema: the declared columns.
        statuses: one `RowStatus` per good row.
        changes: per relation, without the rejected rows.
        rejections: of good rows that were refused after all; `index` is that of the call.
        texts: those rows as JSON text.
        largest_us: the largest accepted event time, or None.
        is_heard: whether a stream's row was accepted or late.
    """

    schema: Schema
    statuses: Statuses
    changes: list[tuple[str, Change]] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    largest_us: int | None = None
    is_heard: bool = False

    @classmethod
    def accepting(cls, schema: Schema, rows: CheckedRows) -> Outcome:
        """Return an outcome in which every good row is accepted so far."""
        return cls(schema, np.full(rows.batch.num_rows, ACCEPTED, dtype=np.uint8))

    def reject(self, rows: CheckedRows, which: Mask, column: str, reason: str) -> None:
        """Refuse the rows of a mask for one reason."""
        at = np.flatnonzero(which)
        if not len(at):
            return
        self.statuses[at] = REJECTED
        values = value_texts(rows.batch, at, self.schema[column])
        indexes = rows.positions[at].tolist()
        self.rejections.extend(
            Rejection(index, column, value, reason) for index, value in zip(indexes, values, strict=True)
        )
        self.texts.extend(row_texts(rows.batch, at, self.schema))


class StreamState:
    """What the intake knows of a stream: its watermark and its event ids."""

    def __init__(self, decl: StreamDecl, hasher: Hasher) -> None:
        self.decl = decl
        self._hasher = hasher
        self._max_ahead_us = decl.max_ahead // MICROSECOND
        self._time = decl.schema[decl.event_time].name if decl.event_time else None
        self._id = decl.schema[decl.event_id].name if decl.event_id else None
        self._stamp = decl.schema.names.index(decl.append_time) if decl.append_time else None
        self.ids = EventIds(decl.event_id_window // MICROSECOND) if self._id else None
        self.watermark = Watermark(decl) if self._time and decl.lateness is not None else None

    def redeclare(self, decl: StreamDecl) -> None:
        """Take other lateness, idle time, reach ahead and id window; they decide about rows from now on."""
        self.decl = decl
        self._max_ahead_us = decl.max_ahead // MICROSECOND
        if self.ids is not None:
            self.ids.window_us = decl.event_id_window // MICROSECOND
        if self.watermark is not None:
            self.watermark.redeclare(decl)

    @property
    def decides(self) -> bool:
        """Whether any decision depends on what came before."""
        return self.ids is not None or self.watermark is not None

    def decide(self, rows: CheckedRows, clock_us: int, watermark_us: int | None, undo: Undo) -> Outcome:
        """Decide about one append and remember the ids it brought.

        Args:
            rows: the call's rows.
            clock_us: the commit's append clock.
            watermark_us: the watermark before the commit.
            undo: receives what takes the decision back.
        """
        outcome = Outcome.accepting(self.decl.schema, rows)
        times = None
        if self._time is not None:
            times = event_times(rows.batch.column(self._time))
            latest_us = self._latest_of_plain(times, clock_us, watermark_us)
            if latest_us is not None:
                stamped = self._stamped(rows.batch, clock_us)
                outcome.changes.append((self.decl.name, Change.inserts(stamped)))
                outcome.is_heard, outcome.largest_us = True, latest_us
                return outcome
            self._check_times(rows, times, clock_us, outcome)
        ids = self._check_ids(rows, clock_us, outcome) if self.ids is not None else None
        if times is not None and watermark_us is not None:
            late = (outcome.statuses == ACCEPTED) & (times < watermark_us)
            outcome.statuses[late] = LATE
        if ids is not None:
            self._remember(ids, clock_us, outcome, undo)
        self._share_out(self._stamped(rows.batch, clock_us), times, watermark_us, outcome)
        return outcome

    def _latest_of_plain(self, times: Entries, clock_us: int, watermark_us: int | None) -> int | None:
        """Return the latest time where the two ends tell that every row is accepted, else None."""
        if self.ids is not None or not len(times):
            return None
        earliest_us, latest_us = int(times.min()), int(times.max())
        is_late = earliest_us == NO_TIME or (watermark_us is not None and earliest_us < watermark_us)
        return None if is_late or latest_us > clock_us + self._max_ahead_us else latest_us

    def _check_times(self, rows: CheckedRows, times: Entries, clock_us: int, outcome: Outcome) -> None:
        name = self._time or ""
        horizon_us = clock_us + self._max_ahead_us
        missing = times == NO_TIME
        ahead = times > horizon_us
        if missing.any():
            outcome.reject(rows, missing, name, "the event time is NULL")
        if ahead.any():
            until = from_us(horizon_us).strftime("%Y-%m-%d %H:%M:%S")
            span = timedelta(microseconds=self._max_ahead_us)
            reason = f"the event time is more than {span} ahead: later than {until} UTC"
            outcome.reject(rows, ahead, name, reason)

    def _check_ids(self, rows: CheckedRows, clock_us: int, outcome: Outcome) -> _Ids:
        name, known_ids = self._id or "", self.ids
        if known_ids is None:
            raise AssertionError("a stream with an event id keeps ids")
        column = rows.batch.column(name)
        if column.null_count:
            null = pc.is_null(column).to_numpy(zero_copy_only=False)
            outcome.reject(rows, null & (outcome.statuses == ACCEPTED), name, "the event id is NULL")
        at = np.flatnonzero(outcome.statuses == ACCEPTED)
        batch = rows.batch if len(at) == rows.batch.num_rows else rows.batch.take(pa.array(at))
        digests = self._hasher.rows(self._stamped(batch, None))
        (hi, lo), contents = digests.keys([name]), self._contents(digests, batch.num_rows)
        found = known_ids.find(hi, lo, clock_us)
        known, expected = found.known, found.contents
        if self.decl.delivery == "at_least_once":
            expected = contents.copy()
        firsts = repeats(hi, lo)
        if firsts is not None:
            again = (firsts != np.arange(len(firsts))) & ~known
            expected[again] = contents[firsts[again]]
            known |= again
        same = known & ((contents == expected) | (expected == UNTOLD))
        outcome.statuses[at[same]] = REPEATED
        conflict = np.zeros(rows.batch.num_rows, dtype=np.bool_)
        conflict[at[known & ~same]] = True
        if conflict.any():
            outcome.reject(rows, conflict, name, "the event id was used before with other content")
        return _Ids(at, hi, lo, contents, found.entries)

    def _contents(self, digests: RowDigests, rows: int) -> Digests:
        """Return what tells a row that comes again from another one with its id, if that matters."""
        if self.decl.delivery == "at_least_once":
            return np.full(rows, UNTOLD, dtype=np.uint64)
        return digests.contents()

    def _remember(self, ids: _Ids, clock_us: int, outcome: Outcome, undo: Undo) -> None:
        new = outcome.statuses[ids.at] != REPEATED
        new &= outcome.statuses[ids.at] != REJECTED
        if self.ids is not None and new.any():
            clocks = np.full(int(new.sum()), clock_us, dtype=np.int64)
            self.ids.add(NewIds(ids.hi[new], ids.lo[new], ids.contents[new], clocks, ids.entries[new]), undo)

    def _share_out(
        self, rows: pa.RecordBatch, times: Entries | None, watermark_us: int | None, out: Outcome
    ) -> None:
        accepted = out.statuses == ACCEPTED
        late = out.statuses == LATE
        if accepted.all():
            if len(accepted):
                out.changes.append((self.decl.name, Change.inserts(rows)))
        elif accepted.any():
            out.changes.append((self.decl.name, Change.inserts(rows.filter(pa.array(accepted)))))
        if watermark_us is not None and late.any():
            kept = rows.filter(pa.array(late))
            out.changes.append((self.decl.late_name, late_change(kept, watermark_us)))
        out.is_heard = bool(out.changes)
        if times is not None and accepted.any():
            out.largest_us = int(times[accepted].max())

    def _stamped(self, batch: pa.RecordBatch, clock_us: int | None) -> pa.RecordBatch:
        """Return rows with the append clock in their column for it; None empties it, as ids are compared."""
        if self._stamp is None:
            return batch
        kind = batch.schema.field(self._stamp).type
        if clock_us is None:
            column = pa.nulls(batch.num_rows, kind)
        else:
            column = pa.repeat(pa.scalar(clock_us, pa.timestamp("us", kind.tz)).cast(kind), batch.num_rows)
        columns = list(batch.columns)
        columns[self._stamp] = column
        return pa.RecordBatch.from_arrays(columns, schema=batch.schema)

    def recover(self, batch: pa.RecordBatch, clocks_us: Entries) -> None:
        """Remember the ids of rows that the log holds, accepted or late (`_watermark` already taken off)."""
        if self.ids is None or not batch.num_rows:
            return
        digests = self._hasher.rows(self._stamped(batch, None))
        (hi, lo), contents = digests.keys([self._id or ""]), self._contents(digests, batch.num_rows)
        firsts = repeats(hi, lo)
        if firsts is not None:  # an id that was used again after its window: the newest counts
            last = len(hi) - 1 - _firsts_of(hi[::-1].copy(), lo[::-1].copy())
            hi, lo, contents, clocks_us = hi[last], lo[last], contents[last], clocks_us[last]
        entries = self.ids.find(hi, lo, 0).entries
        self.ids.recover(NewIds(hi, lo, contents, clocks_us, entries))


@dataclass(frozen=True, slots=True)
class _Ids:
    """Digests of the rows at `at`."""

    at: Entries
    hi: npt.NDArray[np.uint64]
    lo: npt.NDArray[np.uint64]
    contents: npt.NDArray[np.uint64]
    entries: Entries


def _firsts_of(hi: npt.NDArray[np.uint64], lo: npt.NDArray[np.uint64]) -> Entries:
    firsts = repeats(hi, lo)
    rows = np.arange(len(hi))
    return rows if firsts is None else np.flatnonzero(firsts == rows)


def event_times(column: pa.Array) -> Entries:
    """Return a column of times as microseconds since 1970 in UTC, `NO_TIME` where it is NULL.

    Dates count from their midnight; nanoseconds are cut to microseconds.
    """
    kind = column.type
    if pa.types.is_date(kind):
        times = _scaled(column.cast(pa.date32()).view(pa.int32()).cast(pa.int64()), DAY_US)
    elif kind.unit == "us":
        times = column.view(pa.int64())
    else:
        times = _scaled(column.view(pa.int64()), {"ns": 0, "ms": 1000, "s": 1_000_000}[kind.unit])
    filled: Entries = pc.fill_null(times, NO_TIME).to_numpy(zero_copy_only=False)
    return filled


def _scaled(numbers: pa.Array, scale: int) -> pa.Array:
    """Return numbers times `scale`, held within 64 bits; scale 0 stands for a division by 1000."""
    values = pc.fill_null(numbers, 0).to_numpy(zero_copy_only=False)
    if scale:
        top = np.iinfo(np.int64).max // scale
        values = np.clip(values, -top, top) * scale
    else:
        values = values // 1000
    return pa.array(values, mask=pc.is_null(numbers).to_numpy(zero_copy_only=False))
