"""Refreshed: a view that is computed beside the steps, and moves when a new answer is handed over.

    Δ = the answer handed over − the one before

Both the answer and the difference are computed elsewhere, from a consistent snapshot (see
`headrace.refresher`); a step only passes the difference on. So the content is that of an older version, which
`as_of` names.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from typing_extensions import override

from headrace.change import Change, as_batch
from headrace.engine.monotone import Bounds
from headrace.engine.operators.base import Operator, StepContext
from headrace.engine.zset import consolidate
from headrace.results import Version
from headrace.sql.plan import Refreshed


class RefreshedOperator(Operator):
    """Holds the last answer.

    Attributes:
        content: the rows of the last answer.
        as_of: the version of which that answer is; None before the first.
    """

    name = "refreshed"
    rule = "recomputed"

    def __init__(self, node: Refreshed) -> None:
        super().__init__(node.schema)
        self.consolidated = True
        self.reason = f"it is computed anew every {node.every_us / 1e6:g} s, beside the steps"
        self._node = node
        self.content = pa.Table.from_batches([], schema=self.arrow)
        self.as_of: Version | None = None
        self._pending: Change | None = None
        self._error: str | None = None

    def difference(self, content: pa.Table) -> Change:
        """Return what turns the last answer into another one; any thread may ask."""
        now, before = Change.inserts(as_batch(content)), Change.inserts(as_batch(self.content))
        return consolidate(Change.concat([now, before.negated()]))

    def offer(self, content: pa.Table, difference: Change, as_of: Version) -> None:
        """Hand over an answer and what it differs by from the last one; the next step passes it on."""
        self.content, self.as_of, self._error = content, as_of, None
        self._pending = difference

    def fail(self, message: str, as_of: Version) -> None:
        """Say that there is no answer, and why."""
        self._error, self.as_of = message, as_of
        self._pending = Change.empty(self.arrow) if self._pending is None else self._pending

    @override
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        change, self._pending = self._pending, None
        return Change.empty(self.arrow) if change is None else change

    @override
    def is_due(self, context: StepContext) -> bool:
        return self.is_waiting

    @property
    def is_waiting(self) -> bool:
        """Whether an answer waits for the next step."""
        return self._pending is not None

    @override
    def can_free(self, inputs: Sequence[Bounds]) -> str | None:
        return "keeps all: the last answer"

    @property
    @override
    def error(self) -> str | None:
        return self._error

    @property
    @override
    def detail(self) -> str:
        version = "" if self.as_of is None else f", now of version {self.as_of.number}"
        return f"every {self._node.every_us / 1e6:g} s{version}"

    @property
    @override
    def state_rows(self) -> int:
        return int(self.content.num_rows)

    @property
    @override
    def state_bytes(self) -> int:
        return int(self.content.nbytes)
