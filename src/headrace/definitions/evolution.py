"""What becomes of the columns of a stream or table: what is safe, what breaks a reader, what is refused.

The rows that the log holds stay as they were written, and are read in the new columns (`contracts.lineage`).
So a change is possible where every row that was accepted is still a row, with every value in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from headrace.contracts.lineage import Lineage, widens

Facts = Mapping[str, Any]

LIVE_SETTINGS = (
    "lateness_ms", "idle_after_ms", "max_ahead_ms", "event_id_window_ms", "retention", "delivery", "renamed",
)  # fmt: skip
"""Settings that may change at any time: they decide about rows that come from then on."""


class _Column(NamedTuple):
    sql_type: str
    nullable: bool
    privacy: str | None


@dataclass(frozen=True, slots=True)
class Given:
    """What is known of the columns beside the declarations' facts.

    Attributes:
        lineages: where the present columns come from, by relation.
        renames: names under which the wanted declarations take a column, old to new, by relation.
        fills: defaults of the wanted declarations as JSON, by relation and column.
    """

    lineages: Mapping[str, Lineage] = field(default_factory=dict)
    renames: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    fills: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Evolution:
    """The change of one relation.

    Attributes:
        notes: what is different, for people.
        breaking: whether somebody who reads it may fail.
        refused: why it cannot be, with what to do instead; None: it can.
        moved: whether the columns differ.
    """

    def __init__(self, name: str, old: Facts, new: Facts, given: Given) -> None:
        self.notes: list[str] = []
        self.breaking = False
        self.refused: str | None = None
        lineage = given.lineages.get(name, Lineage())
        self._former, self._filled = dict(lineage.former), dict(lineage.filled)
        self._dropped = dict(lineage.dropped)
        self._was, self._becomes = _columns(old), _columns(new)
        self.moved = list(old["columns"]) != list(new["columns"])
        renamed = self._renamed(given.renames.get(name, {}))
        for column, source in renamed.items():
            self._rename(source, column)
        for column in self._becomes:
            if column not in self._was and column not in renamed:
                self._add(column, given.fills.get(name, {}).get(column))
        for column, kind in self._was.items():
            if column not in self._becomes and column not in renamed.values():
                self._drop(column, kind)
        for column in self._was:
            if column in self._becomes:
                self._keep(column, column)
        self._compare_settings(old, new, {source: column for column, source in renamed.items()})
        if not self.notes:
            self.notes.append("the columns stand in another order" if self.moved else "takes other names too")

    @property
    def lineage(self) -> Lineage:
        """Where the columns come from after it."""
        return Lineage(self._former, self._filled, self._dropped)

    def _refuse(self, reason: str) -> None:
        self.refused = self.refused or reason

    def _renamed(self, renames: Mapping[str, str]) -> dict[str, str]:
        """Return the columns that only have another name: what they are called now, by new name."""
        gone = [column for column in self._was if column not in self._becomes]
        found: dict[str, str] = {}
        for column in self._becomes:
            if column in self._was:
                continue
            said = [source for source in gone if renames.get(source) == column]
            back = [source for source in gone if column in self._former.get(source, ())]
            for source in (said or back)[:1]:
                found[column] = source
        return found

    def _rename(self, source: str, column: str) -> None:
        self.breaking = True
        self.notes.append(f"column {source} is called {column}")
        names = (source, *self._former.pop(source, ()))
        self._former[column] = tuple(name for name in names if name != column)
        if source in self._filled:
            self._filled[column] = self._filled.pop(source)
        self._keep(source, column)

    def _add(self, column: str, fill: Any) -> None:
        kind = self._becomes[column]
        before = self._dropped.get(column)
        held = next((name for name, names in self._former.items() if column in names), None)
        if held is not None:
            self._refuse(f"rows in the log hold {held} under the name {column}; take another name")
        elif before is not None and not widens(before, kind.sql_type):
            self._refuse(f"rows in the log hold a {before} under the name {column}; take another name")
        elif fill is None and not kind.nullable:
            self._refuse(f"rows in the log have no {column}; give it a default, or let it be NULL")
        elif before is not None:
            del self._dropped[column]
            self.notes.append(f"column {column} is back; rows in the log that have it show it again")
        else:
            shown = "NULL" if fill is None else repr(fill)
            self.notes.append(f"column {column} {kind.sql_type} is new; rows in the log get {shown}")
        if fill is not None:
            self._filled[column] = fill

    def _drop(self, column: str, kind: _Column) -> None:
        self.breaking = True
        self._dropped[column] = kind.sql_type
        self.notes.append(f"column {column} goes; rows with it are refused, those in the log keep it")

    def _keep(self, source: str, column: str) -> None:
        was, becomes = self._was[source], self._becomes[column]
        if was.sql_type != becomes.sql_type:
            self.notes.append(f"column {column} was {was.sql_type}, becomes {becomes.sql_type}")
            if not widens(was.sql_type, becomes.sql_type):
                self.breaking = True
                self._refuse(
                    f"not every {was.sql_type} in {column} is the same as {becomes.sql_type}; "
                    "add a column of that type beside it"
                )
        if was.nullable and not becomes.nullable:
            self._refuse(f"rows in the log may hold NULL in {column}; filter them in a view instead")
        elif becomes.nullable and not was.nullable:
            self.notes.append(f"column {column} may be NULL")
        if was.privacy != becomes.privacy:
            self.notes.append(f"column {column} is private: {becomes.privacy or 'no more'}")

    def _compare_settings(self, old: Facts, new: Facts, renames: Mapping[str, str]) -> None:
        for setting in dict.fromkeys([*new, *old]):
            was, becomes = _renamed_in(old.get(setting), renames), new.get(setting)
            if setting == "columns" or was == becomes:
                continue
            if setting != "renamed":
                self.notes.append(f"{setting} was {was}, becomes {becomes}")
            if setting not in LIVE_SETTINGS:
                self._refuse(f"{setting} has decided about rows that are in the log")


def _columns(facts: Facts) -> dict[str, _Column]:
    return {name: _Column(*rest) for name, *rest in facts["columns"]}


def _renamed_in(value: Any, renames: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_renamed_in(one, renames) for one in value]
    return renames.get(value, value) if isinstance(value, str) else value
