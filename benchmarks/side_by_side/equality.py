"""Whether Flink's answer is Headrace's: Flink's changes added up, against the content of the view.

Where a query leaves a choice open between rows that tie (the last of several bids of the same millisecond),
only the columns that are not open are compared. Flink's AVG of integers is cut to an integer, so ours is cut
too.
"""

from __future__ import annotations

import math
from collections import Counter
from datetime import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

COMPARED: dict[str, tuple[str, ...]] = {
    "q9": ("id", "seller", "auction", "price", "bid_time"),
    "q18": ("auction", "bidder", "date_time"),
    "q19": ("auction", "price", "rank_number"),
}
"""Columns compared, where not all are."""
NOT_COMPARED = ("q12",)
"""Windows of the time of arrival are others in every run, and Flink drops those that are open at the end."""
_MISSING = "\0"


def differences(name: str, view: pa.Table, changes: list[tuple[int, list[str]]]) -> str | None:
    """Return what differs, as text, or None."""
    names = COMPARED.get(name, tuple(view.column_names))
    places = [view.column_names.index(column) for column in names]
    ours: Counter[tuple[Any, ...]] = Counter()
    for row in zip(*(view.column(column).to_pylist() for column in names), strict=True):
        ours[tuple(map(_plain, row))] += 1
    kinds = [view.schema.field(column).type for column in names]
    theirs: Counter[tuple[Any, ...]] = Counter()
    for weight, values in changes:
        theirs[tuple(_read(values[at], kind) for at, kind in zip(places, kinds, strict=True))] += weight
    theirs = Counter({row: count for row, count in theirs.items() if count})
    if ours == theirs:
        return None
    only = [list((one - other).items())[:3] for one, other in ((ours, theirs), (theirs, ours))]
    return f"{ours.total():,} rows against {theirs.total():,}; only ours {only[0]}; only Flink's {only[1]}"


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return math.trunc(value)
    return value.normalize() if isinstance(value, Decimal) else value


def _read(text: str, kind: pa.DataType) -> Any:
    """Return the value that Flink printed."""
    if text == _MISSING:
        return None
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return int(text)
    if pa.types.is_decimal(kind):
        return Decimal(text).normalize()
    if pa.types.is_timestamp(kind):
        return datetime.fromisoformat(text)
    return text
