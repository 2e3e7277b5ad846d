"""Which parts of a plan compute the same: a signature that does not depend on how columns are named."""

from __future__ import annotations

import re

from headrace.engine.duck import quote
from headrace.sql.plan import AggCall, Aggregate, Expr, Filter, Hop, Node, Project, Scan

Signature = tuple[object, ...]
_PLAIN_CALLS = frozenset({"count", "count_star", "sum", "avg", "min", "max"})
_LITERAL = re.compile(r"'(?:[^']|'')*'")


def signature(node: Node, time_unread: set[int]) -> Signature | None:
    """Return what a node computes, with columns by position, or None where nobody can tell.

    Args:
        node: the node.
        time_unread: ids of window nodes that need not keep times apart.
    """
    below = [signature(child, time_unread) for child in node.inputs]
    if any(one is None for one in below):
        return None
    own = _own(node, id(node) in time_unread)
    if own is None:
        return None
    types = tuple(column.sql_type for column in node.schema)
    return (type(node).__name__, types, own, tuple(below))


def _own(node: Node, unread: bool) -> Signature | None:
    match node:
        case Scan():
            return (node.relation.lower(), node.columns)
        case Hop():
            return (_position(node.input, node.time), node.slide_us, node.size_us, node.is_cumulative, unread)
        case Filter():
            return _expressions(node.input, (node.predicate,))
        case Project():
            return _expressions(node.input, node.exprs)
        case Aggregate():
            calls = [_call(node.input, call) for call in node.calls]
            keys = tuple(_position(node.input, key) for key in node.keys)
            return None if None in calls else (keys, *calls)
        case _:
            return None


def _position(node: Node, column: str) -> int:
    return node.schema.names.index(column)


def _expressions(source: Node, exprs: tuple[Expr, ...]) -> Signature | None:
    texts = []
    for expr in exprs:
        text = expr.sql
        if any('"' in literal for literal in _LITERAL.findall(text)):
            return None
        for name in sorted(expr.columns, key=len, reverse=True):
            text = text.replace(quote(name), f'"\0{_position(source, name)}"')
        texts.append(text)
    return tuple(texts)


def _call(source: Node, call: AggCall) -> Signature | None:
    if call.func not in _PLAIN_CALLS or call.params:
        return None
    chosen = None if call.filter is None else _position(source, call.filter)
    arguments = tuple(_position(source, name) for name in call.args)
    return (call.func, arguments, call.distinct, chosen, call.sql_type)
