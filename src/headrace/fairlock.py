"""A lock that serves threads in the order in which they came: the step loop cannot starve readers."""

from __future__ import annotations

import threading
from types import TracebackType


class FairLock:
    """First come, first served; not re-entrant. Use as a context manager."""

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._next = 0
        self._serving = 0
        self._abandoned: set[int] = set()

    def __enter__(self) -> FairLock:
        with self._turn:
            mine = self._next
            self._next += 1
            try:
                self._turn.wait_for(lambda: self._serving == mine)
            except BaseException:
                self._leave(mine)
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._turn:
            self._advance()

    def _leave(self, ticket: int) -> None:
        if ticket == self._serving:
            self._advance()
        else:
            self._abandoned.add(ticket)

    def _advance(self) -> None:
        self._serving += 1
        while self._serving in self._abandoned:
            self._abandoned.discard(self._serving)
            self._serving += 1
        self._turn.notify_all()
