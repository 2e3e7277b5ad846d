"""Side tables: the rows that entered no stream or table, kept readable with the reason.

`<name>__rejected` holds the row as JSON text, the reason, the field and value it is about, and the append
clock; `<stream>__late` the stream's columns and the watermark that the row missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from headrace.change import Change
from headrace.contracts.schema import Column, Schema
from headrace.declarations import StreamDecl, TableDecl
from headrace.results import Rejection

WATERMARK = "_watermark"
TIMESTAMP = pa.timestamp("us")
SAFE_INTEGER = 1 << 53

REJECTED = Schema.of(
    [
        Column("row", "VARCHAR", pa.string()),
        Column("reason", "VARCHAR", pa.string()),
        Column("field", "VARCHAR", pa.string()),
        Column("value", "VARCHAR", pa.string()),
        Column("rejected_at", "TIMESTAMP", TIMESTAMP),
    ]
)
"""The columns of every table of rejected rows."""
_REJECTED_ARROW = REJECTED.arrow


def late_schema(decl: StreamDecl) -> Schema:
    """Return the columns of a stream's late rows."""
    return Schema.of([*decl.schema, Column(WATERMARK, "TIMESTAMP", TIMESTAMP)])


def side_schemas(decl: StreamDecl | TableDecl) -> dict[str, Schema]:
    """Return the side tables that a declaration brings with it, by name."""
    schemas = {decl.rejected_name: REJECTED}
    if isinstance(decl, StreamDecl):
        schemas[decl.late_name] = late_schema(decl)
    return schemas


def late_change(rows: pa.RecordBatch, watermark_us: int) -> Change:
    """Return late rows as a change of their side table."""
    missed = pa.array(np.full(rows.num_rows, watermark_us, dtype=np.int64)).view(TIMESTAMP)
    schema = rows.schema.append(pa.field(WATERMARK, TIMESTAMP))
    return Change.inserts(pa.RecordBatch.from_arrays([*rows.columns, missed], schema=schema))


def rejected_change(texts: Sequence[str], rejections: Sequence[Rejection], clock_us: int) -> Change:
    """Return rejected rows, as JSON text beside their rejections, as a change of their side table."""
    columns = [
        pa.array(texts, pa.string()),
        pa.array([rejection.reason for rejection in rejections], pa.string()),
        pa.array([rejection.field for rejection in rejections], pa.string()),
        pa.array([rejection.value for rejection in rejections], pa.string()),
        pa.array(np.full(len(rejections), clock_us, dtype=np.int64)).view(TIMESTAMP),
    ]
    return Change.inserts(pa.RecordBatch.from_arrays(columns, schema=_REJECTED_ARROW))


def row_texts(batch: pa.RecordBatch, positions: npt.NDArray[np.int64]) -> list[str]:
    """Return rows as JSON text; decimals, and integers beyond 2^53, as strings."""
    rows = batch.take(pa.array(positions)).to_pylist()
    return [orjson.dumps(plain(row), option=orjson.OPT_NON_STR_KEYS).decode() for row in rows]


def plain(value: Any) -> Any:
    """Return a value as JSON carries it here."""
    match value:
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case bool() | None | float():
            return value
        case int():
            return value if -SAFE_INTEGER <= value <= SAFE_INTEGER else str(value)
        case str():
            return value.encode("utf-8", "replace").decode()
        case datetime():
            return value.isoformat(sep=" ")
        case bytes():
            return value.hex()
        case Decimal() | UUID() | date() | time() | timedelta():
            return str(value)
        case _:
            return repr(value)


def value_text(column: pa.Array, position: int) -> str | None:
    """Return one value as text for a rejection, shortened."""
    value = plain(column[position].as_py())
    if value is None:
        return None
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= 200 else text[:199] + "…"
