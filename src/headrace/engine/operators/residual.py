"""The residual of a join: which pairs of rows it holds for, and the pairs for which it fails."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.change import Change
from headrace.contracts.schema import Column, Schema
from headrace.engine.columns import I64, Bools, nonzero
from headrace.engine.duck import Duck
from headrace.engine.expr import Expressions
from headrace.engine.operators.quarantine import Quarantine
from headrace.errors import ViewInError
from headrace.sql.plan import Expr

_PREDICATE = Schema((Column("keep", "BOOLEAN", pa.bool_()),))


class Residual:
    """A predicate over pairs of rows; pairs for which it fails are no match, and are kept aside.

    Args:
        predicate: over the columns of both sides.
        columns: the columns of both sides.
    """

    def __init__(self, predicate: Expr, columns: Schema) -> None:
        self.columns = predicate.columns or columns.names[:1]
        self._source = columns.select(self.columns)
        self._exprs = Expressions([predicate], self._source, _PREDICATE)
        self._quarantine = Quarantine()

    def holds(self, column: Callable[[str], pa.Array], weights: I64, duck: Duck) -> Bools:
        """Return for which pairs the predicate is TRUE.

        Args:
            column: the values of a column of either side, one per pair.
            weights: of the pairs: an insertion, or the retraction of what was asked before.
            duck: for what kernels cannot.
        """
        rows = pa.RecordBatch.from_arrays([column(name) for name in self.columns], schema=self._source.arrow)
        try:
            return _flags(self._exprs.evaluate(rows, duck)[0])
        except ViewInError as error:
            bad = self._exprs.failing(rows, duck)
            if not bad.any():
                raise
            self._quarantine.put(Change(rows, weights).filter(bad), error.problem)
            keep = np.zeros(len(weights), dtype=np.bool_)
            good = nonzero(~bad)
            keep[good] = _flags(self._exprs.evaluate(rows.take(pa.array(good)), duck)[0])
            return keep

    @property
    def error(self) -> str | None:
        """Set while a pair fails."""
        return self._quarantine.error


def _flags(keep: pa.Array) -> Bools:
    flags = pc.fill_null(keep, False) if keep.null_count else keep
    return np.asarray(flags.to_numpy(zero_copy_only=False), dtype=np.bool_)
