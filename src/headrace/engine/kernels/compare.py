"""Comparisons: =, <>, <, <=, >, >=, IN, IS [NOT] DISTINCT FROM. NaN equals NaN and is greater than all
others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.engine.kernels.arithmetic import as_float, rescaled
from headrace.engine.kernels.logic import choose, conjunction, disjunction, is_null, negation
from headrace.engine.kernels.vec import (
    BOOL,
    DATE,
    DECIMAL,
    FLOAT,
    INT,
    TEXT,
    TIME,
    Miss,
    Vec,
    both_valid,
    from_flags,
)

_TEXT = {
    "=": pc.equal,
    "<>": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
_NUMBER: dict[str, Any] = {
    "=": np.equal,
    "<>": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}
_DAY_US = 86_400_000_000


def compare(operator: str, one: Vec, other: Vec) -> Vec:
    """Return `one operator other`, NULL where either is."""
    if one.kind == TEXT and other.kind == TEXT:
        return from_flags(_TEXT[operator](one.data, other.data))
    left, right, kind = _aligned(one, other)
    data = _floats(operator, left, right) if kind == FLOAT else _NUMBER[operator](left, right)
    return Vec(BOOL, data, both_valid(one.valid, other.valid))


def _aligned(one: Vec, other: Vec) -> tuple[Any, Any, str]:
    kinds = {one.kind, other.kind}
    if len(kinds) == 1 and one.kind in (INT, TIME, DATE, BOOL):
        return one.data, other.data, INT
    if kinds <= {INT, FLOAT, DECIMAL} and FLOAT in kinds:
        return as_float(one), as_float(other), FLOAT
    if kinds <= {INT, DECIMAL}:
        scale = max(one.scale, other.scale)
        return rescaled(one, scale), rescaled(other, scale), INT
    if kinds == {TIME, DATE}:
        return _micros(one), _micros(other), INT
    raise Miss


def _micros(vec: Vec) -> Any:
    if vec.kind == TIME:
        return vec.data
    if np.any(np.abs(vec.data) > 100_000_000):
        raise Miss
    return vec.data * _DAY_US


def _floats(operator: str, left: Any, right: Any) -> Any:
    plain = _NUMBER[operator](left, right)
    one, other = np.isnan(left), np.isnan(right)
    if not (np.any(one) or np.any(other)):
        return plain
    if operator in ("=", "<>"):
        same = np.where(one | other, one & other, left == right)
        return same if operator == "=" else ~same
    if operator in ("<", ">="):
        less = np.where(one, False, np.where(other, True, left < right))
        return less if operator == "<" else ~less
    greater = np.where(other, False, np.where(one, True, left > right))
    return greater if operator == ">" else ~greater


def is_in(part: Vec, choices: Sequence[Vec]) -> Vec:
    """Return whether a value equals one of the choices, by SQL's rules for NULL."""
    if part.kind == TEXT and all(
        isinstance(choice.data, pa.Scalar) and choice.data.is_valid for choice in choices
    ):
        wanted = pa.array([choice.data.as_py() for choice in choices], part.data.type)
        flags = pc.is_in(part.data, value_set=wanted)
        found = from_flags(flags)
        nulls = is_null(part)
        return Vec(BOOL, found.data & ~nulls.data, ~nulls.data)
    return disjunction([compare("=", part, choice) for choice in choices])


def is_distinct(one: Vec, other: Vec) -> Vec:
    """Return IS DISTINCT FROM: inequality in which NULL equals NULL; never NULL."""
    same = compare("=", one, other)
    equal = same.data if same.valid is None else same.data & same.valid
    return negation(Vec(BOOL, equal | (is_null(one).data & is_null(other).data)))


def extreme(parts: Sequence[Vec], *, largest: bool) -> Vec:
    """Return the greatest or the least of the values that are not NULL."""
    whole = parts[0]
    for part in parts[1:]:
        better = compare(">" if largest else "<", part, whole)
        taken = disjunction([Vec(BOOL, is_null(whole).data), better])
        taken = conjunction([negation(is_null(part)), taken])
        whole = choose(taken, part, whole)
    return whole
