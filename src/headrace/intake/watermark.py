"""The watermark of one stream: the largest accepted time less the lateness, never going back.

All times here are microseconds since 1970, UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from headrace.declarations import StreamDecl
from headrace.log.codec import to_us

MICROSECOND = timedelta(microseconds=1)
LOWEST_US = to_us(datetime.min.replace(tzinfo=UTC))
HIGHEST_US = to_us(datetime.max.replace(tzinfo=UTC))


class Watermark:
    """A watermark that follows accepted times, and after `idle_after` of silence the clock.

    `base_us` is where it stood at the last append, `heard_us` the clock of that append. Silence ends with
    an append that brought accepted or late rows.
    """

    def __init__(self, decl: StreamDecl) -> None:
        self._lateness_us = (decl.lateness or timedelta()) // MICROSECOND
        self._idle_after_us = decl.idle_after // MICROSECOND
        self.base_us: int | None = None
        self.heard_us = 0
        self.floor_us = LOWEST_US

    def redeclare(self, decl: StreamDecl) -> None:
        """Take another lateness and idle time; the watermark stays where it stands and goes on from there."""
        self._lateness_us = (decl.lateness or timedelta()) // MICROSECOND
        self._idle_after_us = decl.idle_after // MICROSECOND

    def at(self, clock_us: int) -> int | None:
        """Return the watermark at that moment, or None before the first accepted row."""
        if self.base_us is None:
            return None
        idle_us = max(clock_us - self.heard_us - self._idle_after_us, 0)
        return min(max(self.base_us + idle_us, self.floor_us), HIGHEST_US)

    def hear(self, clock_us: int, largest_us: int | None) -> int | None:
        """Take in an append and return the watermark if it differs from where it stood at the one before.

        Args:
            clock_us: the append clock.
            largest_us: the largest accepted time of the append, or None where all its rows were late.
        """
        stood = self.base_us
        moved = self.at(clock_us)
        if largest_us is not None:
            reached = min(max(largest_us - self._lateness_us, LOWEST_US), HIGHEST_US)
            moved = reached if moved is None else max(moved, reached)
        self.base_us = moved
        self.heard_us = clock_us
        return moved if moved != stood else None

    def tell(self, clock_us: int) -> int | None:
        """Return the watermark if silence has moved it since it was last told; it is published then."""
        at_us = self.at(clock_us)
        if at_us is None or self.base_us is None or at_us <= max(self.base_us, self.floor_us):
            return None
        self.floor_us = at_us
        return at_us

    def restore(self, clock_us: int, recorded_us: int | None) -> None:
        """Do again what `hear` did, from what the log says of it."""
        if recorded_us is not None:
            self.base_us = recorded_us
        self.heard_us = clock_us

    def raise_floor(self, published_us: int) -> None:
        """Never stand below what a step has published."""
        self.floor_us = max(self.floor_us, published_us)

    @property
    def state(self) -> tuple[int | None, int]:
        """What `reset` needs to take an append back."""
        return self.base_us, self.heard_us

    def reset(self, state: tuple[int | None, int]) -> None:
        """Return to an earlier state."""
        self.base_us, self.heard_us = state
