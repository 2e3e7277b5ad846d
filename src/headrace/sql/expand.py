"""TUMBLE, HOP, CUMULATE and SESSION replaced by the SQL that they mean."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb

from headrace.contracts.schema import Schema
from headrace.sql.duck import Duck, schema_of
from headrace.sql.errors import Text, raise_from_exception
from headrace.sql.tree import STAR, Tree, is_query, select_of, table
from headrace.sql.windows import WindowCallText, is_window


def expand_windows(
    duck: Duck, text: Text, tree: Tree, catalog: Mapping[str, Schema]
) -> tuple[Tree, list[WindowCallText]]:
    """Return the query with its window calls written out, and the calls.

    Raises:
        SqlError: a call is wrong.
    """
    expansion = _Expansion(duck, text, catalog)
    return expansion.query(tree, []), expansion.calls


class _Expansion:
    def __init__(self, duck: Duck, text: Text, catalog: Mapping[str, Schema]) -> None:
        self.duck = duck
        self.text = text
        self.catalog = catalog
        self.calls: list[WindowCallText] = []

    def query(self, tree: Tree, ctes: list[Tree]) -> Tree:
        """Expand one query node, whose WITH entries see those before them."""
        own: list[Tree] = []
        for entry in (tree.get("cte_map") or {}).get("map") or []:
            value = entry["value"]
            inner = self.query(value["query_node"], [*ctes, *own])
            own.append(entry | {"value": value | {"query_node": inner}})
        rest = {key: self._value(value, [*ctes, *own]) for key, value in tree.items() if key != "cte_map"}
        return rest | ({"cte_map": {"map": own}} if "cte_map" in tree else {})

    def _value(self, value: object, ctes: list[Tree]) -> object:
        if isinstance(value, list):
            return [self._value(item, ctes) for item in value]
        if not isinstance(value, dict):
            return value
        if is_query(value):
            return self.query(value, ctes)
        if is_window(value):
            call = WindowCallText(self.duck, self.text, value, lambda name: self._schema(name, ctes))
            self.calls.append(call)
            item = call.subquery(str(value.get("alias") or ""))
            return item | {"column_name_alias": value.get("column_name_alias") or []}
        return {key: self._value(inner, ctes) for key, inner in value.items()}

    def _schema(self, name: str, ctes: list[Tree]) -> Schema | None:
        if any(str(entry["key"]).lower() == name.lower() for entry in ctes):
            whole = select_of([STAR], table(name))
            whole["cte_map"] = {"map": ctes}
            try:
                return schema_of(self.duck.describe(self.duck.text(whole)))
            except duckdb.Error as error:
                raise_from_exception(self.text, error)
        return self.catalog.get(name.lower())
