"""Declarations and rows that the tests of the intake share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.change import Change
from headrace.contracts.schema import Column, Schema
from headrace.declarations import StreamDecl, TableDecl
from headrace.intake import Call
from headrace.intake.calls import Kind
from headrace.log import Log
from headrace.results import AppendResult, Rejection

START = datetime(2026, 1, 1, tzinfo=UTC)
START_US = int(START.timestamp()) * 1_000_000
SECOND_US = 1_000_000

STREAM = Schema.of(
    [
        Column("id", "BIGINT", pa.int64()),
        Column("at", "TIMESTAMP", pa.timestamp("us")),
        Column("word", "VARCHAR", pa.string()),
    ]
)
TABLE = Schema.of(
    [
        Column("a", "INTEGER", pa.int32()),
        Column("b", "VARCHAR", pa.string()),
        Column("seq", "BIGINT", pa.int64()),
        Column("word", "VARCHAR", pa.string()),
    ]
)
ORDERS = StreamDecl(
    "orders",
    STREAM,
    event_id="id",
    event_time="at",
    lateness=timedelta(seconds=10),
    idle_after=timedelta(seconds=60),
    event_id_window=timedelta(seconds=300),
)
PLAIN = StreamDecl("plain", STREAM)
KEYED = TableDecl("keyed", TABLE, key=("a", "b"))
SEQUENCED = TableDecl("sequenced", TABLE, key=("a", "b"), sequence="seq")
BAG = TableDecl("bag", TABLE)
STREAMS = {decl.name: decl for decl in (ORDERS, PLAIN)}
TABLES = {decl.name: decl for decl in (KEYED, SEQUENCED, BAG)}


@dataclass
class Clock:
    """A clock that stands until it is set."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass(frozen=True)
class Checked:
    """Rows as the contracts hand them on."""

    batch: pa.RecordBatch
    positions: npt.NDArray[np.int64]
    rejections: tuple[Rejection, ...] = ()
    rejected_rows: Sequence[str] = ()
    total: int = 0


def checked(schema: Schema, rows: list[dict[str, Any]], bad: Sequence[int] = ()) -> Checked:
    """Return rows of which those at `bad` were refused by the contract."""
    good = [at for at in range(len(rows)) if at not in bad]
    batch = pa.RecordBatch.from_pylist([rows[at] for at in good], schema=schema.arrow)
    rejections = tuple(Rejection(at, "word", "?", "not a word") for at in bad)
    texts = [f'{{"bad": {at}}}' for at in bad]
    return Checked(batch, np.array(good, dtype=np.int64), rejections, texts, len(rows))


def call(kind: Kind, relation: str, rows: list[dict[str, Any]], bad: Sequence[int] = ()) -> Call:
    """Return one call; a deletion by key brings the key columns only."""
    schema = STREAM if relation in STREAMS else TABLE
    if kind == "delete" and relation != "bag":
        schema = schema.select(["a", "b"])
        rows = [{"a": row["a"], "b": row["b"]} for row in rows]
    return Call(kind, relation, checked(schema, rows, bad))


def event(number: int | None, seconds: float | None = 0.0, word: str = "w") -> dict[str, Any]:
    """Return a row of a stream whose time is so many seconds after the start."""
    return {
        "id": number,
        "at": None if seconds is None else START_US + int(seconds * SECOND_US),
        "word": word,
    }


def row(a: int | None, b: str | None = "x", seq: int | None = 0, word: str | None = "w") -> dict[str, Any]:
    """Return a row of a table."""
    return {"a": a, "b": b, "seq": seq, "word": word}


def listed(result: AppendResult) -> list[int]:
    """Return the statuses of a result."""
    return [int(status) for status in result.statuses]


def total(log: Log, relation: str) -> Change | None:
    """Return all that the log holds of a relation."""
    parts = list(log.history(relation))
    return Change.concat(parts) if parts else None


def plain(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Return rows with their times as microseconds."""
    columns = [
        column.cast(pa.timestamp("us")).cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
        for column in batch.columns
    ]
    rows: list[dict[str, Any]] = pa.RecordBatch.from_arrays(columns, names=batch.schema.names).to_pylist()
    return rows
