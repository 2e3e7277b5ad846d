"""UNNEST in SELECT and in FROM, and the table functions `range` and `generate_series` over columns."""

from __future__ import annotations

from headrace.contracts.schema import Schema
from headrace.sql.bind.expressions import Lookup, resolve
from headrace.sql.bind.scope import Col
from headrace.sql.bind.work import NotPlanned, Work
from headrace.sql.duck import column
from headrace.sql.plan import Node, Unnest
from headrace.sql.render import columns_of
from headrace.sql.tree import (
    Tree,
    arguments,
    bound,
    call_of,
    expressions,
    function_name,
    operator,
    raw_cast,
    rewrite,
    string,
)

_SERIES = ("range", "generate_series")


def is_unnest(tree: Tree) -> bool:
    """Whether an expression is a call of UNNEST."""
    is_call = tree.get("class") == "FUNCTION" and not tree.get("is_operator")
    return is_call and function_name(tree) in ("unnest", "unlist")


def has_unnest(tree: Tree) -> bool:
    """Whether UNNEST stands somewhere in an expression."""
    return any(is_unnest(part) for part in expressions(tree))


def unnested(work: Work, node: Node, trees: list[Tree]) -> tuple[Node, list[Tree]]:
    """Return the rows once per element of the lists that a SELECT takes apart, and its expressions over them.

    Args:
        work: the planning.
        node: the rows below, after groups and window functions.
        trees: the resolved expressions of the SELECT.
    """
    calls = {work.render(part): part for tree in trees for part in expressions(tree) if is_unnest(part)}
    if not calls:
        return node, trees
    lists: list[tuple[str, Tree]] = []
    elements: dict[str, str] = {}
    for text, call in calls.items():
        args = call["arguments"]
        if len(args) != 1 or args[0].get("name") or has_unnest(args[0]["expression"]):
            raise NotPlanned("UNNEST within UNNEST, or recursive")
        lists.append((work.names.fresh("list"), args[0]["expression"]))
        elements[text] = work.names.fresh(str(call.get("alias") or "unnest"))
    node = taken_apart(work, node, lists, list(elements.values()))
    done = [
        rewrite(tree, lambda part: bound(elements[work.render(part)]) if is_unnest(part) else None)
        for tree in trees
    ]
    return node, done


def taken_apart(
    work: Work,
    node: Node,
    lists: list[tuple[str, Tree]],
    elements: list[str],
    *,
    ordinality: str | None = None,
    keeps_empty: bool = False,
) -> Node:
    """Return the rows once per element of some lists: (name, expression) each, and the element columns."""
    types = [expr.sql_type for expr in work.exprs(node.schema, [tree for _, tree in lists])]
    wide = [
        (name, tree if t.endswith("[]") else raw_cast(tree, f"{element_type(t)}[]"))
        for (name, tree), t in zip(lists, types, strict=True)
    ]
    source = work.extended(node, wide)
    made = [column(name, element_type(t)) for name, t in zip(elements, types, strict=True)]
    if ordinality is not None:
        made.append(column(ordinality, "BIGINT"))
    names = tuple(name for name, _ in lists)
    return Unnest(Schema.of([*node.schema, *made]), source, names, ordinality, keeps_empty)


def element_type(sql_type: str) -> str:
    """Return the type of a list's elements.

    Raises:
        NotPlanned: it is no list.
    """
    if not sql_type.endswith("]"):
        raise NotPlanned("UNNEST of what is no list")
    return sql_type[: sql_type.rindex("[")]


def fields_of(work: Work, node: Node, raw: Tree, lookup: Lookup) -> list[Tree] | None:
    """Return what `unnest(struct)` stands for, a field each; None where it is no such call."""
    if not is_unnest(raw) or len(raw["arguments"]) != 1:
        return None
    try:
        tree = resolve(work, arguments(raw)[0], lookup)
    except NotPlanned:
        return None
    if any(part.get("class") not in (None, "BOUND", "CONSTANT", "OPERATOR") for part in expressions(tree)):
        return None
    if not set(columns_of(tree)) <= set(node.schema.names):
        return None
    sql_type = work.expr(node.schema, tree).sql_type
    if not sql_type.startswith("STRUCT(") or sql_type.endswith("]"):
        return None
    found = work.duck.con.sql(f"SELECT CAST(NULL AS {sql_type})").types[0].children
    return [operator("STRUCT_EXTRACT", [tree, string(str(name))]) for name, _ in found]


def is_series(tree: Tree) -> bool:
    """Whether an item of FROM is a table function that has a list for its rows."""
    return tree["type"] == "TABLE_FUNCTION" and function_name(tree["function"]) in ("unnest", *_SERIES)


def series(
    work: Work, node: Node, tree: Tree, lookup: Lookup, *, keeps_empty: bool = False
) -> tuple[Node, tuple[Col, ...]]:
    """Return rows beside the rows of a table function over them, and the columns of the function."""
    call = tree["function"]
    name = function_name(call)
    args = [resolve(work, arg, lookup) for arg in arguments(call)]
    if any(item.get("name") for item in call["arguments"]):
        raise NotPlanned(f"the table function {name}")
    value = args[0] if name == "unnest" else call_of(name, args)
    label = str(tree.get("alias") or name)
    element = work.names.fresh(label)
    ordinality = None
    if str(tree.get("with_ordinality")) == "WITH_ORDINALITY":
        ordinality = work.names.fresh("ordinality")
    node = taken_apart(
        work,
        node,
        [(work.names.fresh("list"), value)],
        [element],
        ordinality=ordinality,
        keeps_empty=keeps_empty,
    )
    found = [Col(label, element, node.schema[element].sql_type)]
    if ordinality is not None:
        found.append(Col("ordinality", ordinality, "BIGINT"))
    return node, tuple(found)
