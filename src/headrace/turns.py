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
    """Whose turn it is: first come, first served. Waiting for a disk or a socket is done outside, but for
    what others wait for more than for their turn: the record of a version, and its way to its readers.
    """

    def __init__(self) -> None:
        self._guard = Lock()
        self._taken = False
        self._line: deque[Event] = deque()

    @contextmanager
    def turn(self, wait_s: float, place: Event | None = None) -> Iterator[None]:
        """Run the block alone among those who ask, after waiting for at most `wait_s` seconds.

        Args:
            wait_s: after so long the block runs all the same.
            place: what `place_ahead` returned; None: behind all who wait.
        """
        is_mine = self._take(wait_s, self._place() if place is None else place)
        try:
            yield
        finally:
            if is_mine:
                self._pass_on()

    @property
    def is_taken(self) -> bool:
        """Whether somebody has the turn now."""
        return self._taken

    @property
    def waiting(self) -> int:
        """How many wait for it."""
        return len(self._line)

    def place_ahead(self) -> Event:
        """Take a place before all who wait, for another thread: it must go to `turn` with it or `leave`."""
        return self._place(is_ahead=True)

    def leave(self, place: Event) -> None:
        """Give a place back that is not needed."""
        with self._guard:
            if not place.is_set():
                self._line.remove(place)
                return
        self._pass_on()

    def _place(self, *, is_ahead: bool = False) -> Event:
        called = Event()
        with self._guard:
            if not self._taken:
                self._taken = True
                called.set()
            elif is_ahead:
                self._line.appendleft(called)
            else:
                self._line.append(called)
        return called

    def _take(self, wait_s: float, called: Event) -> bool:
        if called.wait(wait_s):
            return True
        with self._guard:
            if called.is_set():  # at the last moment
                return True
            self._line.remove(called)
            return False

    def _pass_on(self) -> None:
        with self._guard:
            if self._line:
                self._line.popleft().set()
            else:
                self._taken = False
