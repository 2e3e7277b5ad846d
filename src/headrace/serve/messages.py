"""What a live reader hears: snapshot, change, heartbeat, error. Each is encoded once, whoever listens.

A message is JSON text. Where Arrow is wanted, a snapshot or change is that JSON without its rows,
followed by an Arrow IPC stream of the rows with `_weight` as the last column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa

from headrace.change import WEIGHT, Change
from headrace.contracts.encode import rows_json
from headrace.contracts.schema import Column, Schema
from headrace.errors import HeadraceError, UnknownName
from headrace.relations import RelationInfo
from headrace.serve.answers import Stamp, arrow_bytes, columns_of

WEIGHT_COLUMN = Column(WEIGHT, "BIGINT", pa.int64())


@dataclass(frozen=True, slots=True)
class Message:
    """One message, ready to be sent.

    Attributes:
        kind: `snapshot`, `change`, `heartbeat`, `error` or `gone`.
        version: the version that a reader is at once it has taken it.
        text: the JSON.
        rows: the Arrow IPC stream, where Arrow is wanted.
        first: for a change, the oldest version that it contains.
        previous: for a change, the version at which this view changed before `first`: a reader that is
            anywhere
            from there to just before `first` can take it, any other has a gap.
        problem: for an error, what is wrong.
    """

    kind: str
    version: int
    text: str
    rows: bytes | None = None
    first: int = 0
    previous: int = 0
    problem: str = ""

    @property
    def size(self) -> int:
        """Bytes that it takes while it waits."""
        return len(self.text) + len(self.rows or b"")


def _head(kind: str, view: str, stamp: Stamp) -> dict[str, Any]:
    return {"type": kind, "view": view, **stamp.facts(), "pending_commits": stamp.freshness.pending_commits}


def _text(head: dict[str, Any]) -> str:
    return orjson.dumps(head, default=str).decode()


def _with_rows(head: dict[str, Any], rows: bytes) -> str:
    return (orjson.dumps(head)[:-1] + b',"rows":' + rows + b"}").decode()


def snapshot(
    info: RelationInfo, table: pa.Table, stamp: Stamp, *, arrow: bool, rows_max: int | None = None
) -> Message:
    """Return all rows of a view at one version, or the first `rows_max` of them, and then it says so."""
    shown = table if rows_max is None else table.slice(0, rows_max)
    head = _head("snapshot", info.name, stamp) | {
        "key": info.key,
        "columns": columns_of(info.schema),
        "row_count": table.num_rows,
        "truncated": shown.num_rows < table.num_rows,
    }
    number = stamp.version.number
    if arrow:
        return Message("snapshot", number, _text(head), arrow_bytes(shown, info.schema))
    return Message("snapshot", number, _with_rows(head, rows_json(shown, info.schema)))


def change(
    info: RelationInfo, moved: Change, stamp: Stamp, first: int, previous: int, *, arrow: bool
) -> Message:
    """Return what came and went in the versions from `first` to the stamp's.

    Each row carries its `_weight`: +1 it appears, -1 it goes.
    """
    head = _head("change", info.name, stamp) | {
        "commit": stamp.version.commit,
        "first": first,
        "previous": previous,
    }
    number = stamp.version.number
    if arrow:
        weighted = Schema((*info.schema.columns, WEIGHT_COLUMN))
        rows = arrow_bytes(moved.to_table(), weighted)
        return Message("change", number, _text(head), rows, first, previous)
    text = _with_rows(head, rows_json(moved.rows, info.schema, {WEIGHT: moved.weights.tolist()}))
    return Message("change", number, text, None, first, previous)


def heartbeat(view: str, stamp: Stamp) -> Message:
    """Return a sign of life: it tells a quiet view from a dead connection, and how far behind the server
    is.
    """
    return Message("heartbeat", stamp.version.number, _text(_head("heartbeat", view, stamp)))


def error(view: str, problem: HeadraceError, stamp: Stamp) -> Message:
    """Return why the view has no answer: at present, or (kind `gone`) because it does not exist any more."""
    head = _head("error", view, stamp) | {"error": problem.as_dict()}
    kind = "gone" if isinstance(problem, UnknownName) else "error"
    return Message(kind, stamp.version.number, _text(head), problem=problem.problem)
