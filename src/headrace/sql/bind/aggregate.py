"""GROUP BY and aggregate calls."""

from __future__ import annotations

from headrace.contracts.schema import Schema
from headrace.sql.bind.expressions import is_aggregate
from headrace.sql.bind.work import NotPlanned, TreeExpr, Work, cast_expr, reference
from headrace.sql.duck import column
from headrace.sql.functions import canonical
from headrace.sql.plan import AggCall, Aggregate, Node, OrderKey, Project, UnionAll
from headrace.sql.render import columns_of
from headrace.sql.tree import (
    Tree,
    arguments,
    bound,
    call_of,
    function_name,
    integer,
    is_descending,
    is_null,
    is_nulls_first,
    raw_cast,
)


class Grouping:
    """Collects keys and aggregate calls of one SELECT, then builds the Aggregate.

    Args:
        work: the planning.
        keys: the GROUP BY expressions, resolved.
        outputs: labels and resolved expressions of the SELECT, for good names.
    """

    def __init__(self, work: Work, keys: list[Tree], outputs: list[tuple[str, Tree]]) -> None:
        self.work = work
        self._labels = {work.render(tree): label for label, tree in outputs}
        self._keys: dict[str, tuple[str, Tree]] = {}
        self._calls: dict[str, tuple[str, Tree]] = {}
        self._flags: dict[str, tuple[str, list[str]]] = {}
        self.sets: list[list[Tree]] = [keys]
        for tree in keys:
            text = work.render(tree)
            self._keys.setdefault(text, (self._name(tree, text), tree))

    def _name(self, tree: Tree, text: str) -> str:
        if tree["class"] == "BOUND":
            return str(tree["name"])
        return self.work.names.fresh(self._labels.get(text) or "key")

    def replace(self, tree: Tree) -> Tree:
        """Return an expression of the SELECT over the keys and calls of the groups.

        Raises:
            NotPlanned: it reads a column that is neither grouped nor aggregated.
        """
        text = self.work.render(tree) if tree.get("class") and tree["class"] != "STAR" else ""
        if text in self._keys:
            return bound(self._keys[text][0])
        if is_aggregate(tree):
            return bound(self._call(tree, text))
        if tree.get("type") == "GROUPING_FUNCTION":
            return bound(self._flag(tree, text))
        if tree.get("class") == "BOUND":
            raise NotPlanned(f"the column {tree['name']!r} outside the groups")
        return {key: self._inside(value) for key, value in tree.items()}

    def _inside(self, value: object) -> object:
        if isinstance(value, dict):
            return self.replace(value)
        if isinstance(value, list):
            return [self._inside(item) for item in value]
        return value

    def _call(self, tree: Tree, text: str) -> str:
        if text not in self._calls:
            wanted = self._labels.get(text) or function_name(tree)
            self._calls[text] = (self.work.names.fresh(wanted), tree)
        return self._calls[text][0]

    def _flag(self, tree: Tree, text: str) -> str:
        """Return the column of a GROUPING call, a number per set."""
        if text not in self._flags:
            keys = [self.work.render(child) for child in tree["children"]]
            if not keys or not all(key in self._keys for key in keys):
                raise NotPlanned("GROUPING of what is no key")
            self._flags[text] = (self.work.names.fresh(self._labels.get(text) or "grouping"), keys)
        return self._flags[text][0]

    def apply(self, node: Node) -> Node:
        """Return the groups of the node's rows; of several sets, those of each set one after the other."""
        if not self._calls and not all(self.sets):
            self._calls["count(*)"] = (self.work.names.fresh("rows"), call_of("count_star"))
        below = _Below(self.work, [(name, tree) for name, tree in self._keys.values()])
        prepared = [(name, *below.prepare(tree)) for name, tree in self._calls.values()]
        source = below.project(node)
        texts = [self.work.render(tree) for _, tree, _ in prepared]
        types = {c.name: c.sql_type for c in source.schema}
        needed = {n: types[n] for _, tree, _ in prepared for n in columns_of(tree)}
        sql_types = self.work.duck.types(needed, texts)
        calls = tuple(
            _agg_call(self.work, name, tree, params, sql_type)
            for (name, tree, params), sql_type in zip(prepared, sql_types, strict=True)
        )
        if len(self.sets) == 1 and not self._flags:
            return _groups(source, tuple(name for name, _ in self._keys.values()), calls)
        parts = tuple(self._one_set(source, one, calls) for one in self.sets)
        return parts[0] if len(parts) == 1 else UnionAll(parts[0].schema, parts)

    def _one_set(self, source: Node, chosen: list[Tree], calls: tuple[AggCall, ...]) -> Node:
        """Return the groups by some of the keys; the others are NULL, and GROUPING tells which."""
        texts = {self.work.render(tree) for tree in chosen}
        keys = tuple(name for text, (name, _) in self._keys.items() if text in texts)
        groups = _groups(source, keys, calls)
        exprs, columns = [], []
        for text, (name, _) in self._keys.items():
            sql_type = source.schema[name].sql_type
            exprs.append(reference(name, sql_type) if text in texts else cast_expr(None, sql_type))
            columns.append(column(name, sql_type))
        for call in calls:
            exprs.append(reference(call.name, call.sql_type))
            columns.append(column(call.name, call.sql_type))
        for name, flagged in self._flags.values():
            value = int("".join("01"[text not in texts] for text in flagged), 2)
            exprs.append(
                TreeExpr(f"CAST({value} AS BIGINT)", (), "BIGINT", raw_cast(integer(value), "BIGINT"))
            )
            columns.append(column(name, "BIGINT"))
        return Project(Schema.of(columns), groups, tuple(exprs))


def _groups(source: Node, keys: tuple[str, ...], calls: tuple[AggCall, ...]) -> Aggregate:
    columns = [source.schema[key] for key in keys] + [column(c.name, c.sql_type) for c in calls]
    return Aggregate(Schema.of(columns), source, keys, calls)


class _Below:
    """The columns that an Aggregate needs of its input."""

    def __init__(self, work: Work, keys: list[tuple[str, Tree]]) -> None:
        self.work = work
        self._items: dict[str, tuple[str, Tree]] = {}
        for name, tree in keys:
            self._items[work.render(tree)] = (name, tree)

    def column(self, tree: Tree, wanted: str) -> Tree:
        """Return a reference to the column that holds an expression."""
        text = self.work.render(tree)
        if text not in self._items:
            name = str(tree["name"]) if tree["class"] == "BOUND" else self.work.names.fresh(wanted)
            self._items[text] = (name, tree)
        return bound(self._items[text][0])

    def prepare(self, tree: Tree) -> tuple[Tree, list[Tree]]:
        """Return an aggregate call over plain columns, and its constant parameters."""
        name = function_name(tree)
        args = arguments(tree)
        counted = len(args) == 1 and _is_constant(args[0]) and not is_null(args[0]) and not tree["distinct"]
        if name == "count" and counted:
            tree = tree | {"function_name": "count_star", "qualified_name": None, "arguments": []}
            args = []
        params = [
            arg for i, arg in enumerate(args) if (i > 0 or tree["order_bys"]["orders"]) and _is_constant(arg)
        ]
        prepared = [arg if arg in params else self.column(arg, f"{name}_arg") for arg in args]
        orders = [
            item | {"expression": self.column(item["expression"], f"{name}_order")}
            for item in tree["order_bys"]["orders"]
        ]
        kept = self.column(tree["filter"], f"{name}_filter") if tree.get("filter") else None
        items = [old | {"expression": new} for old, new in zip(tree["arguments"], prepared, strict=True)]
        changed = {"arguments": items, "order_bys": tree["order_bys"] | {"orders": orders}, "filter": kept}
        return tree | changed, params

    def project(self, node: Node) -> Node:
        """Return the node's rows with exactly the columns that were asked for."""
        items = list(self._items.values())
        if all(tree["class"] == "BOUND" for _, tree in items):
            return node
        return self.work.project(node, items)


def _is_constant(tree: Tree) -> bool:
    return tree["class"] != "BOUND" and not any(True for _ in columns_of(tree))


def _agg_call(work: Work, name: str, tree: Tree, params: list[Tree], sql_type: str) -> AggCall:
    items = tree["order_bys"]["orders"]
    order = tuple(
        OrderKey(str(item["expression"]["name"]), is_descending(item), is_nulls_first(item)) for item in items
    )
    args = tuple(str(arg["name"]) for arg in arguments(tree) if arg["class"] == "BOUND")
    func = canonical(function_name(tree))
    if order and not args:  # WITHIN GROUP: the ordered column is the argument
        args = tuple(key.column for key in order)
        func = f"{func}_descending" if order[0].descending else func
    return AggCall(
        name=name,
        func=func,
        args=args,
        distinct=bool(tree["distinct"]),
        filter=str(tree["filter"]["name"]) if tree.get("filter") else None,
        sql=work.render(tree),
        sql_type=sql_type,
        params=tuple(work.render(param) for param in params),
        order=order,
    )
