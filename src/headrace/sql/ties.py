"""Order where SQL leaves it open: ties break by the remaining columns, ascending, NULLs last.

The keys are written into the query itself, so that the plan and the reference SQL have the very same order.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from headrace.sql.bind.expressions import is_aggregate
from headrace.sql.duck import Duck
from headrace.sql.functions import AGGREGATE_MACROS, canonical
from headrace.sql.tree import (
    STAR,
    Tree,
    arguments,
    column_ref,
    conjuncts,
    expressions,
    function_name,
    integer,
    integer_value,
    is_query,
    order_item,
    rewrite,
    select_of,
    subquery,
    walk,
)

TIE_KEYS = "headrace_ties"
"""In a window function: how many keys at the end of its ORDER BY are ours."""

_ORDERED_BY_VALUE = frozenset(
    {
        "list", "string_agg", "arg_min", "arg_max", "arg_min_null", "arg_max_null", "arg_min_nulls_last",
        "arg_max_nulls_last", "mode", "first", "last", "any_value", "approx_quantile", "approx_top_k", "lttb",
        "product", "skewness", "kurtosis", "kurtosis_pop",
    }
)  # fmt: skip
"""Aggregates whose answer, if only its last bit, depends on the order of the rows."""
_BY_ROW = frozenset({"row_number", "ntile", "lag", "lead"})
_BY_FRAME = frozenset(
    {"first_value", "last_value", "nth_value", "first", "last", "any_value", "list", "string_agg"}
)


def break_ties(duck: Duck, tree: Tree) -> Tree:
    """Return the query with every open order decided; labels of its columns stay."""
    return _Ties(duck).query(tree, [])


class _Ties:
    def __init__(self, duck: Duck) -> None:
        self.duck = duck

    def query(self, tree: Tree, ctes: list[Tree]) -> Tree:
        """Decide one query node, whose WITH entries see those before them."""
        own: list[Tree] = []
        for entry in (tree.get("cte_map") or {}).get("map") or []:
            value = entry["value"]
            inner = self.query(value["query_node"], [*ctes, *own])
            own.append(entry | {"value": value | {"query_node": inner}})
        seen = [*ctes, *own]
        done: Tree = {key: self._value(value, seen) for key, value in tree.items() if key != "cte_map"}
        if "cte_map" in tree:
            done["cte_map"] = {"map": own}
        if done["type"] == "SELECT_NODE":
            done = self._windows(done, seen)
            done["select_list"] = [
                self._labelled(old, new)
                for old, new in zip(tree["select_list"], done["select_list"], strict=True)
            ]
        return self._limit(done, seen)

    def _value(self, value: object, ctes: list[Tree]) -> object:
        if isinstance(value, list):
            return [self._value(item, ctes) for item in value]
        if not isinstance(value, dict):
            return value
        if is_query(value):
            return self.query(value, ctes)
        inner: Tree = {key: self._value(part, ctes) for key, part in value.items()}
        if inner.get("class") == "FUNCTION" and not inner.get("is_operator"):
            written = self._written_out(inner)
            return self._aggregate(written) if written is inner else written
        if inner.get("ref_type") == "ASOF":
            return self._asof(inner, ctes)
        return inner

    def _labelled(self, old: Tree, new: Tree) -> Tree:
        """Keep the label that DuckDB gave an output before we changed it."""
        if old == new or new.get("alias") or new["class"] == "STAR" or self._label(old) == self._label(new):
            return new
        return new | {"alias": self._label(old)}

    def _label(self, tree: Tree) -> str:
        return self.duck.text(select_of([tree | {"alias": ""}]))[len("SELECT ") :]

    # aggregates

    def _written_out(self, tree: Tree) -> Tree:
        """Return a macro that hides an aggregate as what it stands for."""
        name = function_name(tree)
        if name not in AGGREGATE_MACROS or len(AGGREGATE_MACROS[name][0]) != len(tree["arguments"]):
            return tree
        parameters, text = AGGREGATE_MACROS[name]
        meaning = dict(zip(parameters, arguments(tree), strict=True))
        body = self.duck.parse(f"SELECT {text}")["statements"][0]["node"]["select_list"][0]

        def change(part: Tree) -> Tree | None:
            if part.get("class") == "COLUMN_REF":
                return meaning.get(str(part["column_names"][0]))
            return None

        made = rewrite(body, change)
        result = self._value(made, [])
        assert isinstance(result, dict)
        return result | {"alias": tree.get("alias", "")}

    def _aggregate(self, tree: Tree) -> Tree:
        if canonical(function_name(tree)) not in _ORDERED_BY_VALUE or not is_aggregate(tree):
            return tree
        args = arguments(tree)
        orders = tree["order_bys"]["orders"]
        if not args or (not orders and function_name(tree) in ("first", "last", "any_value", "arbitrary")):
            return tree
        by_both = function_name(tree) == "lttb" or canonical(function_name(tree)).startswith("arg_")
        open_ = [arg for arg in args[: 2 if by_both else 1] if arg["class"] != "CONSTANT"]
        extra = [order_item(arg) for arg in open_]
        return tree | {"order_bys": tree["order_bys"] | {"orders": [*orders, *extra]}}

    # LIMIT

    def _limit(self, tree: Tree, ctes: list[Tree]) -> Tree:
        """Order the rows of a LIMIT or DISTINCT ON by all outputs in the end."""
        modifiers: list[Tree] = tree.get("modifiers") or []
        kinds = [modifier["type"] for modifier in modifiers]
        is_on = any(modifier.get("distinct_on_targets") for modifier in modifiers)
        if "LIMIT_MODIFIER" not in kinds and not is_on:
            return tree
        orders = [item for m in modifiers if m["type"] == "ORDER_MODIFIER" for item in m["orders"]]
        if any(item["expression"]["class"] == "STAR" for item in orders):
            return tree
        count = self._count(tree, ctes)
        given = {integer_value(item["expression"]) for item in orders}
        extra = [order_item(integer(i)) for i in range(1, count + 1) if i not in given]
        if not extra:
            return tree
        order = {"type": "ORDER_MODIFIER", "orders": [*orders, *extra]}
        if "ORDER_MODIFIER" in kinds:
            changed = [order if m["type"] == "ORDER_MODIFIER" else m for m in modifiers]
        else:
            at = kinds.index("LIMIT_MODIFIER") if "LIMIT_MODIFIER" in kinds else len(kinds)
            changed = [*modifiers[:at], order, *modifiers[at:]]
        return tree | {"modifiers": changed}

    def _count(self, tree: Tree, ctes: list[Tree]) -> int:
        """Return how many columns a query has; a correlated one cannot be asked as a whole."""
        bare = tree | {"modifiers": []}
        described = self._describe(bare, ctes)
        if described is not None:
            return len(described)
        if tree["type"] != "SELECT_NODE":
            return 0
        plain = [item for item in tree["select_list"] if item["class"] != "STAR"]
        if len(plain) == len(tree["select_list"]):
            return len(plain)
        stars = select_of(
            [item for item in tree["select_list"] if item["class"] == "STAR"], tree["from_table"]
        )
        return len(plain) + len(self._describe(stars, ctes) or ())

    def _describe(self, tree: Tree, ctes: list[Tree]) -> list[str] | None:
        whole = (
            tree | {"cte_map": {"map": _once([*ctes, *tree["cte_map"]["map"]])}}
            if "cte_map" in tree
            else tree
        )
        try:
            return [label for label, _ in self.duck.describe(self.duck.text(whole))]
        except duckdb.Error:
            return None

    # ASOF

    def _asof(self, join: Tree, ctes: list[Tree]) -> Tree:
        """Leave one right row of those that an ASOF JOIN cannot tell apart: the first by all columns."""
        leaves = self._leaves(join["right"], ctes)
        if join["right"]["type"] == "JOIN" or not leaves or join["join_type"] not in ("INNER", "LEFT"):
            return join
        alias, labels = leaves[0]
        keys = [column_ref(alias, str(label)) for label in join["using_columns"]]
        for part in conjuncts(join["condition"]) if join["condition"] else []:
            found = self._asof_keys(part, join, ctes)
            if found is None:
                return join
            keys += found
        rest = _new([column_ref(alias, label) for label in labels], keys)
        query = select_of([STAR], join["right"])
        query["modifiers"] = [
            {"type": "DISTINCT_MODIFIER", "distinct_on_targets": keys},
            {"type": "ORDER_MODIFIER", "orders": [order_item(key) for key in [*keys, *rest]]},
        ]
        return join | {"right": subquery(query, alias)}

    def _asof_keys(self, part: Tree, join: Tree, ctes: list[Tree]) -> list[Tree] | None:
        """Return what a condition of an ASOF JOIN reads of a right row; None: it mixes both sides."""
        if self._is_of(part, join, ctes):
            return [part]
        if self._describe(select_of([part], join["left"]), ctes) is not None:
            return []
        if part.get("class") != "COMPARISON":
            return None
        found = [side for side in (part["left"], part["right"]) if self._is_of(side, join, ctes)]
        return found if len(found) == 1 else None

    def _is_of(self, side: Tree, join: Tree, ctes: list[Tree]) -> bool:
        """Whether an expression of a join's condition reads its right input alone."""
        here = self._describe(select_of([side], join["right"]), ctes)
        there = self._describe(select_of([side], join["left"]), ctes)
        return here is not None and there is None

    # window functions

    def _windows(self, tree: Tree, ctes: list[Tree]) -> Tree:
        found = [part for part in expressions(tree) if part.get("class") == "WINDOW" and _is_open(part)]
        if not found:
            return tree
        rows_only = all(function_name(part) == "row_number" for part in found)
        for keys in self._candidates(tree, ctes, rows_only=rows_only):
            made = _with_keys(tree, keys)
            if self._describe(made | {"modifiers": []}, ctes) is not None:
                return made
        return tree

    def _candidates(self, tree: Tree, ctes: list[Tree], *, rows_only: bool) -> list[list[Tree]]:
        """Return lists of tie keys, the best first; the first that DuckDB can bind is taken."""
        leaves = self._leaves(tree["from_table"], ctes)
        everything = [column_ref(alias, label) for alias, labels in leaves for label in labels]
        outputs = self._outputs(tree, leaves)
        aliases = {str(item.get("alias") or "").lower() for item in tree["select_list"]} - {""}
        safe = [key for key in outputs if not _names(key) & aliases]
        is_grouped = bool(tree["group_expressions"]) or tree["aggregate_handling"] == "FORCE_AGGREGATES"
        is_grouped = is_grouped or any(is_aggregate(part) for item in outputs for part in expressions(item))
        if is_grouped:
            groups = [key for key in tree["group_expressions"] if integer_value(key) is None]
            return [[*outputs, *groups], [*safe, *groups], groups, outputs]
        if rows_only:
            return [outputs, safe, everything]
        return [[*outputs, *everything], [*safe, *everything], everything]

    def _outputs(self, tree: Tree, leaves: Sequence[tuple[str, list[str]]]) -> list[Tree]:
        found: list[Tree] = []
        for item in tree["select_list"]:
            if item["class"] == "STAR":
                found += _starred(item, leaves)
            elif not any(part.get("class") in ("WINDOW", "SUBQUERY", "STAR") for part in walk(item)):
                found.append(item | {"alias": ""})
        return [item for item in found if item["class"] != "CONSTANT"]

    def _leaves(self, tree: Tree, ctes: list[Tree]) -> list[tuple[str, list[str]]]:
        """Return alias and labels of every item of a FROM clause that has an alias."""
        if tree["type"] == "JOIN":
            left = self._leaves(tree["left"], ctes)
            return left if tree["join_type"] in ("SEMI", "ANTI") else left + self._leaves(tree["right"], ctes)
        if tree["type"] == "EMPTY":
            return []
        alias = str(tree.get("alias") or "")
        if not alias and tree["type"] == "BASE_TABLE":
            alias = str(tree["table_name"])
        if not alias and tree["type"] == "SUBQUERY":
            alias = "unnamed_subquery"
        labels = self._describe(select_of([STAR], tree), ctes)
        return [(alias, labels)] if alias and labels else []


def _once(entries: list[Tree]) -> list[Tree]:
    return list({str(entry["key"]).lower(): entry for entry in entries}.values())


def _names(tree: Tree) -> set[str]:
    refs = (part for part in expressions(tree) if part.get("class") == "COLUMN_REF")
    return {str(part["column_names"][0]).lower() for part in refs}


def _starred(star: Tree, leaves: Sequence[tuple[str, list[str]]]) -> list[Tree]:
    """Return what a star stands for, item by item, under qualified names."""
    wanted = str(star["relation_name"]).lower()
    left_out = {str(name).lower() for name in star["exclude_list"]}
    replaced = {str(entry["key"]).lower(): entry["value"] for entry in star["replace_list"]}
    return [
        replaced.get(label.lower()) or column_ref(alias, label)
        for alias, labels in leaves
        if not wanted or alias.lower() == wanted
        for label in labels
        if label.lower() not in left_out
    ]


def _is_by_rows(tree: Tree) -> bool:
    return str(tree["start"]).endswith("ROWS") or str(tree["end"]).endswith("ROWS")


def _is_open(tree: Tree) -> bool:
    """Whether the answer of a window function depends on the order of equal rows."""
    name = function_name(tree)
    return name in _BY_ROW or name in _BY_FRAME or _is_by_rows(tree)


def _new(keys: list[Tree], known: list[Tree]) -> list[Tree]:
    """Return the keys that are not among the known ones, each once."""
    seen = {_spelling(tree) for tree in known}
    found = []
    for key in keys:
        spelling = _spelling(key)
        if spelling not in seen:
            seen.add(spelling)
            found.append(key)
    return found


def _rest(keys: list[Tree], window: Tree, orders: list[Tree]) -> list[Tree]:
    """Return the items that decide an order of a window function."""
    known = [*window["partitions"], *(item["expression"] for item in orders)]
    return [order_item(key) for key in _new(keys, known)]


def _spelling(tree: Tree) -> str:
    places = ("query_location", "query_location_length", "alias")
    plain = {key: value for key, value in tree.items() if key not in places}
    if tree.get("class") == "COLUMN_REF":
        return "column " + ".".join(str(name).lower() for name in tree["column_names"])
    return repr(plain)


def _with_keys(tree: Tree, keys: list[Tree]) -> Tree:
    def change(part: Tree) -> Tree | None:
        if is_query(part) and part is not tree:
            return part
        if part.get("class") != "WINDOW" or not _is_open(part):
            return None
        name, own = function_name(part), part["arg_orders"]
        decided = part
        if own and (name in _BY_ROW or name in _BY_FRAME):
            decided = part | {"arg_orders": [*own, *_rest(keys, part, own)]}
        extra = _rest(keys, part, part["orders"])
        if _is_by_rows(part) or (name in _BY_ROW and not own):
            return decided | {"orders": [*part["orders"], *extra], TIE_KEYS: len(extra)}
        return decided if own else part | {"arg_orders": [*part["orders"], *extra]}

    return rewrite(tree, change)
