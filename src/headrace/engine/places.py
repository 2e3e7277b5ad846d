"""Where in a chunk of rows the values of a column stand, so that a query that asks for few reads only those.

A chunk's rows never change, so what is found out of a column once holds as long as the chunk: an index is
made when a column is first asked for, and costs afterwards what has changed since, as chunks are merged. It
answers by hash, so that a few rows too many may come; who asks compares values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.engine.columns import I64, U64, nonzero
from headrace.engine.hashing import hash_columns

ROWS_MIN = 2_048
"""Chunks of fewer rows are read whole, whatever is asked for."""
_SELECTIVE, _WORTH = 16, 4
"""A column of which a 16th of the rows or less is asked for is good enough; above a 4th all rows are read."""


class Places:
    """The rows of one column in the order of their hashes."""

    __slots__ = ("_begins", "_hashes", "_order")

    def __init__(self, column: pa.Array) -> None:
        hashes = hash_columns([column], len(column))
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        firsts = nonzero(np.append(True, ordered[1:] != ordered[:-1]))
        self._hashes = ordered[firsts]
        self._begins = np.append(firsts, len(order)).astype(np.int32)
        self._order = order.astype(np.uint16 if len(order) < 65_536 else np.int32)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return int(self._hashes.nbytes + self._begins.nbytes + self._order.nbytes)

    def of(self, hashes: U64) -> I64:
        """Return where values of some hashes stand, ascending."""
        at = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
        at = at[self._hashes[at] == hashes]
        found = [self._order[self._begins[one] : self._begins[one + 1]] for one in at.tolist()]
        return np.sort(np.concatenate(found)).astype(np.int64) if found else np.empty(0, dtype=np.int64)


Wanted = Mapping[int, U64]
"""Per column the hashes of the values of which it must have one."""


def wanted_hashes(equal: Mapping[str, Sequence[Any]], schema: pa.Schema) -> dict[int, U64]:
    """Return the hashes of the values that columns must have."""
    found = {}
    for name, values in equal.items():
        at = schema.get_field_index(name)
        probes = pa.array(list(dict.fromkeys(values)), schema.field(at).type)
        found[at] = hash_columns([probes], len(probes))
    return found


def fewest(places: Iterable[Places], wanted: Iterable[U64], count: int) -> I64 | None:
    """Return where at least the rows stand of which every column has what is wanted, by the column that
    leaves few enough, or fewest; None: too many of `count` rows to pick them out.

    Each index is asked for only once those before it have left too many.
    """
    best: I64 | None = None
    for one, hashes in zip(places, wanted, strict=True):
        found = one.of(hashes)
        best = found if best is None or len(found) < len(best) else best
        if _SELECTIVE * len(best) <= count:
            break
    return best if best is not None and _WORTH * len(best) <= count else None
