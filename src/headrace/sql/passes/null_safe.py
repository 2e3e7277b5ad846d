"""`a IS NOT DISTINCT FROM b` between the inputs of a join becomes equalities, which joins look up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from headrace.sql.bind.work import OtherJoin, TreeExpr, Work
from headrace.sql.passes.rebuild import all_of, bottom_up, tree_of
from headrace.sql.plan import Expr, Join, Node
from headrace.sql.render import columns_of
from headrace.sql.tree import (
    Tree,
    call_of,
    coalesce,
    comparison,
    conjuncts,
    integer,
    operator,
    raw_cast,
    string,
)

_ZEROS = {
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "DECIMAL", "DOUBLE"), integer(0)),
    **dict.fromkeys(("DATE", "TIMESTAMP"), string("1970-01-01")),
    "VARCHAR": string(""),
    "BOOLEAN": string("false"),
}
"""Per type a value that may stand for NULL beside a flag that tells the two apart."""


def null_safe(work: Work, root: Node) -> Node:
    """Return the plan with every NULL-safe comparison of two inputs written as plain equalities.

    They are of whether the sides are NULL, and of what they are, some value standing for NULL. Types without
    such a value are compared as lists of one, which are equal also where their elements are NULL.
    """

    def change(node: Node) -> Node:
        if isinstance(node, Join) and node.residual is not None:
            return replace(node, residual=_written(work, node.parts, node.residual))
        if isinstance(node, OtherJoin):
            return replace(node, condition=_written(work, (node.left, node.right), node.condition))
        return node

    return bottom_up(root, change)


def _written(work: Work, parts: Sequence[Node], predicate: Expr) -> TreeExpr:
    trees = [one for tree in conjuncts(tree_of(predicate)) for one in _equalities(work, parts, tree)]
    return all_of(work, [TreeExpr(work.render(t), columns_of(t), "BOOLEAN", t) for t in trees])


def _equalities(work: Work, parts: Sequence[Node], tree: Tree) -> list[Tree]:
    if tree.get("type") != "COMPARE_NOT_DISTINCT_FROM":
        return [tree]
    sides = [tree["left"], tree["right"]]
    found = [_part(parts, side) for side in sides]
    if found[0] is None or found[1] is None or found[0] is found[1]:
        return [tree]
    types = [work.expr(part.schema, side).sql_type for part, side in zip(found, sides, strict=True) if part]
    common = work.duck.comparison_type(types[0], types[1])
    if common is None:
        return [tree]
    zero = None if common.endswith("]") else _ZEROS.get(common.split("(")[0])
    if zero is None:
        return [_equal([call_of("list_value", [raw_cast(side, common)]) for side in sides])]
    value = raw_cast(zero, common)
    nulls = _equal([operator("OPERATOR_IS_NULL", [side]) for side in sides])
    return [nulls, _equal([coalesce([side, value]) for side in sides])]


def _equal(sides: list[Tree]) -> Tree:
    return comparison("COMPARE_EQUAL", sides[0], sides[1])


def _part(parts: Sequence[Node], tree: Tree) -> Node | None:
    """Return the one input that an expression reads, None where it reads none or several."""
    names = set(columns_of(tree))
    found = [part for part in parts if names & set(part.schema.names)]
    return found[0] if len(found) == 1 else None
