"""Ranks that a filter bounds become top-N."""

from __future__ import annotations

from dataclasses import replace

from headrace.contracts.schema import Schema
from headrace.sql.bind.work import Window, WindowCall, Work
from headrace.sql.passes.rebuild import bottom_up, filtered, tree_of
from headrace.sql.plan import Expr, Filter, Node, OrderKey, TopN
from headrace.sql.tree import Tree, bound, conjuncts, integer_value

_FLIPPED = {
    "COMPARE_LESSTHANOREQUALTO": "COMPARE_GREATERTHANOREQUALTO",
    "COMPARE_LESSTHAN": "COMPARE_GREATERTHAN",
    "COMPARE_GREATERTHANOREQUALTO": "COMPARE_LESSTHANOREQUALTO",
    "COMPARE_GREATERTHAN": "COMPARE_LESSTHAN",
    "COMPARE_EQUAL": "COMPARE_EQUAL",
}


def rank_windows(work: Work, root: Node) -> Node:
    """Return the plan with TopN for each ROW_NUMBER, RANK or DENSE_RANK that a filter bounds from above."""

    def change(node: Node) -> Node:
        if isinstance(node, Filter) and isinstance(node.input, Window):
            return _bounded(work, node, node.input)
        return node

    return bottom_up(root, change)


def _bounded(work: Work, node: Filter, window: Window) -> Node:
    predicates = [work.expr(window.schema, part) for part in conjuncts(tree_of(node.predicate))]
    for call in window.calls:
        bounds = [_bound(call, predicate) for predicate in predicates]
        limits = [found[0] for found in bounds if found]
        if not call.is_plain_rank or not limits:
            continue
        rest = [
            p
            for p, found in zip(predicates, bounds, strict=True)
            if not (found and found[1] and found[0] == min(limits))
        ]
        top = _top(window, call, max(0, min(limits)))
        return _selected(work, filtered(work, top, rest), node)
    return node


def _selected(work: Work, top: Node, node: Filter) -> Node:
    if top.schema.names == node.schema.names:
        return top
    return work.project(top, [(name, bound(name)) for name in node.schema.names])


def _top(window: Window, call: WindowCall, limit: int) -> Node:
    others = tuple(other for other in window.calls if other is not call)
    below: Node = window.input
    if others:
        kept = [c for c in window.schema if c.name != call.name]
        below = replace(window, calls=others, schema=Schema.of(kept))
    order = tuple(OrderKey(*key) for key in call.order)
    schema = Schema((*below.schema.columns, window.schema[call.name]))
    keys = min(call.rank_keys, len(order))
    return TopN(schema, below, call.partition, order, limit, 0, call.func, call.name, keys)


def _bound(call: WindowCall, predicate: Expr) -> tuple[int, bool] | None:
    """Return the largest rank that a predicate lets pass, and whether the bound says all that it says."""
    tree = tree_of(predicate)
    if tree.get("class") == "BETWEEN" and _is_rank(call, tree["input"]):
        upper = integer_value(tree["upper"])
        return None if upper is None else (upper, integer_value(tree["lower"]) == 1)
    if tree.get("class") != "COMPARISON" or tree["type"] not in _FLIPPED:
        return None
    kind, left, right = tree["type"], tree["left"], tree["right"]
    if _is_rank(call, right):
        kind, left, right = _FLIPPED[kind], right, left
    value = integer_value(right)
    if not _is_rank(call, left) or value is None:
        return None
    if kind == "COMPARE_LESSTHAN":
        return value - 1, True
    if kind == "COMPARE_LESSTHANOREQUALTO":
        return value, True
    if kind == "COMPARE_EQUAL":
        return value, value == 1
    return None


def _is_rank(call: WindowCall, tree: Tree) -> bool:
    return tree.get("class") == "BOUND" and tree["name"] == call.name
