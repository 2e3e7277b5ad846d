"""Equalities between inputs of a join become its keys, both sides plain columns of one type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from headrace.contracts.schema import Schema
from headrace.sql.bind.work import OtherJoin, TreeExpr, Work
from headrace.sql.passes.asof_keys import asof_join
from headrace.sql.passes.join_ranges import order_of, split_between, take_range
from headrace.sql.passes.rebuild import all_of, bottom_up, tree_of
from headrace.sql.plan import Equality, Expr, Join, MatchJoin, Node, Range
from headrace.sql.render import columns_of
from headrace.sql.tree import Tree, bound, conjuncts, is_true, raw_cast

_KINDS = {
    "LEFT JOIN": "left", "RIGHT JOIN": "left", "FULL JOIN": "full", "SEMI JOIN": "semi", "ANTI JOIN": "anti",
}  # fmt: skip


def join_keys(work: Work, root: Node) -> Node:
    """Return the plan with `Equality` for every `=` whose sides read one input each.

    Joins that are not inner become `MatchJoin`, those to the right with their sides exchanged.
    """

    def change(node: Node) -> Node:
        if isinstance(node, Join):
            return _inner(work, node)
        if isinstance(node, OtherJoin):
            return _matching(work, node)
        return node

    return bottom_up(root, change)


def _inner(work: Work, node: Join) -> Node:
    """Return the join with its keys found; columns made for keys do not show above it."""
    if node.residual is None:
        return node
    apart = _apart(work, node)
    if apart is not None:
        return apart
    keys = Keys(work, node.parts)
    residual = keys.take(node.residual)
    if len(node.parts) == 2:
        found, rest = take_range(keys, residual)
        if found is not None:
            return keys.selected(_match(keys, "inner", found, rest), node)
    parts = keys.parts()
    columns = tuple(c for part in parts for c in part.schema.columns)
    joined = Join(Schema(columns), parts, (*node.equalities, *keys.found), residual)
    return keys.selected(joined, node)


def _apart(work: Work, node: Join) -> Node | None:
    """Return a join of several inputs with one that only a range holds to the others joined last."""
    if node.residual is None or len(node.parts) < 3 or node.equalities:
        return None
    keys = Keys(work, node.parts)
    rest = keys.take(node.residual)
    unequal = [part for tree in conjuncts(rest.tree) for part in split_between(keys, tree)] if rest else []
    held = {side for one in keys.found for side in (one.left, one.right)}
    orders = [order_of(keys, tree) for tree in unequal]
    ranged = {side for one in orders if one for side in (one.small_side, one.large_side)}
    alone = sorted(ranged - held)
    if not alone or len(held) < 2:
        return None
    last = node.parts[alone[0]]
    others = tuple(part for part in node.parts if part is not last)
    trees = conjuncts(tree_of(node.residual))
    with_last = [tree for tree in trees if set(columns_of(tree)) & set(last.schema.names)]
    inside = [work.expr(node.schema, tree) for tree in trees if not any(tree is one for one in with_last)]
    columns = tuple(c for part in others for c in part.schema.columns)
    first = _inner(work, Join(Schema(columns), others, (), all_of(work, inside) if inside else None))
    both = Schema((*first.schema.columns, *last.schema.columns))
    condition = all_of(work, [work.expr(both, tree) for tree in with_last])
    joined = _inner(work, Join(both, (first, last), (), condition))
    return keys.selected(joined, node)


def _matching(work: Work, node: OtherJoin) -> Node:
    words = node.words
    if words.startswith("ASOF "):
        if words not in ("ASOF SEMI JOIN", "ASOF ANTI JOIN"):
            return asof_join(work, node)
        words = words.removeprefix("ASOF ")
    if words not in _KINDS:
        return node
    turned = words.startswith("RIGHT")
    keys = Keys(work, (node.right, node.left) if turned else (node.left, node.right))
    found, rest = take_range(keys, keys.take(node.condition))
    return keys.selected(_match(keys, _KINDS[words], found, rest), node)


def _match(keys: Keys, kind: str, found: Range | None, residual: TreeExpr | None) -> MatchJoin:
    left, right = keys.parts()
    columns = left.schema.columns + (() if kind in ("semi", "anti") else right.schema.columns)
    return MatchJoin(Schema(columns), left, right, kind, keys.pairs(), residual, found)


@dataclass(slots=True)
class Keys:
    """The equalities found in the condition of a join, and the columns made for them.

    Args:
        work: the planning.
        sides: the inputs of the join.
    """

    work: Work
    sides: Sequence[Node]
    found: list[Equality] = field(default_factory=list)
    extra: list[list[tuple[str, Tree]]] = field(default_factory=list)

    def take(self, condition: Expr) -> TreeExpr | None:
        """Note the equalities of a condition; return what is left of it."""
        self.extra = self.extra or [[] for _ in self.sides]
        rest: list[Expr] = []
        for tree in conjuncts(tree_of(condition)):
            equality = self._equality(tree)
            if is_true(tree):
                continue
            if equality is None:
                rest.append(TreeExpr(self.work.render(tree), columns_of(tree), "BOOLEAN", tree))
            else:
                self.found.append(equality)
        return all_of(self.work, rest) if rest else None

    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Return the equalities of two sides, the left column first."""
        return tuple(
            (one.left_column, one.right_column) if one.left == 0 else (one.right_column, one.left_column)
            for one in self.found
        )

    def parts(self) -> tuple[Node, ...]:
        """Return the inputs with the columns made for keys."""
        pairs = zip(self.sides, self.extra, strict=True)
        return tuple(self.work.extended(side, extra) for side, extra in pairs)

    def selected(self, joined: Node, wanted: Node) -> Node:
        """Return the join with the columns of the node in whose place it stands, in their order."""
        if joined.schema.names == wanted.schema.names:
            return joined
        return self.work.project(joined, [(name, bound(name)) for name in wanted.schema.names])

    def _equality(self, tree: Tree) -> Equality | None:
        if tree.get("type") != "COMPARE_EQUAL":
            return None
        left, right = self.part_of(tree["left"]), self.part_of(tree["right"])
        if left is None or right is None or left == right:
            return None
        left_type, right_type = self.type_of(left, tree["left"]), self.type_of(right, tree["right"])
        common = self.work.duck.comparison_type(left_type, right_type)
        if common is None:
            return None
        one = self.column_of(left, tree["left"], left_type, common)
        other = self.column_of(right, tree["right"], right_type, common)
        return Equality(left, one, right, other)

    def part_of(self, tree: Tree) -> int | None:
        """Return the one input that an expression reads, None where it reads none or several."""
        names = set(columns_of(tree))
        found = [i for i, part in enumerate(self.sides) if names & set(part.schema.names)]
        return found[0] if len(found) == 1 else None

    def type_of(self, part: int, tree: Tree) -> str:
        """Return the SQL type of an expression over one input."""
        return self.work.expr(self.sides[part].schema, tree).sql_type

    def column_of(self, part: int, tree: Tree, sql_type: str, common: str) -> str:
        """Return the column of an input that holds an expression as the common type, made where there is
        none.
        """
        if sql_type != common:
            tree = raw_cast(tree, common)
        if tree["class"] == "BOUND":
            return str(tree["name"])
        for name, known in self.extra[part]:
            if self.work.render(known) == self.work.render(tree):
                return name
        name = self.work.names.fresh("join_key")
        self.extra[part].append((name, tree))
        return name
