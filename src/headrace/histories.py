"""`<table>__history`: every accepted version of a table's rows, with the time in which it held.

A version holds from its effective time until the smallest effective time among the versions of its key that
come after it in their order: a later version that goes back in time ends earlier ones. What is wholly
overridden is kept with `valid_to = valid_from`. A deletion ends what held, and is no row itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from headrace.app import App
from headrace.contracts.schema import Schema
from headrace.declarations import TableDecl
from headrace.sql import plan_view
from headrace.sql.plan import Scan, Succession, ViewPlan

VALID_FROM = "valid_from"
VALID_TO = "valid_to"


def history_plans(app: App, catalog: Mapping[str, Schema]) -> dict[str, ViewPlan]:
    """Return the views of history that an app's tables bring, by lower-case name.

    Args:
        app: the declarations.
        catalog: columns of the base relations, by lower-case name.
    """
    kept = [decl for decl in app.tables.values() if decl.effective is not None]
    return {decl.history_name.lower(): _planned(decl, catalog) for decl in kept}


def _planned(decl: TableDecl, catalog: Mapping[str, Schema]) -> ViewPlan:
    plan = plan_view(decl.history_name, history_sql(decl), catalog)
    assert decl.key is not None
    versions = decl.versions_name.lower()
    scan = Scan(catalog[versions], versions, catalog[versions].names)
    has_order = decl.sequence is not None
    root = Succession(plan.schema, scan, decl.key, "_order", "_deleted", "_valid_from", is_strict=has_order)
    unique_key = tuple(dict.fromkeys((*decl.key, decl.sequence))) if decl.sequence is not None else None
    return replace(plan, root=root, unique_key=unique_key)


def history_sql(decl: TableDecl) -> str:
    """Return the SQL that says what a table's history is, over its versions."""
    assert decl.key is not None
    columns = [_quoted(name) for name in decl.schema.names]
    if VALID_FROM not in decl.schema:
        columns.append(f"_valid_from AS {VALID_FROM}")
    keys = ", ".join(_quoted(name) for name in decl.key)
    return (
        f"SELECT {', '.join(columns)},\n"
        f"    CASE WHEN _valid_to < _valid_from THEN _valid_from ELSE _valid_to END AS {VALID_TO}\n"
        "FROM (SELECT *, min(_valid_from) OVER (\n"
        f"    PARTITION BY {keys} ORDER BY _order, _deleted\n"
        "    ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING\n"
        f") AS _valid_to FROM {_quoted(decl.versions_name)})\n"
        "WHERE NOT _deleted"
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
