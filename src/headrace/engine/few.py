"""Columns in which few values stand: every value once, and for each row which of them it has.

    country   DE FR DE IT   →   values DE FR IT, codes 0 1 0 2

Arrow reads a small column so in one call, and what is then to be done for each value, such as finding its
group, is done by Python in less time than NumPy's calls take. A step reads a column so but once, however many
views group by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.engine.columns import I64, TextsRead, nonzero, values

FEW_ROWS_MAX = 4_096
"""Changes of more rows are not read so: there the calls do not count."""
FEW_VALUES_MAX = 256
"""Columns with more values are not read so, and neither are keys of more combinations."""


@dataclass(frozen=True, slots=True)
class Few:
    """A column of few values.

    Attributes:
        codes: int64, per row the position of its value.
        values: each once; equal exactly where SQL groups them together.
    """

    codes: I64
    values: list[Any]


def few_keys(arrays: Sequence[pa.Array]) -> Few | None:
    """Return the keys that some columns make up, one value or tuple each; None where they are not few, one
    holds NULL, or is of a type whose equal values differ.
    """
    if not arrays or len(arrays[0]) > FEW_ROWS_MAX or not all(_is_plain(array.type) for array in arrays):
        return None
    found: Few | None = None
    for array in arrays:
        column = _few(array)
        if column is None:
            return None
        found = column if found is None else _crossed(found, column)
        if len(found.values) > FEW_VALUES_MAX:
            return None
    return found


def _few(array: pa.Array) -> Few | None:
    """Return a column of few values, as this step has read it before where it has."""
    return TextsRead.made_of(array, _read)


def _read(array: pa.Array) -> Few | None:
    if array.null_count:
        return None
    encoded = array.dictionary_encode()
    distinct = encoded.dictionary
    if len(distinct) > FEW_VALUES_MAX:
        return None
    if pa.types.is_large_string(array.type):
        items = distinct.view(pa.large_binary()).to_pylist()
    elif pa.types.is_string(array.type):
        items = distinct.view(pa.binary()).to_pylist()
    else:
        items = values(distinct).tolist()
    return Few(values(encoded.indices).astype(np.int64), items)


def _crossed(left: Few, right: Few) -> Few:
    """Return the pairs of values that stand together, flat."""
    width = len(right.values)
    pairs = left.codes * width + right.codes
    there = np.zeros(len(left.values) * width, dtype=np.int64)
    there[pairs] = 1
    present = nonzero(there)
    there[present] = np.arange(len(present))
    ones, others = left.values, right.values
    return Few(there[pairs], [(ones[at // width], others[at % width]) for at in present.tolist()])


_plain_ids: dict[int, bool] = {}


def _is_plain(kind: pa.DataType) -> bool:
    """Whether equal values of a type have the same bits, and are cheap to write as Python's."""
    found = _plain_ids.get(kind.id)
    if found is None:
        fixed = pa.types.is_integer(kind) or pa.types.is_timestamp(kind) or pa.types.is_date(kind)
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        found = _plain_ids[kind.id] = bool(fixed or text)
    return found
