"""From rows to columns: dicts are taken apart by field name, Arrow structs by member name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel

from headrace.contracts.faults import Fault, Faults
from headrace.contracts.leaves import Values
from headrace.contracts.shape import Member

Row = dict[Any, Any] | None
"""A row taken apart already; None: no row, or one that is known to be wrong."""
_MISSING: Any = object()


@dataclass
class Gathered:
    """Columns that were taken out of rows.

    Attributes:
        columns: one per member.
        present: mask of the positions that are rows; None: all.
        missing: per member, positions that had no such field and no default.
        faults: rows with unknown or repeated fields.
    """

    columns: list[Values]
    present: npt.NDArray[np.bool_] | None = None
    missing: list[set[int]] = field(default_factory=list)
    faults: Faults = field(default_factory=dict)


class Names:
    """Which member a field name means: exactly, by alias, or without regard to case."""

    def __init__(self, members: Sequence[Member], ignored: Iterable[str] = ()) -> None:
        self.members = members
        self.exact = {alias: index for index, member in enumerate(members) for alias in member.aliases}
        self.exact |= {member.name: index for index, member in enumerate(members)}
        self.folded = {name.lower(): index for name, index in self.exact.items()}
        self.ignored = frozenset(name.lower() for name in ignored)

    def find(self, name: Any) -> int | None:
        """Return the member's index, or None where no member has the name."""
        found = self.exact.get(name)
        if found is None and isinstance(name, str):
            return self.folded.get(name.lower())
        return found

    def is_ignored(self, name: Any) -> bool:
        """Whether the name is known but not wanted here."""
        return isinstance(name, str) and name.lower() in self.ignored

    def unknown(self, name: Any, value: Any) -> Fault:
        """Return the fault of a field that no member has."""
        text = str(name)[:100].encode("utf-8", "backslashreplace").decode()
        close = get_close_matches(text.lower(), list(self.folded), n=1, cutoff=0.6)
        hint = f"; did you mean {self.members[self.folded[close[0]]].name!r}?" if close else ""
        return Fault(f"is not a known field{hint}", value, f".{text}")


def as_row(value: Any) -> Row:
    """Return a dict or model as a dict, None for anything else."""
    if isinstance(value, dict):
        return value
    if isinstance(value, BaseModel):
        return {**value.__dict__, **(value.__pydantic_extra__ or {})}
    return dict(value) if isinstance(value, Mapping) else None


def gather_rows(rows: Sequence[Row], names: Names, *, extra_ignored: bool) -> Gathered:
    """Take dicts apart into one list per member; defaults stand where a field is missing."""
    columns = _gather_uniform(rows, names.members)
    if columns is not None:
        return Gathered(columns, missing=[set() for _ in names.members])
    return _gather_mixed(rows, names, extra_ignored)


def _gather_uniform(rows: Sequence[Row], members: Sequence[Member]) -> list[Values] | None:
    """The quick way for rows that all have exactly the declared fields."""
    if not rows or set(map(type, rows)) != {dict} or set(map(len, rows)) != {len(members)}:  # type: ignore[arg-type]
        return None
    try:
        if len(members) == 1:
            return [[row[members[0].name] for row in rows]]  # type: ignore[index]
        take: Any = itemgetter(*(member.name for member in members))
        return [list(column) for column in zip(*map(take, rows), strict=True)]
    except KeyError:
        return None


def _gather_mixed(rows: Sequence[Row], names: Names, extra_ignored: bool) -> Gathered:
    count = len(rows)
    columns: list[list[Any]] = [[_MISSING] * count for _ in names.members]
    faults: Faults = {}
    present = np.ones(count, dtype=np.bool_)
    exact = names.exact
    for position, row in enumerate(rows):
        if row is None:
            present[position] = False
            continue
        for name, value in row.items():
            index = exact.get(name) if isinstance(name, str) else None
            if index is None:
                index = names.find(name)
            if index is None:
                if not extra_ignored and not names.is_ignored(name):
                    faults.setdefault(position, names.unknown(name, value))
            elif columns[index][position] is _MISSING:
                columns[index][position] = value
            else:
                faults.setdefault(position, Fault("is given twice", value, f".{names.members[index].name}"))
    missing = [_fill(column, member, present) for column, member in zip(columns, names.members, strict=True)]
    return Gathered(list(columns), present, missing, faults)


def _fill(column: list[Any], member: Member, present: npt.NDArray[np.bool_]) -> set[int]:
    """Put defaults and NULLs where a field is missing; return the positions that stay without a value."""
    without = [position for position, value in enumerate(column) if value is _MISSING]
    for position in without:
        given = member.default is not None and present[position]
        column[position] = member.default() if given and member.default else None
    return set() if member.default is not None or member.shape.nullable else set(without)


def gather_arrow(
    arrays: Sequence[tuple[str, pa.Array]],
    count: int,
    names: Names,
    present: npt.NDArray[np.bool_] | None = None,
    *,
    extra_ignored: bool,
) -> Gathered:
    """Match Arrow columns with members by name; an unknown column is a fault of every row that is present."""
    columns: list[Values | None] = [None] * len(names.members)
    rows = range(count) if present is None else [int(position) for position in np.flatnonzero(present)]
    faults: Faults = {}
    for name, array in arrays:
        index = names.find(name)
        if index is not None and columns[index] is None:
            columns[index] = array
        elif index is not None:
            twice = Fault("is given twice", None, f".{names.members[index].name}")
            faults |= {position: twice for position in rows if position not in faults}
        elif not extra_ignored and not names.is_ignored(name):
            faults |= {
                position: names.unknown(name, array[position].as_py())
                for position in rows
                if position not in faults
            }
    return _complete(columns, count, names.members, present, faults)


def _complete(
    columns: list[Values | None],
    count: int,
    members: Sequence[Member],
    present: npt.NDArray[np.bool_] | None,
    faults: Faults,
) -> Gathered:
    missing: list[set[int]] = []
    for index, member in enumerate(members):
        without: set[int] = set()
        if columns[index] is None:
            column = [_MISSING] * count
            without = _fill(column, member, np.ones(count, np.bool_) if present is None else present)
            columns[index] = column
        missing.append(without)
    return Gathered([column for column in columns if column is not None], present, missing, faults)
