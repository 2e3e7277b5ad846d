"""Costly parts of an expression, computed only for the rows that need them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
from sqlglot import exp

from headrace.engine.columns import Bools, nonzero
from headrace.engine.kernels import logic
from headrace.engine.kernels.vec import OTHER, TEXT, Vec

Kernel = Callable[[pa.RecordBatch, dict[str, Vec]], Vec]
_COSTLY = (exp.RegexpExtract, exp.RegexpReplace, exp.RegexpLike, exp.RegexpFullMatch, exp.Replace, exp.Like)
_WORTH_IT = 0.8
"""Above this share of rows, all are computed."""


def is_costly(part: exp.Expr) -> bool:
    """Whether an expression costs much more per row than reading its columns."""
    return any(True for _ in part.find_all(*_COSTLY))


def on_rows(kernel: Kernel, names: Sequence[str], rows: pa.RecordBatch, chosen: Bools) -> Vec:
    """Return a kernel's values for the chosen rows, and anything for the others."""
    if len(chosen) == 0 or chosen.mean() > _WORTH_IT:
        return kernel(rows, {})
    if not chosen.any():
        chosen = np.arange(len(chosen)) == 0
    found = kernel(rows.select(list(names)).take(pa.array(nonzero(chosen))), {})
    places = np.where(chosen, np.cumsum(chosen) - 1, 0)
    if found.kind in (TEXT, OTHER):
        data = found.data if isinstance(found.data, pa.Scalar) else found.data.take(pa.array(places))
        return Vec(found.kind, data)
    data = found.data if np.ndim(found.data) == 0 else found.data[places]
    valid = found.valid if found.valid is None or np.ndim(found.valid) == 0 else found.valid[places]
    return Vec(found.kind, data, valid, found.scale)


def both(parts: Sequence[Kernel], costly: Kernel, names: Sequence[str], *, conjunction: bool) -> Kernel:
    """Return AND (or OR) of cheap parts and a costly one, which is computed where the cheap ones leave it
    open.
    """
    join = logic.conjunction if conjunction else logic.disjunction

    def kernel(rows: pa.RecordBatch, loaded: dict[str, Vec]) -> Vec:
        cheap = join([part(rows, loaded) for part in parts])
        if np.ndim(cheap.data) == 0:
            return join([cheap, costly(rows, loaded)])
        decided = ~cheap.data if conjunction else cheap.data
        if cheap.valid is not None:
            decided = decided & cheap.valid
        return join([cheap, on_rows(costly, names, rows, ~decided)])

    return kernel
