"""Recompute: DuckDB's answer over the whole of the inputs, for what has no rule yet.

    Δf(R) = f(R + ΔR) − f(R)

Correct, and it costs the size of the inputs at every step; EXPLAIN names the reason.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from typing_extensions import override

from headrace.change import Change
from headrace.engine.duck import quote, typed_source
from headrace.engine.operators.base import Operator, StepContext
from headrace.engine.store import ViewStore
from headrace.engine.zset import consolidate
from headrace.errors import ViewInError
from headrace.sql.plan import Recompute


class RecomputeOperator(Operator):
    """Keeps its inputs and its last answer."""

    name = "recompute"
    rule = "recomputed"

    def __init__(self, node: Recompute) -> None:
        super().__init__(node.schema)
        self.consolidated = True
        self._node = node
        self.reason = node.reason
        self._stores = [ViewStore(part.schema) for part in node.parts]
        self._last = Change.empty(self.arrow)
        self._error: str | None = None
        self._sql = self._statement()

    def _statement(self) -> str:
        """Return the SQL with the aliases bound to the registered inputs."""
        tables = [
            f"{quote(alias)} AS (SELECT * FROM {typed_source(f'_part{at}', part.schema)})"
            for at, (alias, part) in enumerate(zip(self._node.aliases, self._node.parts, strict=True))
        ]
        items = ", ".join(quote(column.name) for column in self.schema)
        named = ", ".join(quote(column.name) for column in self.schema)
        head = f"WITH {', '.join(tables)}, " if tables else "WITH "
        return f"{head}_answer({named}) AS ({self._node.sql}) SELECT {items} FROM _answer"

    def start(self, context: StepContext) -> Change:
        """Return the answer over empty inputs."""
        return self._difference(context)

    @override
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        for store, change in zip(self._stores, inputs, strict=True):
            store.apply(consolidate(change))
        rows, most = sum(store.row_count for store in self._stores), context.recompute_rows_max
        if most is not None and rows > most:
            self._error = (
                f"{self.reason} has no incremental rule, and reads {rows:,} rows, more than {most:,}: "
                "declare refresh='10s' for the view"
            )
            return Change.empty(self.arrow)
        return self._difference(context)

    def _difference(self, context: StepContext) -> Change:
        tables = {f"_part{at}": store.snapshot() for at, store in enumerate(self._stores)}
        try:
            answer = context.duck.query(self._sql, tables, self.schema)
        except ViewInError as error:
            self._error = error.problem
            return Change.empty(self.arrow)
        self._error = None
        now = Change(answer, np.ones(answer.num_rows, dtype=np.int64))
        moved = consolidate(Change.concat([now, self._last.negated()]))
        self._last = now
        return moved

    @property
    def error(self) -> str | None:
        """DuckDB's message while it answers with one; the last answer stands meanwhile."""
        return self._error

    @property
    def detail(self) -> str:
        """The SQL."""
        return self._node.sql

    @property
    def state_rows(self) -> int:
        """Rows of the inputs and of the answer."""
        return sum(store.row_count for store in self._stores) + len(self._last)

    @property
    def state_bytes(self) -> int:
        """Bytes of the inputs and of the answer."""
        return sum(store.nbytes for store in self._stores) + int(self._last.rows.nbytes)
