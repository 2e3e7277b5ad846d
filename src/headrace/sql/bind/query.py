"""A query node of any kind, and the way back to recomputation where it has no rule."""

from __future__ import annotations

from dataclasses import replace

from headrace.sql.bind.env import Bound, Env
from headrace.sql.bind.outer import with_domain
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
        return _recomputed(work, env, tree, why)
    body = tree | {"cte_map": {"map": []}}
    try:
        return _with_keys(work, env, _planned(work, inner, body))
    except NotPlanned as why:
        return _recomputed(work, inner, body, why)


def _planned(work: Work, env: Env, tree: Tree) -> Bound:
    if tree["type"] == "SELECT_NODE":
        return Select(work, env, tree).run()
    if tree["type"] == "SET_OPERATION_NODE":
        return bind_set_operation(work, env, tree)
    raise NotPlanned(str(tree["type"]))


def _recomputed(work: Work, env: Env, tree: Tree, why: NotPlanned) -> Bound:
    """Recompute a query; where it reads the query around it, that one must be recomputed too."""
    try:
        answer = recompute(work, replace(env, outer=None), tree, why.reason)
    except NotPlanned:
        raise why from None
    return _with_keys(work, env, answer)


def _with_keys(work: Work, env: Env, answer: Bound) -> Bound:
    if env.outer is None or answer.keys or not env.outer.names:
        return answer
    return with_domain(work, answer, env.outer)
