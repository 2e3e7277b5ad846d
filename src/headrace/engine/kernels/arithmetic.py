"""+ − * / // % and sign over integers, decimals and doubles; what 64 bits cannot hold is computed in Python's
integers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.engine.kernels.vec import (
    DECIMAL,
    DECIMAL_MAX,
    FLOAT,
    INT,
    Miss,
    Type,
    Vec,
    both_valid,
    is_wide,
    widened,
)

_SAFE = 9.2e18
"""Products beyond this might not fit 64 bits."""
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


def limits(data: Any) -> tuple[int, int]:
    """Return the least and the greatest of some integers; 0 and 0 of none."""
    if np.ndim(data) == 0:
        return int(data), int(data)
    return (int(data.min()), int(data.max())) if len(data) else (0, 0)


def as_float(vec: Vec) -> Any:
    """Return numbers as doubles, as DuckDB casts them."""
    if vec.kind == FLOAT:
        return vec.data
    if is_wide(vec.data):
        raise Miss
    if vec.kind == INT:
        return np.asarray(vec.data).astype(np.float64)
    if vec.kind == DECIMAL:
        return _decimal_as_float(vec)
    raise Miss


def _decimal_as_float(vec: Vec) -> Any:
    if np.any(np.abs(np.asarray(vec.data).astype(np.float64)) > 9_007_199_254_740_992) and vec.scale:
        raise Miss
    return np.asarray(vec.data).astype(np.float64) / 10.0**vec.scale


def rescaled(vec: Vec, scale: int) -> Any:
    """Return the units of an integer or decimal as a decimal's, at a scale that is not smaller."""
    unit = 10 ** (scale - vec.scale)
    if unit == 1:
        data = vec.data
    else:
        data = product(vec.data, np.int64(unit)) if unit <= _HIGHEST else widened(vec.data) * unit
    if is_wide(data) and max(map(abs, limits(data))) > DECIMAL_MAX:
        raise Miss
    return data


def product(one: Any, other: Any) -> Any:
    """Return the product of integers, exact."""
    if is_wide(one) or is_wide(other):
        return widened(one) * widened(other)
    largest = max(map(abs, limits(one))) * max(map(abs, limits(other)))
    if largest > _HIGHEST and np.any(np.abs(np.multiply(one, other, dtype=np.float64)) > _SAFE):
        return widened(one) * widened(other)
    return one * other


def in_range(data: Any, output: Type) -> Any:
    """Return the numbers if all fit the type, else Miss; in 64 bits where all fit these."""
    low, high = output.bounds if output.kind == INT else (1 - 10**output.precision, 10**output.precision - 1)
    wide = is_wide(data)
    if not wide and low <= _LOWEST and high >= _HIGHEST:
        return data
    least, greatest = limits(data)
    if least < low or greatest > high:
        raise Miss
    return data.astype(np.int64) if wide and least >= _LOWEST and greatest <= _HIGHEST else data


def combine(operator: str, one: Vec, other: Vec, output: Type) -> Vec:
    """Return `one operator other` for + − *; NULL where either is."""
    valid = both_valid(one.valid, other.valid)
    if output.kind == FLOAT:
        return Vec(FLOAT, _float(operator, as_float(one), as_float(other)), valid)
    if output.kind not in (INT, DECIMAL) or {one.kind, other.kind} - {INT, DECIMAL}:
        raise Miss
    if operator == "*":
        if one.scale + other.scale != output.scale:
            raise Miss
        data = product(one.data, other.data)
    else:
        left, right = one.data, other.data
        if output.kind == DECIMAL:
            left, right = rescaled(one, output.scale), rescaled(other, output.scale)
        data = _sum(left, right) if operator == "+" else _difference(left, right)
    if valid is not None:
        data = np.where(valid, data, 0)
    return Vec(output.kind, in_range(data, output), valid, output.scale)


def _sum(left: Any, right: Any) -> Any:
    one, other = limits(left), limits(right)
    if one[0] + other[0] >= _LOWEST and one[1] + other[1] <= _HIGHEST:
        return left + right
    if is_wide(left) or is_wide(right):
        return widened(left) + widened(right)
    with np.errstate(over="ignore"):
        data = left + right
    overflows = np.any(((left ^ data) & (right ^ data)) < 0)
    return widened(left) + widened(right) if overflows else data


def _difference(left: Any, right: Any) -> Any:
    one, other = limits(left), limits(right)
    if one[0] - other[1] >= _LOWEST and one[1] - other[0] <= _HIGHEST:
        return left - right
    if is_wide(left) or is_wide(right):
        return widened(left) - widened(right)
    with np.errstate(over="ignore"):
        data = left - right
    overflows = np.any(((left ^ right) & (left ^ data)) < 0)
    return widened(left) - widened(right) if overflows else data


def _float(operator: str, left: Any, right: Any) -> Any:
    with np.errstate(all="ignore"):
        match operator:
            case "+":
                return left + right
            case "-":
                return left - right
            case "*":
                return left * right
            case _:
                return left / right


def divide(one: Vec, other: Vec, output: Type) -> Vec:
    """Return `one / other`, a double."""
    if output.kind != FLOAT:
        raise Miss
    return Vec(FLOAT, _float("/", as_float(one), as_float(other)), both_valid(one.valid, other.valid))


def whole_divide(one: Vec, other: Vec, output: Type, *, remainder: bool) -> Vec:
    """Return `one // other` or `one % other` of integers, rounding towards zero."""
    valid = both_valid(one.valid, other.valid)
    if output.kind != INT or one.kind != INT or other.kind != INT:
        raise Miss
    divisor = other.data
    if other.valid is not None:
        divisor = np.where(other.valid, divisor, 1)
    least, greatest = limits(divisor)
    if least <= 0 <= greatest and np.any(divisor == 0):
        raise Miss
    lowest = limits(one.data)[0]
    overflows = least <= -1 <= greatest and lowest == output.bounds[0]
    if overflows and np.any((divisor == -1) & (one.data == lowest)):
        raise Miss
    if is_wide(one.data) or is_wide(divisor) or (lowest == _LOWEST and least <= -1 <= greatest):
        data = _truncated(widened(one.data), widened(divisor), remainder=remainder)
    elif lowest >= 0 and least > 0:  # rounding down is rounding towards zero, and several times quicker
        data = one.data // divisor
        data = one.data - data * divisor if remainder else data
    else:
        rest = np.fmod(one.data, divisor)
        data = rest if remainder else (one.data - rest) // divisor
    if valid is not None:
        data = np.where(valid, data, 0)
    return Vec(INT, in_range(data, output), valid)


def _truncated(one: Any, divisor: Any, *, remainder: bool) -> Any:
    """Return `one // divisor` or `one % divisor` of Python's integers, rounding towards zero."""
    if remainder:
        return np.sign(one) * (np.abs(one) % np.abs(divisor))
    return np.sign(one) * np.sign(divisor) * (np.abs(one) // np.abs(divisor))


def sign(one: Vec) -> Vec:
    """Return −1, 0 or 1; 0 of NaN."""
    if one.kind not in (INT, FLOAT, DECIMAL):
        raise Miss
    data = np.sign(one.data)
    if one.kind == FLOAT:
        data = np.where(np.isnan(data), 0.0, data)
    return Vec(INT, np.asarray(data).astype(np.int64), one.valid)


def negative(one: Vec, output: Type) -> Vec:
    """Return −x."""
    if one.kind != output.kind or one.kind not in (INT, FLOAT, DECIMAL):
        raise Miss
    if one.kind != FLOAT and np.any(one.data == -(2**63)):
        raise Miss
    data = -one.data
    return Vec(one.kind, data if one.kind == FLOAT else in_range(data, output), one.valid, one.scale)


def absolute(one: Vec, output: Type) -> Vec:
    """Return |x|."""
    if one.kind != output.kind or one.kind not in (INT, FLOAT, DECIMAL):
        raise Miss
    if one.kind != FLOAT and np.any(one.data == -(2**63)):
        raise Miss
    data = np.abs(one.data)
    return Vec(one.kind, data if one.kind == FLOAT else in_range(data, output), one.valid, one.scale)
