"""Constant: rows that depend on nothing, there from the start.

Δ = the rows at the start, nothing ever after
"""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from headrace.change import Change
from headrace.engine.duck import quote
from headrace.engine.operators.base import Operator, StepContext
from headrace.errors import ViewInError
from headrace.sql.plan import Constant


class ConstantOperator(Operator):
    """Asks DuckDB once; keeps nothing."""

    name = "constant"

    def __init__(self, node: Constant) -> None:
        super().__init__(node.schema, append_only=True)
        self._node = node
        self._error: str | None = None

    @override
    def start(self, context: StepContext) -> Change:
        names = ", ".join(quote(column.name) for column in self.schema)
        try:
            rows = context.duck.query(f"FROM ({self._node.sql}) AS _rows({names})", {}, self.schema)
        except ViewInError as error:
            self._error = error.problem
            return Change.empty(self.arrow)
        return Change.inserts(rows)

    @override
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        return Change.empty(self.arrow)

    @property
    @override
    def error(self) -> str | None:
        return self._error

    @property
    @override
    def detail(self) -> str:
        return self._node.sql
