"""SELECT: filter, group, window, project, in the order in which SQL means them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from headrace.sql.bind.aggregate import Grouping
from headrace.sql.bind.env import Bound, Env
from headrace.sql.bind.expressions import Lookup, is_aggregate, resolve
from headrace.sql.bind.from_ import bind_from
from headrace.sql.bind.inside import Inside, own_labels
from headrace.sql.bind.matches import filtered_by
from headrace.sql.bind.modifiers import Output, apply_modifiers
from headrace.sql.bind.outer import outer_of
from headrace.sql.bind.scope import Col, Scope
from headrace.sql.bind.subqueries import Spec, Subqueries, attach, attach_below, has_pending
from headrace.sql.bind.unnest import fields_of, has_unnest, is_unnest, unnested
from headrace.sql.bind.window import Windows
from headrace.sql.bind.work import NotPlanned, Work
from headrace.sql.plan import Node
from headrace.sql.render import columns_of
from headrace.sql.tree import (
    Tree,
    bound,
    call_of,
    conjunction,
    conjuncts,
    expressions,
    integer_value,
    is_query,
    rewrite,
    select_of,
)

ALIAS_DEPTH_MAX = 50


@dataclass(slots=True)
class Item:
    """One output of a SELECT: its label, its expression as parsed (or bound, from a star), and resolved."""

    label: str
    raw: Tree
    alias: str
    tree: Tree | None = None


class Select:
    """Binds one SELECT.

    Args:
        work: the planning.
        env: what common table expressions its FROM sees.
        tree: the SELECT node, its WITH already in `env`.
    """

    def __init__(self, work: Work, env: Env, tree: Tree) -> None:
        self.work = work
        self.env = env
        self.tree = tree
        self.scope = Scope()
        self.items: list[Item] = []
        self.inside = Inside(work, env, tree)
        self._subqueries: Subqueries | None = None
        self._depth = 0

    def run(self) -> Bound:
        """Return the SELECT as a plan."""
        if self.tree.get("sample"):
            raise NotPlanned("SAMPLE")
        node = self.from_()
        self.items = self._expand(node)
        node = self._where(node)
        for i, item in enumerate(self.items):
            item.tree = self._named(item.raw, i)
        orders = self._orders()
        having = self._optional("having")
        qualify = self._optional("qualify")
        trees = [_tree(item) for item in self.items]
        node, [*trees] = self._grouped(node, [*trees, *orders, *([qualify] if qualify else [])], having)
        node, [*trees] = attach(self.work, node, trees)
        windows = Windows(self.work)
        trees = [windows.replace(self.inside.partitioned(tree)) for tree in trees]
        node = windows.apply(node)
        if qualify:
            node = self.work.filter(node, trees.pop())
        node, trees = unnested(self.work, node, trees)
        return self._output(node, trees)

    def from_(self) -> Node:
        """Return the rows of FROM; from now on names mean something."""
        node, self.scope = bind_from(self.work, self.env, self.tree["from_table"])
        around = outer_of(self.scope, self.env, self._around)
        self._subqueries = Subqueries(self.work, self.env, around)
        self.inside.around = around
        return node

    def where(self) -> list[Tree]:
        """Return the conditions of WHERE, outer columns standing under their own names."""
        tree = self.tree["where_clause"]
        return conjuncts(self._named(tree, len(self.items))) if tree else []

    def _where(self, node: Node) -> Node:
        node, conditions = self.inside.place(node, self.scope, self.where())
        return filtered_by(self.work, node, conjunction(conditions)) if conditions else node

    def _output(self, node: Node, trees: list[Tree]) -> Bound:
        count = len(self.items)
        outputs = [Output(item.label, tree) for item, tree in zip(self.items, trees[:count], strict=True)]
        keys = self.inside.keys.values()
        answer = apply_modifiers(self.work, node, outputs, self.tree["modifiers"], trees[count:], list(keys))
        return self.inside.told(answer, trees[:count])

    def values(self, rows: Node) -> list[Tree]:
        """Return the outputs, outer columns standing under their own names."""
        self.items = self._expand(rows)
        return [self._named(item.raw, i) for i, item in enumerate(self.items)]

    def _optional(self, key: str) -> Tree | None:
        tree = self.tree[key]
        return self._resolve(tree) if tree else None

    # names

    def _resolve(self, tree: Tree) -> Tree:
        return self._named(tree, len(self.items))

    def _named(self, tree: Tree, before: int) -> Tree:
        """Return an expression with its names resolved, outer ones where they stand among the rows here."""
        tree = rewrite(tree, self._by_place)
        tree = resolve(self.work, tree, self._lookup(before), subqueries=self._subqueries)
        self._refuse_aggregates_of_outer(tree)
        return self.inside.placed(tree)

    def _refuse_aggregates_of_outer(self, tree: Tree) -> None:
        """An aggregate over outer columns alone belongs to the query around, which it groups."""
        if self.env.outer is None:
            return
        here = {col.name for source in self.scope.sources for col in source.columns}
        for part in expressions(tree):
            names = set(columns_of(part)) if is_aggregate(part) else set()
            if names and not names & here and names <= self.env.outer.types.keys():
                raise NotPlanned("an aggregate of the query around a subquery")

    def _by_place(self, tree: Tree) -> Tree | None:
        """`#2` is the second column of FROM."""
        if is_query(tree):
            return tree
        if tree.get("class") == "POSITIONAL_REFERENCE" and int(tree["index"]) <= len(self.scope.star):
            return bound(self.scope.star[int(tree["index"]) - 1].name)
        return None

    def _around(self, names: list[str]) -> Tree | None:
        """What a name means to the subqueries here: a column of FROM, else of the query around."""
        found = self.scope.resolve(names)
        if found is None and self.env.outer is not None:
            found = self.env.outer.find(names)
        return found

    def _lookup(self, before: int) -> Lookup:
        """Names mean columns first, then aliases of the first `before` outputs."""

        def find(names: list[str]) -> Tree | None:
            found = self.scope.resolve(names) or self._by_alias(names, before) or self._outside(names)
            return found or self._whole_row(names)

        return find

    def _whole_row(self, names: list[str]) -> Tree | None:
        """The alias of an item of FROM is a struct of its columns."""
        source = self.scope.source(names[0]) if len(names) == 1 else None
        if source is None:
            return None
        call = call_of("struct_pack", [bound(col.name) for col in source.columns])
        named = [
            item | {"name": col.label} for item, col in zip(call["arguments"], source.columns, strict=True)
        ]
        return call | {"arguments": named}

    def _outside(self, names: list[str]) -> Tree | None:
        return self.env.outer.find(names) if self.env.outer is not None else None

    def _by_alias(self, names: list[str], before: int) -> Tree | None:
        if len(names) > 1:
            return None
        for i, item in enumerate(self.items[:before]):
            if item.alias and item.alias.lower() == names[0].lower():
                if item.tree is not None:
                    return item.tree
                self._depth += 1
                if self._depth > ALIAS_DEPTH_MAX:
                    raise NotPlanned("aliases that name each other")
                return resolve(self.work, item.raw, self._lookup(i), subqueries=self._subqueries)
        return None

    # the select list

    def _expand(self, node: Node) -> list[Item]:
        raws: list[tuple[Tree, str]] = []
        for tree in self.tree["select_list"]:
            if tree["class"] == "STAR" and tree["columns"] and tree.get("expr"):
                raws += [(part, "") for part in self._chosen(tree)]
                continue
            if tree["class"] == "STAR":
                raws += [(part, "") for part in self._star(tree)]
                continue
            fields = fields_of(self.work, node, tree, self.scope.resolve) if is_unnest(tree) else None
            raws += [(tree, str(tree.get("alias") or ""))] if fields is None else [(f, "") for f in fields]
        labels = self._labels([raw for raw, _ in raws])
        if len(labels) != len(raws):
            raise NotPlanned("a select list whose columns this planner cannot count")
        return [Item(label, raw, alias) for label, (raw, alias) in zip(labels, raws, strict=True)]

    def _labels(self, raws: list[Tree]) -> list[str]:
        try:
            described = self.work.describe(self.tree | {"modifiers": []}, self.env)
        except NotPlanned:
            if self.env.outer is None:
                raise
            return own_labels(self.work, self.scope, raws)
        return [label for label, _ in described]

    def _star(self, tree: Tree) -> list[Tree]:
        if tree["columns"] and tree.get("expr"):
            raise NotPlanned("COLUMNS(…)")
        if tree["qualified_exclude_list"]:
            raise NotPlanned("a star with qualified names")
        columns = self._star_columns(str(tree["relation_name"]))
        if tree.get("expr"):
            raise NotPlanned("a star with a pattern")
        left_out = {str(name).lower() for name in tree["exclude_list"]}
        replaced = {str(entry["key"]).lower(): entry["value"] for entry in tree["replace_list"]}
        kept = [col for col in columns if col.label.lower() not in left_out]
        return [replaced.get(col.label.lower(), bound(col.name)) for col in kept]

    def _chosen(self, tree: Tree) -> list[Tree]:
        """Return the columns that COLUMNS(…) means; DuckDB tells which by their labels."""
        labels = self.work.describe(select_of([tree], self.tree["from_table"]), self.env)
        found = [self.scope.find(label) for label, _ in labels]
        if tree["replace_list"] or tree["rename_list"] or tree.get("alias"):
            raise NotPlanned("COLUMNS(…)")
        if len(labels) != len({label.lower() for label, _ in labels}):
            raise NotPlanned("COLUMNS(…)")
        if any(col is None or col.sql_type != t for col, (_, t) in zip(found, labels, strict=True)):
            raise NotPlanned("COLUMNS(…)")
        return [bound(col.name) for col in found if col]

    def _star_columns(self, alias: str) -> tuple[Col, ...]:
        if not alias:
            return self.scope.star
        source = self.scope.source(alias)
        if source is None:
            raise NotPlanned(f"{alias}.*")
        return source.columns

    # grouping

    def _grouped(self, node: Node, trees: list[Tree], having: Tree | None) -> tuple[Node, list[Tree]]:
        """Group where the SELECT says so; the given trees come back over the groups."""
        everything = [*trees, *([having] if having else [])]
        sets = self.tree["group_sets"]
        is_all = self.tree["aggregate_handling"] == "FORCE_AGGREGATES"
        if not (sets or is_all or having or any(_has_aggregate(tree) for tree in everything)):
            return node, trees
        keys = self._all_keys() if is_all else [self._group_key(t) for t in self.tree["group_expressions"]]
        node, made = attach_below(self.work, node, [*keys, *everything], len(keys))
        keys, everything = made[: len(keys)], made[len(keys) :]
        grouping = self._grouping(keys, everything)
        everything = [grouping.replace(tree) for tree in everything]
        node = self.inside.grouped(grouping, node)
        if having:
            node = filtered_by(self.work, node, everything.pop())
        return node, everything

    def _grouping(self, keys: list[Tree], trees: list[Tree]) -> Grouping:
        sets = self.tree["group_sets"]
        apart = list(self.inside.keys.values())
        labels = [(item.label, tree) for item, tree in zip(self.items, trees, strict=False)]
        grouping = Grouping(self.work, [*keys, *apart], labels)
        if len(sets) > 1:
            if len({self.work.render(key) for key in keys}) < len(keys):
                raise NotPlanned("GROUPING SETS that name a key twice")
            grouping.sets = [[*(keys[at] for at in one), *apart] for one in sets]
        return grouping

    def _all_keys(self) -> list[Tree]:
        trees = [_tree(item) for item in self.items]
        return [tree for tree in trees if not _has_aggregate(tree) and not _has_window(tree)]

    def _group_key(self, tree: Tree) -> Tree:
        position = integer_value(tree)
        if position is not None:
            return _tree(self.items[position - 1])
        return self._resolve(tree)

    # ORDER BY

    def _orders(self) -> list[Tree]:
        """Resolve the expressions of all ORDER BY and DISTINCT ON items, in order of appearance."""
        return [self._order(tree) for tree in modifier_expressions(self.tree["modifiers"])]

    def _order(self, tree: Tree) -> Tree:
        if tree["class"] == "STAR" or integer_value(tree) is not None:
            return tree
        if tree["class"] == "POSITIONAL_REFERENCE":
            return _tree(self.items[int(tree["index"]) - 1])
        if tree["class"] == "COLUMN_REF" and len(tree["column_names"]) == 1:
            aliased = self._by_alias(tree["column_names"], len(self.items))
            if aliased is not None:
                return aliased
        return self._resolve(tree)


def modifier_expressions(modifiers: list[Tree]) -> list[Tree]:
    """Return the expressions of ORDER BY and DISTINCT ON, in order of appearance."""
    found: list[Tree] = []
    for modifier in modifiers:
        if modifier["type"] == "ORDER_MODIFIER":
            found += [item["expression"] for item in modifier["orders"]]
        elif modifier["type"] == "DISTINCT_MODIFIER":
            found += modifier["distinct_on_targets"]
    return found


def _tree(item: Item) -> Tree:
    assert item.tree is not None
    return item.tree


def _has_aggregate(tree: Tree) -> bool:
    return any(is_aggregate(part) for part in expressions(tree))


def _has_window(tree: Tree) -> bool:
    return any(part.get("class") == "WINDOW" for part in expressions(tree))


def open_select(work: Work, spec: Spec, *, wants_values: bool) -> tuple[Node, list[Tree], list[Tree]] | None:
    """Return a plain SELECT taken apart for a semi join, or None where it is more than that.

    The answer is its rows, the conditions that also read outer columns, and its outputs; both may name outer
    columns.
    """
    tree = spec.query
    is_plain = tree["type"] == "SELECT_NODE" and not (tree.get("cte_map") or {}).get("map")
    if not is_plain or tree["from_table"]["type"] == "EMPTY":
        return None
    words = ("group_sets", "having", "qualify", "sample")
    if any(tree[word] for word in words) or any(
        modifier["type"] == "LIMIT_MODIFIER" or modifier.get("distinct_on_targets")
        for modifier in tree["modifiers"]
    ):
        return None
    items = tree["select_list"]
    if any(_has_aggregate(item) or _has_window(item) or has_unnest(item) for item in items):
        return None
    outer = replace(spec.around, names=spec.names)
    try:
        return _opened(Select(work, replace(spec.env, outer=outer), tree), wants_values=wants_values)
    except NotPlanned:
        return None


def _opened(select: Select, *, wants_values: bool) -> tuple[Node, list[Tree], list[Tree]] | None:
    rows = select.from_()
    if select.scope.keys:
        return None
    here = set(rows.schema.names)
    conditions = select.where()
    own = [tree for tree in conditions if set(columns_of(tree)) <= here]
    tied = [tree for tree in conditions if tree not in own]
    values = select.values(rows) if wants_values else []
    if any(has_pending(tree) for tree in [*tied, *values]):
        return None
    return (filtered_by(select.work, rows, conjunction(own)) if own else rows), tied, values
