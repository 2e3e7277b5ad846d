"""The thread that seals segments in the background, so that the log's writer never waits for it."""

from __future__ import annotations

import logging
import time
from threading import Event, Thread

from headrace.errors import HeadraceError, LogDamaged
from headrace.log.sealing import SealingStoppedError
from headrace.log.store import Store

RETRY_S = 60.0
SLICE_S = 0.005
"""Seconds of work in Python between two rests."""
REST_TIMES = 4.0
"""It rests so many times as long as it worked, since nobody waits for it; only as long once another segment
has ended meanwhile."""
logger = logging.getLogger("headrace")


class Sealer:
    """Seals what is due of one store, whenever it is woken."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._due = Event()
        self._end = Event()
        self._thread: Thread | None = None
        self._rested_s = 0.0
        self._rolls = 0

    def start(self) -> None:
        """Begin to seal in the background."""
        self._due.set()
        self._thread = Thread(target=self._run, name="headrace-log-sealer", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look whether something is due."""
        self._due.set()

    def close(self) -> None:
        """Give up what is being sealed, and end."""
        self._end.set()
        self._due.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._due.wait()
            self._due.clear()
            if self._end.is_set() or not self._seal():
                return

    def _rest(self) -> bool:
        """Leave processor and interpreter to the doors; whether the log is being closed."""
        worked_s = time.thread_time() - self._rested_s
        if worked_s > SLICE_S:
            is_behind = self._store.rolls > self._rolls
            self._end.wait(worked_s if is_behind else worked_s * REST_TIMES)
            self._rested_s = time.thread_time()
        return self._end.is_set()

    def _seal(self) -> bool:
        """Seal all that is due; False: there is no use in going on."""
        try:
            is_due = True
            while is_due:
                self._rolls = self._store.rolls
                is_due = self._store.seal_next(self._rest)
        except SealingStoppedError:
            return False
        except LogDamaged as error:
            logger.error("the log is damaged, and is not sealed any further: %s", error)
            return False
        except (OSError, HeadraceError, MemoryError) as error:
            reason = "there is no memory left" if isinstance(error, MemoryError) else error
            logger.warning("the log's segments stay as they are for now: %s", reason)
            return not self._end.wait(RETRY_S)
        except Exception:
            logger.exception("the log's segments stay as they are: sealing met a defect")
            return False
        return True
