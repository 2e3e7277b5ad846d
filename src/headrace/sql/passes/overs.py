"""Window functions of one SELECT become a stack of `Over` nodes, one for each partitioning and order."""

from __future__ import annotations

from dataclasses import replace

from headrace.contracts.schema import Schema
from headrace.sql.bind.work import Window, WindowCall, reference
from headrace.sql.plan import Node, OrderKey, Over, OverCall, Project

_Order = tuple[tuple[str, bool, bool], ...]


def over_of(window: Window) -> Node:
    """Return a window node as `Over` nodes; calls whose orders begin alike share one."""
    groups: list[tuple[tuple[str, ...], _Order, list[WindowCall]]] = []
    for call in sorted(window.calls, key=lambda call: -len(_order(call))):
        for partition, order, calls in groups:
            if partition == call.partition and _begins(order, _order(call)):
                calls.append(call)
                break
        else:
            groups.append((call.partition, _order(call), [call]))
    node = window.input
    for partition, order, calls in groups:
        columns = (*node.schema.columns, *(window.schema[call.name] for call in calls))
        keys = tuple(OrderKey(*key) for key in order)
        node = Over(Schema(columns), node, partition, keys, tuple(_call(call) for call in calls))
    if node.schema.names == window.schema.names:
        return node
    exprs = tuple(reference(c.name, c.sql_type) for c in window.schema)
    return Project(window.schema, node, exprs)


def _order(call: WindowCall) -> _Order:
    return call.order if call.full_order is None else call.full_order


def _begins(order: _Order, first: _Order) -> bool:
    """Whether an order begins with another; no order at all means another frame, and stands alone."""
    return order[: len(first)] == first and bool(order) == bool(first)


def _call(call: WindowCall) -> OverCall:
    peers = min(call.rank_keys, len(call.order)) if call.func in ("rank", "dense_rank") else len(call.order)
    plain = OverCall(
        call.name, call.func, call.args, call.params, call.frame, call.filter, peers, call.sql,
        call.sql_type, call.columns, call.ignore_nulls, call.near, call.near_sql,
    )  # fmt: skip
    return plain if call.frame is not None else replace(plain, args=(), params=())
