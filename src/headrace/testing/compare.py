"""Comparison of two results as bags of rows: exact, but for floats, which agree within a relative error."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pyarrow as pa

FLOAT_DIGITS = 9
"""Significant digits in which floats must agree."""


def same_rows(left: pa.Table, right: pa.Table) -> bool:
    """Return whether both tables hold the same bag of rows; column names and order of rows do not count."""
    return difference(left, right) is None


def difference(left: pa.Table, right: pa.Table, *, limit: int = 5) -> str | None:
    """Return the first rows that only one side has, as text for a person, or None when the bags are equal."""
    ours, theirs = bag(left), bag(right)
    if ours == theirs:
        return None
    lines = [f"{left.num_rows} rows against {right.num_rows}"]
    lines += [f"only left  ×{n}: {row}" for row, n in list((ours - theirs).items())[:limit]]
    lines += [f"only right ×{n}: {row}" for row, n in list((theirs - ours).items())[:limit]]
    return "\n".join(lines)


def bag(table: pa.Table) -> Counter[tuple[Any, ...]]:
    """Return how often each row occurs, its values brought to a comparable form."""
    columns = [[plain(value) for value in column.to_pylist()] for column in table.columns]
    return Counter(zip(*columns, strict=True)) if columns else Counter()


def plain(value: Any) -> Any:
    """Return a hashable form: NaN is one value, -0.0 is 0.0, floats are rounded, the rest is exact."""
    if isinstance(value, float):
        return _plain_float(value)
    if isinstance(value, Decimal):
        return value.normalize() + 0
    if isinstance(value, dict):
        return tuple((key, plain(item)) for key, item in value.items())
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return tuple(plain(item) for item in value)
    return value


def _plain_float(value: float) -> Any:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value) or value == 0.0:
        return value + 0.0
    return float(f"{value:.{FLOAT_DIGITS}e}")
