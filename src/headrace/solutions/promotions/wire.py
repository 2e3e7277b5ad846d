"""How batches travel: JSON where rows may be anything, Arrow where they are many; and reading answers."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from headrace.solutions.promotions.dirt import Batch, Intent, JsonRow, break_row

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
STATUS_NAMES = ("accepted", "repeated", "late", "rejected")
ACCEPTED, REPEATED, LATE, REJECTED = range(4)


@dataclass(frozen=True)
class Parcel:
    """One request: a batch, as bytes."""

    batch: Batch
    body: bytes
    content_type: str


def pack(batch: Batch, as_arrow: bool) -> list[Parcel]:
    """Return the requests for a batch; beside Arrow, broken rows travel as JSON, as they fit no schema."""
    if not as_arrow:
        return [Parcel(batch, to_json(batch), JSON)]
    broken = batch.intents == Intent.BROKEN
    whole = batch.part(~broken) if broken.any() else batch
    parcels = [Parcel(whole, to_arrow(whole.rows), ARROW)] if len(whole) else []
    return parcels + (pack(batch.part(broken), as_arrow=False) if broken.any() else [])


def to_arrow(rows: pa.RecordBatch) -> bytes:
    """Return the rows as an Arrow IPC stream."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_batch(rows)
    return sink.getvalue()


def to_json(batch: Batch) -> bytes:
    """Return the rows as a JSON list, the broken ones broken."""
    rows = json_rows(batch.rows)
    for index in np.flatnonzero(batch.intents == Intent.BROKEN).tolist():
        break_row(batch.stream, rows[index], nth=rows[index]["event_id"])
    return orjson.dumps(rows)


def json_rows(rows: pa.RecordBatch) -> list[JsonRow]:
    """Return the rows as JSON carries them: decimals as strings, times in ISO 8601 with a `Z`."""
    columns = [_json_values(column) for column in rows.columns]
    names = rows.schema.names
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _json_values(column: pa.Array) -> list[Any]:
    if pa.types.is_timestamp(column.type):
        column = pc.strftime(column, format="%Y-%m-%dT%H:%M:%SZ")
    elif pa.types.is_decimal(column.type):
        column = column.cast(pa.string())
    answer: list[Any] = column.to_pylist()
    return answer


def statuses(answer: dict[str, Any], rows: int) -> npt.NDArray[np.uint8]:
    """Read the outcome of each row from the answer to an append, which lists only the rows not accepted.

    Raises:
        ValueError: the list and the counts of the answer do not agree.
    """
    found = np.zeros(rows, dtype=np.uint8)
    for entry in answer["rows"]:
        found[entry["index"]] = STATUS_NAMES.index(entry["status"])
    counts = [int(count) for count in np.bincount(found, minlength=4)]
    told = [answer[name] for name in STATUS_NAMES]
    if counts != told:
        raise ValueError(f"the answer counts {told} but lists {counts}")
    return found
