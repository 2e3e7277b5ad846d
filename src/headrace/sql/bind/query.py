"""A query node of any kind, and the way back to recomputation where it has no rule."""

from __future__ import annotations

from headrace.sql.bind.env import Bound, Env
from headrace.sql.bind.recompute import recompute
from headrace.sql.bind.select import Select
from headrace.sql.bind.setop import bind_set_operation
from headrace.sql.bind.work import NotPlanned, Work
from headrace.sql.tree import Tree


def bind_query(work: Work, tree: Tree, env: Env) -> Bound:
    """Return a query as a plan: with rules where there are some, recomputed where there are none."""
    try:
        inner = env.inside(tree)
    except NotPlanned as why:
        return recompute(work, env, tree, why.reason)
    body = tree | {"cte_map": {"map": []}}
    try:
        if tree["type"] == "SELECT_NODE":
            return Select(work, inner, body).run()
        if tree["type"] == "SET_OPERATION_NODE":
            return bind_set_operation(work, inner, body)
        raise NotPlanned(str(tree["type"]))
    except NotPlanned as why:
        return recompute(work, inner, body, why.reason)
