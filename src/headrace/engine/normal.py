"""Equal values written alike, so that what goes is written as what came.

−0.0 is written as 0.0, inside lists, structs and maps too. Intervals are left as they are, since 30 days and
one month are equal but do not add up alike: a group keeps its key as the row wrote it that began the group.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def group_keys(arrays: Sequence[pa.Array]) -> list[pa.Array]:
    """Return key columns with −0.0 written as 0.0."""
    return [normal(array) for array in arrays]


@cache
def has_floats(kind: pa.DataType) -> bool:
    """Whether values of this type are or hold floating-point numbers."""
    if pa.types.is_nested(kind):
        return any(has_floats(kind.field(at).type) for at in range(kind.num_fields))
    return bool(pa.types.is_floating(kind))


@cache
def has_intervals(kind: pa.DataType) -> bool:
    """Whether values of this type are or hold intervals."""
    if pa.types.is_nested(kind):
        return any(has_intervals(kind.field(at).type) for at in range(kind.num_fields))
    return bool(kind == pa.month_day_nano_interval())


@cache
def is_one_pattern(kind: pa.DataType) -> bool:
    """Whether values of this type that SQL calls equal have the same bits."""
    return not (pa.types.is_nested(kind) or has_floats(kind) or has_intervals(kind))


def normal(array: pa.Array) -> pa.Array:
    """Return a column with −0.0 written as 0.0."""
    kind = array.type
    if not has_floats(kind):
        return array
    if pa.types.is_floating(kind):
        return pc.add(array, pa.scalar(0.0, kind))
    array = array.take(pa.array(np.arange(len(array))))  # no offset from here on
    mask = array.is_null() if array.null_count else None
    if pa.types.is_struct(kind):
        fields = [normal(array.field(at)) for at in range(kind.num_fields)]
        return pa.StructArray.from_arrays(fields, fields=list(kind), mask=mask)
    if pa.types.is_map(kind):
        offsets = pa.array(array.offsets, mask=None if mask is None else _longer(mask))
        return pa.MapArray.from_arrays(offsets, normal(array.keys), normal(array.items), kind)
    if pa.types.is_list(kind):
        return pa.ListArray.from_arrays(array.offsets, normal(array.values), type=kind, mask=mask)
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(normal(array.values), type=kind, mask=mask)
    return array


def _longer(mask: pa.Array) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.append(mask.to_numpy(zero_copy_only=False), False)
