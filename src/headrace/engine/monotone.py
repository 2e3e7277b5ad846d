"""Expressions that never fall while a time rises: what they say of values still to come.

A *bound* of a column is the smallest value, in microseconds since 1970 UTC, that a later change may hold in
it; rows that hold NULL there are outside of what it says. Where f never falls, f(bound) bounds f(column):

    "t" - INTERVAL 1 HOUR, date_trunc('day', "t"), time_bucket(…, "t"), CAST("t" AS DATE), greatest("t", "u")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
import pyarrow as pa
import sqlglot
from sqlglot import exp

from headrace.engine.columns import MICROS_PER_DAY
from headrace.engine.duck import Duck
from headrace.engine.kernels.time import FINITE_US, truncate
from headrace.engine.kernels.vec import TIME, Miss, Vec

Bounds = Mapping[str, int]
"""Per column that has one, its bound; the times of a DATE are its midnights."""
Follow = Callable[[Bounds], int | None]
"""Of the bounds of the columns: the bound of an expression, None where it has none."""

_DAY = MICROS_PER_DAY
_BUCKET_ORIGIN_US = 946_857_600_000_000
"""2000-01-03, a Monday, at which time_bucket starts to count."""
_TIMES = {
    exp.DType.TIMESTAMP, exp.DType.TIMESTAMPNTZ, exp.DType.TIMESTAMPTZ, exp.DType.DATETIME,
    exp.DType.TIMESTAMP_NS,
}  # fmt: skip


@lru_cache(maxsize=4096)
def follow(sql: str) -> Follow | None:
    """Return how the bound of an expression follows from those of its columns; None: it does not."""
    try:
        return _follow(sqlglot.parse_one(sql, dialect="duckdb"))
    except (sqlglot.errors.SqlglotError, Miss):
        return None


@lru_cache(maxsize=4096)
def constant_us(sql: str) -> int | None:
    """Return the length of a constant interval without months, or of so many days; None: neither."""
    duck = Duck()
    try:
        value = duck.constant(sql)[0]
    except Exception:  # noqa: BLE001 - whatever DuckDB says: it is no constant length
        return None
    finally:
        duck.close()
    if value.type == pa.month_day_nano_interval() and value.is_valid:
        months, days, nanos = value.as_py()
        return None if months or nanos % 1000 else days * _DAY + nanos // 1000
    return value.as_py() * _DAY if pa.types.is_integer(value.type) and value.is_valid else None


def shifted(part: exp.Expr) -> tuple[exp.Expr, int] | None:
    """Return an expression that is another plus a constant length of time, as that other and the length."""
    if isinstance(part, exp.Paren):
        return shifted(part.this)
    if not isinstance(part, exp.Add | exp.Sub):
        return part, 0
    one, other = part.this, part.expression
    if isinstance(part, exp.Add) and next(one.find_all(exp.Column), None) is None:
        one, other = other, one
    if next(other.find_all(exp.Column), None) is not None:
        return None
    length_us = constant_us(other.sql(dialect="duckdb"))
    below = shifted(one)
    if length_us is None or below is None:
        return None
    return below[0], below[1] + (length_us if isinstance(part, exp.Add) else -length_us)


def _follow(part: exp.Expr) -> Follow:
    match part:
        case exp.Paren():
            return _follow(part.this)
        case exp.Column():
            name = part.name
            return lambda bounds: bounds.get(name)
        case exp.Add() | exp.Sub():
            found = shifted(part)
            if found is None:
                raise Miss
            length_us = found[1]
            return _mapped(found[0], lambda bound: bound + length_us)
        case exp.TimestampTrunc() | exp.DateTrunc():
            unit = part.args["unit"].name
            _truncated(0, unit)
            return _mapped(part.this, lambda bound: _truncated(bound, unit))
        case exp.DateBin():
            width = constant_us(part.this.sql(dialect="duckdb"))
            if width is None or width <= 0 or part.args.get("unit") is not None:
                raise Miss
            return _mapped(part.expression, lambda bound: bound - (bound - _BUCKET_ORIGIN_US) % width)
        case exp.Cast() if part.to.this == exp.DType.DATE:
            return _mapped(part.this, lambda bound: bound - bound % _DAY)
        case exp.Cast() if part.to.this in _TIMES:
            return _follow(part.this)
        case exp.Greatest() | exp.Least():
            return _least([_follow(one) for one in (part.this, *part.expressions)])
        case _:
            raise Miss


def _mapped(part: exp.Expr, function: Callable[[int], int]) -> Follow:
    below = _follow(part)

    def mapped(bounds: Bounds) -> int | None:
        bound = below(bounds)
        return None if bound is None else function(bound)

    return mapped


def _least(parts: list[Follow]) -> Follow:
    def least(bounds: Bounds) -> int | None:
        found = [part(bounds) for part in parts]
        known = [bound for bound in found if bound is not None]
        return min(known) if len(known) == len(found) else None

    return least


def _truncated(bound: int, unit: str) -> int:
    """Return a bound truncated; one beyond all times, as where no row can come, stands for itself."""
    if abs(bound) > FINITE_US:
        return bound
    return int(np.asarray(truncate(unit, Vec(TIME, np.array([bound]))).data)[0])
