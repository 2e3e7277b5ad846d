"""Compares views with what somebody else counted, row by row: decimals exactly, doubles within 1e-9."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

Row = dict[str, Any]
TALLY = "the tally"

CLOSE = 1e-9
"""Largest relative (and, near zero, absolute) difference of two doubles that count as equal."""


@dataclass(frozen=True)
class Compared:
    """The outcome for one view: `problem` is None when both sides hold the same rows."""

    view: str
    rows: int
    problem: str | None = None


def compare_rows(view: str, found: Sequence[Row], expected: Sequence[Row], theirs: str = TALLY) -> Compared:
    """Compare two bags of rows, whatever their order; `theirs` names the expected ones in words."""
    if len(found) != len(expected):
        return Compared(view, len(found), f"{len(found)} rows, {theirs} has {len(expected)}")
    if not expected:
        return Compared(view, 0)
    columns = sorted(expected[0])
    if sorted(found[0]) != columns:
        return Compared(view, len(found), f"columns {sorted(found[0])}, {theirs} has {columns}")
    key = _sort_key(columns, expected)
    pairs = zip(sorted(found, key=key), sorted(expected, key=key), strict=True)
    for mine, other in pairs:
        for column in columns:
            if not same(mine[column], other[column]):
                where = f"{column} = {mine[column]!r}, {theirs} has {other[column]!r}"
                return Compared(view, len(found), f"{where} in {_short(other)}")
    return Compared(view, len(found))


def same(ours: object, theirs: object) -> bool:
    """Return whether two values are equal; doubles may differ by `CLOSE`."""
    if isinstance(ours, float) and isinstance(theirs, int | float):
        return math.isclose(ours, theirs, rel_tol=CLOSE, abs_tol=CLOSE)
    return ours == theirs


def compare_views(
    read: Callable[[str], Sequence[Row]], expected: Mapping[str, Sequence[Row]]
) -> list[Compared]:
    """Compare all views of a tally with what `read` answers for their names."""
    return [compare_rows(view, read(view), rows) for view, rows in expected.items()]


def comparison_table(outcomes: Sequence[Compared]) -> Table:
    """Draw the outcomes."""
    table = Table("view", "rows", "", box=None)
    for outcome in outcomes:
        verdict = (
            Text("equal", style="green") if outcome.problem is None else Text(outcome.problem, style="red")
        )
        table.add_row(outcome.view, f"{outcome.rows:,}", verdict)
    return table


def _sort_key(columns: Sequence[str], rows: Sequence[Row]) -> Callable[[Row], tuple[Any, ...]]:
    exact = [column for column in columns if not any(isinstance(row[column], float) for row in rows)]

    def key(row: Row) -> tuple[Any, ...]:
        return tuple((row[column] is None, row[column]) for column in exact)

    return key


def _short(row: Row, length_max: int = 160) -> str:
    text = ", ".join(f"{name}={value}" for name, value in row.items())
    return text if len(text) <= length_max else text[: length_max - 1] + "…"
