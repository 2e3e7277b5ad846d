"""Project: one expression for each output column.

Δπ(R) = π(ΔR)        (linear)
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from typing_extensions import override

from headrace.change import Change
from headrace.engine.expr import Expressions
from headrace.engine.frontier import project_bounds
from headrace.engine.monotone import Bounds
from headrace.engine.operators.base import Operator, StepContext
from headrace.engine.operators.quarantine import Quarantine
from headrace.engine.operators.scan import empty_columns
from headrace.errors import ViewInError
from headrace.sql.plan import Expr, Project


class ProjectOperator(Operator):
    """Computes expressions row by row; keeps only rows whose expressions fail."""

    name = "project"

    def __init__(self, node: Project, *, append_only: bool) -> None:
        super().__init__(node.schema, append_only=append_only)
        self._node = node
        self._exprs = Expressions(node.exprs, node.input.schema, node.schema)
        self._quarantine = Quarantine()

    @property
    def exprs(self) -> tuple[Expr, ...]:
        """One per column."""
        return self._node.exprs

    @override
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        change = inputs[0]
        try:
            columns = self._exprs.evaluate(change.rows, context.duck)
        except ViewInError as error:
            bad = self._exprs.failing(change.rows, context.duck)
            if not bad.any():
                raise
            self._quarantine.put(change.filter(bad), error.problem)
            change = change.filter(~bad)
            columns = self._exprs.evaluate(change.rows, context.duck)
        if not columns:
            return Change(empty_columns(len(change)), change.weights)
        return Change(pa.RecordBatch.from_arrays(columns, schema=self.arrow), change.weights, change.ids)

    @override
    def bounds(self, inputs: Sequence[Bounds]) -> Bounds:
        return project_bounds(self._node, inputs[0])

    @property
    def error(self) -> str | None:
        """Set while a failing row is in the input."""
        return self._quarantine.error

    @property
    def detail(self) -> str:
        """The expressions."""
        return ", ".join(expr.sql for expr in self._node.exprs)

    @property
    def state_rows(self) -> int:
        """Failing rows."""
        return len(self._quarantine)
