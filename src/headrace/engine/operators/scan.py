"""Scan: the change of a relation, with the columns that the plan needs.

Δscan(R) = π(ΔR)

A small change in which a row goes and comes back with other values only in columns that nobody here reads is
no change, and what is above has nothing to do:

    Δcustomers = −(7, 'FR', 'old name')  +(7, 'FR', 'new name')      Δscan(customer_id, country) = nothing
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from typing_extensions import override

from headrace.change import Change
from headrace.engine.monotone import Bounds
from headrace.engine.operators.base import Operator, StepContext
from headrace.engine.zset import consolidate
from headrace.sql.plan import Scan

_SMALL = 64
"""Changes of more rows are not looked through: whoever keeps rows adds them up anyway."""


class ScanOperator(Operator):
    """Picks and renames columns; nothing is computed or kept."""

    name = "scan"

    def __init__(self, node: Scan, *, append_only: bool) -> None:
        super().__init__(node.schema, append_only=append_only)
        self._node = node
        self._is_plain = all(_is_told_by_value(field.type) for field in self.arrow)

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
        picked = Change(pa.RecordBatch.from_arrays(columns, schema=self.arrow), change.weights)
        return self._left(picked) if len(columns) < change.rows.num_columns else picked

    def _left(self, change: Change) -> Change:
        """Return a small change without what cancels in the columns that are read."""
        count = len(change)
        if count < 2 or count > _SMALL or change.is_append_only:
            return change
        if count > 2 or not self._is_plain:
            return consolidate(change)
        rows = change.rows
        is_same = change.weights[0] == -change.weights[1] and rows.slice(0, 1).equals(rows.slice(1, 1))
        return Change.empty(self.arrow) if is_same else change

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


def _is_told_by_value(kind: pa.DataType) -> bool:
    """Whether values of a type that are equal have the same bits."""
    return not pa.types.is_floating(kind) and not pa.types.is_nested(kind)


def _fitted(column: pa.Array, kind: pa.DataType) -> pa.Array:
    return column if column.type == kind else column.cast(kind)


def empty_columns(count: int) -> pa.RecordBatch:
    """Return a batch of `count` rows and no columns."""
    return pa.record_batch({"_": pa.nulls(count)}).select([])
