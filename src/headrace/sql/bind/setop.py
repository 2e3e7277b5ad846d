"""UNION, UNION ALL, INTERSECT, EXCEPT."""

from __future__ import annotations

from headrace.contracts.schema import Schema
from headrace.sql.bind.env import Bound, Env
from headrace.sql.bind.expressions import resolve
from headrace.sql.bind.modifiers import Output, apply_modifiers
from headrace.sql.bind.scope import Col, Scope, same
from headrace.sql.bind.select import modifier_expressions
from headrace.sql.bind.work import NotPlanned, Work, cast_expr, reference
from headrace.sql.duck import column
from headrace.sql.plan import Distinct, Node, Project, SetOp, UnionAll
from headrace.sql.tree import Tree, bound, integer_value


def bind_set_operation(work: Work, env: Env, tree: Tree) -> Bound:
    """Return a set operation."""
    kind = str(tree["setop_type"])
    if kind not in ("UNION", "UNION_BY_NAME", "INTERSECT", "EXCEPT"):
        raise NotPlanned(kind)
    described = work.describe(tree | {"modifiers": []}, env)
    parts = [work.bind(child, env) for child in tree["children"]]
    rows = [_row(part, described, by_name=kind == "UNION_BY_NAME") for part in parts]
    columns = tuple(Col(label, work.names.fresh(label), sql_type) for label, sql_type in described)
    schema = Schema.of(column(col.name, col.sql_type) for col in columns)
    nodes = tuple(_fitted(work, part, row, described) for part, row in zip(parts, rows, strict=True))
    node = _combined(schema, nodes, kind, is_all=bool(tree["setop_all"]))
    scope = Scope.single("", columns)
    outputs = [Output(col.label, bound(col.name)) for col in columns]
    wanted = [_order(work, scope, item) for item in modifier_expressions(tree["modifiers"])]
    return apply_modifiers(work, node, outputs, tree["modifiers"], wanted)


def _combined(schema: Schema, nodes: tuple[Node, ...], kind: str, *, is_all: bool) -> Node:
    """Return the rows of fitted parts together; of three and more, EXCEPT goes from left to right."""
    if kind in ("INTERSECT", "EXCEPT"):
        first, *others = nodes
        for other in others:
            first = SetOp(schema, (first, other), kind.lower(), is_all)
        return first
    union = UnionAll(schema, nodes)
    return union if is_all else Distinct(schema, union)


def _order(work: Work, scope: Scope, tree: Tree) -> Tree:
    if tree["class"] == "STAR" or integer_value(tree) is not None:
        return tree
    return resolve(work, tree, scope.resolve)


def _row(part: Bound, described: list[tuple[str, str]], *, by_name: bool) -> list[Col | None]:
    if not by_name:
        return list(part.columns)
    return [next((col for col in part.columns if same(col.label, label)), None) for label, _ in described]


def _fitted(work: Work, part: Bound, row: list[Col | None], described: list[tuple[str, str]]) -> Node:
    """Return the part with its columns in order and cast to the types of the union."""
    fits = all(col and col.sql_type == t for col, (_, t) in zip(row, described, strict=True))
    if fits and tuple(col.name for col in row if col) == part.node.schema.names:
        return part.node
    names = [work.names.fresh(label) for label, _ in described]
    exprs = tuple(
        reference(col.name, t) if col and col.sql_type == t else cast_expr(col.name if col else None, t)
        for col, (_, t) in zip(row, described, strict=True)
    )
    schema = Schema.of(column(name, t) for name, (_, t) in zip(names, described, strict=True))
    return Project(schema, part.node, exprs)
