"""MIN, MAX, quantiles over rows that come and go: the values of each group, kept in order.

    Δf = f(range after) − f(range before)

One arrangement of values serves all such calls of one column: MIN and MAX read an end of a group's range,
quantiles read at a rank.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.contracts.schema import Column, Schema
from headrace.engine.aggregates.part import GroupBatch, Part, Result
from headrace.engine.columns import I64, U64, Bools
from headrace.engine.fma import F64, fused_multiply_add
from headrace.engine.growable import Growable
from headrace.engine.order import is_exact, order_word, value_of
from headrace.engine.ordered import Bounds, OrderedValues
from headrace.engine.ranks import words_at
from headrace.sql.plan import AggCall, OrderKey

_SIGN = np.uint64(1 << 63)
_DISCRETE = ("quantile_disc", "quantile", "percentile_disc")
_CONTINUOUS = ("quantile_cont", "median", "percentile_cont")
_SIMPLE_TYPES = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "DOUBLE")


def serves(call: AggCall, schema: Schema) -> bool:
    """Whether this part gives the answer to a call."""
    if len(call.args) != 1 or call.distinct or not is_exact(schema[call.args[0]].arrow):
        return False
    if call.func in ("min", "max"):
        return not call.params
    if call.order and call.order != (OrderKey(call.args[0]),):
        return False  # DESC turns the fraction round
    if call.func in _DISCRETE + _CONTINUOUS and fractions_of(call) is not None:
        kind = schema[call.args[0]].sql_type
        return call.func in _DISCRETE or kind in _SIMPLE_TYPES or kind.startswith("DECIMAL")
    return False


@cache
def fractions_of(call: AggCall) -> tuple[Fraction, ...] | None:
    """Return the constant fractions of a quantile, between 0 and 1, or None where it has others or none."""
    if call.func == "median":
        return (Fraction(1, 2),)
    text = call.params[0] if call.params else ""
    try:
        parts = text.removeprefix("list_value").split(",") if _is_list(call) else [text]
        found = tuple(Fraction(part.strip("() ")) for part in parts)
    except (ValueError, ZeroDivisionError):
        return None
    return found if all(0 <= fraction <= 1 for fraction in found) else None


def _is_list(call: AggCall) -> bool:
    return bool(call.params) and call.params[0].startswith("list_value(")


class OrderedPart(Part):
    """All calls that read one ordered column."""

    rule = "ordered range"
    recycles = True

    def __init__(self, calls: list[AggCall], argument: Column, output: Schema) -> None:
        self._calls = calls
        self._kind = argument.arrow
        self._outputs = [output[call.name].arrow for call in calls]
        self._reads = [(call, fraction) for call in calls for fraction in fractions_of(call) or (None,)]
        self._values = OrderedValues()
        self._counts: Growable[np.int64] = Growable(np.int64)
        self._words = [Growable(np.uint64) for _ in self._reads]

    @override
    def update(self, batch: GroupBatch) -> None:
        self._resize(batch.size)
        rows, slots, weights = batch.chosen(self._calls[0])
        words = order_word(batch.rows.column(self._calls[0].args[0]))[rows]
        self._values.insert(slots, words, weights)
        np.add.at(self._counts.data, slots, weights)
        bounds = self._values.bounds(batch.touched)
        for (call, fraction), kept in zip(self._reads, self._words, strict=True):
            kept.data[batch.touched] = self._read(call, fraction, batch.touched, bounds)

    def _resize(self, size: int) -> None:
        self._counts.resize(size)
        for kept in self._words:
            kept.resize(size)

    def _read(self, call: AggCall, fraction: Fraction | None, slots: I64, bounds: Bounds) -> U64:
        """Return the result of a call per slot, as the word of a value or the bits of a double."""
        if fraction is None:
            return self._values.first(slots, last=call.func == "max", bounds=bounds)[0]
        counts = self._counts.data[slots]
        if call.func in _DISCRETE:
            ranks = -(-counts * fraction.numerator // fraction.denominator) - 1
            return words_at(bounds, [np.maximum(ranks, 0)])[0]
        return self._interpolated(counts, float(fraction), bounds)

    def _interpolated(self, counts: I64, fraction: float, bounds: Bounds) -> U64:
        ranks = np.maximum(counts - 1, 0) * fraction
        below = np.floor(ranks)
        ends = [below.astype(np.int64), np.ceil(ranks).astype(np.int64)]
        low, high = (self._numbers(words) for words in words_at(bounds, ends))
        share = ranks - below
        with np.errstate(invalid="ignore", over="ignore"):
            if pa.types.is_decimal(self._kind):  # as DuckDB does for what it keeps as integers
                between = fused_multiply_add(high - low, share, low)
            else:
                between = fused_multiply_add(low, 1.0 - share, high * share)
        return np.where(share == 0, low, between).view(np.uint64)

    def _numbers(self, words: U64) -> F64:
        """Return values as doubles; decimals as their units."""
        if pa.types.is_floating(self._kind):
            bits = np.where(words & _SIGN, words ^ _SIGN, ~words)
            return bits.view(np.float64)
        return (words ^ _SIGN).view(np.int64).astype(np.float64)

    @override
    def results(self, batch: GroupBatch) -> list[Result]:
        self._resize(batch.size)
        known = self._counts.data[batch.touched] > 0
        found = []
        kept = iter(self._words)
        for call, output in zip(self._calls, self._outputs, strict=True):
            kind = output.value_type if _is_list(call) else output
            parts = [
                self._values_of(call, next(kept).data[batch.touched], kind, known)
                for _ in fractions_of(call) or (None,)
            ]
            found.append(Result(_listed(parts, output, known) if _is_list(call) else parts[0]))
        return found

    def _values_of(self, call: AggCall, words: U64, kind: pa.DataType, known: Bools) -> pa.Array:
        if call.func not in _CONTINUOUS:
            return value_of(words, self._kind, known)
        if pa.types.is_decimal(kind):
            numbers = np.trunc(words.view(np.float64)).astype(np.int64)
            return value_of(numbers.view(np.uint64) ^ _SIGN, kind, known)
        return pa.array(words.view(np.float64), mask=~known)

    @override
    def release(self, slots: I64, dead: Bools) -> None:
        self._values.release(dead)
        self._counts.clear(slots)
        for kept in self._words:
            kept.clear(slots)

    @property
    @override
    def state_rows(self) -> int:
        return self._values.row_count

    @property
    @override
    def nbytes(self) -> int:
        return self._values.nbytes + sum(kept.nbytes for kept in self._words)


def _listed(parts: list[pa.Array], kind: pa.DataType, known: Bools) -> pa.Array:
    """Return one list per group of its values in several columns; NULL where the group has none."""
    count, width = len(known), len(parts)
    order = (np.arange(count)[:, None] + count * np.arange(width)[None, :]).ravel()
    values = pa.concat_arrays([part.cast(kind.value_type) for part in parts]).take(pa.array(order))
    offsets = pa.array(np.arange(0, (count + 1) * width, width, dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, values, type=kind, mask=pa.array(~known))
