"""Predicates that are never TRUE where some columns are all NULL: what lies above an outer join tells with
them that rows without a match are of no use.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from headrace.sql.tree import Tree, arguments, conjuncts, function_name

_STRICT_OPERATORS = frozenset(
    {
        "+", "-", "*", "/", "//", "%", "**", "^", "||", "<<", ">>", "&", "|", "~~", "!~~", "~~*", "!~~*",
        "^@",
    }
)  # fmt: skip
_DISTINCT = ("COMPARE_DISTINCT_FROM", "COMPARE_NOT_DISTINCT_FROM")


def rejects_nulls(trees: Iterable[Tree], names: Set[str]) -> bool:
    """Whether some of the predicates is never TRUE where all those columns are NULL."""
    return any(_rejects(tree, names) for tree in trees)


def _rejects(tree: Tree, names: Set[str]) -> bool:
    kind = tree.get("type")
    if kind == "CONJUNCTION_AND":
        return any(_rejects(part, names) for part in conjuncts(tree))
    if kind == "CONJUNCTION_OR":
        return all(_rejects(part, names) for part in tree["children"])
    if kind == "OPERATOR_IS_NOT_NULL":
        return _is_null(tree["children"][0], names)
    return _is_null(tree, names)


def _is_null(tree: Tree, names: Set[str]) -> bool:
    """Whether an expression is NULL where all those columns are."""
    kind = tree.get("class")
    if kind == "BOUND":
        return tree["name"] in names
    if kind in ("CAST", "RAW_CAST"):
        return _is_null(tree["child"], names)
    if kind == "COMPARISON":
        sides = (tree["left"], tree["right"])
        return tree["type"] not in _DISTINCT and any(_is_null(side, names) for side in sides)
    if kind == "BETWEEN":
        return _is_null(tree["input"], names)
    if kind == "OPERATOR" and tree["type"] in ("OPERATOR_NOT", "COMPARE_IN", "COMPARE_NOT_IN"):
        return _is_null(tree["children"][0], names)
    if kind == "FUNCTION" and tree.get("is_operator") and function_name(tree) in _STRICT_OPERATORS:
        return any(_is_null(part, names) for part in arguments(tree))
    return False
