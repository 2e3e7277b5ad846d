"""Projections of projections become one."""

from __future__ import annotations

from collections import Counter

from headrace.sql.bind.work import Work
from headrace.sql.passes.rebuild import bottom_up, meaning_of, substitute, tree_of
from headrace.sql.plan import Node, Project
from headrace.sql.tree import Tree, walk


def merge_projects(work: Work, root: Node) -> Node:
    """Return the plan with stacked projections merged where no costly expression would be computed twice."""

    def merge(node: Node) -> Node:
        while isinstance(node, Project) and isinstance(node.input, Project) and _is_cheap(node, node.input):
            inner = node.input
            meaning = meaning_of(inner)
            exprs = tuple(substitute(work, expr, meaning) for expr in node.exprs)
            node = Project(node.schema, inner.input, exprs)
        return node

    return bottom_up(root, merge)


def _is_cheap(outer: Project, inner: Project) -> bool:
    uses = Counter(name for expr in outer.exprs for name in _names(tree_of(expr)))
    plain = {
        name
        for name, expr in zip(inner.schema.names, inner.exprs, strict=True)
        if tree_of(expr).get("class") in ("BOUND", "CONSTANT")
    }
    return all(count == 1 or name in plain for name, count in uses.items())


def _names(tree: Tree) -> list[str]:
    return [str(part["name"]) for part in walk(tree) if part.get("class") == "BOUND"]
