"""Sums and maxima over many ranges of positions at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from headrace.engine.columns import I64, Bools, nonzero

F64 = npt.NDArray[np.float64]


def sums(numbers: I64, low: I64, high: I64) -> I64:
    """Return the sum of each range of integers; 0 where high < low."""
    totals = np.append(0, np.cumsum(numbers))
    return np.where(high < low, 0, totals[np.maximum(high, low - 1) + 1] - totals[low])


def maxima(numbers: I64, low: I64, high: I64) -> I64:
    """Return the largest number of each range, −1 where it is empty; numbers are not below −1."""
    best = np.full(len(low), -1, dtype=np.int64)
    lengths = np.maximum(high - low + 1, 0)
    there = nonzero(lengths)
    if len(there) == 0:
        return best
    levels = np.frexp(lengths[there])[1] - 1  # 2^level ≤ length
    table = numbers
    for level in range(int(levels.max()) + 1):
        if level:
            half = 1 << (level - 1)
            table = np.maximum(table[:-half], table[half:]) if len(table) > half else table
        mine = there[levels == level]
        best[mine] = np.maximum(table[low[mine]], table[high[mine] - (1 << level) + 1])
    return best


def two_sum(a: F64, b: F64) -> tuple[F64, F64]:
    """Return the rounded sum, and what rounding lost (Knuth)."""
    with np.errstate(invalid="ignore", over="ignore"):
        total = a + b
        part = total - a
        lost = (a - (total - part)) + (b - part)
    return total, np.where(np.isfinite(total), lost, 0.0)


def pair_sum(one: tuple[F64, F64], other: tuple[F64, F64]) -> tuple[F64, F64]:
    """Return the sum of unevaluated sums of two doubles, about 106 bits."""
    high, lost = two_sum(one[0], other[0])
    return two_sum(high, lost + (one[1] + other[1]))


def float_sums(numbers: F64, rest: F64, low: I64, high: I64) -> tuple[F64, F64]:
    """Return the sum of each range of pairs of doubles as a pair; zeros where it is empty.

    A range is cut into stretches of powers of two, whose sums are made once for all ranges; so nothing is
    ever subtracted, and large values outside of a range leave no trace in it.
    """
    total = np.zeros(len(low)), np.zeros(len(low))
    lengths = np.maximum(high - low + 1, 0)
    at = low.copy()
    table = numbers, rest
    level = 0
    while (lengths >> level).any():
        mine = nonzero((lengths >> level) & 1)
        if len(mine):
            place = at[mine]
            total[0][mine], total[1][mine] = pair_sum(
                (total[0][mine], total[1][mine]), (table[0][place], table[1][place])
            )
            at[mine] += 1 << level
        half = 1 << level
        table = pair_sum((table[0][:-half], table[1][:-half]), (table[0][half:], table[1][half:]))
        level += 1
    return total


def mask_of(flags: Bools | None, count: int) -> Bools:
    """Return a mask, all true where there is none."""
    return np.ones(count, dtype=np.bool_) if flags is None else flags
