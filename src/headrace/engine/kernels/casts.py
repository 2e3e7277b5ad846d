"""CAST between numbers, booleans, dates and timestamps, and of integers to text."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.engine.kernels.arithmetic import as_float, in_range, limits, rescaled
from headrace.engine.kernels.vec import (
    BOOL,
    DATE,
    DECIMAL,
    FLOAT,
    INT,
    TEXT,
    TIME,
    Miss,
    Type,
    Vec,
    is_wide,
    widened,
)

_DAY_US = 86_400_000_000
_FINITE_US = 9_000_000_000_000_000_000
_FINITE_DAYS = 100_000_000
_UNIT_MAX = 10**18


def cast(part: Vec, output: Type) -> Vec:
    """Return a value as another type, rounding and refusing as DuckDB does."""
    if part.kind == output.kind and part.kind in (FLOAT, BOOL, TEXT, TIME, DATE):
        return part
    if output.kind in (INT, DECIMAL) and part.kind in (INT, DECIMAL):
        return _exact(part, output)
    if output.kind == FLOAT and part.kind in (INT, DECIMAL):
        return Vec(FLOAT, as_float(part), part.valid)
    way = _WAYS.get((part.kind, output.kind))
    if way is None:
        raise Miss
    return way(part, output)


def _to_date(part: Vec, output: Type) -> Vec:  # noqa: ARG001
    _finite(part.data, _FINITE_US)
    return Vec(DATE, part.data // _DAY_US, part.valid)


def _to_time(part: Vec, output: Type) -> Vec:  # noqa: ARG001
    _finite(part.data, _FINITE_DAYS)
    return Vec(TIME, part.data * _DAY_US, part.valid)


def _to_text(part: Vec, output: Type) -> Vec:  # noqa: ARG001
    if np.ndim(part.data) == 0 or is_wide(part.data):
        raise Miss
    mask = None if part.valid is None else ~part.valid
    return Vec(TEXT, pc.cast(pa.array(part.data, mask=mask), pa.string()))


def _finite(data: object, limit: int) -> None:
    if np.any(np.abs(data) > limit):  # type: ignore[call-overload]
        raise Miss


def _exact(part: Vec, output: Type) -> Vec:
    if output.scale >= part.scale:
        return Vec(output.kind, in_range(rescaled(part, output.scale), output), part.valid, output.scale)
    unit = 10 ** (part.scale - output.scale)
    if is_wide(part.data) or unit > _UNIT_MAX or limits(part.data)[0] == -(2**63):
        units = widened(part.data)
        data = np.sign(units) * ((np.abs(units) + unit // 2) // unit)
    else:
        whole, rest = np.divmod(np.abs(part.data), np.int64(unit))
        data = np.sign(part.data) * (whole + (2 * rest >= unit))
    return Vec(output.kind, in_range(data, output), part.valid, output.scale)


def _rounded(part: Vec, output: Type) -> Vec:
    low, high = output.bounds
    nearest = np.rint(part.data)
    if np.any(~((nearest >= low) & (nearest <= high) & (np.abs(nearest) < 9e18))):
        raise Miss
    return Vec(INT, np.asarray(nearest).astype(np.int64), part.valid)


_WAYS: dict[tuple[str, str], Callable[[Vec, Type], Vec]] = {
    (BOOL, INT): lambda part, _: Vec(INT, np.asarray(part.data).astype(np.int64), part.valid),
    (INT, BOOL): lambda part, _: Vec(BOOL, part.data != 0, part.valid),
    (FLOAT, INT): _rounded,
    (TIME, DATE): _to_date,
    (DATE, TIME): _to_time,
    (INT, TEXT): _to_text,
}
