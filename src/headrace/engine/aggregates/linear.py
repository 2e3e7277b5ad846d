"""COUNT, SUM, AVG and their compensated forms: accumulators that changes are added to.

acc(R + ΔR) = acc(R) + acc(ΔR)        (linear)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from typing_extensions import override

from headrace.contracts.schema import Column
from headrace.engine.aggregates.part import GroupBatch, Part, Result
from headrace.engine.columns import I64, U64, Bools, values
from headrace.engine.doubles import decimal_words
from headrace.engine.growable import Tally
from headrace.engine.wide import F64, FloatSums, WideSums
from headrace.sql.plan import AggCall

_TEN_38 = 10**38
_LIMIT_HIGH, _LIMIT_LOW = np.int64(_TEN_38 >> 64), np.uint64(_TEN_38 & (2**64 - 1))


class CountPart(Part):
    """`count(*)` and `count(x)`."""

    recycles = True
    merges = True

    def __init__(self, call: AggCall) -> None:
        self._call = call
        self._counts = Tally()

    @override
    def update(self, batch: GroupBatch) -> None:
        self._counts.resize(batch.size)
        _, slots, weights = batch.chosen(self._call)
        self._counts.add(slots, weights)

    @override
    def results(self, batch: GroupBatch) -> list[Result]:
        self._counts.resize(batch.size)
        return [Result(pa.array(self._counts.at(batch.touched)))]

    @override
    def release(self, slots: I64, dead: Bools) -> None:
        self._counts.clear(slots)

    @override
    def merge(self, into: I64, slots: I64) -> None:
        self._counts.merge(into, slots)

    @override
    @property
    def nbytes(self) -> int:
        return self._counts.nbytes


class SumPart(Part):
    """`sum(x)`, `avg(x)` over integers, decimals and floating-point numbers, each with its count of
    values.
    """

    recycles = True
    merges = True

    def __init__(self, call: AggCall, argument: Column, output: Column) -> None:
        self._call = call
        self._output = output
        self._average = call.func in ("avg", "kahan_avg")
        self._compensated = call.func.startswith("kahan")
        self._kind = argument.arrow
        self._counts = Tally()
        self._scale = argument.arrow.scale if pa.types.is_decimal(argument.arrow) else 0
        self._floats = FloatSums() if pa.types.is_floating(argument.arrow) else None
        self._is_bounded = pa.types.is_decimal(argument.arrow) and output.sql_type != "HUGEINT"
        wide = pa.types.is_decimal(argument.arrow) or argument.arrow == pa.uint64()
        self._wide = WideSums(4 if wide else 2)

    def _resize(self, size: int) -> None:
        self._counts.resize(size)
        (self._wide if self._floats is None else self._floats).resize(size)

    @override
    def update(self, batch: GroupBatch) -> None:
        self._resize(batch.size)
        rows, slots, weights = batch.chosen(self._call)
        if len(slots) == 0:
            return
        self._counts.add(slots, weights)
        column = batch.rows.column(self._call.args[0])
        if self._floats is not None:
            self._floats.add(slots, values(column).astype(np.float64)[rows], weights)
            return
        low, high = _integer_words(column)
        self._wide.add(slots, low[rows], None if high is None else high[rows], weights)

    @override
    def results(self, batch: GroupBatch) -> list[Result]:
        self._resize(batch.size)
        counts = self._counts.at(batch.touched)
        empty = counts == 0
        if self._floats is not None:
            sums = self._floats.totals(batch.touched)
            if self._compensated:  # Kahan's compensation turns an infinity into NaN
                sums = np.where(self._floats.is_special(batch.touched), np.nan, sums)
            return [Result(pa.array(_divided(sums, counts) if self._average else sums, mask=empty))]
        low, high, over = self._wide.words(batch.touched)
        if self._average:
            return [Result(pa.array(self._averages(low, high, counts), mask=empty))]
        if pa.types.is_floating(self._output.arrow):  # UHUGEINT
            return [Result(pa.array(self._averages(low, high, np.ones_like(counts)), mask=empty))]
        return [self._exact(low, high, over, empty)]

    @override
    def release(self, slots: I64, dead: Bools) -> None:
        self._counts.clear(slots)
        (self._wide if self._floats is None else self._floats).clear(slots)

    @override
    def merge(self, into: I64, slots: I64) -> None:
        self._counts.merge(into, slots)
        (self._wide if self._floats is None else self._floats).merge(into, slots)

    def _averages(self, low: U64, high: I64, counts: I64) -> F64:
        total = high.astype(np.longdouble) * np.longdouble(2.0**64) + low.astype(np.longdouble)
        divisor = np.maximum(counts, 1).astype(np.longdouble) * np.longdouble(10**self._scale)
        averages: F64 = (total / divisor).astype(np.float64)
        return averages

    def _exact(self, low: U64, high: I64, over: Bools, empty: Bools) -> Result:
        if self._is_bounded and (high.max(initial=0) >= _LIMIT_HIGH or high.min(initial=0) <= -_LIMIT_HIGH):
            over |= _beyond_38_digits(low, high)
        array = decimal_array(low, high, self._output.arrow, ~empty & ~over)
        if not over.any():
            return Result(array)
        return Result(
            array,
            over,
            f"Out of Range Error: Overflow in SUM: the result does not fit in {self._output.sql_type}",
        )

    @override
    @property
    def nbytes(self) -> int:
        sums = self._wide if self._floats is None else self._floats
        return self._counts.nbytes + sums.nbytes


def _divided(sums: F64, counts: I64) -> F64:
    with np.errstate(over="ignore", invalid="ignore"):
        return sums / np.maximum(counts, 1)


def _integer_words(column: pa.Array) -> tuple[I64, I64 | None]:
    """Return integers or decimals as low words, with high words where they have more than 64 bits."""
    if pa.types.is_decimal(column.type):
        return decimal_words(column)
    raw_values: npt.NDArray[Any] = values(column)
    if raw_values.dtype == np.uint64:
        return raw_values.view(np.int64), np.zeros(len(column), dtype=np.int64)
    return raw_values.astype(np.int64, copy=False), None


def _beyond_38_digits(low: U64, high: I64) -> Bools:
    negative = high < 0
    magnitude_low = np.where(negative, ~low + np.uint64(1), low)
    magnitude_high = np.where(negative, ~high + (low == 0), high)
    beyond: Bools = (magnitude_high > _LIMIT_HIGH) | (
        (magnitude_high == _LIMIT_HIGH) & (magnitude_low >= _LIMIT_LOW)
    )
    return beyond


def decimal_array(low: U64, high: I64, kind: pa.DataType, valid: Bools) -> pa.Array:
    """Return 128-bit integers as an Arrow column of a decimal or integer type."""
    if pa.types.is_integer(kind):
        return pa.array(low.view(np.int64), mask=~valid).cast(kind)
    pairs = np.empty((len(low), 2), dtype=np.int64)
    pairs[:, 0] = low.view(np.int64)
    pairs[:, 1] = high
    bitmap = None
    if not valid.all():
        bitmap = pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    return pa.Array.from_buffers(kind, len(low), [bitmap, pa.py_buffer(pairs)])
