"""A clock that stands still until it is told to move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class ManualClock:
    """A clock for tests: call it for the time, `advance` or `set` it to move.

    Args:
        start: the first time it shows; a naive value is taken as UTC.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start if start.tzinfo else start.replace(tzinfo=UTC)

    def __call__(self) -> datetime:
        """Return the time that the clock shows, UTC."""
        return self._now

    def advance(self, by: timedelta) -> datetime:
        """Move on (or back, with a negative span) and return the new time."""
        self._now += by
        return self._now

    def set(self, now: datetime) -> None:
        """Show that time from now on; a naive value is taken as UTC."""
        self._now = now if now.tzinfo else now.replace(tzinfo=UTC)
