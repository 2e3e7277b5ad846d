"""Comparison of two results as bags of rows: exact, but for floats, which agree within a relative error."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

FLOAT_ERROR_MAX = 1e-9
"""Relative error within which floats agree; around zero it is meant absolutely."""

PlainRow = tuple[Any, ...]


def same_rows(left: pa.Table, right: pa.Table) -> bool:
    """Return whether both tables hold the same bag of rows; column names and order of rows do not count."""
    return difference(left, right) is None


def difference(left: pa.Table, right: pa.Table, *, limit: int = 5) -> str | None:
    """Return the first rows that only one side has, as text for a person, or None when the bags are equal."""
    return bag_difference(bag(left), bag(right), limit=limit)


def bag_difference(ours: Counter[PlainRow], theirs: Counter[PlainRow], *, limit: int = 5) -> str | None:
    """Return how two bags of rows differ, as text for a person, or None; floats agree within an error."""
    if ours == theirs:
        return None
    left, right = list((ours - theirs).elements()), list((theirs - ours).elements())
    for row in list(left):
        twin = next((other for other in right if alike(row, other)), None)
        if twin is not None:
            left.remove(row)
            right.remove(twin)
    if not left and not right:
        return None
    lines = [f"{ours.total()} rows against {theirs.total()}"]
    lines += [f"only left  ×{n}: {row}" for row, n in list(Counter(left).items())[:limit]]
    lines += [f"only right ×{n}: {row}" for row, n in list(Counter(right).items())[:limit]]
    return "\n".join(lines)


def bag(table: pa.Table) -> Counter[PlainRow]:
    """Return how often each row occurs, its values brought to a comparable form."""
    return Counter(plain_rows(table))


def plain_rows(table: pa.Table) -> Iterable[PlainRow]:
    """Return the rows as tuples of hashable values: NaN is one value, -0.0 is 0.0, the rest is as it is."""
    columns = [_column(column) for column in table.columns]
    return zip(*columns, strict=True) if columns else [()] * table.num_rows


def _column(column: pa.ChunkedArray) -> list[Any]:
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return list(column.cast(pa.int64()).to_pylist())
    if pa.types.is_timestamp(kind) or pa.types.is_date32(kind):
        try:
            return list(column.to_pylist())
        except (OverflowError, ValueError):  # infinity, or beyond the years that Python knows
            return [_moment(value) for value in column]
    if pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_boolean(kind):
        return list(column.to_pylist())
    return [plain(value) for value in column.to_pylist()]


def _moment(value: pa.Scalar) -> Any:
    """Return a time as Python has it, or as the text of its number where Python has no such time."""
    try:
        return value.as_py()
    except (OverflowError, ValueError):
        return str(value.value)


def plain(value: Any) -> Any:
    """Return a hashable form: NaN is one value, -0.0 is 0.0, intervals by their length, the rest is exact.

    Decimals stay as they are: equal ones of another scale are alike, and any arithmetic rounds to 28 digits.
    """
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else value + 0.0
    if isinstance(value, pa.MonthDayNano):
        return ("interval", (value.months * 30 + value.days) * 86_400_000_000_000 + value.nanoseconds)
    if isinstance(value, Mapping):
        return tuple((key, plain(item)) for key, item in value.items())
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return tuple(plain(item) for item in value)
    return value


def alike(left: Any, right: Any) -> bool:
    """Return whether two plain values are equal, floats within `FLOAT_ERROR_MAX`."""
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(alike(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=FLOAT_ERROR_MAX, abs_tol=FLOAT_ERROR_MAX)
    return bool(left == right)
