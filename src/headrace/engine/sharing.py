"""Which parts of a plan compute the same: a signature that does not depend on how columns are named."""

from __future__ import annotations

import re

from headrace.engine.duck import quote
from headrace.sql.plan import (
    AggCall,
    Aggregate,
    AsofJoin,
    Constant,
    Distinct,
    Expr,
    Filter,
    Hop,
    Join,
    MatchJoin,
    Node,
    Project,
    Scan,
    SetOp,
    TopN,
    UnionAll,
    Unnest,
)

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
        case SetOp():
            return (node.kind, node.is_all)
        case Constant():
            return (node.sql,)
        case Join() | MatchJoin() | AsofJoin():
            return _join(node)
        case Distinct() | UnionAll():
            return ()
        case Unnest():
            lists = tuple(_position(node.input, name) for name in node.lists)
            return (lists, node.ordinality is not None, node.keeps_empty)
        case TopN():
            parts = tuple(_position(node.input, name) for name in node.partition)
            order = tuple(
                (_position(node.input, key.column), key.descending, key.nulls_first) for key in node.order
            )
            return (parts, order, node.limit, node.offset, node.rank, node.rank_keys)
        case _:
            return None


def _join(node: Join | MatchJoin | AsofJoin) -> Signature | None:
    """Return what a join asks of its inputs; the columns of all of them count as one list."""
    names = [name for part in node.inputs for name in part.schema.names]
    if isinstance(node, Join):
        pairs = [(one.left_column, one.right_column) for one in node.equalities]
    else:
        pairs = list(node.equalities)
    keys = tuple((names.index(one), names.index(other)) for one, other in pairs)
    if isinstance(node, AsofJoin):
        return (node.kind, keys, names.index(node.left_column), node.op, names.index(node.right_column))
    rest = _texts(names, (node.residual,)) if node.residual is not None else ()
    if rest is None:
        return None
    if isinstance(node, Join):
        return (keys, rest)
    found = node.range
    if found is None:
        return (node.kind, keys, rest)
    ends = tuple(None if name is None else names.index(name) for name in (found.point, found.low, found.high))
    return (node.kind, keys, rest, ends, found.point_is_right, found.low_is_open, found.high_is_open)


def _position(node: Node, column: str) -> int:
    return node.schema.names.index(column)


def _expressions(source: Node, exprs: tuple[Expr, ...]) -> Signature | None:
    return _texts(list(source.schema.names), exprs)


def _texts(names: list[str], exprs: tuple[Expr, ...]) -> Signature | None:
    texts = []
    for expr in exprs:
        text = expr.sql
        if any('"' in literal for literal in _LITERAL.findall(text)):
            return None
        for name in sorted(expr.columns, key=len, reverse=True):
            text = text.replace(quote(name), f'"\0{names.index(name)}"')
        texts.append(text)
    return tuple(texts)


def _call(source: Node, call: AggCall) -> Signature | None:
    if call.func not in _PLAIN_CALLS or call.params:
        return None
    chosen = None if call.filter is None else _position(source, call.filter)
    arguments = tuple(_position(source, name) for name in call.args)
    return (call.func, arguments, call.distinct, chosen, call.sql_type)
