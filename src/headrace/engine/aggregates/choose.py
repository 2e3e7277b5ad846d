"""Which part keeps which call."""

from __future__ import annotations

import pyarrow as pa

from headrace.contracts.schema import Schema
from headrace.engine.aggregates.linear import CountPart, SumPart
from headrace.engine.aggregates.part import Part
from headrace.errors import UnsupportedSql
from headrace.sql.plan import AggCall, Aggregate


def choose_parts(node: Aggregate, *, append_only: bool) -> tuple[list[Part], list[tuple[int, int]]]:
    """Return the parts, and for each call the part and the place among its results."""
    parts: list[Part] = []
    places: list[tuple[int, int]] = []
    for call in node.calls:
        parts.append(_part_of(node, call, append_only=append_only))
        places.append((len(parts) - 1, 0))
    return parts, places


def _part_of(node: Aggregate, call: AggCall, *, append_only: bool) -> Part:
    schema: Schema = node.input.schema
    if call.func in ("count", "count_star") and not call.distinct:
        return CountPart(call)
    if call.func in ("sum", "avg", "mean") and not call.distinct and _is_number(schema[call.args[0]].arrow):
        return SumPart(call, schema[call.args[0]], node.schema[call.name])
    raise UnsupportedSql(f"{call.sql} has no rule yet")


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
    )
