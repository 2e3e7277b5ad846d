"""Checkpoints of a running app: when they are taken, and how a start makes use of the newest.

A checkpoint is taken between two steps: the shapes and the columns that change are copied under the gate, one
part after the other; everything else (hashing, writing, fsync) happens beside. What the intake knows may be a
few commits ahead of the views; both say how far they are, and the log gives each the rest.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from headrace.engine.engine import Engine, History
from headrace.errors import HeadraceError, StorageError
from headrace.functions import PythonFunction
from headrace.intake import Intake
from headrace.log.codec import from_us, to_us
from headrace.log.files import Files
from headrace.points import reach
from headrace.results import Version
from headrace.state.checkpoint import Checkpoints, Facts, Written
from headrace.state.frozen import freeze

logger = logging.getLogger("headrace")

EVERY_S = 60.0
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
        functions: the declared Python functions by name.
        files: the file system; tests give one with faults.
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
        files: Files | None = None,
        frozen: Callable[[], bool] = lambda: True,
    ) -> None:
        self._checkpoints = Checkpoints(folder, files)
        self._engine = engine
        self._intake = intake
        self._gate = gate
        self._version = version
        self._declared = declared
        self._rows = rows
        self._functions = functions
        self._frozen = frozen
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread: threading.Thread | None = None
        self._rows_then = 0
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
            self._rows_then = sum(facts.rows.values())
            return facts
        return None

    # --- taking -----------------------------------------------------------------------------------
    def take(self) -> Written:
        """Take a checkpoint now.

        Raises:
            StorageError: it cannot be written; the checkpoints before it serve on.
        """
        with self._lock:
            began = time.perf_counter()
            with self._gate():
                version, rows = self._version(), self._rows()
                views = freeze(self._engine.state())
                intake_commit, intake = self._intake.frozen(freeze)
                declarations = self._declared()
            self.last_stall_s = time.perf_counter() - began
            reach("checkpoint frozen")
            facts = Facts(
                version.number, version.commit, intake_commit,
                None if version.clock is None else to_us(version.clock),
                {name: to_us(at) for name, at in version.watermarks.items()}, declarations, rows,
            )  # fmt: skip
            if not self._frozen():
                raise StorageError("the past cannot be written", hint="look at the disk")
            try:
                self.last = self._checkpoints.write(facts, dict(zip(PARTS, (views, intake), strict=True)))
            except OSError as error:
                raise StorageError(
                    f"the checkpoint cannot be written: {error.strerror or error}",
                    hint="the checkpoints before it serve on; look at the disk",
                ) from error
            self.last_took_s = time.perf_counter() - began
            self._rows_then = sum(rows.values())
            return self.last

    def start(self, every_s: float) -> None:
        """Take checkpoints in the background, as time passes and rows come."""
        self._thread = threading.Thread(
            target=self._loop, args=(every_s,), name="headrace-checkpoint", daemon=True
        )
        self._thread.start()

    def _loop(self, every_s: float) -> None:
        while not self._end.wait(every_s):
            self._try()

    def _try(self) -> None:
        if sum(self._rows().values()) - self._rows_then < ROWS_MIN:
            return
        try:
            self.take()
        except HeadraceError as error:
            logger.warning("no checkpoint was taken: %s", error.problem)
        except Exception:
            logger.exception("no checkpoint was taken; the log alone serves the next start")

    def close(self) -> None:
        """Take a last one where it is worth its while, so that the next start is quick."""
        self._end.set()
        if self._thread is not None:
            self._thread.join()
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
    return Version(facts.version, facts.commit, clock, watermarks)
