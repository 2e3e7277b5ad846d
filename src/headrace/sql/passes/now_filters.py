"""Filters that read the clock become nodes of their own, so that rows leave as time passes."""

from __future__ import annotations

from dataclasses import replace

from headrace.sql.bind.work import Work
from headrace.sql.clock import Edge, edges, is_time, mentions_now, reads_clock
from headrace.sql.passes.rebuild import all_of, bottom_up, filtered, tree_of
from headrace.sql.plan import Expr, Filter, Join, Node, NowFilter
from headrace.sql.tree import Tree, bound, conjuncts


def now_filters(work: Work, root: Node) -> Node:
    """Return the plan in which no predicate reads the clock.

    Raises:
        UnsupportedSql: some comparison with the clock has no rule, or the clock is read elsewhere.
    """
    if not any(mentions_now(text) for node in root.walk() for text in _texts(node)):
        return root
    root = bottom_up(root, lambda node: _split(work, node))
    for node in root.walk():
        if any(mentions_now(text) for text in _texts(node)):
            why = getattr(node, "reason", None) or type(node).__name__
            raise work.text.unsupported(
                {}, f"now() stands in a part of the query without a rule for it ({why})", _HINT
            )
    return root


_HINT = "a comparison such as t > now() - INTERVAL 5 MINUTE in a WHERE of its own, in a subquery around it"


def _texts(node: Node) -> list[str]:
    """Return all SQL inside a node."""
    parts = [getattr(node, name, None) for name in ("predicate", "residual", "condition")]
    parts += [*getattr(node, "exprs", ()), *getattr(node, "calls", ())]
    return [part.sql for part in parts if part is not None] + [str(getattr(node, "sql", ""))]


def _split(work: Work, node: Node) -> Node:
    """Take the conjuncts that read the clock out of a filter, or out of what a join asks."""
    predicate = (
        node.predicate if isinstance(node, Filter) else node.residual if isinstance(node, Join) else None
    )
    if predicate is None or not mentions_now(predicate.sql):
        return node
    parts = conjuncts(tree_of(predicate))
    rest: list[Expr] = [work.expr(node.schema, part) for part in parts if not reads_clock(part)]
    if isinstance(node, Join):
        below: Node = replace(node, residual=all_of(work, rest) if rest else None)
    else:
        below = filtered(work, node.inputs[0], rest)
    return _clocked(work, below, [part for part in parts if reads_clock(part)])


def _clocked(work: Work, node: Node, parts: list[Tree]) -> Node:
    found = [edge for part in parts for edge in _edges(work, node, part)]
    extra: list[tuple[str, Tree]] = []
    named: list[tuple[str, Edge]] = []
    for edge in found:
        if edge.tree.get("class") == "BOUND":
            named.append((str(edge.tree["name"]), edge))
        else:
            extra.append((work.names.fresh("_moment"), edge.tree))
            named.append((extra[-1][0], edge))
    wide = work.extended(node, extra)
    begins = tuple((name, edge.offset_us) for name, edge in named if not edge.is_end)
    ends = tuple((name, edge.offset_us) for name, edge in named if edge.is_end)
    clocked = NowFilter(wide.schema, wide, begins, ends)
    if not extra:
        return clocked
    return work.project(clocked, [(name, bound(name)) for name in node.schema.names])


def _edges(work: Work, node: Node, part: Tree) -> list[Edge]:
    found = edges(work, part)
    if found is None:
        raise work.text.unsupported(
            part,
            "now() may only be compared with a time, as it is or moved by a constant length without months",
            "t > now() - INTERVAL 5 MINUTE, or day >= current_date - 7",
        )
    for edge in found:
        kind = work.expr(node.schema, edge.tree).sql_type
        if not is_time(kind):
            raise work.text.unsupported(
                part, f"now() is compared with a {kind}", "a TIMESTAMP, TIMESTAMPTZ or DATE of the row"
            )
    return found
