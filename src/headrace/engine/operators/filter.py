"""Filter: the rows for which a predicate is TRUE.

Δσ(R) = σ(ΔR)        (linear)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from typing_extensions import override

from headrace.change import Change
from headrace.contracts.schema import Column, Schema
from headrace.engine.columns import Bools, nonzero
from headrace.engine.duck import Duck
from headrace.engine.expr import Expressions
from headrace.engine.monotone import Bounds
from headrace.engine.operators.base import Operator, StepContext
from headrace.engine.operators.quarantine import Quarantine
from headrace.errors import ViewInError
from headrace.sql.plan import Expr

_PREDICATE = Schema((Column("keep", "BOOLEAN", pa.bool_()),))


class FilterOperator(Operator):
    """Keeps rows where the predicate is TRUE; keeps only rows for which it fails."""

    name = "filter"

    def __init__(self, predicate: Expr, schema: Schema, *, append_only: bool) -> None:
        super().__init__(schema, append_only=append_only)
        self._predicate = predicate
        self._narrow = Expressions([predicate], schema.select(predicate.columns), _PREDICATE)
        self._exprs = Expressions([predicate], schema, _PREDICATE)
        self._quarantine = Quarantine()

    @override
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        change = inputs[0]
        try:
            keep = self._exprs.evaluate(change.rows, context.duck)[0]
        except ViewInError as error:
            bad = self._exprs.failing(change.rows, context.duck)
            if not bad.any():
                raise
            self._quarantine.put(change.filter(bad), error.problem)
            change = change.filter(~bad)
            keep = self._exprs.evaluate(change.rows, context.duck)[0]
        return _where(change, keep)

    @override
    def bounds(self, inputs: Sequence[Bounds]) -> Bounds:
        return inputs[0]

    def holds(self, rows: pa.RecordBatch, duck: Duck) -> Bools:
        """Return for which rows the predicate is TRUE; `rows` needs only the columns that it reads.

        Raises:
            ViewInError: it fails for some row.
        """
        keep = self._narrow.evaluate(rows, duck)[0]
        flags = pc.fill_null(keep, False) if keep.null_count else keep
        return np.asarray(flags.to_numpy(zero_copy_only=False), dtype=np.bool_)

    @property
    def error(self) -> str | None:
        """Set while a failing row is in the input."""
        return self._quarantine.error

    @property
    def detail(self) -> str:
        """The predicate."""
        return self._predicate.sql

    @property
    def state_rows(self) -> int:
        """Failing rows."""
        return len(self._quarantine)


def _where(change: Change, keep: pa.Array) -> Change:
    """Return the rows where `keep` is TRUE, neither FALSE nor NULL."""
    if keep.null_count:
        keep = pc.fill_null(keep, False)
    count = keep.true_count
    if count == len(change):
        return change
    if count == 0:
        return change.take(np.empty(0, dtype=np.int64))
    rows = nonzero(keep.to_numpy(zero_copy_only=False))
    return change.take(rows)
