"""Turns: threads that compute in small pieces go one after the other instead of all at once.

Python runs one thread at a time. Where two of them compute, the interpreter goes back and forth between
them at every kernel call, and each such change costs both of them time: a step and an append that run side by
side take longer than one after the other, and the views that wait for both come later. So whoever is about to
compute for some milliseconds asks for the turn. Nobody waits for long: after a while he goes without it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock


class Turns:
    """Whose turn it is: first come, first served. Waiting for a disk or a socket is done outside."""

    def __init__(self) -> None:
        self._guard = Lock()
        self._taken = False
        self._waiting: deque[Event] = deque()

    @contextmanager
    def turn(self, wait_s: float) -> Iterator[None]:
        """Run the block alone among those who ask, after waiting for at most `wait_s` seconds."""
        is_mine = self._take(wait_s)
        try:
            yield
        finally:
            if is_mine:
                self._pass_on()

    def _take(self, wait_s: float) -> bool:
        with self._guard:
            if not self._taken:
                self._taken = True
                return True
            called = Event()
            self._waiting.append(called)
        if called.wait(wait_s):
            return True
        with self._guard:
            if called.is_set():  # at the last moment
                return True
            self._waiting.remove(called)
            return False

    def _pass_on(self) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._taken = False
