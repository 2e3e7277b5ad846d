"""What a change of declarations touches, what can be reused, and what it costs: decided without running it.

A view is *changed* when its plan is another one: layout, comments and the case of keywords do not count. It
is
*recomputed* when its own plan stands but something that it reads has changed. Everything else goes on as it
is.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from headrace.contracts.lineage import Lineage, widens
from headrace.definitions.evolution import Evolution, Given
from headrace.sql.plan import ViewPlan

Action = Literal["added", "changed", "removed", "recomputed"]
Facts = Mapping[str, Any]
"""Declarations as `App.fingerprint()` gives them."""

_BYTES_PER_ROW = 200


@dataclass(frozen=True, slots=True)
class PlannedOperator:
    """One operator of a view.

    Attributes:
        name: of the operator.
        detail: its columns and expressions, for people.
        reused: whether it is taken over from the running view, with its state; otherwise it is computed.
    """

    name: str
    detail: str
    reused: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """What the running views have cost so far; it tells what others will.

    Attributes:
        rows_per_s: rows that views read in a second, each row counted once for every view that reads it;
            None: too few have been read to say.
        bytes_per_row: bytes of state per row read, by view in lower case.
        typical_bytes: the same over all views; None: too few rows.
    """

    rows_per_s: float | None = None
    bytes_per_row: Mapping[str, float] = field(default_factory=dict)
    typical_bytes: float | None = None

    def bytes_of(self, view: str, rows: int) -> int:
        """Return about how many bytes of state a view will have that reads so many rows."""
        typical = _BYTES_PER_ROW if self.typical_bytes is None else self.typical_bytes
        return round(rows * self.bytes_per_row.get(view.lower(), typical))


@dataclass(frozen=True, slots=True)
class Item:
    """One declaration that a change touches.

    Attributes:
        kind: `stream`, `table` or `view`.
        name: as declared.
        action: `added`, `changed`, `removed` or `recomputed`.
        notes: what is different, for people.
        breaking: whether somebody who reads it may fail: it goes, or columns go or change their type.
        refused: why it cannot be applied to a folder that holds rows, or None.
        rows: rows of history that must be read for it.
        fingerprint: of a view, what it computes and shows from now on: equal ones, equal answers.
        before: the fingerprint of what it replaces.
        operators: of a view that is added, changed or recomputed, inputs first.
    """

    kind: str
    name: str
    action: Action
    notes: tuple[str, ...] = ()
    breaking: bool = False
    refused: str | None = None
    rows: int = 0
    fingerprint: str | None = None
    before: str | None = None
    operators: tuple[PlannedOperator, ...] = ()

    def composition(self) -> list[str]:
        """Return fingerprints and operators for people, a line each."""
        lines = []
        if self.fingerprint is not None:
            known = self.before is not None and self.before != self.fingerprint
            lines.append(f"    fingerprint {f'{self.before} → ' if known else ''}{self.fingerprint}")
        for words, reused in (("reuses", True), ("computes", False)):
            named = Counter(one.name for one in self.operators if one.reused is reused)
            if named:
                told = ", ".join(f"{count} × {name}" if count > 1 else name for name, count in named.items())
                lines.append(f"    {words} {told}")
        return lines


@dataclass(frozen=True, slots=True)
class ChangePlan:
    """What a change would do.

    Attributes:
        items: what it touches, streams and tables first, then views, inputs before their readers.
        reused: views that go on as they are.
        rows: rows of history that must be read in all.
        seconds: about how long that takes; None: nothing has been measured yet.
        bytes: about how much memory the new views take beside the old ones.
        lineages: of streams and tables whose columns change: where the new ones come from.
        fingerprints: per wanted view, what it computes and shows.
    """

    items: tuple[Item, ...]
    reused: tuple[str, ...] = ()
    rows: int = 0
    seconds: float | None = None
    bytes: int = 0
    lineages: Mapping[str, Lineage] = field(default_factory=dict)
    fingerprints: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be done."""
        return not self.items

    @property
    def breaking(self) -> bool:
        """Whether a reader may fail after it."""
        return any(item.breaking for item in self.items)

    @property
    def refused(self) -> tuple[Item, ...]:
        """What cannot be applied."""
        return tuple(item for item in self.items if item.refused is not None)

    def of(self, *actions: Action, kind: str = "view") -> tuple[str, ...]:
        """Return the names of one kind with one of the actions."""
        return tuple(item.name for item in self.items if item.kind == kind and item.action in actions)

    def taking_over(self, taken: Mapping[str, tuple[str, int]]) -> ChangePlan:
        """Return the plan in which views take over operators of the running ones, with their state.

        Args:
            taken: per view the operator, for people, and the rows that need not be read for it.
        """
        items = tuple(
            item
            if item.kind != "view" or item.name not in taken
            else replace(
                item,
                notes=(*item.notes, f"keeps the state of {taken[item.name][0]}"),
                rows=max(0, item.rows - taken[item.name][1]),
            )
            for item in self.items
        )
        read = sum(item.rows for item in items)
        share = read / self.rows if self.rows else 0.0
        seconds = None if self.seconds is None else self.seconds * share
        return replace(self, items=items, rows=read, seconds=seconds)

    def composed(self, operators: Mapping[str, tuple[PlannedOperator, ...]]) -> ChangePlan:
        """Return the plan with the operators of views, by name as declared."""
        items = tuple(
            replace(item, operators=operators.get(item.name, ())) if item.kind == "view" else item
            for item in self.items
        )
        return replace(self, items=items)

    def moved(self) -> frozenset[str]:
        """Return everything that is not what it was, in lower case."""
        return frozenset(item.name.lower() for item in self.items)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        told = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "lineages"}
        items = [asdict(item) for item in self.items]
        return told | {
            "items": items,
            "reused": list(self.reused),
            "breaking": self.breaking,
            "empty": self.is_empty,
        }

    def text(self) -> str:
        """Return the plan for people, a line per declaration and note."""
        if self.is_empty:
            return "nothing to change"
        lines: list[str] = []
        for item in self.items:
            read = f", reads {item.rows:,} rows" if item.rows else ""
            flag = " (breaking)" if item.breaking else ""
            lines.append(f"{_SIGNS[item.action]} {item.kind} {item.name}: {item.action}{flag}{read}")
            lines += [f"    {note}" for note in item.notes]
            lines += item.composition()
            if item.refused is not None:
                lines.append(f"    cannot be applied: {item.refused}")
        if self.rows:
            lines.append(self._cost())
        if self.reused:
            lines.append("go on: " + ", ".join(f"{name} {self.fingerprints[name]}" for name in self.reused))
        return "\n".join(lines)

    def _cost(self) -> str:
        took = "" if self.seconds is None else f", about {self.seconds:,.1f} s"
        reused = f"; {len(self.reused)} views go on as they are" if self.reused else ""
        return f"{self.rows:,} rows to read{took}, about {self.bytes / 1e6:,.1f} MB beside the old{reused}"


_SIGNS = {"added": "+", "changed": "~", "removed": "-", "recomputed": "↻"}


def plan_fingerprint(plan: ViewPlan) -> str:
    """Return a digest of what a view computes and shows: equal digests, equal operators."""
    shown = [(column.name, column.sql_type) for column in plan.schema]
    return hashlib.sha256(repr((plan.root, shown, plan.order)).encode()).hexdigest()


def shown_fingerprint(plan: ViewPlan) -> str:
    """Return as much of the fingerprint as people compare."""
    return plan_fingerprint(plan)[:12]


def compare(
    old: Facts,
    new: Facts,
    old_plans: Mapping[str, ViewPlan],
    new_plans: Mapping[str, ViewPlan],
    rows: Mapping[str, int],
    *,
    measured: Measured | None = None,
    given: Given | None = None,
) -> ChangePlan:
    """Return what leads from one set of declarations to another.

    Args:
        old: the declarations in force.
        new: the wanted ones.
        old_plans: plans of the views in force, by lower-case name.
        new_plans: plans of the wanted views, by lower-case name, inputs first.
        rows: rows of history per relation, and rows of the running views, by lower-case name.
        measured: what the running views have cost.
        given: what is known of columns beside that.
    """
    found: dict[str, Evolution] = {}
    items = [
        *_relations("stream", old, new, given or Given(), found),
        *_relations("table", old, new, given or Given(), found),
    ]
    moved: set[str] = set()
    views: list[Item] = []
    for key, plan in new_plans.items():
        item = _view(plan, old_plans.get(key), moved, rows)
        if item is not None:
            moved.add(key)
            views.append(item)
    for key, plan in old_plans.items():
        if key not in new_plans:
            views.append(Item("view", plan.name, "removed", ("nobody can read it any more",), breaking=True))
    reused = tuple(plan.name for key, plan in new_plans.items() if key not in moved)
    read = sum(item.rows for item in views)
    known = measured or Measured()
    seconds = None if not known.rows_per_s else read / known.rows_per_s
    held = sum(known.bytes_of(item.name, item.rows) for item in views)
    lineages = {name: one.lineage for name, one in found.items() if one.moved}
    prints = {plan.name: shown_fingerprint(plan) for plan in new_plans.values()}
    return ChangePlan((*items, *views), reused, read, seconds, held, lineages, prints)


def _view(plan: ViewPlan, before: ViewPlan | None, moved: set[str], rows: Mapping[str, int]) -> Item | None:
    read = sum(rows.get(name.lower(), 0) for name in plan.relations)
    if before is None:
        return Item("view", plan.name, "added", rows=read, fingerprint=shown_fingerprint(plan))
    new, old = shown_fingerprint(plan), shown_fingerprint(before)
    if plan_fingerprint(plan) != plan_fingerprint(before):
        notes, breaking = _columns(_shown(before), _shown(plan))
        return Item("view", plan.name, "changed", notes, breaking, rows=read, fingerprint=new, before=old)
    through = [name for name in plan.relations if name.lower() in moved]
    if through:
        notes = (f"reads {', '.join(through)}",)
        return Item("view", plan.name, "recomputed", notes, rows=read, fingerprint=new, before=old)
    return None


def _shown(plan: ViewPlan) -> dict[str, str]:
    return {column.name: column.sql_type for column in plan.schema}


def _columns(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[tuple[str, ...], bool]:
    """Return what differs between two lists of columns, and whether a reader of the old one may fail."""
    notes = [f"column {name} {sql_type} is new" for name, sql_type in new.items() if name not in old]
    gone = [f"column {name} goes" for name in old if name not in new]
    other = [
        f"column {name} was {old[name]}, becomes {sql_type}"
        for name, sql_type in new.items()
        if name in old and old[name] != sql_type
    ]
    is_wider = all(widens(old[name], kind) for name, kind in new.items() if name in old)
    return (*notes, *gone, *other), bool(gone) or not is_wider


def _relations(kind: str, old: Facts, new: Facts, given: Given, found: dict[str, Evolution]) -> list[Item]:
    before: Mapping[str, Facts] = old.get(f"{kind}s", {})
    after: Mapping[str, Facts] = new.get(f"{kind}s", {})
    items = [Item(kind, name, "added") for name in after if name not in before]
    for name, facts in before.items():
        if name not in after:
            notes = ("takes no more rows; those in the log stay there",)
            items.append(Item(kind, name, "removed", notes, breaking=True))
        elif after[name] != facts:
            one = found[name] = Evolution(name, facts, after[name], given)
            items.append(Item(kind, name, "changed", tuple(one.notes), one.breaking, one.refused))
    return items
