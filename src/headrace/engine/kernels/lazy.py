"""Costly parts of an expression, computed only for the rows that need them, and once per distinct text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from headrace.engine.alike import SAMPLE_ROWS, distinct_about, sample_of
from headrace.engine.columns import Bools, nonzero
from headrace.engine.kernels import logic
from headrace.engine.kernels.vec import OTHER, TEXT, Vec

Kernel = Callable[[pa.RecordBatch, dict[str, Vec]], Vec]
_COSTLY = (
    exp.RegexpExtract, exp.RegexpReplace, exp.RegexpLike, exp.RegexpFullMatch, exp.Replace, exp.Like,
    exp.SplitPart,
)  # fmt: skip
_WORTH_IT = 0.8
"""Above this share of rows, all are computed."""
_DISTINCT_SHARE_MAX = 0.5
"""Texts are told apart where at most so many of them are distinct, judging by a sample."""


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
    return _placed(found, np.where(chosen, np.cumsum(chosen) - 1, 0))


def _placed(found: Vec, places: npt.NDArray[np.integer]) -> Vec:
    """Return for each place the value that stands there."""
    if found.kind in (TEXT, OTHER):
        data = found.data if isinstance(found.data, pa.Scalar) else found.data.take(pa.array(places))
        return Vec(found.kind, data)
    data = found.data if np.ndim(found.data) == 0 else found.data[places]
    valid = found.valid if found.valid is None or np.ndim(found.valid) == 0 else found.valid[places]
    return Vec(found.kind, data, valid, found.scale)


@dataclass(frozen=True, slots=True)
class Values:
    """The distinct values of a column: as a batch, with the place of each row's among them, and what has been
    computed of them.
    """

    rows: pa.RecordBatch
    places: npt.NDArray[np.int32]
    loaded: dict[str, Vec]


def per_value(kernel: Kernel, name: str) -> Kernel:
    """Return a kernel that reads one column of texts, computed once per distinct text where they repeat."""
    key = f"\0values of {name}"

    def once(rows: pa.RecordBatch, loaded: dict[str, Vec]) -> Vec:
        if key not in loaded:
            loaded[key] = Vec(OTHER, _values_of(rows, name))
        values = loaded[key].data
        if values is None:
            return kernel(rows, loaded)
        return _placed(kernel(values.rows, values.loaded), values.places)

    return once


def _values_of(rows: pa.RecordBatch, name: str) -> Values | None:
    """Return the distinct values of a column, or None where there are too many."""
    array = rows.column(name)
    most = _DISTINCT_SHARE_MAX * len(array)
    if len(array) < SAMPLE_ROWS:
        return None
    sample = array.take(pa.array(sample_of(len(array))))
    if distinct_about(len(array), len(pc.unique(sample))) > most:
        return None
    encoded = pc.dictionary_encode(array, null_encoding="encode")
    if len(encoded.dictionary) > most:
        return None
    return Values(pa.record_batch({name: encoded.dictionary}), np.asarray(encoded.indices), {})


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
