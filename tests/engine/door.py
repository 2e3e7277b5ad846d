"""A lock that says who asks for it, so that a test of two threads needs no clock."""

from __future__ import annotations

from queue import Queue
from threading import RLock, current_thread


class Door:
    """A lock; `asked` gets the name of each thread that asks for it."""

    def __init__(self) -> None:
        self._lock = RLock()
        self.asked: Queue[str] = Queue()

    def __enter__(self) -> None:
        self.asked.put(current_thread().name)
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def wait_for(self, *names: str) -> None:
        """Wait until one of these has asked, or has been put into `asked`."""
        while self.asked.get(timeout=60) not in names:
            pass
