"""Window functions: each becomes a column of a `Window` node over plain columns."""

from __future__ import annotations

from dataclasses import replace

import duckdb

from headrace.contracts.schema import Schema
from headrace.sql.bind.work import Window, WindowCall, Work
from headrace.sql.duck import column
from headrace.sql.functions import aggregates
from headrace.sql.plan import PLACE_COLUMN, SEGMENT_COLUMN, Frame, Node
from headrace.sql.render import columns_of
from headrace.sql.ties import TIE_KEYS
from headrace.sql.tree import (
    Tree,
    arguments,
    bound,
    function_name,
    is_descending,
    is_nulls_first,
    order_item,
)

RANKS = ("row_number", "rank", "dense_rank")
_DAY_US = 86_400_000_000
_EDGES = ("first_value", "last_value")
_KNOWING = (*_EDGES, "lag")
"""Calls that have a rule with IGNORE NULLS."""
_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")


class Windows:
    """Collects the window functions of one SELECT.

    Args:
        work: the planning.
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self._calls: dict[str, tuple[str, Tree]] = {}
        self._below: dict[str, tuple[str, Tree]] = {}

    def replace(self, tree: Tree) -> Tree:
        """Return an expression with its window functions replaced by columns."""
        if tree.get("class") == "WINDOW":
            text = self.work.render(tree)
            if text not in self._calls:
                name = self.work.names.fresh(str(tree.get("alias") or function_name(tree)))
                self._calls[text] = (name, tree)
            return bound(self._calls[text][0])
        return {key: self._inside(value) for key, value in tree.items()}

    def _inside(self, value: object) -> object:
        if isinstance(value, dict):
            return self.replace(value)
        if isinstance(value, list):
            return [self._inside(item) for item in value]
        return value

    def apply(self, node: Node) -> Node:
        """Return the node's rows with a column for each window function."""
        if not self._calls:
            return node
        prepared = [(name, self._prepared(tree)) for name, tree in self._calls.values()]
        source = self.work.extended(
            node, [item for item in self._below.values() if item[1]["class"] != "BOUND"]
        )
        types = {c.name: c.sql_type for c in source.schema}
        texts = [self.work.render(tree) for _, tree in prepared]
        needed = {n: types[n] for _, tree in prepared for n in columns_of(tree)}
        sql_types = self.work.duck.types(needed, texts)
        calls = tuple(
            _call(self.work, types, name, tree, text, sql_type)
            for (name, tree), text, sql_type in zip(prepared, texts, sql_types, strict=True)
        )
        extra = [column(call.name, call.sql_type) for call in calls]
        return Window(Schema.of([*source.schema, *extra]), source, calls)

    def _prepared(self, tree: Tree) -> Tree:
        items = [
            item | {"expression": self._column(item["expression"], "window_arg")}
            for item in tree["arguments"]
        ]
        partitions = [self._column(part, "partition_key") for part in tree["partitions"]]
        orders = [self._order(item) for item in tree["orders"]]
        inner = [self._order(item) for item in tree["arg_orders"]]
        kept = self._column(tree["filter_expr"], "window_filter") if tree["filter_expr"] else None
        changed = {"arguments": items, "partitions": partitions, "orders": orders, "arg_orders": inner}
        return tree | changed | {"filter_expr": kept, "alias": ""}

    def _order(self, item: Tree) -> Tree:
        return item | {"expression": self._column(item["expression"], "order_key")}

    def _column(self, tree: Tree, wanted: str) -> Tree:
        if tree["class"] == "CONSTANT" or not columns_of(tree):
            return tree
        text = self.work.render(tree)
        if text not in self._below:
            name = str(tree["name"]) if tree["class"] == "BOUND" else self.work.names.fresh(wanted)
            self._below[text] = (name, tree)
        return bound(self._below[text][0])


def _call(work: Work, types: dict[str, str], name: str, tree: Tree, text: str, sql_type: str) -> WindowCall:
    partition = tuple(str(part["name"]) for part in tree["partitions"] if part["class"] == "BOUND")
    order = _keys(tree["orders"])
    func = function_name(tree)
    plain = func in RANKS and not tree["filter_expr"] and not tree["arg_orders"] and not arguments(tree)
    is_plain = plain and tree["exclude_clause"] == "NO_OTHER"
    declared = len(tree["orders"]) - int(tree.get(TIE_KEYS, 0))
    own = (i["expression"] for i in tree["orders"][:declared])
    keys = len({str(expression["name"]) for expression in own if expression["class"] == "BOUND"})
    call = WindowCall(name, func, text, sql_type, partition, order, columns_of(tree), is_plain, keys)
    return _told(work, types, call, tree)


def _keys(items: list[Tree]) -> tuple[tuple[str, bool, bool], ...]:
    """Return the columns of an ORDER BY, each where it stands first."""
    orders = [item for item in items if item["expression"]["class"] == "BOUND"]
    keyed = {str(i["expression"]["name"]): (is_descending(i), is_nulls_first(i)) for i in reversed(orders)}
    names = dict.fromkeys(str(i["expression"]["name"]) for i in orders)
    return tuple((column_name, *keyed[column_name]) for column_name in names)


def _told(work: Work, types: dict[str, str], call: WindowCall, tree: Tree) -> WindowCall:
    """Return the call with its arguments and frame, where those say all that it means."""
    given = arguments(tree)
    args = [part for part in given if part["class"] == "BOUND"]
    params = given[len(args) :]
    kept = tree["filter_expr"]
    full = _keys(tree["arg_orders"])
    is_plain = (
        not tree["distinct"]
        and (not tree["ignore_nulls"] or call.func in _KNOWING)
        and tree["exclude_clause"] == "NO_OTHER"
        and given[: len(args)] == args
        and not any(columns_of(part) for part in params)
        and (kept is None or kept["class"] == "BOUND")
        and full[: len(call.order)] == (call.order if full else ())
    )
    call = _near(work, types, call, tree)
    frame = _frame(work, types, call, tree) if is_plain else None
    if frame is None:
        return call
    return replace(
        call,
        args=tuple(str(part["name"]) for part in args),
        params=tuple(work.render(part) for part in params),
        filter=None if kept is None else str(kept["name"]),
        frame=frame,
        full_order=full or None,
        ignore_nulls=bool(tree["ignore_nulls"]),
    )


def _near(work: Work, types: dict[str, str], call: WindowCall, tree: Tree) -> WindowCall:
    """Return the call with how far it looks, where its frame is bounded; `lag` and ranks have none."""
    if not call.order or (call.func not in (*_EDGES, "nth_value") and call.func not in aggregates()):
        return call
    near = _frame(work, types, call, tree, loosely=True)
    if near is None or near.start is None or near.end is None:
        return call
    parted = tree | {"partitions": [bound(SEGMENT_COLUMN), *tree["partitions"]]}
    if near.unit == "rows" and tree["exclude_clause"] in ("NO_OTHER", "CURRENT_ROW"):
        parted = parted | {"orders": [*tree["orders"], order_item(bound(PLACE_COLUMN))]}
    return replace(call, near=near, near_sql=work.render(parted))


def _frame(
    work: Work, types: dict[str, str], call: WindowCall, tree: Tree, *, loosely: bool = False
) -> Frame | None:
    """Return a frame in ROWS or RANGE with constant distances; None for any other.

    `loosely`: one that holds it, also where its length has months, or the order descends.
    """
    start, end = str(tree["start"]), str(tree["end"])
    units = {word.rsplit("_", 1)[1] for word in (start, end) if not word.startswith("UNBOUNDED")} or {"RANGE"}
    if len(units) > 1 or units & {"GROUPS"}:
        return None
    unit = units.pop().lower()
    is_turned = unit == "range" and bool(call.order) and call.order[0][1]
    edges: list[int | None] = []
    for word, expression in ((start, tree["start_expr"]), (end, tree["end_expr"])):
        if word in ("UNBOUNDED_PRECEDING", "UNBOUNDED_FOLLOWING"):
            edges.append(None)
        elif word.startswith("CURRENT_ROW"):
            edges.append(0)
        else:
            distance = _distance(work, types, call, expression, unit, loosely=loosely)
            if distance is None or (is_turned and not loosely):
                return None
            edges.append(-distance if "PRECEDING" in word else distance)
    if start == "UNBOUNDED_FOLLOWING" or end == "UNBOUNDED_PRECEDING":
        return None
    return Frame(unit, edges[0], edges[1])


def _distance(
    work: Work, types: dict[str, str], call: WindowCall, tree: Tree, unit: str, *, loosely: bool
) -> int | None:
    """Return a constant distance in rows, in units of an integer column, or in microseconds of a time."""
    if columns_of(tree):
        return None
    kind = types[call.order[0][0]] if call.order else ""
    is_time = unit == "range" and (kind.startswith("TIMESTAMP") or kind == "DATE")
    if unit == "range" and not is_time and kind not in _INTEGERS:
        return None
    wanted = f"CAST({work.render(tree)} AS {'INTERVAL' if is_time else 'BIGINT'})"
    if is_time:
        months = "date_part('year', i) * 12 + date_part('month', i)"
        length = "epoch_us(i)"  # which takes a month for 30 days, a year for 365.25
        whole = (
            f"{length} + ({months}) * {2 * _DAY_US}"
            if loosely
            else f"CASE WHEN {months} = 0 THEN {length} END"
        )
        wanted = f"{whole} FROM (SELECT {wanted} AS i)"
    try:
        row = work.duck.con.execute(f"SELECT {wanted}").fetchone()
    except duckdb.Error:
        return None
    return int(row[0]) if row and row[0] is not None and int(row[0]) >= 0 else None
