"""Rows of one batch that are alike, so that each distinct key is looked up once.

    hashes   7 4 7 7 4   →   group of each row  0 1 0 0 1, first row of each group  0 1

Rows are put together by hash, in one pass of a hash table of whole numbers, and then compared: where two
differ though their hashes do not, nobody is put together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.engine.columns import I64, U64, View, equal_rows, nonzero

SAMPLE_ROWS = 1_024
_ROWS_MIN = 2_048
_DISTINCT_SHARE_MAX = 0.25
"""Rows are put together where at most so many of them are distinct, judging by a sample."""
_PAUSE_MIN, _PAUSE_MAX = 8, 128
"""So many batches are passed over where the sample was wrong."""


def distinct_about(rows: int, distinct_in_sample: int) -> float:
    """Return about how many of some rows are distinct, given those among `SAMPLE_ROWS` of them.

    Of n draws from D values, all as likely, some n²/2D are repeated, and N draws meet D(1 − e^(−N/D)).
    """
    again = SAMPLE_ROWS - distinct_in_sample
    if again == 0:
        return float(rows)
    values = SAMPLE_ROWS**2 / (2 * again)
    return values * -math.expm1(-rows / values)


def sample_of(rows: int) -> I64:
    """Return the positions of `SAMPLE_ROWS` rows, spread evenly."""
    return np.linspace(0, rows - 1, SAMPLE_ROWS).astype(np.int64)


class Alike:
    """Puts rows together, batch after batch; some batches are passed over where most rows were distinct."""

    def __init__(self) -> None:
        self._waits = 0
        self._pause = _PAUSE_MIN

    def groups(self, columns: Sequence[View], hashes: U64) -> tuple[I64, I64] | None:
        """Return the group of each row, and the first row of each group, in the order of the rows; None
        where it is not worth it.
        """
        count = len(hashes)
        if count < _ROWS_MIN:
            return None
        if self._waits:
            self._waits -= 1
            return None
        sample = np.sort(hashes[sample_of(count)])
        seen = 1 + int(np.count_nonzero(sample[1:] != sample[:-1]))
        if distinct_about(count, seen) > _DISTINCT_SHARE_MAX * count:
            return None
        encoded = pc.dictionary_encode(pa.array(hashes))
        if len(encoded.dictionary) > _DISTINCT_SHARE_MAX * count:
            self._waits, self._pause = self._pause, min(2 * self._pause, _PAUSE_MAX)
            return None
        self._pause = _PAUSE_MIN
        return _verified(columns, np.asarray(encoded.indices).astype(np.int64), len(encoded.dictionary))


def _verified(columns: Sequence[View], groups: I64, size: int) -> tuple[I64, I64] | None:
    """Return groups and the first row of each, or None where some row is unlike the first of its group."""
    rows = np.arange(len(groups))
    firsts = np.empty(size, dtype=np.int64)
    firsts[groups[::-1]] = rows[::-1]  # the first row is written last
    leaders = firsts[groups]
    others = nonzero(leaders != rows)
    return (groups, firsts) if equal_rows(columns, others, columns, leaders[others]).all() else None
