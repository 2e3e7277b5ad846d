"""Rename: the same rows under other column names, for a part of a plan that another part has computed
already.

Δρ(R) = ρ(ΔR)        (linear)
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from typing_extensions import override

from headrace.change import Change
from headrace.contracts.schema import Schema
from headrace.engine.frontier import renamed
from headrace.engine.monotone import Bounds
from headrace.engine.operators.base import Operator, StepContext


class RenameOperator(Operator):
    """Gives columns other names; nothing is computed or kept."""

    name = "rename"

    def __init__(self, schema: Schema, below: Operator) -> None:
        super().__init__(schema, append_only=below.append_only)
        self.consolidated = below.consolidated
        self._names = below.schema.names

    @property
    def names_below(self) -> tuple[str, ...]:
        """The columns before they are renamed."""
        return tuple(self._names)

    @override
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        change = inputs[0]
        rows = pa.RecordBatch.from_arrays(change.rows.columns, schema=self.arrow)
        return Change(rows, change.weights, change.ids)

    @override
    def bounds(self, inputs: Sequence[Bounds]) -> Bounds:
        return renamed(inputs[0], self._names, self.schema.names)

    @property
    @override
    def detail(self) -> str:
        return "shared with another part of the query"
