"""Side tables: the rows that entered no stream or table, kept readable with the reason; and versions.

`<table>__versions` holds the versions of a table that keeps its history, in the order of their acceptance.
`<name>__rejected` holds the row as JSON text, the reason, the field and value it is about, and the append
clock; `<stream>__late` the stream's columns and the watermark that the row missed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from headrace.change import Change
from headrace.contracts.encode import to_json_rows
from headrace.contracts.faults import shown
from headrace.contracts.schema import Column, Schema
from headrace.declarations import StreamDecl, TableDecl
from headrace.results import Rejection

WATERMARK = "_watermark"
TIMESTAMP = pa.timestamp("us")
PRIVATE = "(private)"

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


VERSION_COLUMNS = (
    Column("_deleted", "BOOLEAN", pa.bool_()),
    Column("_order", "BIGINT", pa.int64()),
    Column("_valid_from", "TIMESTAMP", TIMESTAMP),
)
"""What stands beside a version: whether it is a deletion; its place among the versions of its key, where a
deletion follows a row of the same place; from when it holds, UTC.
"""


def versions_schema(decl: TableDecl) -> Schema:
    """Return the columns of a table's versions; a deletion has NULL where its call said nothing."""
    return Schema.of([*(replace(column, nullable=True) for column in decl.schema), *VERSION_COLUMNS])


def side_schemas(decl: StreamDecl | TableDecl) -> dict[str, Schema]:
    """Return the side tables that a declaration brings with it, by name."""
    schemas = {decl.rejected_name: REJECTED}
    if isinstance(decl, StreamDecl):
        schemas[decl.late_name] = late_schema(decl)
    elif decl.effective is not None:
        schemas[decl.versions_name] = versions_schema(decl)
    return schemas


def late_change(rows: pa.RecordBatch, watermark_us: int) -> Change:
    """Return late rows as a change of their side table."""
    missed = pa.array(np.full(rows.num_rows, watermark_us, dtype=np.int64)).view(TIMESTAMP)
    schema = rows.schema.append(pa.field(WATERMARK, TIMESTAMP))
    return Change.inserts(pa.RecordBatch.from_arrays([*rows.columns, missed], schema=schema))


def version_rows(
    rows: pa.RecordBatch,
    deleted: npt.NDArray[np.bool_],
    orders: npt.NDArray[np.int64],
    from_us: npt.NDArray[np.int64],
) -> pa.RecordBatch:
    """Return rows of a table as versions of it."""
    columns = [pa.array(deleted), pa.array(orders), pa.array(from_us).view(TIMESTAMP)]
    fields = [pa.field(column.name, column.arrow) for column in VERSION_COLUMNS]
    return pa.RecordBatch.from_arrays([*rows.columns, *columns], schema=pa.schema([*rows.schema, *fields]))


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


def row_texts(batch: pa.RecordBatch, positions: npt.NDArray[np.int64], schema: Schema) -> list[str]:
    """Return rows as JSON text; a call that deletes by key has the key columns only."""
    rows = pa.Table.from_batches([batch.take(pa.array(positions))])
    return [orjson.dumps(row).decode() for row in to_json_rows(rows, schema.select(batch.schema.names))]


def value_texts(batch: pa.RecordBatch, positions: npt.NDArray[np.int64], column: Column) -> list[str | None]:
    """Return one column's values as rejections show them: short, and hidden where the column is private."""
    rows = pa.Table.from_batches([batch.select([column.name]).take(pa.array(positions))])
    values = [row[column.name] for row in to_json_rows(rows, Schema.of([column]))]
    if column.privacy is not None:
        return [None if value is None else PRIVATE for value in values]
    return [shown(value) for value in values]
