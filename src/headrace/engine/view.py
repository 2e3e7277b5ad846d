"""A running view: circuit, content, and what is held back while it is in error."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from headrace.change import Change
from headrace.engine.circuit import Circuit
from headrace.engine.monotone import Bounds
from headrace.engine.store import ViewStore
from headrace.engine.zset import consolidate
from headrace.sql.plan import ViewPlan


class View:
    """One view: circuit, content, and what is held back while it is in error."""

    def __init__(self, plan: ViewPlan, circuit: Circuit) -> None:
        self.plan = plan
        self.circuit = circuit
        self.store = ViewStore(plan.schema, plan.unique_key)
        self.pending: list[Change] = []
        self.broken: str | None = None
        self.again: datetime | None = None
        self.tries = 0
        self.error: str | None = None
        self.shown_error: str | None = None
        self.bounds: Bounds = {}

    def publish(self, change: Change, error: str | None) -> Change:
        """Take the view's change and show it; return what readers see of it."""
        seen = self.take(change, error)
        self.shown_error = error
        self.store.apply(seen)
        return seen

    def take(self, change: Change, error: str | None) -> Change:
        """Take the view's change; return what readers may see: nothing while it is in error."""
        self.error = error
        if error is not None:
            if len(change):
                self.pending = [consolidate(Change.concat([*self.pending, change]))]
            return Change.empty(change.schema)
        seen = consolidate(Change.concat([*self.pending, change])) if self.pending else change
        self.pending = []
        return seen


@dataclass(slots=True)
class Advanced:
    """What a step did to one view.

    Attributes:
        change: its change, or None where nothing reached it.
        seen: what readers will see of it, or None where nothing was published.
    """

    change: Change | None = None
    seen: Change | None = None
