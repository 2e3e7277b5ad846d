"""Turns: threads that compute in small pieces go one after the other instead of all at once.

Python runs one thread at a time. Where two of them compute, the interpreter goes back and forth between
them at every kernel call, and each such change costs both of them time: a step and an append that run side by
side take longer than one after the other, and the views that wait for both come later. So whoever is about to
compute for some milliseconds asks for the turn. Nobody waits for long: after a while he goes without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


class Turns:
    """Whose turn it is. Waiting for a disk or a socket is done outside of a turn."""

    def __init__(self) -> None:
        self._lock = Lock()

    @contextmanager
    def turn(self, wait_s: float) -> Iterator[None]:
        """Run the block alone among those who ask, after waiting for at most `wait_s` seconds."""
        is_mine = self._lock.acquire(timeout=wait_s)
        try:
            yield
        finally:
            if is_mine:
                self._lock.release()
