"""Rows as callers send them: dicts, models, or anything that speaks Arrow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from pydantic import BaseModel

from headrace.contracts.faults import Fault, Faults
from headrace.contracts.gather import Row, as_row
from headrace.contracts.jsontext import row_text
from headrace.contracts.leaves import to_python
from headrace.contracts.values import noun
from headrace.errors import RowsRejected

ROW_TEXT_BYTES_MAX = 1 << 24
"""A rejected row whose JSON is longer is kept with its long values cut."""
_EXPECTED = "dicts, models, or anything with __arrow_c_stream__ (pyarrow, pandas, polars, duckdb)"


@dataclass
class Incoming:
    """The rows of one call.

    Attributes:
        count: how many.
        rows: dicts (None: not a row), or None where the rows came as Arrow.
        arrays: name and column, where the rows came as Arrow.
        faults: what is no row at all, or no valid Arrow.
        originals: what the caller sent, for `rows`.
    """

    count: int
    rows: list[Row] | None
    arrays: list[tuple[str, pa.Array]] = field(default_factory=list)
    faults: Faults = field(default_factory=dict)
    originals: list[Any] = field(default_factory=list)

    def text(self, position: int) -> str:
        """Return one row as JSON text."""
        if self.rows is not None:
            return row_text(self.originals[position], ROW_TEXT_BYTES_MAX)
        row = {name: _value(array, position) for name, array in self.arrays}
        return row_text(row, ROW_TEXT_BYTES_MAX)

    def as_rows(self) -> list[Row]:
        """Return the rows as dicts, however they came."""
        if self.rows is not None:
            return self.rows
        names = [name for name, _ in self.arrays]
        if not names:
            return [{} for _ in range(self.count)]
        lists = [to_python(array) for _, array in self.arrays]
        return [dict(zip(names, values, strict=True)) for values in zip(*lists, strict=True)]


def _value(array: pa.Array, position: int) -> Any:
    one = array.slice(position, 1)
    try:
        one.validate(full=True)
        return to_python(one)[0]
    except (pa.ArrowException, ValueError):
        return "(not valid Arrow data)"


def take_in(rows: Any) -> Incoming:
    """Return what a caller sent in one of two forms, lists of dicts or Arrow columns.

    Raises:
        RowsRejected: it is no collection of rows at all, or Arrow data that cannot even be divided into rows.
    """
    if hasattr(rows, "__arrow_c_stream__") or isinstance(rows, pa.RecordBatch):
        return _take_arrow(rows)
    if isinstance(rows, BaseModel | Mapping):
        rows = [rows]
    if isinstance(rows, str | bytes | bytearray) or not isinstance(rows, Iterable):
        raise RowsRejected(f"expected rows, got {noun(rows)}", expected=_EXPECTED)
    originals = rows if isinstance(rows, list) else list(rows)
    if set(map(type, originals)) <= {dict}:
        return Incoming(len(originals), originals, originals=originals)
    faults: Faults = {}
    taken: list[Row] = []
    for position, item in enumerate(originals):
        row = as_row(item)
        if row is None:
            faults[position] = Fault(f"expected an object, got {noun(item)}", item)
        taken.append(row)
    return Incoming(len(taken), taken, faults=faults, originals=originals)


def _take_arrow(rows: Any) -> Incoming:
    try:
        table = pa.table(rows) if not isinstance(rows, pa.RecordBatch) else pa.Table.from_batches([rows])
        arrays = [
            (name, _whole(column)) for name, column in zip(table.column_names, table.columns, strict=True)
        ]
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise RowsRejected(f"the Arrow data cannot be read: {error}", expected=_EXPECTED) from None
    kept = [(name, array) for name, array in arrays if not name.startswith("__index_level_")]
    faults: Faults = {}
    for index, (name, array) in enumerate(kept):
        broken = _broken_rows(array)
        if broken:
            kept[index] = (name, _without(array, broken))
        for position, reason in broken.items():
            faults.setdefault(position, Fault(reason, None, f".{name}"))
    return Incoming(table.num_rows, None, kept, faults)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    if not isinstance(combined, pa.ChunkedArray):
        return combined
    if combined.num_chunks > 1:
        raise ValueError("one column holds more than 2 GiB of text; send it in smaller parts")
    return combined.chunk(0) if combined.num_chunks else pa.array([], combined.type)


def _broken_rows(array: pa.Array) -> dict[int, str]:
    """Return the positions whose bytes break Arrow's rules, such as text that is not UTF-8, by halving."""
    found: dict[int, str] = {}
    parts = [(0, len(array))]
    while parts:
        start, length = parts.pop()
        try:
            array.slice(start, length).validate(full=True)
        except (pa.ArrowException, ValueError) as error:
            if length <= 1:
                found[start] = _reason(str(error))
            else:
                half = length // 2
                parts += [(start, half), (start + half, length - half)]
    return found


def _reason(message: str) -> str:
    return "is not valid UTF-8" if "UTF8" in message else f"is not valid Arrow data: {message[:200]}"


def _without(array: pa.Array, broken: dict[int, str]) -> pa.Array:
    """Return the column with NULL in place of broken values, without reading those."""
    good = [position for position in range(len(array)) if position not in broken]
    places: list[int | None] = [None] * len(array)
    for place, position in enumerate(good):
        places[position] = place
    return array.take(pa.array(good, pa.int64())).take(pa.array(places, pa.int64()))
