"""Scalar expressions: every name resolved, or the reason why the expression has no rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.sql.bind.work import NotPlanned, Work
from headrace.sql.functions import LAMBDA_FUNCTIONS, UNNESTING, aggregates
from headrace.sql.render import columns_of, lambda_parameters
from headrace.sql.tree import Tree, function_name

Lookup = Callable[[list[str]], Tree | None]
Inner = Callable[[Tree, Lookup], Tree]
"""Of a subquery and the names around it: what stands for it."""

_SUBQUERIES = {
    "SCALAR": "a scalar subquery",
    "EXISTS": "EXISTS",
    "NOT_EXISTS": "NOT EXISTS",
    "ANY": "IN (subquery)",
}


def resolve(
    work: Work,
    tree: Tree,
    lookup: Lookup,
    parameters: frozenset[str] = frozenset(),
    subqueries: Inner | None = None,
) -> Tree:
    """Return the expression with every column name replaced by the plan column it means.

    Args:
        work: the planning.
        tree: an expression as parsed.
        lookup: answers the resolved tree of a dotted name, None where it is unknown.
        parameters: lower-case names of the lambdas around it.
        subqueries: answers what stands for a subquery; without it there may be none.

    Raises:
        NotPlanned: the expression holds a subquery or something else that no scalar rule covers.
    """
    kind = tree.get("class")
    if kind in ("BOUND", "PENDING"):
        return tree
    if kind == "SUBQUERY" and subqueries is not None and not parameters:
        return subqueries(tree, lookup)
    if kind == "COLUMN_REF":
        return _name(tree, lookup, parameters)
    if kind == "LAMBDA" and tree.get("syntax_type") == "LAMBDA_KEYWORD":
        return _lambda(work, tree, lookup, parameters, subqueries)
    if kind == "FUNCTION":
        _check_function(tree)
        if function_name(tree) in LAMBDA_FUNCTIONS:
            return _lambda_call(work, tree, lookup, parameters, subqueries)
    _check_class(tree)
    return {key: _inside(work, value, lookup, parameters, subqueries) for key, value in tree.items()}


def _inside(
    work: Work, value: Any, lookup: Lookup, parameters: frozenset[str], subqueries: Inner | None
) -> Any:
    if isinstance(value, dict):
        return resolve(work, value, lookup, parameters, subqueries)
    if isinstance(value, list):
        return [_inside(work, item, lookup, parameters, subqueries) for item in value]
    return value


def _name(tree: Tree, lookup: Lookup, parameters: frozenset[str]) -> Tree:
    names = [str(name) for name in tree["column_names"]]
    if names[0].lower() in parameters:
        return tree
    found = lookup(names)
    if found is None:
        raise NotPlanned(f"the name {'.'.join(names)!r}, which this planner cannot place")
    return found


def _check_class(tree: Tree) -> None:
    kind = tree.get("class")
    if kind == "SUBQUERY":
        raise NotPlanned(_SUBQUERIES.get(tree["subquery_type"], "a subquery in an expression"))
    if kind in ("STAR", "POSITIONAL_REFERENCE", "PARAMETER", "DEFAULT"):
        words = {"STAR": "COLUMNS(…) in an expression", "POSITIONAL_REFERENCE": "a positional reference"}
        raise NotPlanned(words.get(str(kind), str(kind).lower()))


def _check_function(tree: Tree) -> None:
    name = function_name(tree)
    if name in UNNESTING and name not in ("unnest", "unlist"):
        raise NotPlanned(name.upper())


def _lambda_call(
    work: Work, tree: Tree, lookup: Lookup, parameters: frozenset[str], subqueries: Inner | None
) -> Tree:
    def one(item: Tree) -> Tree:
        value = item["expression"]
        walk = _lambda if value.get("class") == "LAMBDA" else resolve
        return item | {"expression": walk(work, value, lookup, parameters, subqueries)}

    return tree | {"arguments": [one(item) for item in tree["arguments"]]}


def _lambda(
    work: Work, tree: Tree, lookup: Lookup, parameters: frozenset[str], subqueries: Inner | None
) -> Tree:
    own = frozenset(name.lower() for name in lambda_parameters(tree))
    body = resolve(work, tree["expr"], lookup, parameters | own, subqueries)
    if any(name.lower() in own for name in columns_of(body)):
        raise NotPlanned("a lambda whose parameter is named like a column")
    return tree | {"expr": body}


def is_aggregate(tree: Tree) -> bool:
    """Whether an expression is the call of an aggregate function."""
    return (
        tree.get("class") == "FUNCTION"
        and not tree.get("is_operator")
        and function_name(tree) in aggregates()
    )
