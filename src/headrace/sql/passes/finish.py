"""The last step: the user's column names, plain expressions, and what the plan tells about itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from headrace.contracts.schema import Schema
from headrace.sql.bind.env import Bound
from headrace.sql.bind.work import OtherJoin, TreeRecompute, Window, Work, reference
from headrace.sql.duck import column, quote
from headrace.sql.passes.overs import over_of
from headrace.sql.passes.rebuild import bottom_up
from headrace.sql.plan import (
    Aggregate,
    AsofJoin,
    Expr,
    Filter,
    Hop,
    Join,
    MatchJoin,
    Node,
    OrderKey,
    Over,
    Project,
    Recompute,
    Scan,
    Session,
    TopN,
    Touched,
)


def named(answer: Bound, described: Sequence[tuple[str, str]]) -> Node:
    """Return the plan's rows under the user's names and DuckDB's types."""
    columns = [column(label, sql_type) for label, sql_type in described]
    exprs = tuple(reference(col.name, col.sql_type) for col in answer.columns)
    return Project(Schema.of(columns), answer.node, exprs)


def plain(work: Work, root: Node) -> Node:  # noqa: ARG001  (every pass has the same shape)
    """Return the plan in the nodes of `plan.py` alone."""
    return bottom_up(root, _plain)


def _plain(node: Node) -> Node:
    if isinstance(node, Project):
        below = node.input
        if isinstance(below, Project) and all(
            expr.sql == quote(name) for name, expr in zip(below.schema.names, below.exprs, strict=True)
        ):
            below = below.input
        return replace(node, input=below, exprs=tuple(_bare(expr) for expr in node.exprs))
    if isinstance(node, Filter):
        return replace(node, predicate=_bare(node.predicate))
    if isinstance(node, Join | MatchJoin) and node.residual is not None:
        return replace(node, residual=_bare(node.residual))
    if isinstance(node, OtherJoin):
        wanted = ", ".join(quote(name) for name in node.schema.names)
        sql = f'SELECT {wanted} FROM "__in0" {node.words} "__in1" ON {node.condition.sql}'
        return Recompute(node.schema, (node.left, node.right), ("__in0", "__in1"), sql, node.words)
    if isinstance(node, Window):
        return over_of(node)
    if isinstance(node, TreeRecompute):
        return Recompute(node.schema, node.parts, node.aliases, node.sql, node.reason)
    return node


def _bare(expr: Expr) -> Expr:
    return Expr(expr.sql, expr.columns, expr.sql_type)


def shown_order(answer: Bound, described: Sequence[tuple[str, str]]) -> tuple[OrderKey, ...]:
    """Return the outermost ORDER BY by the user's names."""
    names = {col.name: label for col, (label, _) in zip(answer.columns, described, strict=True)}
    return tuple(OrderKey(names[key.column], key.descending, key.nulls_first) for key in answer.order)


def unique_key(root: Node) -> tuple[str, ...] | None:
    """Return output columns that tell rows apart by the plan's shape, all of them shown.

    They are the keys of a GROUP BY, or the partition of which the first row is taken.
    """
    names = {name: name for name in root.schema.names}
    node = root
    while isinstance(node, Project | Filter | TopN | Over):
        if isinstance(node, TopN) and _is_first(node) and all(key in names for key in node.partition):
            return tuple(names[key] for key in node.partition)
        if isinstance(node, Project):
            below: dict[str, str] = {}
            for name, expr in zip(node.schema.names, node.exprs, strict=True):
                if expr.sql == quote(expr.columns[0] if expr.columns else "") and name in names:
                    below.setdefault(expr.columns[0], names[name])
            names = below
        node = node.inputs[0]
    if isinstance(node, Aggregate) and all(key in names for key in node.keys):
        return tuple(names[key] for key in node.keys)
    return None


def _is_first(node: TopN) -> bool:
    """Whether a node leaves at most one row of each partition."""
    is_one = node.limit is not None and node.limit <= 1 and not node.offset
    return is_one and bool(node.partition) and node.rank in (None, "row_number")


def event_time_columns(root: Node, event_times: Mapping[str, str]) -> tuple[str, ...]:
    """Return output columns that follow a stream's event time: the time itself and window bounds over it."""
    found = _monotone(root, event_times)
    return tuple(name for name in root.schema.names if name in found)


def _monotone(node: Node, event_times: Mapping[str, str]) -> set[str]:
    if isinstance(node, Scan):
        time = event_times.get(node.relation, "").lower()
        return {
            name for name, own in zip(node.schema.names, node.columns, strict=True) if own.lower() == time
        }
    below = [_monotone(child, event_times) for child in node.inputs]
    if isinstance(node, Project):
        return {
            name
            for name, expr in zip(node.schema.names, node.exprs, strict=True)
            if len(expr.columns) == 1 and expr.sql == quote(expr.columns[0]) and expr.columns[0] in below[0]
        }
    if isinstance(node, Hop | Session) and node.time in below[0]:
        return below[0] | set(node.schema.names[-2:])
    if isinstance(node, Aggregate):
        return below[0] & set(node.keys)
    if isinstance(node, AsofJoin) or (isinstance(node, MatchJoin) and node.kind != "full"):
        return below[0]
    if isinstance(node, Over):
        return below[0] & set(node.input.schema.names)
    if isinstance(node, Recompute | Touched):
        return set()
    if len(below) == 1 or isinstance(node, Join):
        return set().union(*below)
    return set()
