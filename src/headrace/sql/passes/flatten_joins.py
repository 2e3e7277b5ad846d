"""Joins of joins become one join of all inputs."""

from __future__ import annotations

from headrace.contracts.schema import Schema
from headrace.sql.bind.work import Work
from headrace.sql.passes.rebuild import all_of, bottom_up, is_selection
from headrace.sql.plan import Expr, Filter, Join, Node, Project
from headrace.sql.tree import bound


def flatten_joins(work: Work, root: Node) -> Node:
    """Return the plan with nested inner joins merged; runs before equalities are found."""

    def merge(node: Node) -> Node:
        if not isinstance(node, Join):
            return node
        parts: list[Node] = []
        predicates: list[Expr] = [node.residual] if node.residual else []
        for part in node.parts:
            found, extra = _opened(part)
            parts += found
            predicates += extra
        if len(parts) == len(node.parts):
            return node
        schema = Schema(tuple(c for part in parts for c in part.schema.columns))
        merged = Join(schema, tuple(parts), (), all_of(work, predicates) if predicates else None)
        if schema.names == node.schema.names:
            return merged
        return work.project(merged, [(name, bound(name)) for name in node.schema.names])

    return bottom_up(root, merge)


def _opened(part: Node) -> tuple[list[Node], list[Expr]]:
    """Return the inputs and predicates of a part that is a join, else the part itself."""
    inner, predicates = part, []
    while True:
        if isinstance(inner, Project) and is_selection(inner):
            inner = inner.input
        elif isinstance(inner, Filter):
            predicates.append(inner.predicate)
            inner = inner.input
        else:
            break
    if not isinstance(inner, Join):
        return [part], []
    return list(inner.parts), [*predicates, *([inner.residual] if inner.residual else [])]
