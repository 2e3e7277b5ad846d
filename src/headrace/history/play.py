"""Input played into an engine of its own, cause after cause, from the state at a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from headrace.change import Change
from headrace.contracts.schema import Schema
from headrace.definitions.shadow import Pace
from headrace.engine.engine import Engine
from headrace.engine.memory import Memory
from headrace.engine.zset import consolidate
from headrace.errors import ViewInError
from headrace.results import Version
from headrace.sql.plan import ViewPlan

PLAYED_ROWS = 50_000
"""Rows that one step takes; after each, the machine is left to others for a while."""


@dataclass(frozen=True, slots=True)
class Source:
    """A base relation.

    Attributes:
        name: lower case.
        schema: its columns.
        append_only: it never takes a row back.
        content: its rows at the moment at which the playing begins.
    """

    name: str
    schema: Schema
    append_only: bool
    content: Callable[[], Iterator[Change]]


class Played:
    """Views beside those that run, at a moment of the past; use as a context manager.

    Args:
        view: the view that is looked at.
        plans: it, and all views that it reads, inputs first.
        sources: what they read in the end.
        begin: the version at which it begins.
        clock: what stands for the clock of `begin` where that was before the first version.
        pace: how much of the machine it may take.
        memory: the bound on state, shared with the running engine.
    """

    def __init__(
        self, view: str, plans: Sequence[ViewPlan], sources: Sequence[Source], begin: Version, pace: Pace,
        memory: Memory, clock: datetime | None = None,
    ) -> None:  # fmt: skip
        self._view = view
        self._pace = pace
        self._watermarks: Mapping[str, datetime] = begin.watermarks
        self._clock = begin.clock or clock
        self._engine = Engine(memory=memory)
        contents = {source.name: source.content for source in sources}
        try:
            for source in sources:
                self._engine.add_relation(source.name, source.schema, append_only=source.append_only)
            if begin.clock is not None:
                self._engine.step({}, begin.clock, begin.watermarks)
            for plan in plans:
                self._engine.add_view(plan, lambda name: pace.paced(contents[name.lower()]()))
        except BaseException:
            self._engine.close()
            raise

    def content(self) -> Change:
        """Return the rows of the view at present, as a change.

        Raises:
            ViewInError: it has no answer.
        """
        self._check("where the playing begins")
        parts = [Change.inserts(batch) for batch in self._engine.snapshot(self._view).to_batches()]
        return Change.concat([Change.empty(self._engine.store(self._view).schema.arrow), *parts])

    def play(self, cause: str, changes: Mapping[str, Change]) -> Change:
        """Feed the changes of relations; return the change of the view.

        Raises:
            ViewInError: the view has no answer after them.
        """
        found = [Change.empty(self._engine.store(self._view).schema.arrow)]
        for part in _pieces(changes):
            assert self._clock is not None
            found += self._step(part, self._clock, self._watermarks)
            self._pace.rows += sum(len(change) for change in part.values())
            self._pace.rest()
        self._check(f"after {cause}")
        return consolidate(Change.concat(found))

    def pass_time(self, version: Version) -> Change:
        """Move clock and watermarks on to those of a version; return the change of the view."""
        assert version.clock is not None
        found = self._step({}, version.clock, version.watermarks)
        self._check("as time passes")
        return consolidate(Change.concat([Change.empty(self._engine.store(self._view).schema.arrow), *found]))

    def _step(
        self, changes: Mapping[str, Change], clock: datetime, watermarks: Mapping[str, datetime]
    ) -> list[Change]:
        moved = self._engine.step(changes, clock, watermarks).changes
        return [change for name, change in moved.items() if name.lower() == self._view.lower()]

    def _check(self, where: str) -> None:
        error = self._engine.view_error(self._view)
        if error is not None:
            raise ViewInError(
                error, where=f"{self._view}, {where}",
                hint="the difference cannot be told apart by cause: a part of the input has no answer alone",
            )  # fmt: skip

    def __enter__(self) -> Played:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.close()


def _pieces(changes: Mapping[str, Change]) -> Iterator[dict[str, Change]]:
    """Yield the changes in pieces of bounded size."""
    import numpy as np

    for name, change in changes.items():
        for first in range(0, len(change), PLAYED_ROWS):
            at = np.arange(first, min(first + PLAYED_ROWS, len(change)))
            yield {name: change if len(at) == len(change) else change.take(at)}
