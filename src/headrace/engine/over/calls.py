"""What each window function answers over rows in order.

A running call sees the rows before the first changed one only through its last answer to them: the carrier of
a segment stands for all rows up to it, with the value that is stored beside it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from typing_extensions import override

from headrace.contracts.schema import Schema
from headrace.engine.aggregates.linear import decimal_array
from headrace.engine.columns import I64, Bools, nonzero, validity, values
from headrace.engine.doubles import decimal_words
from headrace.engine.duck import Duck
from headrace.engine.order import is_exact, sort_columns
from headrace.engine.over.reach import Reach
from headrace.engine.over.reduce import F64, float_sums, mask_of, maxima, sums
from headrace.engine.over.sequence import RowsInOrder
from headrace.sql.plan import Frame, OrderKey, Over, OverCall

NUMBER = "_number"
"""Stored beside every row where a call counts positions: its place in the partition, from 1."""
_WIDE = pa.decimal128(38, 0)
_32 = np.int64(0xFFFFFFFF)
_ROWS_MAX = 100_000
"""Frames that look further are not for these rules."""


class Call(ABC):
    """One window function.

    Attributes:
        reach: how far its frames look.
        hidden: columns stored beside its own, by name.
        counts: whether it needs the place of each row in its partition.
    """

    counts = False

    def __init__(self, call: OverCall, schema: Schema, reach: Reach) -> None:
        self.call = call
        self.kind = schema[call.name].arrow
        self.reach = reach
        self.hidden: dict[str, pa.DataType] = {}

    @abstractmethod
    def answer(self, view: RowsInOrder) -> dict[str, pa.Array]:
        """Return its column, and the hidden ones, for all rows."""

    def _frames(self, view: RowsInOrder) -> tuple[I64, I64]:
        assert self.call.frame is not None
        return view.frame(self.call.frame, self.call.peers)

    def _taken(self, view: RowsInOrder) -> Bools:
        """Return which rows the call takes in: argument not NULL, filter TRUE, no carrier for it."""
        taken = np.ones(len(view), dtype=np.bool_)
        for name in self.call.args[:1]:
            taken &= mask_of(validity(view.rows.column(name)), len(view))
        if self.call.filter is not None:
            flags = pc.fill_null(view.rows.column(self.call.filter), False)
            taken &= flags.to_numpy(zero_copy_only=False)
        return taken & view.own if self.reach.running else taken

    def _carried(self, view: RowsInOrder, name: str) -> pa.Array:
        """Return what is stored for the carriers."""
        return view.stored.column(name)


class CountCall(Call):
    """`count(*)` and `count(x)`."""

    @override
    def answer(self, view: RowsInOrder) -> dict[str, pa.Array]:
        numbers = self._taken(view).astype(np.int64)
        if self.reach.running:
            numbers[view.carriers] = values(self._carried(view, self.call.name))
        return {self.call.name: pa.array(sums(numbers, *self._frames(view)))}


class WholeSumCall(Call):
    """`sum(x)` and `avg(x)` over integers and decimals of up to 18 digits, exact."""

    def __init__(self, call: OverCall, schema: Schema, reach: Reach, argument: pa.DataType) -> None:
        super().__init__(call, schema, reach)
        self._is_average = call.func == "avg"
        self._scale = argument.scale if pa.types.is_decimal(argument) else 0
        self._sum, self._count = f"{call.name}_sum", f"{call.name}_count"
        if reach.running and self._is_average:
            self.hidden = {self._sum: _WIDE, self._count: pa.int64()}

    @override
    def answer(self, view: RowsInOrder) -> dict[str, pa.Array]:
        taken = self._taken(view)
        column = view.rows.column(self.call.args[0])
        decimal = pa.types.is_decimal(column.type)
        raw = decimal_words(column)[0] if decimal else values(column).astype(np.int64)
        raw = np.where(taken, raw, 0)
        limbs = [raw & _32, raw >> 32, np.zeros(len(view), dtype=np.int64)]
        counts = taken.astype(np.int64)
        if self.reach.running:
            self._carry(view, limbs, counts)
        low, high = self._frames(view)
        count = sums(counts, low, high)
        words = _words(*(sums(limb, low, high) for limb in limbs))
        return self._columns(words, count)

    def _carry(self, view: RowsInOrder, limbs: list[I64], counts: I64) -> None:
        stored = self._carried(view, self._sum if self._is_average else self.call.name)
        low, high = decimal_words(stored)
        known = mask_of(validity(stored), len(stored))
        for limb, part in zip(limbs, (low & _32, (low >> 32) & _32, high), strict=True):
            limb[view.carriers] = np.where(known, part, 0)
        counts[view.carriers] = values(self._carried(view, self._count)) if self._is_average else known

    def _columns(self, words: tuple[I64, I64], count: I64) -> dict[str, pa.Array]:
        low, high = words[0].view(np.uint64), words[1]
        if not self._is_average:
            return {self.call.name: decimal_array(low, high, self.kind, count > 0)}
        total = high.astype(np.longdouble) * np.longdouble(2.0**64) + low.astype(np.longdouble)
        divisor = np.maximum(count, 1).astype(np.longdouble) * np.longdouble(10**self._scale)
        found = {self.call.name: pa.array((total / divisor).astype(np.float64), mask=count == 0)}
        if self.hidden:
            found[self._sum] = decimal_array(low, high, _WIDE, np.ones(len(count), dtype=np.bool_))
            found[self._count] = pa.array(count)
        return found


class FloatSumCall(Call):
    """`sum(x)` and `avg(x)` over floating-point numbers, in pairs of doubles."""

    def __init__(self, call: OverCall, schema: Schema, reach: Reach) -> None:
        super().__init__(call, schema, reach)
        self._names = [f"{call.name}_{part}" for part in ("high", "low", "count")]
        if reach.running:
            kinds = (pa.float64(), pa.float64(), pa.int64())
            self.hidden = dict(zip(self._names, kinds, strict=True))

    @override
    def answer(self, view: RowsInOrder) -> dict[str, pa.Array]:
        taken = self._taken(view)
        numbers = np.where(taken, values(view.rows.column(self.call.args[0])).astype(np.float64), 0.0)
        rest = np.zeros(len(view))
        counts = taken.astype(np.int64)
        if self.reach.running:
            numbers[view.carriers] = values(self._carried(view, self._names[0]))
            rest[view.carriers] = values(self._carried(view, self._names[1]))
            counts[view.carriers] = values(self._carried(view, self._names[2]))
        low, high = self._frames(view)
        special = ~np.isfinite(numbers)
        total, lost = float_sums(np.where(special, 0.0, numbers), rest, low, high)
        if special.any():
            total = _with_specials(numbers, total, low, high)
            lost = np.where(np.isfinite(total), lost, 0.0)
        count = sums(counts, low, high)
        with np.errstate(over="ignore", invalid="ignore"):
            answer = total / np.maximum(count, 1) if self.call.func == "avg" else total
        found = {self.call.name: pa.array(answer, mask=count == 0)}
        if self.hidden:
            parts = (pa.array(total), pa.array(lost), pa.array(count))
            found |= dict(zip(self._names, parts, strict=True))
        return found


class BestCall(Call):
    """`min(x)` and `max(x)` of any type."""

    @override
    def answer(self, view: RowsInOrder) -> dict[str, pa.Array]:
        column = view.rows.column(self.call.args[0])
        taken = self._taken(view)
        if self.reach.running:
            stored = self._carried(view, self.call.name)
            column = _replaced(column, view.carriers, stored)
            taken[view.carriers] = mask_of(validity(stored), len(stored))
        words = sort_columns(column, OrderKey("x"))[-1]
        _, examples, ranks = np.unique(words[taken], return_index=True, return_inverse=True)
        if self.call.func == "min":
            ranks, examples = len(examples) - 1 - ranks, examples[::-1]
        numbers = np.full(len(view), -1, dtype=np.int64)
        numbers[taken] = ranks
        low, high = self._frames(view)
        if self.reach.running:
            spread = view.segments * (len(examples) + 1) + numbers + 1
            best = (np.maximum.accumulate(spread) % (len(examples) + 1))[high] - 1
        else:
            best = maxima(numbers, low, high)
        places = nonzero(taken)[examples] if len(examples) else np.zeros(1, dtype=np.int64)
        return {self.call.name: column.take(pa.array(places[best], mask=best < 0))}


class EdgeCall(Call):
    """`first_value(x)` and `last_value(x)`."""

    @override
    def answer(self, view: RowsInOrder) -> dict[str, pa.Array]:
        column = view.rows.column(self.call.args[0])
        low, high = self._frames(view)
        empty = high < low
        if self.call.func == "last_value":
            return {self.call.name: column.take(pa.array(high, mask=empty))}
        if self.reach.running:
            column = _replaced(column, view.carriers, self._carried(view, self.call.name))
            carrier = np.full(len(view) + 1, -1, dtype=np.int64)
            carrier[view.first[view.carriers]] = view.carriers
            low = np.where(carrier[view.first] >= 0, carrier[view.first], low)
        return {self.call.name: column.take(pa.array(low, mask=empty))}


class KnownEdgeCall(Call):
    """`first_value(x IGNORE NULLS)` and `last_value(x IGNORE NULLS)`, from the beginning of the partition."""

    @override
    def answer(self, view: RowsInOrder) -> dict[str, pa.Array]:
        column = view.rows.column(self.call.args[0])
        known = self._taken(view)
        stored = self._carried(view, self.call.name)
        column = _replaced(column, view.carriers, stored)
        known[view.carriers] = mask_of(validity(stored), len(stored))
        _, high = self._frames(view)
        here = np.arange(len(view), dtype=np.int64)
        if self.call.func == "last_value":
            place = np.maximum.accumulate(np.where(known, here, -1))[high]
            found = place >= view.first
        else:
            later = np.minimum.accumulate(np.where(known, here, len(view))[::-1])[::-1]
            place = later[view.first]
            found = place <= high
        return {self.call.name: column.take(pa.array(place, mask=~found))}


class KnownLagCall(Call):
    """`lag(x IGNORE NULLS)`: the last value before the row."""

    def __init__(self, call: OverCall, schema: Schema) -> None:
        super().__init__(call, schema, Reach(running=True))
        self._last = f"{call.name}_last"
        self.hidden = {self._last: self.kind}

    @override
    def answer(self, view: RowsInOrder) -> dict[str, pa.Array]:
        column = view.rows.column(self.call.args[0]).cast(self.kind)
        known = self._taken(view)
        stored = self._carried(view, self._last)
        column = _replaced(column, view.carriers, stored)
        known[view.carriers] = mask_of(validity(stored), len(stored))
        last = np.maximum.accumulate(np.where(known, np.arange(len(view), dtype=np.int64), -1))
        before = np.append(-1, last[:-1])[: len(view)]
        return {
            self.call.name: column.take(pa.array(before, mask=before < view.first)),
            self._last: column.take(pa.array(last, mask=last < view.first)),
        }


class ShiftCall(Call):
    """`lag(x, n, default)` and `lead(x, n, default)`; the default is a column of one row: a checkpoint reads
    no single value of an ENUM.
    """

    def __init__(self, call: OverCall, schema: Schema, reach: Reach, step: int, default: pa.Array) -> None:
        super().__init__(call, schema, reach)
        self._step = step
        self._default = default

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if isinstance(self._default, pa.Scalar):  # of a checkpoint from before
            self._default = pa.repeat(self._default, 1)

    @override
    def answer(self, view: RowsInOrder) -> dict[str, pa.Array]:
        column = view.rows.column(self.call.args[0]).cast(self.kind)
        target = np.arange(len(view)) + self._step
        outside = (target < view.first) | (target > view.last)
        moved = column.take(pa.array(target, mask=outside))
        if self._default.null_count == 0:
            moved = pc.if_else(pa.array(outside), self._default[0], moved)
        return {self.call.name: moved}


class RankCall(Call):
    """`row_number()`, `rank()` and `dense_rank()`."""

    counts = True

    @override
    def answer(self, view: RowsInOrder) -> dict[str, pa.Array]:
        first_peer, _ = view.peers(self.call.peers)
        if self.call.func == "dense_rank":
            steps = (first_peer == np.arange(len(view))) & view.own
            numbers = steps.astype(np.int64)
            numbers[view.carriers] = values(self._carried(view, self.call.name))
            return {self.call.name: pa.array(sums(numbers, view.first, np.arange(len(view))))}
        numbers = positions(view)
        return {self.call.name: pa.array(numbers if self.call.func == "row_number" else numbers[first_peer])}


def positions(view: RowsInOrder) -> I64:
    """Return the place of each row in its partition, from 1; before the carriers it has no meaning."""
    numbers = view.own.astype(np.int64)
    numbers[view.carriers] = values(view.stored.column(NUMBER))
    return sums(numbers, view.first, np.arange(len(view)))


def _words(first: I64, second: I64, third: I64) -> tuple[I64, I64]:
    """Return low and high word of first + 2^32 second + 2^64 third."""
    carried = second + (first >> 32)
    return (first & _32) | ((carried & _32) << 32), third + (carried >> 32)


def _with_specials(numbers: F64, finite: F64, low: I64, high: I64) -> F64:
    """Return sums that hold NaN or infinities as floating-point addition has them."""
    nan, plus, minus = (
        sums(flags.astype(np.int64), low, high) > 0
        for flags in (np.isnan(numbers), numbers == np.inf, numbers == -np.inf)
    )
    total = np.where(plus, np.inf, np.where(minus, -np.inf, finite))
    return np.where(nan | (plus & minus), np.nan, total)


def _replaced(column: pa.Array, at: I64, new: pa.Array) -> pa.Array:
    """Return a column with other values at some rows."""
    if len(at) == 0:
        return column
    places = np.arange(len(column))
    places[at] = len(column) + np.arange(len(at))
    return pa.concat_arrays([column, new.cast(column.type)]).take(pa.array(places))


# --- which call has a rule
# ------------------------------------------------------------------------------------------------------
def reach_of(node: Over, call: OverCall) -> Reach | None:
    """Return how far a call looks that DuckDB can answer around a changed row, None where it has no bound."""
    if call.near is None or call.near_sql is None:
        return None
    return _reach(node, call.near, turned=True)


def rule_for(node: Over, call: OverCall) -> Call | None:
    """Return the rule for one call of a node, or None where it has none."""
    if call.frame is None or not node.order:
        return None
    kinds: Mapping[str, pa.DataType] = {c.name: c.arrow for c in node.input.schema}
    if call.func in ("row_number", "rank", "dense_rank"):
        return None if call.args or call.filter else RankCall(call, node.schema, Reach(running=True))
    if call.ignore_nulls:
        return _known(node, call)
    if call.func in ("lag", "lead"):
        return _shift(node, call)
    reach = _reach(node, call.frame)
    if reach is None or len(call.args) > 1 or call.params or _is_whole(call):
        return None
    if call.func in ("count", "count_star"):
        return CountCall(call, node.schema, reach)
    if len(call.args) != 1:
        return None
    kind = kinds[call.args[0]]
    if call.func in ("min", "max"):
        plain = is_exact(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)
        return BestCall(call, node.schema, reach) if plain else None
    if call.func in ("first_value", "last_value", "first", "last") and not call.filter:
        return EdgeCall(call, node.schema, reach) if call.func.endswith("_value") else None
    if call.func in ("sum", "avg"):
        return _sum(node, call, reach, kind)
    return None


def _sum(node: Over, call: OverCall, reach: Reach, kind: pa.DataType) -> Call | None:
    if pa.types.is_floating(kind):
        return FloatSumCall(call, node.schema, reach)
    small = pa.types.is_decimal(kind) and kind.precision <= 18
    if small or (pa.types.is_integer(kind) and kind != pa.uint64()):
        wide = call.func == "avg" or pa.types.is_decimal(node.schema[call.name].arrow)
        return WholeSumCall(call, node.schema, reach, kind) if wide else None
    return None


def _is_whole(call: OverCall) -> bool:
    """Whether a row that comes last may change the answers of all before it, as all of a partition are peers:
    the order is the call's own, and each frame holds all of them.
    """
    is_place = call.func == "lag" or (call.func == "first_value" and not call.ignore_nulls)
    return not is_place and call.peers == 0 and call.frame is not None and call.frame.unit == "range"


def _known(node: Over, call: OverCall) -> Call | None:
    if len(call.args) != 1 or call.params or call.filter or call.frame is None or _is_whole(call):
        return None
    if call.func == "lag":
        return KnownLagCall(call, node.schema)
    reach = _reach(node, call.frame)
    return KnownEdgeCall(call, node.schema, reach) if reach is not None and reach.running else None


def _shift(node: Over, call: OverCall) -> Call | None:
    if len(call.args) != 1 or call.filter or len(call.params) > 2:
        return None
    step = call.params[0] if call.params else "1"
    if not step.lstrip("-").isdigit() or abs(int(step)) > _ROWS_MAX:
        return None
    kind = node.schema[call.name].sql_type
    wanted = call.params[1] if len(call.params) == 2 else "NULL"
    duck = Duck()
    try:
        default = duck.constant(f"CAST({wanted} AS {kind})")
    except duckdb.Error:
        return None
    finally:
        duck.close()
    moved = int(step) if call.func == "lead" else -int(step)
    reach = Reach(back_rows=max(-moved, 0), ahead_rows=max(moved, 0))
    return ShiftCall(call, node.schema, reach, moved, default)


def _reach(node: Over, frame: Frame, *, turned: bool = False) -> Reach | None:
    """Return how far a frame looks, None where no rule reads it; `turned`: or in a descending order."""
    if frame.end is None:
        return None
    if frame.start is None:
        return Reach(running=True) if frame.end == 0 else None
    back, ahead = max(-frame.start, 0), max(frame.end, 0)
    if frame.unit == "rows":
        return Reach(back_rows=back, ahead_rows=ahead) if max(back, ahead) <= _ROWS_MAX else None
    if not back and not ahead and not frame.start and not frame.end:
        return Reach()
    unit = distance_unit(node.input.schema[node.order[0].column].arrow)
    if unit is None or (node.order[0].descending and not turned):
        return None
    return Reach(back=-(-back // unit), ahead=-(-ahead // unit))


def distance_unit(kind: pa.DataType) -> int | None:
    """Return how many units of distance one step of an order column's word is; None: no rule."""
    if pa.types.is_integer(kind) and kind != pa.uint64():
        return 1
    if pa.types.is_date(kind):
        return 86_400_000_000
    if pa.types.is_timestamp(kind) and kind.unit != "ns":
        return {"s": 1_000_000, "ms": 1_000, "us": 1}[kind.unit]
    return None
