"""Fused multiply-add on whole columns, for the results of DuckDB that are rounded only once.

The method is that of Boldo and Melquiond (Emulation of FMA and correctly rounded sums, IEEE Transactions on
Computers 2008): error-free products and sums, and one addition rounded to odd.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from headrace.engine.columns import nonzero

F64 = npt.NDArray[np.float64]
_SPLIT = np.float64(2**27 + 1)
_LARGE, _SMALL = 1e140, 1e-140


def fused_multiply_add(one: F64, other: F64, addend: F64) -> F64:
    """Return `one * other + addend`, rounded once."""
    with np.errstate(all="ignore"):
        plain: F64 = one * other + addend
        product, low = two_product(one, other)
        high, rest = two_sum(addend, low)
        upper, lower = two_sum(product, high)
        fused: F64 = upper + _odd_sum(rest, lower)
        exact = np.isfinite(plain) & is_tame(one) & is_tame(other) & is_tame(addend)
    fused = np.where(exact, fused, plain)
    for at in nonzero(~exact & np.isfinite(plain)).tolist():
        fused[at] = _by_fractions(one[at], other[at], addend[at])
    return fused


def is_tame(values: F64) -> npt.NDArray[np.bool_]:
    """Return which values have products that neither overflow nor lose their error."""
    size = np.abs(values)
    tame: npt.NDArray[np.bool_] = (values == 0) | ((size < _LARGE) & (size > _SMALL))
    return tame


def _by_fractions(one: float, other: float, addend: float) -> float:
    return float(Fraction(one) * Fraction(other) + Fraction(addend))


def _split(values: F64) -> tuple[F64, F64]:
    scaled = values * _SPLIT
    high = scaled - (scaled - values)
    return high, values - high


def two_product(one: F64, other: F64) -> tuple[F64, F64]:
    """Return the product and its rounding error; both together are exact for tame values."""
    product = one * other
    one_high, one_low = _split(one)
    other_high, other_low = _split(other)
    error = one_high * other_high - product
    return product, error + one_high * other_low + one_low * other_high + one_low * other_low


def two_sum(one: F64, other: F64) -> tuple[F64, F64]:
    """Return the sum and its rounding error."""
    total = one + other
    back = total - one
    return total, (one - (total - back)) + (other - back)


def _odd_sum(one: F64, other: F64) -> F64:
    """Return a sum rounded to odd: what is not exact ends in a 1."""
    total, error = two_sum(one, other)
    bits = total.view(np.int64)
    step = np.where((error > 0) == (total > 0), 1, -1)
    odd = np.where((error != 0) & (bits & 1 == 0), bits + step, bits)
    return odd.view(np.float64)
