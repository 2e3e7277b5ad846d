"""Rows as callers send them: dicts, models, or anything that speaks Arrow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.types as pt
from pydantic import BaseModel

from headrace.contracts.faults import Fault, Faults
from headrace.contracts.gather import Row, as_row
from headrace.contracts.jsontext import row_text
from headrace.contracts.leaves import to_python
from headrace.contracts.values import noun
from headrace.errors import RowsRejected

ROW_TEXT_BYTES_MAX = 1 << 24
"""A rejected row whose JSON is longer is kept with its long values cut."""
NOT_ASCII, CONTINUED, CONTINUES = 0x80, np.uint8(0xC0), np.uint8(0x80)
"""In UTF-8, bytes from here on are parts of longer characters; those whose first two bits are `10` go on with
one."""
_UNREADABLE = "(not valid Arrow data)"
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
        broken: names of Arrow columns that hold invalid data; those values are NULL in `arrays`.
    """

    count: int
    rows: list[Row] | None
    arrays: list[tuple[str, pa.Array]] = field(default_factory=list)
    faults: Faults = field(default_factory=dict)
    originals: list[Any] = field(default_factory=list)
    broken: dict[str, dict[int, str]] = field(default_factory=dict)

    def text(self, position: int) -> str:
        """Return one row as JSON text."""
        if self.rows is not None:
            return row_text(self.originals[position], ROW_TEXT_BYTES_MAX)
        row = {
            name: _UNREADABLE
            if position in self.broken.get(name, ())
            else to_python(array.slice(position, 1))[0]
            for name, array in self.arrays
        }
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
        named = [
            (name, column)
            for name, column in zip(table.column_names, table.columns, strict=True)
            if not name.startswith("__index_level_")
        ]
        found = Incoming(table.num_rows, None)
        for name, column in named:
            _take_column(name, _whole(column), found)  # one after the other: what was just copied is near
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise RowsRejected(f"the Arrow data cannot be read: {error}", expected=_EXPECTED) from None
    return found


def _take_column(name: str, array: pa.Array, found: Incoming) -> None:
    broken = _broken_rows(array)
    if broken:
        array = _without(array, broken)
        found.broken[name] = broken
    found.arrays.append((name, array))
    for position, reason in broken.items():
        found.faults.setdefault(position, Fault(reason, None, f".{name}"))


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """Return a column in one piece that is ours alone: the caller may write into the memory of its own."""
    combined = column.combine_chunks()
    if not isinstance(combined, pa.ChunkedArray):
        return combined
    if combined.num_chunks > 1:
        raise ValueError("one column holds more than 2 GiB of text; send it in smaller parts")
    return combined.chunk(0) if combined.num_chunks else pa.array([], combined.type)


def _broken_rows(array: pa.Array) -> dict[int, str]:
    """Return the positions whose bytes break Arrow's rules, such as text that is not UTF-8, by halving.

    A slice of lists still holds all their items, so nested rows are copied out one part at a time; that reads
    them, and is done only where all offsets inside are sound.
    """
    if _is_sound_text(array):
        return {}
    copy = array.type.num_fields > 0 and _has_sound_offsets(array)
    found: dict[int, str] = {}
    parts = [(0, len(array))]
    while parts:
        start, length = parts.pop()
        part = array.slice(start, length)
        reason = _invalid(part.take(pa.array(range(length), pa.int64())) if copy and length else part)
        if reason is not None and length <= 1:
            found[start] = reason
        elif reason is not None:
            half = length // 2
            parts += [(start, half), (start + half, length - half)]
    return found


def _is_sound_text(array: pa.Array) -> bool:
    """Whether a column of text is sound, as one look at all of its bytes together tells: they are ASCII, or
    UTF-8 where no value begins inside a character. False leaves it to a look at each value.

    What lies under a NULL is looked at too, and may break rules that no value breaks.
    """
    if not (pt.is_string(array.type) or pt.is_large_string(array.type)) or not len(array):
        return False
    if _invalid(array.view(_as_bytes(array.type))) is not None:
        return False
    _, places, data = array.buffers()
    if data is None:
        return False
    width = np.int64 if pt.is_large_string(array.type) else np.int32
    offsets = np.frombuffer(places, dtype=width)[array.offset : array.offset + len(array) + 1]
    first, last = int(offsets[0]), int(offsets[-1])
    text = np.frombuffer(data, dtype=np.uint8)[first:last]
    return int(text.max(initial=0)) < NOT_ASCII or _is_utf8(text, offsets[:-1] - first)


def _is_utf8(text: npt.NDArray[np.uint8], starts: npt.NDArray[Any]) -> bool:
    ends = pa.py_buffer(np.array([0, len(text)], dtype=np.int64))
    if _invalid(pa.LargeStringArray.from_buffers(1, ends, pa.py_buffer(text))) is not None:
        return False
    begins = text[starts[: np.searchsorted(starts, len(text))]]
    return not bool(np.any(begins & CONTINUED == CONTINUES))


def _invalid(array: pa.Array) -> str | None:
    try:
        array.validate(full=True)
    except (pa.ArrowException, ValueError) as error:
        message = str(error)
        return "is not valid UTF-8" if "UTF8" in message else f"is not valid Arrow data: {message[:200]}"
    return None


def _has_sound_offsets(array: pa.Array) -> bool:
    try:
        return _invalid(array.view(_as_bytes(array.type))) is None
    except (pa.ArrowException, ValueError, TypeError):
        return False


def _as_bytes(kind: pa.DataType) -> pa.DataType:
    """Return the type with bytes in place of text, at any depth of lists and structs."""
    if pt.is_string(kind):
        return pa.binary()
    if pt.is_large_string(kind):
        return pa.large_binary()
    if pt.is_struct(kind):
        return pa.struct([field.with_type(_as_bytes(field.type)) for field in kind])
    if pt.is_list(kind):
        return pa.list_(kind.value_field.with_type(_as_bytes(kind.value_type)))
    if pt.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(_as_bytes(kind.value_type)))
    if pt.is_map(kind):
        return pa.map_(_as_bytes(kind.key_type), _as_bytes(kind.item_type))
    return kind


def _without(array: pa.Array, broken: dict[int, str]) -> pa.Array:
    """Return the column with NULL in place of broken values, without reading those."""
    good = [position for position in range(len(array)) if position not in broken]
    places: list[int | None] = [None] * len(array)
    for place, position in enumerate(good):
        places[position] = place
    return array.take(pa.array(good, pa.int64())).take(pa.array(places, pa.int64()))
