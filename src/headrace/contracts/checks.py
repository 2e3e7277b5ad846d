"""Constraints of models, checked a column at a time."""

from __future__ import annotations

import datetime as dt
import operator
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, TypeAdapter, ValidationError

from headrace.contracts.faults import Fault
from headrace.contracts.shape import Check
from headrace.contracts.types import SqlType

_COMPARE: dict[str, tuple[Callable[[Any, Any], Any], Callable[[Any, Any], pa.Array], str]] = {
    "gt": (operator.gt, pc.greater, "greater than"),
    "ge": (operator.ge, pc.greater_equal, "at least"),
    "lt": (operator.lt, pc.less, "less than"),
    "le": (operator.le, pc.less_equal, "at most"),
}


def failing(array: pa.Array, kind: SqlType, check: Check) -> Iterator[tuple[int, Fault]]:
    """Yield position and fault of every value, not NULL, that breaks the constraint."""
    passed = _passed(array, kind, check)
    if passed is None or pc.all(passed, min_count=0).as_py() is not False:
        return
    wrong = pc.invert(passed).fill_null(False).to_numpy(zero_copy_only=False)
    for position in np.flatnonzero(wrong):
        value = array[int(position)].as_py()
        yield int(position), Fault(_reason(check, kind), value)


def _passed(array: pa.Array, kind: SqlType, check: Check) -> pa.Array | None:
    if check.op in _COMPARE:
        return _compare(array, kind, check)
    match check.op:
        case "min_length":
            return pc.greater_equal(_lengths(array, kind), check.bound)
        case "max_length":
            return pc.less_equal(_lengths(array, kind), check.bound)
        case "pattern":
            return _matches(array, check.bound)
        case "one_of":
            return _or_null(pc.is_in(array, pa.array(check.bound, kind.arrow)), array)
        case "finite":
            return pc.is_finite(array) if kind.kind == "float" else None
    raise AssertionError(f"no such constraint: {check.op}")


def _or_null(passed: pa.Array, array: pa.Array) -> pa.Array:
    return pc.if_else(array.is_valid(), passed, pa.scalar(None, pa.bool_()))


def _compare(array: pa.Array, kind: SqlType, check: Check) -> pa.Array:
    python, arrow, _ = _COMPARE[check.op]
    bound = _bound(check.bound)
    try:
        scalar = pa.scalar(bound, kind.arrow)
        if kind.kind in ("int", "huge", "float", "decimal", "timestamp", "date", "text") and _same(
            scalar, bound
        ):
            return arrow(array, scalar)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        pass
    return pa.array([_python_passes(python, value, bound) for value in array.to_pylist()], pa.bool_())


def _bound(bound: Any) -> Any:
    if isinstance(bound, dt.datetime) and bound.tzinfo is not None:
        return bound.astimezone(dt.UTC).replace(tzinfo=None)
    return bound


def _same(scalar: pa.Scalar, bound: Any) -> bool:
    """Whether the bound survived becoming a value of the column's type."""
    value = scalar.as_py()
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        value = value.astimezone(dt.UTC).replace(tzinfo=None)
    return type(value) is not bool and bool(value == bound)


def _python_passes(compare: Callable[[Any, Any], Any], value: Any, bound: Any) -> bool | None:
    if value is None:
        return None
    if isinstance(value, pa.MonthDayNano) and isinstance(bound, dt.timedelta):
        value = dt.timedelta(days=value.months * 30 + value.days, microseconds=value.nanoseconds // 1000)
    if isinstance(value, float) and isinstance(bound, Decimal):
        value = Decimal(value)
    if isinstance(value, Decimal) and isinstance(bound, float):
        bound = Decimal(repr(bound))
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        value = value.astimezone(dt.UTC).replace(tzinfo=None)
    try:
        return bool(compare(value, bound))
    except TypeError:
        return False


def _lengths(array: pa.Array, kind: SqlType) -> pa.Array:
    match kind.kind:
        case "text" | "uuid" | "json":
            return pc.utf8_length(array)
        case "blob":
            return pc.binary_length(array)
        case "array":
            return pa.array(np.full(len(array), kind.size))
        case _:
            counts = [None if value is None else len(value) for value in array.to_pylist()]
            return pc.list_value_length(array) if kind.kind == "list" else pa.array(counts, pa.int64())


@lru_cache(maxsize=512)
def _pattern(pattern: str) -> tuple[TypeAdapter[Any], TypeAdapter[Any]]:
    one = Annotated[str, Field(pattern=pattern)]
    return TypeAdapter(one), TypeAdapter(list[one | None])


def _matches(array: pa.Array, pattern: str) -> pa.Array:
    """Match with pydantic's own engine, so that a model and its column agree."""
    one, many = _pattern(pattern)
    values = array.to_pylist()
    try:
        many.validate_python(values, strict=True)
        return pa.array([None if value is None else True for value in values], pa.bool_())
    except ValidationError:
        return pa.array([None if value is None else _match_one(one, value) for value in values], pa.bool_())


def _match_one(adapter: TypeAdapter[Any], value: str) -> bool:
    try:
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True


def _reason(check: Check, kind: SqlType) -> str:
    match check.op:
        case "min_length" | "max_length":
            limit = "fewer" if check.op == "min_length" else "more"
            unit = {"text": "characters", "blob": "bytes"}.get(kind.kind, "items")
            return f"has {limit} than {check.bound} {unit}"
        case "pattern":
            return f"does not match {check.bound!r}"
        case "one_of":
            return f"is not one of: {', '.join(map(str, check.bound[:20]))}"
        case "finite":
            return "is not a finite number"
    return f"is not {_COMPARE[check.op][2]} {check.bound}"
