"""Columns that nobody reads are not carried, down to the scans."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from headrace.contracts.schema import Schema
from headrace.sql.bind.work import OtherJoin, TreeRecompute, Window, Work
from headrace.sql.passes.rebuild import with_inputs
from headrace.sql.plan import (
    Aggregate,
    AsofJoin,
    Filter,
    Hop,
    Join,
    MatchJoin,
    Node,
    Project,
    PythonCall,
    Scan,
    Session,
    SetOp,
    TopN,
    UnionAll,
    Unnest,
)


def prune_columns(work: Work, root: Node) -> Node:  # noqa: ARG001  (every pass has the same shape)
    """Return the plan with no column that nobody needs; the root's columns all stay."""
    return _keep(root, set(root.schema.names))


def _keep(node: Node, wanted: set[str]) -> Node:
    if isinstance(node, Scan):
        return _scan(node, wanted)
    own = _reads(node)
    if own is not None:
        return with_inputs(
            node, [_keep(part, (wanted | own) & set(part.schema.names)) for part in node.inputs]
        )
    if isinstance(node, Project):
        return _project(node, wanted)
    if isinstance(node, UnionAll):
        return _union(node, wanted)
    if isinstance(node, SetOp):
        return with_inputs(node, [_exactly(part, list(part.schema.names)) for part in node.parts])
    if isinstance(node, Aggregate):
        return _aggregate(node, wanted)
    if isinstance(node, TopN):
        if node.rank == "row_number" and node.rank_column not in wanted:
            # nobody sees the number, so a new row need not renumber the others: it is a LIMIT
            node = replace(node, schema=node.input.schema, rank=None, rank_column=None, rank_keys=0)
        needed = wanted | set(node.partition) | {key.column for key in node.order}
        return with_inputs(node, [_keep(node.input, needed & set(node.input.schema.names))])
    if isinstance(node, Window | PythonCall):
        return _window(node, wanted)
    if isinstance(node, TreeRecompute) and node.mentioned is not None:
        mentioned = node.mentioned
        return with_inputs(
            node,
            [_only(part, {n for n in part.schema.names if n.lower() in mentioned}) for part in node.parts],
        )
    return with_inputs(node, [_keep(child, set(child.schema.names)) for child in node.inputs])


def _reads(node: Node) -> set[str] | None:
    """Return the columns that a node reads itself where it hands on those of its inputs by name, else
    None.
    """
    match node:
        case Filter():
            return set(node.predicate.columns)
        case Hop():
            return {node.time}
        case Session():
            return {node.time, *node.keys}
        case Unnest():
            return set(node.lists)
        case OtherJoin():
            return set(node.condition.columns)
        case Join():
            keys = {name for one in node.equalities for name in (one.left_column, one.right_column)}
            return keys | set(node.residual.columns if node.residual else ())
        case AsofJoin():
            return {name for pair in node.equalities for name in pair} | {node.left_column, node.right_column}
        case MatchJoin():
            keys = {name for pair in node.equalities for name in pair}
            keys |= set(node.residual.columns if node.residual else ())
            return keys | set(node.range.columns if node.range else ())
        case _:
            return None


def _some(names: Iterable[str], wanted: set[str]) -> list[str]:
    """Return the wanted names in order, at least one: rows without columns cannot be counted."""
    listed = list(names)
    return [name for name in listed if name in wanted] or listed[:1]


def _only(part: Node, wanted: set[str]) -> Node:
    """Prune an input of recomputed SQL, which may say `*`: what is left must be exactly what is wanted."""
    names = _some(part.schema.names, wanted)
    if isinstance(part, Scan | Project):
        return _keep(part, set(names))
    return _keep(part, set(part.schema.names))


def _scan(node: Scan, wanted: set[str]) -> Scan:
    names = _some(node.schema.names, wanted)
    columns = dict(zip(node.schema.names, node.columns, strict=True))
    return Scan(node.schema.select(names), node.relation, tuple(columns[name] for name in names))


def _project(node: Project, wanted: set[str]) -> Project:
    names = _some(node.schema.names, wanted)
    exprs = dict(zip(node.schema.names, node.exprs, strict=True))
    kept = tuple(exprs[name] for name in names)
    below = {column for expr in kept for column in expr.columns}
    columns = {c.name: c for c in node.schema}
    return Project(Schema.of(columns[name] for name in names), _keep(node.input, below), kept)


def _union(node: UnionAll, wanted: set[str]) -> UnionAll:
    names = _some(node.schema.names, wanted)
    places = [node.schema.names.index(name) for name in names]
    columns = tuple(node.schema.columns[i] for i in places)
    parts = tuple(_exactly(part, [part.schema.names[i] for i in places]) for part in node.parts)
    return replace(node, schema=Schema(columns), parts=parts)


def _exactly(part: Node, names: list[str]) -> Node:
    """Prune a part of a union, whose columns count by position."""
    if isinstance(part, Scan | Project):
        return _keep(part, set(names))
    kept = _keep(part, set(names))
    if list(kept.schema.names) == names:
        return kept
    return _selection(kept, names)


def _selection(node: Node, names: list[str]) -> Project:
    from headrace.sql.bind.work import reference

    columns = [node.schema[name] for name in names]
    return Project(Schema.of(columns), node, tuple(reference(c.name, c.sql_type) for c in columns))


def _aggregate(node: Aggregate, wanted: set[str]) -> Aggregate:
    calls = tuple(call for call in node.calls if call.name in wanted)
    if not calls and not node.keys:
        calls = node.calls[:1]
    columns = {c.name: c for c in node.schema}
    names = [*node.keys, *(call.name for call in calls)]
    below = set(node.keys) | {column for call in calls for column in call.columns}
    return Aggregate(Schema.of(columns[name] for name in names), _keep(node.input, below), node.keys, calls)


def _window(node: Window | PythonCall, wanted: set[str]) -> Node:
    calls = [call for call in node.calls if call.name in wanted]
    own = set(node.input.schema.names) & wanted
    if not calls:
        return _keep(node.input, own)
    below = own | {column for call in calls for column in call.columns}
    kept = _keep(node.input, below)
    extra = tuple(node.schema[call.name] for call in calls)
    schema = Schema((*kept.schema.columns, *extra))
    return replace(node, input=kept, calls=tuple(calls), schema=schema)  # type: ignore[arg-type]
