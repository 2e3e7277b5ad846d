"""A column on its way through kernels, and the ways in and out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from headrace.contracts.schema import Column
from headrace.engine.columns import Bools, validity, values

INT, FLOAT, DECIMAL, BOOL, TEXT, TIME, DATE, OTHER = (
    "int",
    "float",
    "decimal",
    "bool",
    "text",
    "time",
    "date",
    "other",
)
_INTEGERS = {
    "TINYINT": (-(2**7), 2**7 - 1),
    "SMALLINT": (-(2**15), 2**15 - 1),
    "INTEGER": (-(2**31), 2**31 - 1),
    "BIGINT": (-(2**63), 2**63 - 1),
    "HUGEINT": (-(2**127), 2**127 - 1),
    "UTINYINT": (0, 2**8 - 1),
    "USMALLINT": (0, 2**16 - 1),
    "UINTEGER": (0, 2**32 - 1),
}
_KINDS = {"DOUBLE": FLOAT, "BOOLEAN": BOOL, "VARCHAR": TEXT, "TIMESTAMP": TIME, "DATE": DATE}
_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)$")
WIDE_ROWS_MAX = 4_096
"""Numbers beyond 64 bits are Python's in batches of so many rows; with more, DuckDB is quicker."""
DECIMAL_MAX = 10**38 - 1


class Miss(Exception):  # noqa: N818 - not an error: DuckDB takes over
    """This batch, or this expression, is not for kernels."""


@dataclass(frozen=True, slots=True)
class Type:
    """A SQL type as kernels see it: the kind, and precision and scale of decimals, the range of integers."""

    sql: str
    kind: str
    precision: int = 0
    scale: int = 0

    @property
    def bounds(self) -> tuple[int, int]:
        """Smallest and largest value of an integer type, as far as kernels go."""
        return _INTEGERS[self.sql]


@dataclass(frozen=True, slots=True)
class Vec:
    """Values of one type; `data` may be a scalar that stands for every row.

    Attributes:
        kind: how `data` is to be read: int64 for integers, decimals (unscaled), times (µs) and dates (days);
            float64; bool; for text and other types an Arrow array or scalar. Integers and decimals of which
            one needs more than 64 bits are Python's, in an array of objects.
        data: the values; those at NULL rows are zero (numbers) or NULL (Arrow).
        valid: False where NULL, None when no row is; not used for Arrow data.
        scale: of decimals.
    """

    kind: str
    data: Any
    valid: Any = None
    scale: int = 0


def type_of(sql: str) -> Type:
    """Return a SQL type as kernels see it."""
    if sql in _INTEGERS:
        return Type(sql, INT)
    found = _DECIMAL.match(sql)
    if found:
        return Type(sql, DECIMAL, int(found[1]), int(found[2]))
    return Type(sql, _KINDS.get(sql, OTHER))


def load(array: pa.Array, kind: Type) -> Vec:
    """Return an Arrow column as kernels see it.

    Raises:
        Miss: many rows, and a wide integer or decimal needs more than 64 bits.
    """
    if kind.kind in (TEXT, OTHER):
        return Vec(kind.kind, array)
    valid = validity(array)
    if pa.types.is_decimal(array.type):
        return Vec(kind.kind, _units(array, valid), valid, kind.scale)
    data = values(array)
    if kind.kind in (INT, TIME, DATE):
        data = data.astype(np.int64, copy=False)
    if valid is not None:
        data = np.where(valid, data, data.dtype.type(0))
    return Vec(kind.kind, data, valid, kind.scale)


def _units(array: pa.Array, valid: Bools | None) -> Any:
    buffer = array.buffers()[1]
    if buffer is None or len(array) == 0:
        return np.zeros(len(array), dtype=np.int64)
    if array.type.bit_width != 128:
        raise Miss
    pairs = np.frombuffer(buffer, dtype=np.int64)[2 * array.offset : 2 * (array.offset + len(array))].reshape(
        -1, 2
    )
    low, high = pairs[:, 0], pairs[:, 1]
    if valid is not None:
        low, high = np.where(valid, low, 0), np.where(valid, high, 0)
    if (high != low >> 63).any():
        return widened(high) * 2**64 + widened(low.view(np.uint64))
    return np.ascontiguousarray(low)


def is_wide(data: Any) -> bool:
    """Whether numbers are Python's."""
    return bool(np.asarray(data).dtype == np.object_)


def widened(data: Any) -> Any:
    """Return integers as Python's.

    Raises:
        Miss: there are so many that DuckDB is quicker.
    """
    if np.size(data) > WIDE_ROWS_MAX:
        raise Miss
    return np.asarray(data).astype(np.object_)


def store(vec: Vec, column: Column, count: int) -> pa.Array:
    """Return a column for Arrow, `count` rows long."""
    if vec.kind in (TEXT, OTHER):
        return _stored_arrow(vec.data, column.arrow, count)
    data = np.broadcast_to(vec.data, count) if np.ndim(vec.data) == 0 else vec.data
    valid = None if vec.valid is None else np.broadcast_to(vec.valid, count)
    mask = None if valid is None else ~valid
    kind = column.arrow
    if pa.types.is_decimal(kind):
        return _decimal(data, valid, kind)
    if vec.kind == TIME:
        return pa.array(data, pa.int64(), mask=mask).cast(kind)
    if vec.kind == DATE:
        return pa.array(data.astype(np.int32), mask=mask).cast(kind)
    if vec.kind == INT:
        return pa.array(data.astype(_dtype(kind), copy=False), mask=mask)
    return pa.array(data, kind, mask=mask)


@cache
def _dtype(kind: pa.DataType) -> Any:
    return kind.to_pandas_dtype()


def _stored_arrow(data: Any, kind: pa.DataType, count: int) -> pa.Array:
    if isinstance(data, pa.Scalar):
        return pa.repeat(data.cast(kind), count) if data.is_valid else pa.nulls(count, kind)
    if isinstance(data, pa.ChunkedArray):
        data = data.combine_chunks()
    return data if data.type == kind else data.cast(kind)


def _decimal(data: npt.NDArray[Any], valid: Bools | None, kind: pa.DataType) -> pa.Array:
    pairs = np.empty((len(data), 2), dtype=np.int64)
    if is_wide(data):
        if np.any(np.abs(data) > DECIMAL_MAX):
            raise Miss
        pairs[:, 0] = (data & (2**64 - 1)).astype(np.uint64).view(np.int64)
        pairs[:, 1] = data >> 64
    else:
        pairs[:, 0] = data
        pairs[:, 1] = data >> 63
    bitmap = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    return pa.Array.from_buffers(kind, len(data), [bitmap, pa.py_buffer(pairs)])


def both_valid(one: Any, other: Any) -> Any:
    """Return where both are valid; None for everywhere."""
    if one is None:
        return other
    return one if other is None else one & other


def text_valid(data: Any) -> Any:
    """Return where Arrow data is not NULL, or None for everywhere."""
    if isinstance(data, pa.Scalar):
        return None if data.is_valid else np.bool_(False)
    return validity(data)


def from_flags(flags: Any) -> Vec:
    """Return Arrow booleans as kernels see them."""
    if isinstance(flags, pa.BooleanScalar):
        known = flags.is_valid
        return Vec(BOOL, np.bool_(bool(flags.as_py())), None if known else np.bool_(False))
    valid = validity(flags)
    data = values(pc.fill_null(flags, False) if valid is not None else flags)
    return Vec(BOOL, data, valid)
