"""Which aggregates keep their sessions merged, and in which form.

γ(session(R))              where the groups are the sessions: keys of the window and one of its bounds
γ(π(session(R)))           is γ(session(π(R))) where the expressions do not read the bounds
"""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from headrace.contracts.schema import Column, Schema
from headrace.engine.aggregates.choose import choose_parts
from headrace.engine.duck import quote
from headrace.sql.plan import Aggregate, Expr, Project, Session


def window_below(node: Aggregate) -> Session | None:
    """Return the session window whose sessions are the groups of an aggregate that can merge them."""
    window = node.input
    if not isinstance(window, Session):
        return None
    bounds = set(window.schema.names[-2:])
    keys = set(node.keys)
    if keys - bounds != set(window.keys) or not keys & bounds:
        return None
    for call in node.calls:
        if bounds & set(call.columns) or any(quote(bound) in call.sql for bound in bounds):
            return None
    parts, _ = choose_parts(over_rows(node, window), append_only=True)
    return window if all(part.merges for part in parts) else None


def sessions_last(node: Aggregate) -> Aggregate:
    """Return an aggregate over expressions of a session window as one over the window of the expressions.

    They may read any column but the bounds; where one does, the node is returned as it is.
    """
    project = node.input
    if not isinstance(project, Project) or not isinstance(project.input, Session):
        return node
    window = project.input
    bounds = window.schema.names[-2:]
    shown: dict[str, str] = {}
    exprs: dict[str, Expr] = {}
    for name, expr in zip(project.schema.names, project.exprs, strict=True):
        if expr.columns and expr.sql == quote(expr.columns[0]) and expr.columns[0] in bounds:
            shown.setdefault(expr.columns[0], name)
        elif set(expr.columns) & set(bounds):
            return node
        else:
            exprs[name] = expr
    if len(shown) + len(exprs) < len(project.exprs):
        return node
    names = [_passed(window, column, exprs, project) for column in (window.time, *window.keys)]
    ends = [(column, shown.get(column) or _unused(column, project)) for column in bounds]
    types = {
        name: Column(name, expr.sql_type, _arrow(name, expr, project, window)) for name, expr in exprs.items()
    }
    below = Project(Schema(tuple(types.values())), window.input, tuple(exprs.values()))
    columns = (*below.schema.columns, *(replace(window.schema[old], name=new) for old, new in ends))
    return replace(node, input=Session(Schema(columns), below, names[0], tuple(names[1:]), window.gap_us))


def _passed(window: Session, column: str, exprs: dict[str, Expr], project: Project) -> str:
    """Return the name under which an input column passes a projection, to which it is added if need be."""
    for name, expr in exprs.items():
        if expr.sql == quote(column):
            return name
    name = _unused(column, project)
    exprs[name] = Expr(quote(column), (column,), window.schema[column].sql_type)
    return name


def _unused(wanted: str, project: Project) -> str:
    return wanted if wanted not in project.schema.names else f"{wanted} of the session"


def _arrow(name: str, expr: Expr, project: Project, window: Session) -> pa.DataType:
    known = name in project.schema.names
    return project.schema[name].arrow if known else window.schema[expr.columns[0]].arrow


def over_rows(node: Aggregate, window: Session) -> Aggregate:
    """Return the aggregate with the window's input in the window's place, for what its parts read."""
    return replace(node, input=window.input)
