"""Exact sums against Python's integers and fractions; nothing is left behind when everything is taken
back.
"""

from __future__ import annotations

import math
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.engine.wide import FloatSums, WideSums

SLOT = np.zeros(1, dtype=np.int64)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def total(numbers: list[float], weights: list[int]) -> float:
    sums = FloatSums()
    sums.resize(1)
    sums.add(
        np.zeros(len(numbers), dtype=np.int64),
        np.array(numbers, dtype=np.float64),
        np.array(weights, dtype=np.int64),
    )
    return float(sums.totals(SLOT)[0])


@given(st.lists(FINITE, min_size=1, max_size=30))
def test_float_sums_are_the_nearest_double(numbers: list[float]) -> None:
    exact = sum(map(Fraction, numbers), Fraction(0))
    try:
        wanted = float(exact)
    except OverflowError:
        wanted = math.inf if exact > 0 else -math.inf
    assert total(numbers, [1] * len(numbers)) == wanted


@given(st.lists(FINITE, max_size=20), FINITE)
def test_what_is_taken_back_leaves_no_trace(numbers: list[float], kept: float) -> None:
    assert total([*numbers, kept, *numbers], [1] * len(numbers) + [1] + [-1] * len(numbers)) == kept


@pytest.mark.parametrize(
    ("numbers", "wanted"),
    [
        ([1e300, 1.0, -1e300], 1.0), ([0.1] * 10, math.fsum([0.1] * 10)),
        ([5e-324, 5e-324], 1e-323), ([-0.0], 0.0),
        ([math.inf, 1.0], math.inf), ([-math.inf, 1.0], -math.inf), ([1e308, 1e308], math.inf),
    ],
)  # fmt: skip
def test_corners(numbers: list[float], wanted: float) -> None:
    assert total(numbers, [1] * len(numbers)) == wanted


def test_nan_and_opposite_infinities_are_nan_until_they_go() -> None:
    assert math.isnan(total([math.nan, 1.0], [1, 1]))
    assert math.isnan(total([math.inf, -math.inf], [1, 1]))
    assert total([math.nan, 1.0, math.nan], [1, 1, -1]) == 1.0


@pytest.mark.parametrize("limbs", [2, 4])
def test_integer_sums_are_exact(limbs: int) -> None:
    rng = random.Random(limbs)
    bits = 63 if limbs == 2 else 126
    numbers = [rng.randrange(-(2**bits), 2**bits) for _ in range(200 if limbs == 2 else 1)] + [
        -1,
        0,
        1,
        2**62,
    ]
    sums = WideSums(limbs)
    sums.resize(1)
    low = np.array([number & (2**64 - 1) for number in numbers], dtype=np.uint64).view(np.int64)
    high = None if limbs == 2 else np.array([number >> 64 for number in numbers], dtype=np.int64)
    weights = np.array([rng.choice([-1, 1, 3]) for _ in numbers], dtype=np.int64)
    sums.add(np.zeros(len(numbers), dtype=np.int64), low, high, weights)
    wanted = sum(number * weight for number, weight in zip(numbers, weights.tolist(), strict=True))
    found_low, found_high, over = sums.words(SLOT)
    assert bool(over[0]) == (not -(2**127) <= wanted < 2**127)
    if not over[0]:
        assert (int(found_high[0]) << 64) + int(found_low[0]) == wanted
