"""Variance, covariance, correlation and linear regression: sums of x, y, xx, xy, yy without rounding.

    M(R + ΔR) = M(R) + M(ΔR)            for M = (n, Σx, Σy, Σxx, Σxy, Σyy)        (linear)

For example stddev_pop(x) = sqrt(n·Σxx − (Σx)²) / n. The textbook objection to that formula is cancellation:
here nothing is rounded before the subtraction, so nothing cancels. Products are taken with their rounding
error (Dekker), sums are exact (`wide.FloatSums`) and are read as 106 bits; where even those are not enough,
the group is computed in fractions. The relative error of a variance is below 1e-14, whatever came and went.
Values whose squares leave the range of doubles, NaN and infinities are kept apart, as they are.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.engine.aggregates.part import GroupBatch, Part, Result
from headrace.engine.columns import I64, Bools, nonzero
from headrace.engine.doubles import as_doubles
from headrace.engine.fma import F64, is_tame, two_product, two_sum
from headrace.engine.growable import Growable
from headrace.engine.wide import FloatSums
from headrace.sql.plan import AggCall

_CLOSE = 2.0**-45
"""A difference smaller than this share of its terms is computed in fractions."""
_ONE = ("var_pop", "var_samp", "stddev_pop", "stddev_samp", "sem")
_TWO = (
    "covar_pop", "covar_samp", "corr", "regr_avgx", "regr_avgy", "regr_intercept", "regr_r2", "regr_slope",
    "regr_sxx", "regr_sxy", "regr_syy",
)  # fmt: skip
FUNCTIONS = frozenset((*_ONE, *_TWO))
"""The aggregates that this part answers."""


class Moments:
    """What the functions are made of, for some groups.

    Attributes:
        count: rows.
        mean: of the first argument, and of the second.
        spread: n times the variance of the first argument, and of the second.
        common: n times the covariance.
    """

    def __init__(self, count: I64, mean: Sequence[F64], spread: Sequence[F64], common: F64) -> None:
        self.count = count
        self.mean = mean
        self.spread = spread
        self.common = common


class MomentsPart(Part):
    """All calls of this family over the same one or two columns."""

    recycles = True

    def __init__(self, calls: Sequence[AggCall]) -> None:
        self._calls = tuple(calls)
        width = len(calls[0].args)
        self._pairs = [(0, 0)] if width == 1 else [(0, 0), (0, 1), (1, 1)]
        self._counts = Growable(np.int64)
        self._sums = [FloatSums() for _ in range(width)]
        self._products = [FloatSums() for _ in self._pairs]
        self._wild: dict[int, Counter[tuple[float, ...]]] = defaultdict(Counter)
        self._values = [Growable(np.float64) for _ in calls]
        self._known = [Growable(np.bool_) for _ in calls]

    def _resize(self, size: int) -> None:
        for kept in self._kept():
            kept.resize(size)

    def _kept(self) -> list[Growable[np.int64] | Growable[np.float64] | Growable[np.bool_] | FloatSums]:
        return [self._counts, *self._sums, *self._products, *self._values, *self._known]

    @override
    def release(self, slots: I64, dead: Bools) -> None:
        for kept in self._kept():
            kept.clear(slots)
        for slot in [slot for slot in self._wild if dead[slot]]:
            del self._wild[slot]

    @override
    def update(self, batch: GroupBatch) -> None:
        self._resize(batch.size)
        rows, slots, weights = batch.chosen(self._calls[0])
        columns = [as_doubles(batch.rows.column(name))[rows] for name in self._calls[0].args]
        np.add.at(self._counts.data, slots, weights)
        tame = np.logical_and.reduce([is_tame(column) for column in columns])
        if not tame.all():
            self._set_apart(columns, slots, weights, nonzero(~tame))
            columns = [column[tame] for column in columns]
            slots, weights = slots[tame], weights[tame]
        for column, sums in zip(columns, self._sums, strict=True):
            sums.add(slots, column, weights)
        for (one, other), products in zip(self._pairs, self._products, strict=True):
            product = np.concatenate(two_product(columns[one], columns[other]))
            products.add(np.tile(slots, 2), product, np.tile(weights, 2))
        self._answer(batch.touched)

    def _set_apart(self, columns: list[F64], slots: I64, weights: I64, rows: I64) -> None:
        for at in rows.tolist():
            kept = self._wild[int(slots[at])]
            values = tuple(_plain(float(column[at])) for column in columns)
            kept[values] += int(weights[at])
            if kept[values] == 0:
                del kept[values]
            if not kept:
                del self._wild[int(slots[at])]

    def _answer(self, touched: I64) -> None:
        moments = self._moments(touched)
        for call, values, known in zip(self._calls, self._values, self._known, strict=True):
            with np.errstate(all="ignore"):
                values.data[touched], known.data[touched] = _FORMULAS[call.func](moments)

    def _moments(self, touched: I64) -> Moments:
        count = self._counts.data[touched]
        sums = [kept.pairs(touched) for kept in self._sums]
        products = [kept.pairs(touched) for kept in self._products]
        divisor = np.maximum(count, 1).astype(np.float64)
        means = [(high + low) / divisor for high, low in sums]
        found, doubtful = [], np.zeros(len(touched), dtype=np.bool_)
        for (one, other), product in zip(self._pairs, products, strict=True):
            difference, size = _difference(divisor, product, sums[one], sums[other])
            found.append(difference / divisor)
            doubtful |= (np.abs(difference) < _CLOSE * size) & (count > 1)
            found[-1][count <= 1] = 0.0
        if self._wild:
            doubtful |= np.isin(touched, list(self._wild))
        for at in nonzero(doubtful).tolist():
            self._exactly(at, int(touched[at]), means, found)
        return Moments(count, means, [found[0], found[-1]], found[len(found) // 2])

    def _exactly(self, at: int, slot: int, means: list[F64], found: list[F64]) -> None:
        """Compute one group in fractions."""
        wild = self._wild.get(slot, Counter())
        count = int(self._counts.data[slot])
        if any(not math.isfinite(value) for values in wild for value in values):
            for number, (mean, sums) in enumerate(zip(means, self._sums, strict=True)):
                special = [values[number] for values in wild if not math.isfinite(values[number])]
                mean[at] = (sum(special) if special else float(sums.exact(slot))) / max(count, 1)
            for (one, other), spread in zip(self._pairs, found, strict=True):
                spread[at] = 0.0 if count == 1 and one == other else math.nan
            return
        totals = [
            sums.exact(slot) + sum(Fraction(values[number]) * weight for values, weight in wild.items())
            for number, sums in enumerate(self._sums)
        ]
        for number, mean in enumerate(means):
            mean[at] = _rounded(totals[number] / max(count, 1))
        for (one, other), products, spread in zip(self._pairs, self._products, found, strict=True):
            product = products.exact(slot)
            for values, weight in wild.items():
                product += Fraction(values[one]) * Fraction(values[other]) * weight
            spread[at] = _rounded((product * count - totals[one] * totals[other]) / max(count, 1))

    @override
    def results(self, batch: GroupBatch) -> list[Result]:
        self._resize(batch.size)
        return [
            Result(pa.array(values.data[batch.touched], mask=~known.data[batch.touched]))
            for values, known in zip(self._values, self._known, strict=True)
        ]

    @property
    @override
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self._kept())


def _plain(value: float) -> float:
    """Return one NaN for all, so that it is found again in a dictionary."""
    return math.nan if value != value else value


def _rounded(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _difference(
    count: F64, product: tuple[F64, F64], one: tuple[F64, F64], other: tuple[F64, F64]
) -> tuple[F64, F64]:
    """Return `count * product − one * other` of pairs of doubles, and the size of its terms."""
    left, left_rest = two_product(count, product[0])
    right, right_rest = two_product(one[0], other[0])
    high, rest = two_sum(left, -right)
    rest += left_rest - right_rest + count * product[1] - (one[0] * other[1] + one[1] * other[0])
    return high + rest, np.abs(left) + np.abs(right)


Answer = tuple[F64, Bools]
"""Values, and which of them are not NULL."""


def _variance(moments: Moments, *, sample: bool = False, root: bool = False) -> Answer:
    less = 1 if sample else 0
    values = moments.spread[0] / np.maximum(moments.count - less, 1)
    return np.sqrt(values) if root else values, moments.count > less


def _standard_error(moments: Moments) -> Answer:
    count = np.maximum(moments.count, 1)
    return np.sqrt(moments.spread[0] / count) / np.sqrt(count), moments.count > 0


def _covariance(moments: Moments, *, sample: bool) -> Answer:
    less = 1 if sample else 0
    return moments.common / np.maximum(moments.count - less, 1), moments.count > less


def _correlation(moments: Moments) -> Answer:
    values = moments.common / (np.sqrt(moments.spread[0]) * np.sqrt(moments.spread[1]))
    return values, moments.count > 0


def _slope(moments: Moments) -> Answer:
    return moments.common / moments.spread[1], moments.count > 0


def _intercept(moments: Moments) -> Answer:
    values = moments.mean[0] - moments.common / moments.spread[1] * moments.mean[1]
    return values, (moments.count > 0) & (moments.spread[1] != 0)


def _determination(moments: Moments) -> Answer:
    values = np.where(moments.spread[0] == 0, 1.0, _correlation(moments)[0] ** 2)
    return values, (moments.count > 0) & (moments.spread[1] != 0)


def _some(values: F64, moments: Moments) -> Answer:
    return values, moments.count > 0


_FORMULAS: dict[str, Callable[[Moments], Answer]] = {
    "var_pop": lambda moments: _variance(moments),
    "var_samp": lambda moments: _variance(moments, sample=True),
    "stddev_pop": lambda moments: _variance(moments, root=True),
    "stddev_samp": lambda moments: _variance(moments, sample=True, root=True),
    "sem": _standard_error,
    "covar_pop": lambda moments: _covariance(moments, sample=False),
    "covar_samp": lambda moments: _covariance(moments, sample=True),
    "corr": _correlation,
    "regr_avgy": lambda moments: _some(moments.mean[0], moments),
    "regr_avgx": lambda moments: _some(moments.mean[1], moments),
    "regr_sxx": lambda moments: _some(moments.spread[1], moments),
    "regr_syy": lambda moments: _some(moments.spread[0], moments),
    "regr_sxy": lambda moments: _some(moments.common, moments),
    "regr_slope": _slope,
    "regr_intercept": _intercept,
    "regr_r2": _determination,
}
"""In regr_…(y, x) the second argument is x."""
