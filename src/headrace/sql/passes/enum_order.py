"""Enumerations are ordered by their place in the type, not by their text."""

from __future__ import annotations

from dataclasses import replace

from headrace.contracts.schema import Schema
from headrace.sql.bind.work import Work, reference
from headrace.sql.passes.rebuild import bottom_up
from headrace.sql.plan import Node, Project, TopN
from headrace.sql.tree import bound, call_of, raw_cast


def enum_order(work: Work, root: Node) -> Node:
    """Return the plan with `enum_code(x)` as the order key where x is an ENUM."""
    return bottom_up(root, lambda node: _coded(work, node) if isinstance(node, TopN) else node)


def _coded(work: Work, node: TopN) -> Node:
    enums = [key.column for key in node.order if node.input.schema[key.column].sql_type.startswith("ENUM")]
    if not enums:
        return node
    names = {name: work.names.fresh(f"{name}_code") for name in enums}
    codes = [(code, raw_cast(call_of("enum_code", [bound(name)]), "INTEGER")) for name, code in names.items()]
    below = work.extended(node.input, codes)
    order = tuple(replace(key, column=names.get(key.column, key.column)) for key in node.order)
    added = node.schema.columns[-1:] if node.rank else ()
    whole = replace(node, input=below, order=order, schema=Schema((*below.schema.columns, *added)))
    return Project(node.schema, whole, tuple(reference(c.name, c.sql_type) for c in node.schema))
