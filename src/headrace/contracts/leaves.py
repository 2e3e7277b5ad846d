"""Columns of types without parts: from Python values or Arrow, clean ones at once, others value by value."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from headrace.contracts.casts import cast_column, simple
from headrace.contracts.faults import Fault, Faults
from headrace.contracts.types import SqlType
from headrace.contracts.values import Refused, plain, reader

Values: TypeAlias = list[Any] | pa.Array
"""A column as it came: Python values, None for NULL, or an Arrow array."""

_FAILURES = (pa.ArrowException, OverflowError, ValueError, TypeError, ArithmeticError)
_NATURAL: dict[frozenset[type], pa.DataType] = {
    frozenset({bool}): pa.bool_(),
    frozenset({int}): pa.int64(),
    frozenset({float}): pa.float64(),
    frozenset({int, float}): pa.float64(),
    frozenset({str}): pa.string(),
    frozenset({bytes}): pa.binary(),
    frozenset({dt.date}): pa.date32(),
    frozenset({dt.datetime}): pa.timestamp("us"),
}
"""How clean Python values become Arrow before they are cast; what is not listed is read value by value."""
_TAKEN_AS_THEY_ARE = ("bool", "int", "float", "text", "blob")
"""Of these, every value that the Arrow type holds is one of the SQL type."""
_SIZED = ("text", "blob", "json")


def read_leaves(source: Values, kind: SqlType, bytes_max: int) -> tuple[pa.Array, Faults]:
    """Return the column as `kind.arrow` and what is wrong with it; wrong values are NULL in the column."""
    array = _cast_arrow(source, kind) if isinstance(source, pa.Array) else _cast_python(source, kind)
    faults: Faults = {}
    if array is None:
        array, faults = _one_by_one(to_python(source), kind)
    if kind.kind in _SIZED:
        array = _limit_size(array, bytes_max, faults)
    return array, faults


def _cast_arrow(source: pa.Array, kind: SqlType) -> pa.Array | None:
    if kind.kind in _TAKEN_AS_THEY_ARE and source.type == kind.arrow:
        return source
    return cast_column(simple(source), kind)


def _cast_python(values: list[Any], kind: SqlType) -> pa.Array | None:
    kinds = frozenset(map(type, values)) - {type(None)}
    if not kinds:
        return pa.nulls(len(values), kind.arrow)
    natural = _NATURAL.get(kinds)
    try:
        if natural is not None:
            return cast_column(pa.array(values, natural), kind)
        if kinds == {uuid.UUID} and kind.kind == "uuid":
            return pa.array([None if value is None else str(value) for value in values], pa.string())
        if kinds <= {Decimal, int} and kind.kind == "decimal":
            return pa.array(values, kind.arrow)
    except _FAILURES:
        pass
    return None


def to_python(source: Values) -> list[Any]:
    """Return the values of a column; what Python cannot hold becomes a `Refused`."""
    if not isinstance(source, pa.Array):
        return source
    source = simple(source)
    if pt.is_timestamp(source.type) and source.type.unit == "ns":
        source = _without_zone(source)
    if pt.is_time64(source.type) and source.type.unit == "ns":
        source = source.cast(pa.string())
    try:
        return list(source.to_pylist())
    except _FAILURES:
        return [_scalar(source, position) for position in range(len(source))]


def _without_zone(source: pa.Array) -> pa.Array:
    """Return nanosecond times as text, which keeps all their digits."""
    return pc.replace_substring(source.cast(pa.timestamp("ns")).cast(pa.string()), " ", "T")


def _scalar(source: pa.Array, position: int) -> Any:
    try:
        return source[position].as_py()
    except _FAILURES:
        return Refused("is out of the range that can be read")


def _one_by_one(values: list[Any], kind: SqlType) -> tuple[pa.Array, Faults]:
    read = reader(kind)
    found: list[Any] = [None] * len(values)
    faults: Faults = {}
    for position, raw in enumerate(values):
        if raw is None:
            continue
        try:
            value = plain(raw)
            if isinstance(value, Refused):
                raise value
            found[position] = None if value is None else read(value)
        except Refused as refused:
            faults[position] = Fault(str(refused), None if isinstance(raw, Refused) else raw)
        except _FAILURES:
            faults[position] = Fault(f"cannot be read as {kind.sql}", raw)
    return _build(found, kind), faults


def _build(found: list[Any], kind: SqlType) -> pa.Array:
    match kind.kind:
        case "timestamp" | "time":
            return pa.array(found, pa.int64()).cast(kind.arrow)
        case "enum":
            cast = cast_column(pa.array(found, pa.string()), kind)
            return pa.nulls(len(found), kind.arrow) if cast is None else cast
        case _:
            return pa.array(found, kind.arrow)


def _limit_size(array: pa.Array, bytes_max: int, faults: Faults) -> pa.Array:
    """Find values of more than `bytes_max` bytes and make them NULL."""
    if array.nbytes <= bytes_max:  # all of them together
        return array
    lengths = pc.binary_length(array)
    longest = pc.max(lengths).as_py()
    if longest is None or longest <= bytes_max:
        return array
    too_long = pc.greater(lengths, bytes_max).fill_null(False)
    for position in np.flatnonzero(too_long.to_numpy(zero_copy_only=False)):
        size = lengths[int(position)].as_py()
        faults[int(position)] = Fault(f"has {size:,} bytes, more than the {bytes_max:,} of one value", "…")
    return pc.if_else(too_long, pa.scalar(None, array.type), array)
