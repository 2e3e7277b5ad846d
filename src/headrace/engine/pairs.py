"""Columns that stand side by side: which of their rows are equal, pair by pair.

Where equal values have the same bits, Arrow compares them as they lie; nothing is read into words first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.engine.columns import Bools, equal, view
from headrace.engine.normal import is_one_pattern


def equal_pairs(left: Sequence[pa.Array], right: Sequence[pa.Array], count: int, *, exact: bool) -> Bools:
    """Return, pair by pair, whether all columns of two lists are equal; NULL equals NULL.

    Args:
        left: columns of `count` rows each.
        right: as many, of the same types.
        count: how many rows.
        exact: rows are told apart by bits (but NaN equals NaN), otherwise as SQL groups them.
    """
    same = np.ones(count, dtype=np.bool_)
    for one, other in zip(left, right, strict=True):
        if one.type == other.type and is_one_pattern(one.type) and not pa.types.is_null(one.type):
            same &= _equal_bits(one, other)
        else:
            at = np.arange(count, dtype=np.int64)
            same &= equal(view(one, exact=exact), at, view(other, exact=exact), at)
    return same


def _equal_bits(one: pa.Array, other: pa.Array) -> Bools:
    alike = pc.equal(one, other)
    if alike.null_count:
        alike = pc.if_else(alike.is_valid(), alike, pc.and_(one.is_null(), other.is_null()))
    found: Bools = alike.to_numpy(zero_copy_only=False)
    return found
