"""DuckDB's own syntax trees, as its parser writes them in JSON, and the few shapes that we build ourselves.

A tree is a dict. An expression has a `class`, a query node and a FROM item have a `type`. Positions are byte
offsets into the text. Column references that have been resolved to a column of a plan node are written
`{"class": "BOUND", "name": …}`, never to be mistaken for a lambda's parameter or a struct's field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Tree = dict[str, Any]

NOWHERE = 2**64 - 1
"""The position that DuckDB gives to what does not stand in the text."""

QUERY_TYPES = ("SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE")


def is_expression(value: object) -> bool:
    """Whether a value in a tree is an expression."""
    return isinstance(value, dict) and "class" in value


def is_query(value: object) -> bool:
    """Whether a value in a tree is a query node (SELECT, set operation, recursive CTE)."""
    return isinstance(value, dict) and value.get("type") in QUERY_TYPES


def members(tree: Tree) -> list[Tree]:
    """Return the dicts directly inside a tree, through lists."""
    found: list[Tree] = []
    for value in tree.values():
        if type(value) is dict:
            found.append(value)
        elif type(value) is list and value:
            found += _in_list(value)
    return found


def _in_list(values: list[Any]) -> list[Tree]:
    found: list[Tree] = []
    for value in values:
        if isinstance(value, dict):
            found.append(value)
        elif isinstance(value, list):
            found += _in_list(value)
    return found


def walk(tree: Tree, *, into_queries: bool = True) -> Iterator[Tree]:
    """Yield a tree and every dict inside it, outermost first.

    Args:
        tree: where to start; it is yielded even if it is a query.
        into_queries: whether to go down into queries nested in it.
    """
    stack = [tree]
    while stack:
        part = stack.pop()
        yield part
        inside = members(part)
        if inside:
            inside.reverse()
            stack += inside if into_queries else [member for member in inside if not is_query(member)]


def expressions(tree: Tree) -> Iterator[Tree]:
    """Yield the expressions in a tree, itself included, without those of nested queries."""
    return (part for part in walk(tree, into_queries=False) if is_expression(part))


def rewrite(tree: Tree, change: Callable[[Tree], Tree | None]) -> Tree:
    """Return a copy in which `change` has replaced what it answers for; it visits nothing below that."""
    replaced = change(tree)
    if replaced is not None:
        return replaced
    return {key: _rewrite_value(value, change) for key, value in tree.items()}


def _rewrite_value(value: Any, change: Callable[[Tree], Tree | None]) -> Any:
    if isinstance(value, dict):
        return rewrite(value, change)
    if isinstance(value, list):
        return [_rewrite_value(item, change) for item in value]
    return value


def function_name(tree: Tree) -> str:
    """Return the lower-case name of a FUNCTION or WINDOW expression."""
    return str(tree["function_name"]).lower()


def arguments(tree: Tree) -> list[Tree]:
    """Return the argument expressions of a FUNCTION or WINDOW."""
    return [item["expression"] for item in tree["arguments"]]


def conjuncts(tree: Tree) -> list[Tree]:
    """Split a predicate at its top-level ANDs."""
    if tree.get("type") == "CONJUNCTION_AND":
        return [part for child in tree["children"] for part in conjuncts(child)]
    return [tree]


def _located(tree: Tree) -> Tree:
    return tree | {"alias": "", "query_location": NOWHERE, "query_location_length": 0}


def conjunction(parts: list[Tree]) -> Tree:
    """Return the AND of one or more predicates."""
    if len(parts) == 1:
        return parts[0]
    return _located({"class": "CONJUNCTION", "type": "CONJUNCTION_AND", "children": parts})


def disjunction(parts: list[Tree]) -> Tree:
    """Return the OR of one or more predicates."""
    if len(parts) == 1:
        return parts[0]
    return _located({"class": "CONJUNCTION", "type": "CONJUNCTION_OR", "children": parts})


def column_ref(*names: str) -> Tree:
    """Return a reference by name, not yet resolved."""
    return _located({"class": "COLUMN_REF", "type": "COLUMN_REF", "column_names": list(names)})


def bound(name: str) -> Tree:
    """Return a reference to a column of a plan node."""
    return {"class": "BOUND", "name": name}


def integer(value: int) -> Tree:
    """Return an integer literal."""
    return _literal("INTEGER", str(value))


def string(value: str) -> Tree:
    """Return a string literal."""
    return _literal("STRING", value)


def _literal(kind: str, text: str) -> Tree:
    return _located({"class": "CONSTANT", "type": "VALUE_CONSTANT", "literal": {"kind": kind, "text": text}})


def integer_value(tree: Tree) -> int | None:
    """Return the value of an integer literal, else None."""
    literal = tree.get("literal") or {}
    if tree.get("class") == "CONSTANT" and literal.get("kind") == "INTEGER":
        return int(literal["text"])
    return None


def string_value(tree: Tree) -> str | None:
    """Return the value of a string literal, else None."""
    literal = tree.get("literal") or {}
    if tree.get("class") == "CONSTANT" and literal.get("kind") == "STRING":
        return str(literal["text"])
    return None


def is_null(tree: Tree) -> bool:
    """Whether the expression is a literal NULL."""
    return tree.get("class") == "CONSTANT" and (tree.get("literal") or {}).get("kind") == "NULL_LITERAL"


def is_true(tree: Tree) -> bool:
    """Whether the expression is a literal TRUE (DuckDB's parser writes some of them as casts of 't')."""
    while tree.get("class") == "CAST":
        tree = tree["child"]
    literal = tree.get("literal") or {}
    return tree.get("class") == "CONSTANT" and str(literal.get("text")).lower() in ("true", "t")


def order_item(expression: Tree, *, descending: bool = False, nulls_first: bool = False) -> Tree:
    """Return one item of an ORDER BY, with its place of NULLs written out."""
    return {
        "type": "DESCENDING" if descending else "ASCENDING",
        "null_order": "NULLS FIRST" if nulls_first else "NULLS LAST",
        "expression": expression,
    }


def is_descending(item: Tree) -> bool:
    """Whether an item of an ORDER BY is descending."""
    return bool(item["type"] == "DESCENDING")


def is_nulls_first(item: Tree) -> bool:
    """Whether an item of an ORDER BY puts NULLs first (DuckDB's default is last, either way)."""
    return bool(item["null_order"] == "NULLS FIRST")


def select_of(items: list[Tree], from_table: Tree | None = None) -> Tree:
    """Return a plain `SELECT items FROM from_table`."""
    nothing = {
        "type": "EMPTY",
        "alias": "",
        "sample": None,
        "query_location": NOWHERE,
        "query_location_length": 0,
    }
    return {
        "type": "SELECT_NODE",
        "modifiers": [],
        "cte_map": {"map": []},
        "select_list": items,
        "from_table": from_table or nothing,
        "where_clause": None,
        "group_expressions": [],
        "group_sets": [],
        "aggregate_handling": "STANDARD_HANDLING",
        "having": None,
        "sample": None,
        "qualify": None,
    }


STAR: Tree = {
    "class": "STAR",
    "type": "STAR",
    "alias": "",
    "query_location": NOWHERE,
    "query_location_length": 0,
    "relation_name": "",
    "exclude_list": [],
    "replace_list": [],
    "columns": False,
    "expr": None,
    "qualified_exclude_list": [],
    "rename_list": [],
}
"""`*`"""


def subquery(query: Tree, alias: str = "") -> Tree:
    """Return a FROM item that is a query."""
    return {
        "type": "SUBQUERY",
        "alias": alias,
        "sample": None,
        "query_location": NOWHERE,
        "query_location_length": 0,
        "subquery": {"node": query, "named_param_map": []},
        "column_name_alias": [],
    }


def table(name: str, alias: str = "", labels: list[str] | None = None) -> Tree:
    """Return a FROM item that names a table."""
    return {
        "type": "BASE_TABLE",
        "alias": alias,
        "sample": None,
        "query_location": NOWHERE,
        "query_location_length": 0,
        "schema_name": "",
        "table_name": name,
        "column_name_alias": labels or [],
        "catalog_name": "",
        "at_clause": None,
        "qualified_name": {"path": [name]},
    }


def comparison(kind: str, left: Tree, right: Tree) -> Tree:
    """Return a comparison, such as `COMPARE_EQUAL`."""
    return _located({"class": "COMPARISON", "type": kind, "left": left, "right": right})


def coalesce(parts: list[Tree]) -> Tree:
    """Return COALESCE(parts)."""
    return _located({"class": "OPERATOR", "type": "OPERATOR_COALESCE", "children": parts})


def null() -> Tree:
    """Return a literal NULL."""
    return _located({"class": "CONSTANT", "type": "VALUE_CONSTANT", "literal": {"kind": "NULL_LITERAL"}})


def call_of(name: str, args: list[Tree] | None = None) -> Tree:
    """Return a call of a scalar or aggregate function."""
    return _located(
        {
            "class": "FUNCTION",
            "type": "FUNCTION",
            "function_name": name,
            "schema": "",
            "catalog": "",
            "filter": None,
            "order_bys": {"type": "ORDER_MODIFIER", "orders": []},
            "distinct": False,
            "is_operator": False,
            "export_state": False,
            "arguments": [{"name": "", "expression": arg} for arg in args or []],
        }
    )


def operator(kind: str, children: list[Tree]) -> Tree:
    """Return an operator, such as `OPERATOR_IS_NULL`."""
    return _located({"class": "OPERATOR", "type": kind, "children": children})


def case_of(checks: list[tuple[Tree, Tree]], otherwise: Tree) -> Tree:
    """Return `CASE WHEN … THEN … ELSE otherwise END`."""
    listed = [{"when_expr": when, "then_expr": then} for when, then in checks]
    return _located({"class": "CASE", "type": "CASE_EXPR", "case_checks": listed, "else_expr": otherwise})


NULL = null()
TRUE = _literal("BOOLEAN", "true")
FALSE = _literal("BOOLEAN", "false")


def raw_cast(child: Tree, sql_type: str) -> Tree:
    """Return CAST(child AS type), the type as text; only our own renderer can write it."""
    return {"class": "RAW_CAST", "child": child, "sql_type": sql_type}
