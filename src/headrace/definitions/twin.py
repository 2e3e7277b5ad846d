"""Some views computed twice: a copy of them takes a change beside the running ones, and takes their place.

    under the gate   the state of the views is copied, as a checkpoint copies it; a tap begins
    beside           the copy takes the change, however long that takes, then what the running views saw since
    under the gate   the copy takes the rest, and the two are traded; what differs is what readers get

The running views go on with all other changes in between and never see this one. So at every moment there is
one set of views that has all of the change or nothing of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import numpy as np

from headrace.change import Change
from headrace.engine.engine import Engine
from headrace.engine.monotone import Bounds
from headrace.engine.zset import consolidate
from headrace.errors import ViewInError
from headrace.functions import PythonFunction
from headrace.state.frozen import outline, thaw

STEP_ROWS_MAX = 200_000
"""Rows that one step of the copy takes while it follows."""
Seen = tuple[dict[str, Change], datetime, dict[str, datetime], dict[str, Bounds]]


class Twin:
    """A copy of the views that a change moves. Made under the gate.

    Args:
        engine: the running engine.
        change: of base relations, by name; it is in no view yet.
        clock: of the version that the views show.
        watermarks: of that version.
        functions: the declared Python functions by name.

    Raises:
        StorageError: the state cannot be copied.
        ViewInError: a view has no answer at present.
    """

    def __init__(
        self, engine: Engine, change: Mapping[str, Change], clock: datetime,
        watermarks: Mapping[str, datetime], functions: Mapping[str, PythonFunction],
    ) -> None:  # fmt: skip
        self._running = engine
        self._change = {name.lower(): part for name, part in change.items()}
        self._originals = engine.reached(self._change)
        self._refuse_errors(engine, self._originals)
        self._functions = functions
        self._queue: deque[Seen] = deque([(self._change, clock, dict(watermarks), dict(engine.bounds))])
        self._mine: dict[str, list[Change]] = {}
        self._theirs: dict[str, list[Change]] = {}
        self._shown = {view.plan.name: name for name, view in self._originals.items()}
        engine.settle(self._originals)
        frozen = outline(self._originals)
        self._shape = frozen.shape
        self._columns = [_held(column) for column in frozen.columns]
        self._engine: Engine | None = None
        self._end_tap = engine.tap(self._listen)

    def _refuse_errors(self, engine: Engine, names: Collection[str]) -> None:
        for name in names:
            error = engine.view_error(name) if name in engine else None
            if error is not None:
                raise ViewInError(error, where=name)
        broken = engine.broken()
        if broken is not None and broken[0].lower() in names:
            raise ViewInError(broken[1], where=broken[0])

    def _listen(
        self, moved: Mapping[str, Change], clock: datetime, watermarks: Mapping[str, datetime]
    ) -> None:
        outside = {name: change for name, change in moved.items() if name not in self._originals}
        self._queue.append((outside, clock, dict(watermarks), dict(self._running.bounds)))
        for name in self._originals.keys() & moved.keys():
            self._theirs.setdefault(name, []).append(moved[name])

    def build(self) -> None:
        """Compute the change in the copy.

        Raises:
            StorageError: the copy cannot be read back.
            ViewInError: a view has no answer with the change.
        """
        with self._running.memory.watching():
            views = thaw(self._shape, self._columns, self._functions)
        self._shape, self._columns = b"", []
        self._engine = self._running.beside(views)
        self._step()

    @property
    def waiting_rows(self) -> int:
        """Rows that the running views have seen and the copy has not."""
        return sum(len(change) for moved, *_ in tuple(self._queue) for change in moved.values())

    def catch_up(self) -> None:
        """Take all that the running views have seen so far; under the gate that ends at their version.

        Raises:
            ViewInError: a view has no answer with the change.
        """
        while self._queue:
            self._step()

    def _next(self) -> Seen:
        """Return the changes of the next steps as one, as of the last of them."""
        parts: dict[str, list[Change]] = {}
        rows = 0
        while True:
            moved, clock, watermarks, bounds = self._queue.popleft()
            for name, change in moved.items():
                parts.setdefault(name, []).append(change)
                rows += len(change)
            if not self._queue or rows >= STEP_ROWS_MAX:
                break
        return {name: Change.concat(part) for name, part in parts.items()}, clock, watermarks, bounds

    def _step(self) -> None:
        assert self._engine is not None
        moved, clock, watermarks, bounds = self._next()
        self._engine.outside = {name: found for name, found in bounds.items() if name not in self._originals}
        output = self._engine.step(moved, clock, watermarks)
        self._refuse_errors(self._engine, self._originals)
        for shown, change in output.changes.items():
            self._mine.setdefault(self._shown[shown], []).append(change)

    @property
    def is_current(self) -> bool:
        """Whether the views that run are still those that were copied; under the gate."""
        now = self._running.reached(self._change)
        return list(now) == list(self._originals) and all(
            now[name] is view for name, view in self._originals.items()
        )

    def difference(self) -> dict[str, Change]:
        """Return by view, under its name as declared, the change from the running views to the copy; under
        the gate, when it has caught up.

        Raises:
            ViewInError: a view has no answer at present.
        """
        self._refuse_errors(self._running, self._originals)
        found = {}
        for shown, name in self._shown.items():
            parts = [*self._mine.get(name, ()), *(change.negated() for change in self._theirs.get(name, ()))]
            change = consolidate(Change.concat(parts)) if parts else None
            if change is not None and len(change):
                found[shown] = change
        return found

    def trade(self, difference: Mapping[str, Change], clock: datetime, watermarks: Mapping[str, Any]) -> None:
        """Put the copies in the place of the running views; under the gate, when it has caught up."""
        assert self._engine is not None
        self._end_tap()
        self._running.exchange(self._engine, tuple(self._originals))
        moved = {self._shown[name]: change for name, change in difference.items()}
        self._running.tell({**self._change, **moved}, clock, watermarks)

    def close(self) -> None:
        """Stop listening and free what it holds."""
        self._end_tap()
        self._queue.clear()
        if self._engine is not None:
            self._engine.close()


def _held(column: memoryview) -> Any:
    """Return a column that stays as it is: itself where nobody writes to it, else a copy."""
    return column if column.readonly else np.frombuffer(column, dtype=np.uint8).copy().data
