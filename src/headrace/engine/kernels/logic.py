"""AND, OR, NOT, IS NULL, CASE, COALESCE, NULLIF: three-valued logic and choice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.engine.kernels.vec import BOOL, OTHER, TEXT, Miss, Vec, both_valid, text_valid


def conjunction(parts: Sequence[Vec]) -> Vec:
    """Return AND: FALSE if any part is FALSE, else NULL if any is NULL."""
    return negation(disjunction([negation(part) for part in parts]))


def disjunction(parts: Sequence[Vec]) -> Vec:
    """Return OR: TRUE if any part is TRUE, else NULL if any is NULL."""
    if all(part.valid is None for part in parts):
        whole = parts[0].data
        for part in parts[1:]:
            whole = whole | part.data
        return Vec(BOOL, whole)
    true, known = np.bool_(False), np.bool_(True)
    for part in parts:
        true = true | (part.data if part.valid is None else part.data & part.valid)
        known = known if part.valid is None else known & part.valid
    return Vec(BOOL, true, known | true)


def negation(part: Vec) -> Vec:
    """Return NOT; NULL stays NULL."""
    return Vec(BOOL, ~part.data, part.valid)


def is_null(part: Vec) -> Vec:
    """Return whether a value is NULL; never NULL itself."""
    is_arrow = part.kind in (TEXT, OTHER)
    valid = text_valid(part.data) if is_arrow else part.valid
    if valid is not None:
        return Vec(BOOL, ~valid)
    if isinstance(part.data, pa.Scalar) or (not is_arrow and np.ndim(part.data) == 0):
        return Vec(BOOL, np.bool_(False))
    return Vec(BOOL, np.zeros(len(part.data), dtype=np.bool_))


def choose(condition: Vec, then: Vec, otherwise: Vec) -> Vec:
    """Return `then` where the condition is TRUE, else `otherwise`; both of one kind."""
    flags = condition.data if condition.valid is None else condition.data & condition.valid
    if then.kind != otherwise.kind or then.scale != otherwise.scale:
        raise Miss
    if then.kind in (TEXT, OTHER):
        if np.ndim(flags) == 0:
            return then if flags else otherwise
        return Vec(then.kind, pc.if_else(pa.array(flags), then.data, otherwise.data))
    valid = None
    if then.valid is not None or otherwise.valid is not None:
        one = np.bool_(True) if then.valid is None else then.valid
        other = np.bool_(True) if otherwise.valid is None else otherwise.valid
        valid = np.where(flags, one, other)
    return Vec(then.kind, np.where(flags, then.data, otherwise.data), valid, then.scale)


def coalesce(parts: Sequence[Vec]) -> Vec:
    """Return the first value that is not NULL."""
    whole = parts[-1]
    for part in reversed(parts[:-1]):
        whole = choose(negation(is_null(part)), part, whole)
    return whole


def null_if(part: Vec, equal: Vec) -> Vec:
    """Return NULL where `equal` is TRUE, else the value."""
    flags = equal.data if equal.valid is None else equal.data & equal.valid
    if part.kind in (TEXT, OTHER):
        if np.ndim(flags) == 0:
            raise Miss
        return Vec(part.kind, pc.if_else(pa.array(~flags), part.data, pa.scalar(None, part.data.type)))
    valid = both_valid(part.valid, ~flags)
    return Vec(part.kind, np.where(valid, part.data, part.data.dtype.type(0)), valid, part.scale)
