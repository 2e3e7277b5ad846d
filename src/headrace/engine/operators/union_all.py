"""Union all: the rows of all inputs.

Δ(A ⊎ B) = ΔA ⊎ ΔB        (linear)
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from typing_extensions import override

from headrace.change import Change
from headrace.engine.frontier import renamed, smallest
from headrace.engine.monotone import Bounds
from headrace.engine.operators.base import Operator, StepContext
from headrace.sql.plan import UnionAll


class UnionAllOperator(Operator):
    """Adds up the changes of its inputs; columns are matched by position."""

    name = "union all"

    def __init__(self, node: UnionAll, *, append_only: bool) -> None:
        super().__init__(node.schema, append_only=append_only)
        self._names = [part.schema.names for part in node.parts]

    @override
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        parts = [
            Change(pa.RecordBatch.from_arrays(change.rows.columns, schema=self.arrow), change.weights)
            for change in inputs
            if len(change)
        ]
        return Change.concat(parts)

    @override
    def bounds(self, inputs: Sequence[Bounds]) -> Bounds:
        return smallest(
            [renamed(part, names, self.schema.names) for part, names in zip(inputs, self._names, strict=True)]
        )
