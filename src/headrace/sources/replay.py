"""Feeds a file into a stream: as fast as it goes, or at the pace of its own times."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal, Protocol, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.contracts.schema import Schema
from headrace.contracts.scratch import scratch
from headrace.errors import Busy, DeclarationError, UnknownName
from headrace.results import AppendResult
from headrace.sources.files import FileSource
from headrace.sources.registry import BadLines

ROWS_PER_APPEND = 10_000
PACED_SLICE_S = 0.1
"""With a pace, rows that are due within so much real time travel together."""


NO_TIME_US = -(2**62)
"""Stands for the time of rows before the first one that has any."""


class Relation(Protocol):
    """What is asked of a stream's description."""

    @property
    def schema(self) -> Schema:
        """The columns."""


class Target(Protocol):
    """Where rows go: a run, or a connection to a server."""

    def append(
        self, stream: str, rows: Any, *, on_reject: str = "keep", idempotency_key: str | None = None
    ) -> AppendResult:
        """Append rows; a repeat with the same key changes nothing."""

    def upsert(
        self, table: str, rows: Any, *, on_reject: str = "keep", idempotency_key: str | None = None
    ) -> AppendResult:
        """Insert or replace rows by key; a repeat with the same key changes nothing."""

    def relation(self, name: str) -> Relation:
        """Describe a stream."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What has become of a file so far.

    Attributes:
        rows: rows and bad lines sent; the others say what became of them.
        bad_lines: lines that are no row in the file's format; they are among the rejected.
        left_out: columns of the file that the stream has no place for.
        commit: the last commit, or None.
    """

    rows: int = 0
    accepted: int = 0
    repeated: int = 0
    late: int = 0
    rejected: int = 0
    bad_lines: int = 0
    left_out: tuple[str, ...] = ()
    commit: int | None = None

    def plus(self, result: AppendResult, bad_lines: int) -> Replayed:
        """Return the sum with one more answer."""
        return replace(
            self,
            rows=self.rows + len(result.statuses),
            accepted=self.accepted + result.accepted,
            repeated=self.repeated + result.repeated,
            late=self.late + result.late,
            rejected=self.rejected + result.rejected,
            bad_lines=self.bad_lines + bad_lines,
            commit=result.commit or self.commit,
        )


def parse_speed(text: str) -> float | None:
    """Read `--speed`: `max` is None, `60x` (or `60`) is 60 times as fast as the file's own times.

    Raises:
        DeclarationError: it is neither.
    """
    if text.strip().lower() == "max":
        return None
    try:
        speed = float(text.strip().lower().removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise DeclarationError(f"{text!r} is no speed", where="--speed", expected="max, 1x, 60x, …")
    return speed


class Replay:
    """One file on its way into one stream.

    Args:
        target: a run, or a connection.
        stream: the stream's name.
        source: the file; columns that only the stream has stay NULL, or as its model has them.
        verb: `append` to a stream, or `upsert` into a table.
        speed: times the pace of the file's event times; None: as fast as it goes.
        time_column: the stream's event time; needed for a pace.
        progress: called after each append.
        sleep, now_s: the clock, for tests.
    """

    def __init__(
        self,
        target: Target,
        stream: str,
        source: FileSource,
        *,
        verb: Literal["append", "upsert"] = "append",
        speed: float | None = None,
        time_column: str | None = None,
        progress: Callable[[Replayed], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._put: Callable[..., AppendResult] = getattr(target, verb)
        self._verb = verb
        self._stream = stream
        self._schema = target.relation(stream).schema
        times = tuple(column.name for column in self._schema if column.sql_type.startswith("TIMESTAMP"))
        named = (time_column,) if time_column else times
        self._source = replace(
            source, wanted=self._schema.names, time_columns=tuple(source.time_columns) or named
        )
        self._speed = speed
        self._time_column = time_column or (times[0] if len(times) == 1 else None)
        if speed is not None and self._time_column is None:
            raise DeclarationError(
                "a pace needs a time column", where=f"stream {stream!r}", hint="use --speed max"
            )
        self._progress = progress
        self._sleep = sleep
        self._now_s = now_s
        self._key = uuid.uuid4().hex
        self._sent = 0
        self._pace = Pace(speed, now_s, sleep) if speed is not None else None

    def run(self) -> Replayed:
        """Send the whole file; return what became of its rows.

        Raises:
            HeadraceError: the file, the mapping or the stream do not work; what was sent before stays.
        """
        columns = self._source.columns()
        total = Replayed()
        checked = False
        for chunk in self._source.chunks(columns):
            if not checked and not isinstance(chunk, BadLines):
                self._must_have_needed_columns(chunk)
                checked = True
            for rows, bad_lines in self._portions(chunk):
                total = total.plus(self._append(rows), bad_lines)
                total = replace(total, left_out=tuple(sorted(columns.left_out)))
                if self._progress:
                    self._progress(total)
        return total

    def _must_have_needed_columns(self, chunk: pa.RecordBatch | list[dict[str, Any]]) -> None:
        if isinstance(chunk, list) or self._verb == "upsert":
            return
        missing = [c.name for c in self._schema if not c.nullable and c.name not in chunk.schema.names]
        if missing:
            raise UnknownName(
                f"the file has no column for {', '.join(missing)}",
                where=f"{self._source.path} into {self._stream}",
                expected="a column for each one that may not be NULL",
                hint=f"--map {missing[0]}=… names the column, or an SQL expression",
            )

    def _portions(self, chunk: Any) -> Iterator[tuple[Any, int]]:
        """Cut a chunk into appends; with a pace, wait until each is due."""
        if isinstance(chunk, BadLines):
            name = self._source.path.name
            lines = [line.render(name) for line in chunk.lines]
            yield from ((part, len(part)) for part in _cut(lines))
        elif self._pace is None or self._time_column is None:
            yield from ((part, 0) for part in _cut(chunk))
        else:
            for start, stop in self._pace.slices(_times_us(chunk, self._time_column)):
                part = chunk[start:stop] if isinstance(chunk, list) else chunk.slice(start, stop - start)
                yield from ((rows, 0) for rows in _cut(part))

    def _append(self, rows: Any) -> AppendResult:
        key = f"replay-{self._key}-{self._sent}"
        self._sent += len(rows)
        while True:
            try:
                return self._put(self._stream, rows, idempotency_key=key)
            except Busy as busy:
                self._sleep(busy.retry_after_s)


def _cut(rows: Any) -> Iterator[Any]:
    for start in range(0, len(rows), ROWS_PER_APPEND):
        if isinstance(rows, list):
            yield rows[start : start + ROWS_PER_APPEND]
        else:
            yield rows.slice(start, ROWS_PER_APPEND)


def _times_us(chunk: pa.RecordBatch | list[dict[str, Any]], column: str) -> npt.NDArray[np.int64]:
    """Event times as microseconds; where there is none, that of the row before."""
    values = [row.get(column) for row in chunk] if isinstance(chunk, list) else chunk.column(column)
    texts = pa.table({"text": pa.array([_text(v) for v in values]) if isinstance(values, list) else values})
    sql = f"SELECT coalesce(epoch_us(TRY_CAST(text AS TIMESTAMP)), {NO_TIME_US}) AS us FROM texts"
    with scratch() as con:
        con.register("texts", texts)
        times = cast(pa.Table, con.sql(sql).to_arrow_table()).column("us").to_numpy()
    answer: npt.NDArray[np.int64] = np.maximum.accumulate(times)
    return answer


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


class Pace:
    """Says when rows are due: event time passes `speed` times as fast as the clock, from the first row on.

    Rows out of order are due with the newest row before them.
    """

    def __init__(self, speed: float, now_s: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self.speed = speed
        self._now_s = now_s
        self._sleep = sleep
        self._origin_us: int | None = None
        self._started_s = 0.0
        self._newest_us = NO_TIME_US

    def slices(self, times_us: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
        """Yield ranges of rows, each when it is due; times must not go back."""
        step_us = max(1, int(PACED_SLICE_S * self.speed * 1e6))
        start = 0
        while start < len(times_us):
            at_us = max(int(times_us[start]), self._newest_us)
            stop = max(int(np.searchsorted(times_us, at_us + step_us, side="left")), start + 1)
            self._wait_until(at_us)
            yield start, stop
            self._newest_us = max(at_us, int(times_us[stop - 1]))
            start = stop

    def _wait_until(self, at_us: int) -> None:
        if self._origin_us is None:
            if at_us == NO_TIME_US:
                return
            self._origin_us, self._started_s = at_us, self._now_s()
        due_s = self._started_s + timedelta(microseconds=at_us - self._origin_us).total_seconds() / self.speed
        if due_s > self._now_s():
            self._sleep(due_s - self._now_s())


def replay(
    target: Target,
    stream: str,
    source: FileSource,
    *,
    verb: Literal["append", "upsert"] = "append",
    speed: float | None = None,
    time_column: str | None = None,
    progress: Callable[[Replayed], None] | None = None,
) -> Replayed:
    """Feed a file into a stream, or a table; see `Replay` for the arguments.

    Every line of the file is answered for: lines that are no rows are put aside with the rejected ones, their
    text with file and line number as the row.
    """
    made = Replay(target, stream, source, verb=verb, speed=speed, time_column=time_column, progress=progress)
    return made.run()
