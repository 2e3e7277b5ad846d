"""Final: only rows that nothing can change any more, by a time that no later change can be below.

    Δfinal(R) = + the rows of R with old bound ≤ time < new bound

Held are the rows that may still change; those below the bound of the column (see `engine.frontier`) are given
out once and never taken back.

bound     ΔR                          output
12:00:00  + (window_end 12:01, 5)     nothing
12:00:40  − (12:01, 5) + (12:01, 6)   nothing
12:01:01                              + (12:01, 6)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from typing_extensions import override

from headrace.change import Change
from headrace.engine.columns import I64, micros, nonzero, validity, values
from headrace.engine.monotone import Bounds
from headrace.engine.operators.base import Operator, StepContext
from headrace.engine.schedule import Schedule
from headrace.engine.zset import consolidate
from headrace.sql.plan import Final


class FinalOperator(Operator):
    """Keeps the rows that are not final yet, in order of their time.

    Attributes:
        column: the time.
        limit_us: the bound of the column as of this step; None before there is one.
    """

    name = "final"
    rule = "ordered range"

    def __init__(self, node: Final) -> None:
        super().__init__(node.schema, append_only=True)
        self.column = node.column
        self._open = Schedule(self.arrow)
        self.limit_us: int | None = None

    @override
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        for change in inputs:
            if len(change):
                times = self._times(change)
                kept = nonzero(times[1])
                self._open.put(times[0][kept], change.take(kept))
        if self.limit_us is None:
            return Change.empty(self.arrow)
        return consolidate(self._open.take_until(self.limit_us - 1))

    def _times(self, change: Change) -> tuple[I64, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
        """Return the time of each row, and which rows have one; a row without is never final."""
        column = change.rows.column(self.column)
        known = validity(column)
        times = micros(values(column).astype(np.int64), column.type)
        return times, np.ones(len(change), dtype=np.bool_) if known is None else known

    @override
    def is_due(self, context: StepContext) -> bool:
        first = self._open.next_us
        return first is not None and self.limit_us is not None and first < self.limit_us

    @override
    def bounds(self, inputs: Sequence[Bounds]) -> Bounds:
        found = inputs[0].get(self.column)
        return {} if found is None else {self.column: found}

    @override
    def can_free(self, inputs: Sequence[Bounds]) -> str | None:
        return f"frees state by {self.column}"

    @property
    @override
    def detail(self) -> str:
        return f"rows whose {self.column} has passed"

    @property
    @override
    def state_rows(self) -> int:
        return self._open.row_count

    @property
    @override
    def state_bytes(self) -> int:
        return self._open.nbytes
