"""Which part keeps which call: the cheapest rule that is right."""

from __future__ import annotations

from collections import defaultdict

import pyarrow as pa

from headrace.engine.aggregates import ordered
from headrace.engine.aggregates.distinct import DistinctPart
from headrace.engine.aggregates.linear import CountPart, SumPart
from headrace.engine.aggregates.minmax import BestPart, WholeValuePart
from headrace.engine.aggregates.part import Part
from headrace.engine.aggregates.touched import TouchedPart
from headrace.engine.order import is_exact
from headrace.sql.plan import AggCall, Aggregate

Places = list[tuple[int, int]]
"""For each call: the number of its part, and its place among the part's results."""


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
    kind = node.input.schema[call.args[0]].arrow if call.args else None
    if call.func in ("count", "count_star"):
        return ("distinct", call.args) if call.distinct else ("count", number)
    if call.func in ("min", "max") and len(call.args) == 1 and not call.params:
        if append_only and is_exact(kind):
            return ("best", number)
        if not is_exact(kind) and not pa.types.is_nested(kind):
            return ("whole value", number)
    if ordered.serves(call, node.input.schema):
        return ("ordered", call.args, call.filter)
    if call.func in ("sum", "avg", "mean") and not call.distinct and _is_number(kind):
        return ("sum", number)
    return ("touched",)


def _part(node: Aggregate, family: str, calls: list[AggCall], *, append_only: bool) -> Part:
    schema = node.input.schema
    match family:
        case "count":
            return CountPart(calls[0])
        case "sum":
            return SumPart(calls[0], schema[calls[0].args[0]], node.schema[calls[0].name])
        case "best":
            return BestPart(calls[0], schema[calls[0].args[0]])
        case "ordered":
            return ordered.OrderedPart(calls, schema[calls[0].args[0]], node.schema)
        case "whole value":
            return WholeValuePart(calls[0], schema[calls[0].args[0]], append_only=append_only)
        case "distinct":
            return DistinctPart(calls, schema)
        case _:
            return TouchedPart(calls, node, append_only=append_only)


def _is_number(kind: pa.DataType) -> bool:
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return bool(number or pa.types.is_decimal(kind) or pa.types.is_boolean(kind))
