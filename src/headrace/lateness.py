"""Which views miss rows, because rows of a stream behind them came too late."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from headrace.engine.engine import Engine
from headrace.engine.operators.base import OperatorInfo
from headrace.relations import KEPT_PREFIX
from headrace.sql.plan import ViewPlan


class LateRows:
    """The late rows behind every view.

    Args:
        plans: the views, by lower-case name.
        late: of a base relation's lower-case name, its late rows so far; 0 for what has none.
    """

    def __init__(self, plans: Mapping[str, ViewPlan], late: Callable[[str], int]) -> None:
        self._plans = plans
        self._late = late

    def by_stream(self, view: str) -> dict[str, int]:
        """Return the late rows of each stream that a view reads, through other views too; those with some."""
        found: dict[str, int] = {}
        seen: set[str] = set()
        waiting = [view.lower()]
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            seen.add(name)
            if name in self._plans:
                waiting.extend(relation.lower() for relation in self._plans[name].relations)
            elif self._late(name):
                found[name] = self._late(name)
        return found

    def by_view(self) -> dict[str, dict[str, int]]:
        """Return `by_stream` of every view that misses rows."""
        found = {plan.name: self.by_stream(plan.name) for plan in self._plans.values()}
        return {name: streams for name, streams in found.items() if streams}

    def told(self, info: OperatorInfo) -> OperatorInfo:
        """Return an explanation in which every scan says how many rows behind it came too late."""
        late = 0 if info.relation is None else sum(self.by_stream(info.relation).values())
        return replace(info, late_rows=late, inputs=tuple(self.told(below) for below in info.inputs))


def late_rows(engine: Engine, plans: Mapping[str, ViewPlan]) -> LateRows:
    """Return the late rows behind every view, as the engine keeps them; under the gate."""

    def late(relation: str) -> int:
        kept = f"{KEPT_PREFIX}{relation}__late"
        return engine.store(kept).row_count if kept in engine else 0

    return LateRows(plans, late)
