"""Which part keeps which call: the cheapest rule that is right."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import pyarrow as pa

from headrace.contracts.schema import Schema
from headrace.engine.aggregates import bits, ends, moments, ordered, value_counts
from headrace.engine.aggregates.distinct import DistinctPart
from headrace.engine.aggregates.linear import CountPart, SumPart
from headrace.engine.aggregates.minmax import BestPart
from headrace.engine.aggregates.part import Part
from headrace.engine.aggregates.touched import TouchedPart
from headrace.engine.order import is_exact
from headrace.sql.plan import AggCall, Aggregate

Places = list[tuple[int, int]]
"""For each call: the number of its part, and its place among the part's results."""

_IDEMPOTENT = ("bool_and", "bool_or", "bit_and", "bit_or")
"""DISTINCT changes nothing in these."""


def choose_parts(node: Aggregate, *, append_only: bool) -> tuple[list[Part], Places]:
    """Return the parts of an aggregate and where each call finds its result."""
    shared: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for number, call in enumerate(node.calls):
        shared[_family(node, call, number, append_only=append_only)].append(number)
    parts: list[Part] = []
    places: Places = [(0, 0)] * len(node.calls)
    for family, numbers in shared.items():
        calls = [node.calls[number] for number in numbers]
        for place, number in enumerate(numbers):
            places[number] = (len(parts), place)
        parts.append(_part(node, str(family[0]), calls, append_only=append_only))
    return parts, places


def _family(node: Aggregate, call: AggCall, number: int, *, append_only: bool) -> tuple[object, ...]:
    """Return what calls must have in common to share a part; the first item names the rule."""
    schema = node.input.schema
    kind = schema[call.args[0]].arrow if call.args else None
    if append_only and call.func in ("min", "max") and not call.params and is_exact(kind):
        return ("best", number)
    if ordered.serves(call, schema):
        return ("ordered", call.args, call.filter)
    if value_counts.serves(call, schema):
        return ("value counts", call.args, call.filter)
    if ends.end_of(call, schema) is not None:
        return ("end", number)
    linear = _linear(call, schema)
    if linear is None:
        return ("touched",)
    if call.distinct and call.func not in _IDEMPOTENT:
        return ("distinct", call.args)
    return (linear, call.args, call.filter) if linear == "moments" else (linear, number)


def _linear(call: AggCall, schema: Schema) -> str | None:
    """Return the family of a call that needs accumulators only, or None."""
    kinds = [schema[name].arrow for name in call.args]
    if call.func in ("count", "count_star", "regr_count"):
        return "count"
    if len(kinds) != len(call.args) + len(call.params) or not all(map(_is_number, kinds)) or not kinds:
        return None
    if call.func in ("sum", "avg"):
        return "sum"
    if call.func in ("kahan_sum", "kahan_avg") and pa.types.is_floating(kinds[0]):
        return "sum"
    if call.func in moments.FUNCTIONS:
        return "moments"
    return "bits" if call.func in bits.FUNCTIONS and bits.serves(kinds[0]) else None


def _part(node: Aggregate, family: str, calls: list[AggCall], *, append_only: bool) -> Part:
    schema = node.input.schema
    match family:
        case "best":
            return BestPart(calls[0], schema[calls[0].args[0]])
        case "ordered":
            return ordered.OrderedPart(calls, schema[calls[0].args[0]], node.schema)
        case "value counts":
            argument = schema[calls[0].args[0]]
            return value_counts.ValueCountsPart(calls, argument, node.schema)
        case "end":
            end = ends.end_of(calls[0], schema)
            assert end is not None
            return ends.EndPart(calls[0], end, schema, append_only=append_only)
        case "distinct":
            return DistinctPart(calls, schema, [_over_distinct(node, call) for call in calls])
        case "touched":
            return TouchedPart(calls, node, append_only=append_only)
        case _:
            return _linear_part(node, family, calls)


def _over_distinct(node: Aggregate, call: AggCall) -> Part | None:
    """Return what takes in the values that appear and vanish; None for a plain count."""
    family = _linear(call, node.input.schema)
    assert family is not None
    return None if family == "count" else _linear_part(node, family, [replace(call, filter=None)])


def _linear_part(node: Aggregate, family: str, calls: list[AggCall]) -> Part:
    schema = node.input.schema
    match family:
        case "count":
            return CountPart(calls[0])
        case "sum":
            return SumPart(calls[0], schema[calls[0].args[0]], node.schema[calls[0].name])
        case "bits":
            return bits.BitsPart(calls[0], schema[calls[0].args[0]])
        case _:
            return moments.MomentsPart(calls)


def _is_number(kind: pa.DataType) -> bool:
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return bool(number or pa.types.is_decimal(kind) or pa.types.is_boolean(kind))
