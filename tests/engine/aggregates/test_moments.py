"""Variance and covariance against fractions: nothing is lost to cancellation, and nothing stays behind.

The numbers are such that the formula n·Σxx − (Σx)² loses every digit in plain doubles: a large common part
with a small spread, values that repeat, and values that come and go again by the thousand.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.engine.aggregates.moments import MomentsPart
from headrace.engine.aggregates.part import GroupBatch
from headrace.engine.duck import Duck
from headrace.sql.plan import AggCall

DUCK = Duck()
NEAR = st.sampled_from([1.7e9 + step / 1000 for step in range(20)])
WIDE = st.floats(min_value=-1e12, max_value=1e12, allow_nan=False).filter(lambda x: x == 0 or abs(x) > 1e-9)
HUGE = st.sampled_from([1e200, -3e250, 1e-300, 2.5, 0.0])


def part(func: str, width: int) -> MomentsPart:
    args = ("x", "y")[:width]
    return MomentsPart([AggCall("r", func, args, False, None, "", "DOUBLE")])


def feed(made: MomentsPart, rows: Sequence[tuple[float, ...]], weight: int = 1) -> float | None:
    """Take rows in, or take them back; return the answer."""
    columns = [pa.array([row[at] for row in rows], pa.float64()) for at in range(len(rows[0]))]
    batch = pa.record_batch(columns, names=["x", "y"][: len(columns)])
    slots = np.zeros(len(rows), dtype=np.int64)
    weights = np.full(len(rows), weight, dtype=np.int64)
    change = GroupBatch(batch, weights, slots, np.zeros(1, dtype=np.int64), 1, DUCK)
    made.update(change)
    answer: float | None = made.results(change)[0].values[0].as_py()
    return answer


def covariance(rows: Sequence[tuple[float, ...]]) -> Fraction:
    xs, ys = [Fraction(row[0]) for row in rows], [Fraction(row[-1]) for row in rows]
    count = len(rows)
    mean_x, mean_y = sum(xs) / count, sum(ys) / count
    total = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    return Fraction(total) / count


def rounded(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


@given(st.one_of(*(st.lists(st.tuples(kind), min_size=1, max_size=12) for kind in (NEAR, WIDE, HUGE))))
def test_a_variance_has_the_stated_relative_error(rows: list[tuple[float]]) -> None:
    wanted = rounded(covariance(rows))
    assert feed(part("var_pop", 1), rows) == pytest.approx(wanted, rel=1e-14, abs=0)


@given(st.one_of(*(st.lists(st.tuples(kind, kind), min_size=1, max_size=12) for kind in (NEAR, WIDE, HUGE))))
def test_a_covariance_too(rows: list[tuple[float, float]]) -> None:
    wanted = rounded(covariance(rows))
    assert feed(part("covar_pop", 2), rows) == pytest.approx(wanted, rel=1e-14, abs=0)


@given(
    st.lists(st.tuples(st.one_of(WIDE, HUGE)), min_size=1, max_size=12), st.lists(st.tuples(NEAR), min_size=2)
)
def test_what_is_taken_back_leaves_no_trace(gone: list[tuple[float]], kept: list[tuple[float]]) -> None:
    made = part("var_pop", 1)
    feed(made, gone)
    feed(made, kept)
    assert feed(made, gone, -1) == feed(part("var_pop", 1), kept)


def test_infinities_and_nan_are_there_until_they_go() -> None:
    made = part("var_pop", 1)
    feed(made, [(1.0,), (3.0,)])
    for odd in (float("nan"), float("inf")):
        assert np.isnan(feed(made, [(odd,)]) or 0.0)
        assert feed(made, [(odd,)], -1) == 1.0
