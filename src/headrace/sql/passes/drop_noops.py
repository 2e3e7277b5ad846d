"""Leave out projections that change nothing."""

from __future__ import annotations

from headrace.sql.bind.work import Work
from headrace.sql.passes.rebuild import bottom_up, is_selection
from headrace.sql.plan import Node, Project


def drop_noops(work: Work, root: Node) -> Node:  # noqa: ARG001  (every pass has the same shape)
    """Return the plan without projections that give their input's columns as they are."""
    return bottom_up(root, _without)


def _without(node: Node) -> Node:
    if isinstance(node, Project) and is_selection(node) and node.schema.names == node.input.schema.names:
        return node.input
    return node
