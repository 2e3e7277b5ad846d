"""PIVOT with its values written out, and UNPIVOT, as the groups and lists that they mean."""

from __future__ import annotations

from dataclasses import replace

from headrace.sql.bind.env import Bound, Env
from headrace.sql.bind.scope import Col, Scope
from headrace.sql.bind.unnest import taken_apart
from headrace.sql.bind.work import NotPlanned, Work
from headrace.sql.plan import Node
from headrace.sql.tree import (
    STAR,
    Tree,
    bound,
    call_of,
    column_ref,
    comparison,
    operator,
    raw_cast,
    select_of,
    string,
    walk,
)

_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")
_LITERALS = {"INTEGER": _WHOLE, "STRING": ("VARCHAR",)}
"""Kinds of values that name a column of PIVOT, and the types of what they are compared with."""


def bind_pivot(work: Work, env: Env, tree: Tree, node: Node, scope: Scope) -> Bound:
    """Return a PIVOT or UNPIVOT of FROM.

    Args:
        work: the planning.
        env: what it sees.
        tree: the item of FROM.
        node: the rows of its source.
        scope: the names of its source.

    Raises:
        NotPlanned: it has several keys, finds its values by itself, or compares what is no number or text.
    """
    if len(tree["pivots"]) != 1 or scope.keys:
        raise NotPlanned("PIVOT")
    described = work.describe(select_of([STAR], tree | {"alias": "", "column_name_alias": []}), env)
    if tree["unpivot_names"]:
        return _unpivot(work, tree, node, scope, described)
    return _pivot(work, env, tree, scope, described)


def _unpivot(work: Work, tree: Tree, node: Node, scope: Scope, described: list[tuple[str, str]]) -> Bound:
    pivot = tree["pivots"][0]
    entries = [entry["star_expr"] for entry in pivot["entries"]]
    is_plain = len(tree["unpivot_names"]) == 1 == len(pivot["unpivot_names"])
    if not is_plain or any(not entry or entry["class"] != "COLUMN_REF" for entry in entries):
        raise NotPlanned("UNPIVOT")
    columns = [scope.find(str(entry["column_names"][-1])) for entry in entries]
    used = {col.name for col in columns if col}
    rest = [col for col in scope.star if col.name not in used]
    if None in columns or [col.label for col in rest] != [label for label, _ in described[:-2]]:
        raise NotPlanned("UNPIVOT")
    value_type = described[-1][1]
    names = [string(entry["alias"] or str(entry["column_names"][-1])) for entry in entries]
    values = [raw_cast(bound(col.name), value_type) for col in columns if col]
    lists = [(work.names.fresh("names"), call_of("list_value", names))]
    lists.append((work.names.fresh("values"), call_of("list_value", values)))
    made = [work.names.fresh(label) for label, _ in described[-2:]]
    node = taken_apart(work, node, lists, made)
    if not tree["include_nulls"]:
        node = work.filter(node, operator("OPERATOR_IS_NOT_NULL", [bound(made[1])]))
    own = [Col(label, name, t) for name, (label, t) in zip(made, described[-2:], strict=True)]
    kept = [*rest, *own]
    return Bound(work.project(node, [(col.name, bound(col.name)) for col in kept]), tuple(kept))


def _pivot(work: Work, env: Env, tree: Tree, scope: Scope, described: list[tuple[str, str]]) -> Bound:
    """A group by what is left, and each aggregate once per value, over the rows that have it."""
    pivot = tree["pivots"][0]
    if len(pivot["pivot_expressions"]) != 1 or pivot["pivot_enum"] or not pivot["entries"]:
        raise NotPlanned("PIVOT")
    key = pivot["pivot_expressions"][0]
    groups = _groups(tree, scope, key)
    items: list[Tree] = [column_ref(label) for label in groups]
    for entry in pivot["entries"]:
        test = comparison("COMPARE_EQUAL", key, _value(entry, scope, key))
        items += [_over(call, test) for call in tree["aggregates"]]
    query = select_of(items, tree["source"])
    query["group_expressions"] = [column_ref(label) for label in groups]
    query["group_sets"] = [list(range(len(groups)))]
    answer = work.bind(query, env)
    if [col.sql_type for col in answer.columns] != [sql_type for _, sql_type in described]:
        raise NotPlanned("PIVOT")
    pairs = zip(answer.columns, described, strict=True)
    return replace(answer, columns=tuple(replace(col, label=label) for col, (label, _) in pairs), order=())


def _groups(tree: Tree, scope: Scope, key: Tree) -> list[str]:
    """Return the labels of what it groups by: its GROUP BY, else all columns that it names nowhere."""
    groups = [str(label) for label in tree["groups"]]
    if not groups:
        refs = [part for one in [key, *tree["aggregates"]] for part in walk(one)]
        used = {str(part["column_names"][-1]).lower() for part in refs if part.get("class") == "COLUMN_REF"}
        groups = [col.label for col in scope.star if col.label.lower() not in used]
    if not groups or key.get("class") != "COLUMN_REF":
        raise NotPlanned("PIVOT")
    return groups


def _value(entry: Tree, scope: Scope, key: Tree) -> Tree:
    value = entry["star_expr"] or (entry["values"][0] if len(entry["values"]) == 1 else None)
    column = scope.find(str(key["column_names"][-1]))
    kind = ((value or {}).get("literal") or {}).get("kind") if isinstance(value, dict) else None
    if column is None or column.sql_type not in _LITERALS.get(str(kind), ()):
        raise NotPlanned("PIVOT")
    assert isinstance(value, dict)
    return value | {"alias": ""}


def _over(call: Tree, test: Tree) -> Tree:
    """Return an aggregate over the rows of one value; DuckDB overlooks a FILTER of its own."""
    if call.get("class") != "FUNCTION" or call.get("filter"):
        raise NotPlanned("PIVOT")
    return call | {"filter": test, "alias": ""}
