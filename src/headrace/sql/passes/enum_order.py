"""Enumerations are ordered by their place in the type, not by their text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from headrace.contracts.schema import Schema
from headrace.sql.bind.work import Window, WindowCall, Work, reference
from headrace.sql.passes.rebuild import bottom_up
from headrace.sql.plan import Node, Project, TopN
from headrace.sql.tree import bound, call_of, raw_cast


def enum_order(work: Work, root: Node) -> Node:
    """Return the plan with `enum_code(x)` as the order key where x is an ENUM.

    Windows ordered by what holds an ENUM inside, such as a list of them, are left to DuckDB.
    """
    return bottom_up(root, lambda node: _ordered(work, node))


def _ordered(work: Work, node: Node) -> Node:
    if isinstance(node, TopN):
        return _top(work, node)
    return _window(work, node) if isinstance(node, Window) else node


def _coded(work: Work, source: Node, columns: Sequence[str]) -> tuple[Node, dict[str, str]]:
    """Return a node with the codes of some columns behind its own, and their names by the columns'."""
    names = {name: work.names.fresh(f"{name}_code") for name in columns}
    codes = [(code, raw_cast(call_of("enum_code", [bound(name)]), "INTEGER")) for name, code in names.items()]
    return work.extended(source, codes), names


def _top(work: Work, node: TopN) -> Node:
    enums = [key.column for key in node.order if node.input.schema[key.column].sql_type.startswith("ENUM")]
    if not enums:
        return node
    below, names = _coded(work, node.input, enums)
    order = tuple(replace(key, column=names.get(key.column, key.column)) for key in node.order)
    added = node.schema.columns[-1:] if node.rank else ()
    whole = replace(node, input=below, order=order, schema=Schema((*below.schema.columns, *added)))
    return Project(node.schema, whole, tuple(reference(c.name, c.sql_type) for c in node.schema))


def _window(work: Work, node: Window) -> Node:
    kinds = {column.name: column.sql_type for column in node.input.schema}
    keys = {key[0] for call in node.calls for key in (*call.order, *(call.full_order or ()))}
    enums = sorted(name for name in keys if _is_enum(kinds[name]))
    hidden = {name for name in keys if "ENUM(" in kinds[name]} - set(enums)
    if not enums and not hidden:
        return node
    below, names = _coded(work, node.input, enums)
    calls = tuple(_call(call, names, hidden) for call in node.calls)
    added = tuple(node.schema[call.name] for call in calls)
    whole = replace(node, input=below, calls=calls, schema=Schema((*below.schema.columns, *added)))
    if not enums:
        return whole
    return Project(node.schema, whole, tuple(reference(c.name, c.sql_type) for c in node.schema))


def _is_enum(kind: str) -> bool:
    return kind.startswith("ENUM(") and not kind.endswith("]")


def _call(call: WindowCall, names: Mapping[str, str], hidden: set[str]) -> WindowCall:
    """Return a call whose rows lie by codes; its SQL stays, as DuckDB orders by them itself."""
    orders = [call.order, call.full_order or ()]
    read = dict.fromkeys(names[key[0]] for order in orders for key in order if key[0] in names)
    order, full = (tuple((names.get(key[0], key[0]), *key[1:]) for key in order) for order in orders)
    made = replace(call, order=order, full_order=full or None, columns=(*call.columns, *read))
    is_hidden = any(key[0] in hidden for key in (*order, *full))
    return replace(made, frame=None, near=None) if is_hidden else made
