"""Checkpoints of a running app: when they are taken, and how a start makes use of the newest.

A checkpoint is taken between two steps. Under the gate only the shapes are written down and the columns that
change are held: copied where that takes a few milliseconds, otherwise a copy of the process has them; all
else (hashing, writing, fsync) happens beside. What the intake knows may be a few commits ahead of the views;
both say how far they are, and the log gives each the rest.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from headrace.declarations import Checkpointing
from headrace.engine.engine import Engine, History
from headrace.errors import HeadraceError, StorageError
from headrace.functions import PythonFunction
from headrace.intake import Intake
from headrace.log.codec import from_us, to_us
from headrace.log.files import Files
from headrace.points import reach
from headrace.results import Version
from headrace.state.checkpoint import Checkpoints, Facts, Held, Written
from headrace.state.frozen import outline

logger = logging.getLogger("headrace")

TICK_S = 1.0
"""How often it is asked whether a checkpoint is due."""
REST = 4.0
"""Pause after a checkpoint, in times of what it took."""
ROWS_MIN = 100_000
"""Rows since the last checkpoint that make another one worth its while; fewer are replayed in a moment."""
PARTS = ("views", "intake")


class Keeper:
    """Takes checkpoints of one run.

    Args:
        folder: the data folder.
        engine: touched under `gate` only.
        intake: the door.
        gate: held while the engine steps.
        version: the published version; asked under the gate.
        declared: declarations in force, as the log has them.
        rows: rows per relation in the log so far.
        waiting: how many of them are in no view yet.
        functions: the declared Python functions by name.
        log_bytes: bytes of the log so far.
        files: the file system; tests give one with faults.
        when: when they are taken in the background, and how many are kept.
        frozen: called when the state has been taken and nothing is written yet: makes durable what must not
            be behind a checkpoint; False where the disk refuses.
    """

    def __init__(
        self,
        folder: Path,
        engine: Engine,
        intake: Intake,
        *,
        gate: Callable[[], AbstractContextManager[object]],
        version: Callable[[], Version],
        declared: Callable[[], dict[str, Any]],
        rows: Callable[[], dict[str, int]],
        functions: Callable[[], Mapping[str, PythonFunction]],
        waiting: Callable[[], int] = lambda: 0,
        log_bytes: Callable[[], int] = lambda: 0,
        files: Files | None = None,
        when: Checkpointing | None = None,
        frozen: Callable[[], bool] = lambda: True,
    ) -> None:
        self._checkpoints = Checkpoints(folder, files, kept=(when or Checkpointing()).kept)
        self._when = when or Checkpointing()
        self._log_bytes = log_bytes
        self._engine = engine
        self._intake = intake
        self._gate = gate
        self._version = version
        self._declared = declared
        self._rows = rows
        self._waiting = waiting
        self._functions = functions
        self._frozen = frozen
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self._rows_then = self._bytes_then = 0
        self._then = time.monotonic()
        self.last: Written | None = None
        self.last_stall_s = 0.0
        self.last_took_s = 0.0

    # --- starting ---------------------------------------------------------------------------------
    def restore(self, declarations: dict[str, Any] | None, history: History) -> Facts | None:
        """Put the newest usable checkpoint into engine and intake; None: begin at the start of the log."""
        with self._engine.memory.watching():
            facts = self._restored(declarations, history)
        self._engine.memory.settle()
        return facts

    def _restored(self, declarations: dict[str, Any] | None, history: History) -> Facts | None:
        for facts, parts in self._checkpoints.newest(self._functions()):
            if declarations is None or facts.declarations != declarations:
                logger.warning("a checkpoint of other declarations is passed over: version %d", facts.version)
                continue
            self._engine.restore(parts["views"], history)
            self._intake.restore(parts["intake"])
            self._mark(sum(facts.rows.values()))
            return facts
        return None

    def needed_from(self) -> int | None:
        """Return the last commit of which the kept checkpoints need nothing; None: there are none."""
        with self._lock:
            return self._checkpoints.needed_from()

    # --- taking -----------------------------------------------------------------------------------
    def take(self) -> Written:
        """Take a checkpoint now.

        Raises:
            StorageError: it cannot be written; the checkpoints before it serve on.
        """
        with self._lock:
            began = time.perf_counter()
            held: Held | None = None
            try:
                self._checkpoints.prepare()
                facts, waiting, held = self._held()
                reach("checkpoint frozen")
                if not self._frozen():
                    raise StorageError("the past cannot be written", hint="look at the disk")
                self.last = self._checkpoints.write(facts, held)
            except (OSError, MemoryError) as error:
                reason = "there is no memory left" if isinstance(error, MemoryError) else error.strerror
                raise StorageError(
                    f"the checkpoint cannot be written: {reason or error}",
                    hint="the checkpoints before it serve on; look at the disk",
                ) from error
            finally:
                if held is not None:
                    held.close()
            self.last_took_s = time.perf_counter() - began
            self._mark(sum(facts.rows.values()) - waiting)
            return self.last

    def _held(self) -> tuple[Facts, int, Held]:
        """Hold everything still for as long as it takes to make sure that the state stays as it is; return
        what it is, how many rows of the log are not in it yet, and the state.
        """
        with self._gate():
            began = time.perf_counter()
            version, rows, declarations = self._version(), self._rows(), self._declared()
            waiting = self._waiting()
            views = outline(self._engine.state())
            intake_commit, held = self._intake.frozen(
                lambda memory: self._checkpoints.hold(dict(zip(PARTS, (views, outline(memory)), strict=True)))
            )
            self.last_stall_s = time.perf_counter() - began
        facts = Facts(
            version.number, version.commit, intake_commit,
            None if version.clock is None else to_us(version.clock),
            {name: to_us(at) for name, at in version.watermarks.items()}, declarations, rows, version.held,
        )  # fmt: skip
        return facts, waiting, held

    def _mark(self, rows: int) -> None:
        self._rows_then, self._bytes_then, self._then = rows, self._log_bytes(), time.monotonic()

    def start(self) -> None:
        """Take checkpoints in the background, as time passes and rows and bytes come."""
        self._thread = threading.Thread(target=self._loop, name="headrace-checkpoint", daemon=True)
        self._thread.start()

    def _loop(self) -> None:
        while not self._end.wait(min(TICK_S, self._when.every_s)):
            if self.is_due():
                self._try()

    def is_due(self) -> bool:
        """Whether a start would have so much to replay, or so much time has passed, that it is worth while;
        taking them never takes more than a share of the time.
        """
        rows = sum(self._rows().values()) - self._rows_then
        passed_s = time.monotonic() - self._then
        if passed_s < self.last_took_s * REST:
            return False
        if passed_s >= self._when.every_s and rows >= ROWS_MIN:
            return True
        return rows >= self._when.rows or self._log_bytes() - self._bytes_then >= self._when.log_bytes

    def _try(self) -> None:
        try:
            self.take()
        except HeadraceError as error:
            logger.warning("no checkpoint was taken: %s", error.problem)
            self._then = time.monotonic()
        except Exception:
            logger.exception("no checkpoint was taken; the log alone serves the next start")
            self._then = time.monotonic()

    def close(self) -> None:
        """Take a last one where it is worth its while, so that the next start is quick."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()
            if sum(self._rows().values()) - self._rows_then >= ROWS_MIN:
                self._try()

    def stats(self) -> dict[str, Any]:
        """Return what the last checkpoint cost."""
        if self.last is None:
            return {}
        return {
            "number": self.last.number, "state_bytes": self.last.state_bytes,
            "new_bytes": self.last.new_bytes, "stall_s": self.last_stall_s, "took_s": self.last_took_s,
        }  # fmt: skip


def version_in(facts: Facts) -> Version:
    """Return the version that a checkpoint was taken of."""
    clock = None if facts.clock_us is None else from_us(facts.clock_us)
    watermarks = {name: from_us(at) for name, at in facts.watermarks_us.items()}
    return Version(facts.version, facts.commit, clock, watermarks, tuple(facts.held))
