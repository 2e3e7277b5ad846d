"""Leave out projections that change nothing."""

from __future__ import annotations

from headrace.sql.bind.work import OtherJoin, Work
from headrace.sql.passes.rebuild import is_selection, with_inputs
from headrace.sql.plan import Aggregate, AsofJoin, Filter, Hop, Join, MatchJoin, Node, Project, TopN, Unnest


def drop_noops(work: Work, root: Node) -> Node:  # noqa: ARG001  (every pass has the same shape)
    """Return the plan without projections that give their input's columns as they are.

    Where the node above reads its input by name alone, another order of the columns is no change either.
    """
    return _clean(root, by_name=False)


def _clean(node: Node, *, by_name: bool) -> Node:
    if isinstance(node, Project) and is_selection(node):
        mine, below = node.schema.names, node.input.schema.names
        if mine == below or (by_name and sorted(mine) == sorted(below)):
            return _clean(node.input, by_name=by_name)
    if isinstance(node, Project | Aggregate):
        inside = True
    else:
        kinds = AsofJoin | Filter | Join | MatchJoin | OtherJoin | Hop | TopN | Unnest
        inside = by_name and isinstance(node, kinds)
    inputs = [_clean(child, by_name=inside) for child in node.inputs]
    if any(new is not old for new, old in zip(inputs, node.inputs, strict=True)):
        return with_inputs(node, inputs)
    return node
