"""When to look through all state for what can go: so seldom that it costs little, so often that it stays
flat.

A look costs what is held. It comes when a half more is held than after the last one, so that a step pays for
it in proportion to what came in, and what is held never exceeds about one and a half times what is needed.
"""

from __future__ import annotations

from collections.abc import Iterable

from headrace.engine.monotone import Bounds

SWEEP_ROWS_MIN = 4_096
"""Fewer rows are never looked through."""


class Sweep:
    """The time of the next look."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due = 0

    def is_due(self, held: int) -> bool:
        """Whether to look, now that so many rows are held."""
        return held >= max(self._due, SWEEP_ROWS_MIN)

    def done(self, held: int) -> None:
        """Say that a look has left so many rows."""
        self._due = held + held // 2


def described(bounds: Bounds, columns: Iterable[str], missing: str) -> str:
    """Return what EXPLAIN says of state that columns with a bound may free."""
    found = [name for name in columns if name in bounds]
    return f"frees state by {', '.join(found)}" if found else f"keeps all: {missing}"
