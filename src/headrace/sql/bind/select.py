"""SELECT: filter, group, window, project, in the order in which SQL means them."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.sql.bind.aggregate import Grouping
from headrace.sql.bind.env import Bound, Env
from headrace.sql.bind.expressions import Lookup, is_aggregate, resolve
from headrace.sql.bind.from_ import bind_from
from headrace.sql.bind.modifiers import Output, apply_modifiers
from headrace.sql.bind.scope import Col, Scope
from headrace.sql.bind.window import Windows
from headrace.sql.bind.work import NotPlanned, Work
from headrace.sql.plan import Node
from headrace.sql.tree import Tree, bound, expressions, integer_value

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
        self._depth = 0

    def run(self) -> Bound:
        """Return the SELECT as a plan."""
        if self.tree.get("sample"):
            raise NotPlanned("SAMPLE")
        node, self.scope = bind_from(self.work, self.env, self.tree["from_table"])
        self.items = self._expand()
        if self.tree["where_clause"]:
            node = self.work.filter(node, self._resolve(self.tree["where_clause"]))
        for i, item in enumerate(self.items):
            item.tree = resolve(self.work, item.raw, self._lookup(i))
        orders = self._orders()
        having = self._optional("having")
        qualify = self._optional("qualify")
        trees = [_tree(item) for item in self.items]
        node, [*trees] = self._grouped(node, [*trees, *orders, *([qualify] if qualify else [])], having)
        windows = Windows(self.work)
        trees = [windows.replace(tree) for tree in trees]
        node = windows.apply(node)
        if qualify:
            node = self.work.filter(node, trees.pop())
        return self._output(node, trees)

    def _output(self, node: Node, trees: list[Tree]) -> Bound:
        count = len(self.items)
        outputs = [Output(item.label, tree) for item, tree in zip(self.items, trees[:count], strict=True)]
        return apply_modifiers(self.work, node, outputs, self.tree["modifiers"], trees[count:])

    def _optional(self, key: str) -> Tree | None:
        tree = self.tree[key]
        return self._resolve(tree) if tree else None

    # names

    def _resolve(self, tree: Tree) -> Tree:
        return resolve(self.work, tree, self._lookup(len(self.items)))

    def _lookup(self, before: int) -> Lookup:
        """Names mean columns first, then aliases of the first `before` outputs."""

        def find(names: list[str]) -> Tree | None:
            return self.scope.resolve(names) or self._by_alias(names, before)

        return find

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
                return resolve(self.work, item.raw, self._lookup(i))
        return None

    # the select list

    def _expand(self) -> list[Item]:
        raws: list[tuple[Tree, str]] = []
        for tree in self.tree["select_list"]:
            if tree["class"] == "STAR":
                raws += [(part, "") for part in self._star(tree)]
            else:
                raws.append((tree, str(tree.get("alias") or "")))
        plain = self.tree | {"modifiers": []}
        labels = [label for label, _ in self.work.describe(plain, self.env)]
        if len(labels) != len(raws):
            raise NotPlanned("a select list whose columns this planner cannot count")
        return [Item(label, raw, alias) for label, (raw, alias) in zip(labels, raws, strict=True)]

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
        group_by = self.tree["group_expressions"]
        is_all = self.tree["aggregate_handling"] == "FORCE_AGGREGATES"
        sets = self.tree["group_sets"]
        if not (sets or is_all or having or any(_has_aggregate(tree) for tree in everything)):
            return node, trees
        keys = self._all_keys() if is_all else [self._group_key(tree) for tree in group_by]
        grouping = Grouping(self.work, keys, [(item.label, _tree(item)) for item in self.items])
        if len(sets) > 1:
            if len({self.work.render(key) for key in keys}) < len(keys):
                raise NotPlanned("GROUPING SETS that name a key twice")
            grouping.sets = [[keys[at] for at in one] for one in sets]
        trees = [grouping.replace(tree) for tree in trees]
        kept = grouping.replace(having) if having else None
        node = grouping.apply(node)
        return self.work.filter(node, kept) if kept else node, trees

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
