"""Nodes built again over other inputs, and expressions with columns replaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from headrace.contracts.schema import Schema
from headrace.sql.bind.work import OtherJoin, TreeExpr, Window, Work
from headrace.sql.plan import (
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
    NowFilter,
    Over,
    Project,
    PythonCall,
    Recompute,
    Recursive,
    Scan,
    Session,
    SetOp,
    TopN,
    Touched,
    UnionAll,
    Unnest,
)
from headrace.sql.render import columns_of
from headrace.sql.tree import Tree, conjunction, rewrite


def with_inputs(node: Node, inputs: Sequence[Node]) -> Node:
    """Return the node over other inputs, which have at least the columns that it reads."""
    if isinstance(node, Scan | Constant):
        return node
    if isinstance(node, Filter | Distinct | NowFilter):
        return replace(node, input=inputs[0], schema=inputs[0].schema)
    if isinstance(node, Project | Aggregate):
        return replace(node, input=inputs[0])
    if isinstance(node, Hop | Session):
        return replace(
            node, input=inputs[0], schema=Schema((*inputs[0].schema.columns, *node.schema.columns[-2:]))
        )
    if isinstance(node, TopN):
        added = node.schema.columns[-1:] if node.rank else ()
        return replace(node, input=inputs[0], schema=Schema((*inputs[0].schema.columns, *added)))
    if isinstance(node, Window | Over):
        added = node.schema.columns[-len(node.calls) :]
        return replace(node, input=inputs[0], schema=Schema((*inputs[0].schema.columns, *added)))
    if isinstance(node, Join):
        columns = tuple(c for part in inputs for c in part.schema.columns)
        return replace(node, parts=tuple(inputs), schema=Schema(columns))
    if isinstance(node, OtherJoin):
        return other_join(inputs[0], inputs[1], node.words, node.condition)
    if isinstance(node, MatchJoin | AsofJoin):
        columns = inputs[0].schema.columns + (inputs[1].schema.columns if shows_right(node) else ())
        return replace(node, left=inputs[0], right=inputs[1], schema=Schema(columns))
    if isinstance(node, UnionAll | SetOp | Recompute | Touched):
        return replace(node, parts=tuple(inputs))
    if isinstance(node, Unnest):
        kept = [c for c in inputs[0].schema if c.name not in node.lists]
        return replace(node, input=inputs[0], schema=Schema((*kept, *node.schema.columns[-node.made :])))
    if isinstance(node, PythonCall):
        answers = node.schema.columns[-len(node.calls) :]
        return replace(node, input=inputs[0], schema=Schema((*inputs[0].schema.columns, *answers)))
    if isinstance(node, Recursive):
        return replace(node, base=inputs[0], parts=tuple(inputs[1:]))
    raise TypeError(type(node).__name__)


def other_join(left: Node, right: Node, words: str, condition: TreeExpr) -> OtherJoin:
    """Return a join that is not inner; SEMI and ANTI show the left columns only."""
    left_only = words.endswith(("SEMI JOIN", "ANTI JOIN"))
    columns = left.schema.columns if left_only else left.schema.columns + right.schema.columns
    return OtherJoin(Schema(columns), left, right, words, condition)


def shows_right(node: MatchJoin | AsofJoin) -> bool:
    """Whether the output has the right columns too."""
    return not (isinstance(node, MatchJoin) and node.kind in ("semi", "anti"))


def bottom_up(node: Node, change: Callable[[Node], Node]) -> Node:
    """Return the plan with `change` applied to every node, inputs first."""
    inputs = [bottom_up(child, change) for child in node.inputs]
    if any(new is not old for new, old in zip(inputs, node.inputs, strict=True)):
        node = with_inputs(node, inputs)
    return change(node)


def tree_of(expr: Expr) -> Tree:
    """Return the tree of an expression inside the planner."""
    assert isinstance(expr, TreeExpr)
    return expr.tree


def substitute(work: Work, expr: Expr, meaning: Mapping[str, Tree]) -> TreeExpr:
    """Return the expression with columns replaced by what they mean one node below; its type stays."""
    tree = rewrite(
        tree_of(expr), lambda part: meaning.get(part["name"]) if part.get("class") == "BOUND" else None
    )
    return TreeExpr(work.render(tree), columns_of(tree), expr.sql_type, tree)


def meaning_of(project: Project) -> dict[str, Tree]:
    """Return what each output column of a projection is over its input."""
    return {name: tree_of(expr) for name, expr in zip(project.schema.names, project.exprs, strict=True)}


def all_of(work: Work, predicates: Sequence[Expr]) -> TreeExpr:
    """Return the AND of one or more predicates."""
    tree = conjunction([tree_of(predicate) for predicate in predicates])
    return TreeExpr(work.render(tree), columns_of(tree), "BOOLEAN", tree)


def filtered(work: Work, node: Node, predicates: Sequence[Expr]) -> Node:
    """Return the node's rows for which all predicates are TRUE."""
    return Filter(node.schema, node, all_of(work, predicates)) if predicates else node


def is_selection(node: Node) -> bool:
    """Whether a node is a projection that only leaves columns out, all under their own names."""
    return isinstance(node, Project) and all(
        tree_of(expr).get("class") == "BOUND" and tree_of(expr)["name"] == name
        for name, expr in zip(node.schema.names, node.exprs, strict=True)
    )
