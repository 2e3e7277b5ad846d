"""Scan: the change of a relation, with the columns that the plan needs.

Δscan(R) = π(ΔR)
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from typing_extensions import override

from headrace.change import Change
from headrace.engine.monotone import Bounds
from headrace.engine.operators.base import Operator, StepContext
from headrace.sql.plan import Scan


class ScanOperator(Operator):
    """Picks and renames columns; nothing is computed or kept."""

    name = "scan"

    def __init__(self, node: Scan, *, append_only: bool) -> None:
        super().__init__(node.schema, append_only=append_only)
        self._node = node

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the relation, in their order."""
        return self._node.columns

    @override
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        change = inputs[0]
        columns = [_fitted(change.rows.column(name), field.type)
                   for name, field in zip(self._node.columns, self.arrow, strict=True)]  # fmt: skip
        if not columns:
            return Change(empty_columns(len(change)), change.weights)
        return Change(pa.RecordBatch.from_arrays(columns, schema=self.arrow), change.weights)

    @override
    def bounds(self, inputs: Sequence[Bounds]) -> Bounds:
        """Those of the relation, whose columns are told without regard to case."""
        found = inputs[0]
        names = zip(self._node.columns, self.schema.names, strict=True)
        return {new: found[old.lower()] for old, new in names if old.lower() in found} if found else found

    @property
    def detail(self) -> str:
        """The relation and its columns."""
        return f"{self._node.relation} ({', '.join(self._node.columns)})"


def _fitted(column: pa.Array, kind: pa.DataType) -> pa.Array:
    return column if column.type == kind else column.cast(kind)


def empty_columns(count: int) -> pa.RecordBatch:
    """Return a batch of `count` rows and no columns."""
    return pa.record_batch({"_": pa.nulls(count)}).select([])
