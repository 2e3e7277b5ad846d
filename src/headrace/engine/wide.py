"""Exact sums by slot: integers of 128 bits, and doubles without rounding.

A number is a sum of limbs in base 2^32, each in an int64 of its own, so that adding and taking back many
values is plain integer addition; carries are resolved only when a result is read. (For doubles this is the
long accumulator of Kulisch, restricted to the limbs in use.)
"""

from __future__ import annotations

from fractions import Fraction
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt

from headrace.engine.columns import I64, U64, Bools
from headrace.engine.growable import Growable

F64 = npt.NDArray[np.float64]
_LOW = np.int64(0xFFFFFFFF)
_32 = np.int64(32)
FEW_SLOTS = 32
"""Sums of so many slots are read as Python's integers: a handful of those costs less than NumPy's calls."""
_PLAIN_LIMBS = 28
"""Within so many limbs a sum is neither subnormal nor beyond the largest double, whatever its unit."""


class WideSums:
    """Sums of integers of 64 bits (two limbs) or 128 bits (four limbs), exact, one per slot."""

    def __init__(self, limbs: int) -> None:
        self._limbs = [Growable(np.int64) for _ in range(limbs)]

    def resize(self, size: int) -> None:
        """Make room for `size` slots."""
        for limb in self._limbs:
            limb.resize(size)

    def clear(self, slots: I64) -> None:
        """Set the sums of those slots to zero."""
        for limb in self._limbs:
            limb.clear(slots)

    def merge(self, into: I64, slots: I64) -> None:
        """Add the sums of some slots to those of others, pair by pair."""
        for limb in self._limbs:
            np.add.at(limb.data, into, limb.data[slots])

    def add(self, slots: I64, low: I64, high: I64 | None, weights: I64) -> None:
        """Add `weights * value`, where the value is `low`, or `high * 2^64 + low` (low taken as unsigned)."""
        parts = [low & _LOW, low >> _32]
        if high is not None:
            parts = [low & _LOW, (low >> _32) & _LOW, high & _LOW, high >> _32]
        for limb, part in zip(self._limbs, parts, strict=True):
            np.add.at(limb.data, slots, part * weights)

    def words(self, slots: I64) -> tuple[U64, I64, Bools]:
        """Return low and high word of the sums, and where they do not fit 128 bits."""
        carry = np.zeros(len(slots), dtype=np.int64)
        digits = []
        for limb in self._limbs[:-1]:
            total = limb.data[slots] + carry
            digits.append(total & _LOW)
            carry = total >> _32
        top = self._limbs[-1].data[slots] + carry
        if len(self._limbs) == 2:
            low = digits[0] | ((top & _LOW) << _32)
            return low.view(np.uint64), top >> _32, np.zeros(len(slots), dtype=np.bool_)
        low = digits[0] | (digits[1] << _32)
        over = (top > np.int64(2**31 - 1)) | (top < np.int64(-(2**31)))
        return low.view(np.uint64), digits[2] | (top << _32), over

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(limb.nbytes for limb in self._limbs)


class FloatSums:
    """Sums of doubles, exact under retraction and rounded once when read, one per slot."""

    def __init__(self) -> None:
        self._size = 0
        self._bins: dict[int, Growable[np.int64]] = {}
        self._special: dict[str, Growable[np.int64]] = {}

    def resize(self, size: int) -> None:
        """Make room for `size` slots."""
        self._size = size
        for limb in (*self._bins.values(), *self._special.values()):
            limb.resize(size)

    def clear(self, slots: I64) -> None:
        """Set the sums of those slots to zero."""
        for limb in (*self._bins.values(), *self._special.values()):
            limb.clear(slots)

    def merge(self, into: I64, slots: I64) -> None:
        """Add the sums of some slots to those of others, pair by pair."""
        for limb in (*self._bins.values(), *self._special.values()):
            np.add.at(limb.data, into, limb.data[slots])

    def add(self, slots: I64, values: F64, weights: I64) -> None:
        """Add `weights * value`; NaN and infinities are counted apart."""
        finite = np.isfinite(values)
        if not finite.all():
            self._add_special(slots, values, weights)
            slots, values, weights = slots[finite], values[finite], weights[finite]
        fractions, exponents = np.frexp(values)
        mantissas = np.ldexp(fractions, 53).astype(np.int64)
        exponents = exponents.astype(np.int64) - 53
        bins, shifts = exponents >> 5, exponents & 31
        low = (mantissas & _LOW).view(np.uint64) << shifts.view(np.uint64)
        high = (mantissas >> _32) << shifts
        parts = (
            (low & np.uint64(_LOW)).view(np.int64),
            (low >> np.uint64(32)).view(np.int64) + (high & _LOW),
            high >> _32,
        )
        for number in np.unique(bins).tolist():
            rows: Any = slice(None) if bins[0] == number and (bins == number).all() else bins == number
            for offset, part in enumerate(parts):
                self._add_limb(number + offset, slots[rows], (part * weights)[rows])

    def _add_limb(self, number: int, slots: I64, values: I64) -> None:
        if not values.any():
            return
        if number not in self._bins:
            self._bins[number] = Growable(np.int64)
            self._bins[number].resize(self._size)
        np.add.at(self._bins[number].data, slots, values)

    def _add_special(self, slots: I64, values: F64, weights: I64) -> None:
        for name, rows in (("nan", np.isnan(values)), ("+", values == np.inf), ("-", values == -np.inf)):
            if rows.any():
                if name not in self._special:
                    self._special[name] = Growable(np.int64)
                    self._special[name].resize(self._size)
                np.add.at(self._special[name].data, slots[rows], weights[rows])

    def totals(self, slots: I64) -> F64:
        """Return the sums, each the double nearest to the exact value."""
        sums = self._finite(slots)
        if self._special:
            nan, plus, minus = (self._count(name, slots) for name in ("nan", "+", "-"))
            sums = np.where(plus > 0, np.inf, np.where(minus > 0, -np.inf, sums))
            sums = np.where((nan > 0) | ((plus > 0) & (minus > 0)), np.nan, sums)
        return sums

    def is_special(self, slots: I64) -> Bools:
        """Return which slots hold NaN or an infinity."""
        special = np.zeros(len(slots), dtype=np.bool_)
        for counts in self._special.values():
            special |= counts.data[slots] > 0
        return special

    def pairs(self, slots: I64) -> tuple[F64, F64]:
        """Return the finite sums as unevaluated sums of two doubles, 106 bits together."""
        whole = self._whole(slots)
        if whole is not None:
            highs = [float(total) for total in whole]
            rests = [float(total - int(high)) for total, high in zip(whole, highs, strict=True)]
            return self._scaled(highs), self._scaled(rests)
        high = self._finite(slots)
        rest = FloatSums()
        rest.resize(len(slots))
        for number, limb in self._bins.items():
            rest._bins[number] = Growable(np.int64)
            rest._bins[number].extend(limb.data[slots])
        rows = np.arange(len(slots))
        rest.add(rows, high, np.full(len(slots), -1))
        return high, rest._finite(rows)

    def exact(self, slot: int) -> Fraction:
        """Return the finite sum of one slot without rounding."""
        total = Fraction(0)
        for number, limb in self._bins.items():
            total += int(limb.data[slot]) * Fraction(2) ** (32 * number)
        return total

    def _count(self, name: str, slots: I64) -> I64:
        counts = self._special.get(name)
        return np.zeros(len(slots), dtype=np.int64) if counts is None else counts.data[slots]

    def _finite(self, slots: I64) -> F64:
        if not self._bins:
            return np.zeros(len(slots), dtype=np.float64)
        whole = self._whole(slots)
        if whole is not None:
            return self._scaled([float(total) for total in whole])
        lowest, highest = min(self._bins), max(self._bins)
        limbs = np.zeros((highest - lowest + 3, len(slots)), dtype=np.int64)
        for number, limb in self._bins.items():
            limbs[number - lowest] = limb.data[slots]
        negative = _carry(limbs)[-1] < 0
        limbs[:, negative] *= -1
        digits = _carry(limbs)
        sums = _round(digits, lowest)
        return np.where(negative, -sums, sums)

    def _whole(self, slots: I64) -> list[int] | None:
        """Return the finite sums of a few slots as multiples of the lowest limb's unit: Python's integers
        round to the nearest double by themselves, where that is neither infinite nor subnormal.
        """
        if len(slots) > FEW_SLOTS or not self._bins:
            return None
        lowest, highest = min(self._bins), max(self._bins)
        if lowest < -_PLAIN_LIMBS or highest - min(lowest, 0) > _PLAIN_LIMBS:
            return None
        totals = [0] * len(slots)
        for number in range(highest, lowest - 1, -1):
            limb = self._bins.get(number)
            values = repeat(0, len(slots)) if limb is None else limb.data[slots].tolist()
            totals = [(total << 32) + value for total, value in zip(totals, values, strict=True)]
        return totals

    def _scaled(self, multiples: list[float]) -> F64:
        scaled: F64 = np.array(multiples, dtype=np.float64) * 2.0 ** (32 * min(self._bins))
        return scaled

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(limb.nbytes for limb in (*self._bins.values(), *self._special.values()))


def _carry(limbs: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the limbs with every digit but the last in [0, 2^32)."""
    digits = np.empty_like(limbs)
    carry = np.zeros(limbs.shape[1], dtype=np.int64)
    for at in range(len(limbs) - 1):
        total = limbs[at] + carry
        digits[at] = total & _LOW
        carry = total >> _32
    digits[-1] = limbs[-1] + carry
    return digits


def _round(digits: npt.NDArray[np.int64], lowest: int) -> F64:
    """Return the doubles nearest to numbers given by non-negative digits, the least significant first."""
    count = digits.shape[1]
    top = np.zeros(count, dtype=np.uint64)
    sticky = np.zeros(count, dtype=np.bool_)
    taken = np.zeros(count, dtype=np.int64)
    exponent = np.zeros(count, dtype=np.int64)
    for at in range(len(digits) - 1, -1, -1):
        digit = digits[at].view(np.uint64)
        third = taken == 2
        sticky |= (taken == 3) & (digit != 0)
        more = (taken == 1) | ((taken == 0) & (digit != 0))
        if third.any():
            room = _leading_zeros(top)
            rest = np.uint64(32) - room
            sticky |= third & ((digit & ((np.uint64(1) << rest) - np.uint64(1))) != 0)
            top = np.where(third, (top << room) | (digit >> rest), top)
            exponent = np.where(third, 32 * (at + lowest) + rest.astype(np.int64), exponent)
        top = np.where(more, (top << np.uint64(32)) | digit, top)
        exponent = np.where(more, 32 * (at + lowest), exponent)
        taken += more | third
    with np.errstate(over="ignore", under="ignore"):
        sums: F64 = np.ldexp((top | sticky.astype(np.uint64)).astype(np.float64), exponent)
    return sums


def _leading_zeros(words: U64) -> U64:
    """Return how many of the upper 32 bits are zero before the first one, at most 31."""
    upper = (words >> np.uint64(32)).astype(np.float64)
    return np.where(upper > 0, 32 - np.frexp(upper)[1], 31).astype(np.uint64)
