"""The emulated fused multiply-add against exact fractions, over numbers of every size."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headrace.engine.fma import fused_multiply_add

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e150, max_value=1e150)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_rounded_once(one: float, other: float, addend: float) -> None:
    found = fused_multiply_add(np.array([one]), np.array([other]), np.array([addend]))
    exact = Fraction(one) * Fraction(other) + Fraction(addend)
    assert float(found[0]) == float(exact)


def test_infinities_and_nan_pass_through() -> None:
    found = fused_multiply_add(
        np.array([np.inf, np.nan, 1e308]), np.array([0.5, 1.0, 10.0]), np.array([1.0, 1.0, 0.0])
    )
    assert found[0] == np.inf
    assert np.isnan(found[1])
    assert found[2] == np.inf
