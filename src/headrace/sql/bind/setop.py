"""UNION, UNION ALL, INTERSECT, EXCEPT."""

from __future__ import annotations

from dataclasses import replace

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
    inner = env
    if env.outer is not None:
        inner = replace(env, outer=replace(env.outer, needs_domain=True, exact=True))
    parts = [work.bind(child, inner) for child in tree["children"]]
    described = _described(work, tree, env, parts)
    rows = [_row(part, described, by_name=kind == "UNION_BY_NAME") for part in parts]
    columns = tuple(Col(label, work.names.fresh(label), sql_type) for label, sql_type in described)
    keys: list[str] = []
    if env.outer is not None:
        keys = [work.names.fresh(name) for name in env.outer.names]
        typed = list(zip(keys, (env.outer.types[name] for name in env.outer.names), strict=True))
        described = [*described, *typed]
        rows = [[*row, *_keys(part)] for row, part in zip(rows, parts, strict=True)]
    schema = Schema.of(
        column(name, sql_type)
        for name, (_, sql_type) in zip([*(col.name for col in columns), *keys], described, strict=True)
    )
    nodes = tuple(_fitted(work, part, row, described) for part, row in zip(parts, rows, strict=True))
    node = _combined(schema, nodes, kind, is_all=bool(tree["setop_all"]))
    scope = Scope.single("", columns)
    outputs = [Output(col.label, bound(col.name)) for col in columns]
    wanted = [_order(work, scope, item) for item in modifier_expressions(tree["modifiers"])]
    return apply_modifiers(work, node, outputs, tree["modifiers"], wanted, [bound(key) for key in keys])


def _keys(part: Bound) -> list[Col]:
    return [Col(key, key, part.node.schema[key].sql_type) for key in part.keys]


def _described(work: Work, tree: Tree, env: Env, parts: list[Bound]) -> list[tuple[str, str]]:
    """Return labels and types; of a query that reads the one around it, by position from its parts."""
    try:
        return work.describe(tree | {"modifiers": []}, env)
    except NotPlanned:
        if env.outer is None or tree["setop_type"] == "UNION_BY_NAME":
            raise
    selects = [
        "SELECT " + ", ".join(f"CAST(NULL AS {col.sql_type})" for col in part.columns) for part in parts
    ]
    types = [sql_type for _, sql_type in work.duck.labels(" UNION ALL ".join(selects))]
    return [(col.label, sql_type) for col, sql_type in zip(parts[0].columns, types, strict=True)]


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
