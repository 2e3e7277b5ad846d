"""Equalities between inputs of a join become its keys, both sides plain columns of one type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from headrace.contracts.schema import Schema
from headrace.sql.bind.work import OtherJoin, TreeExpr, Work
from headrace.sql.passes.rebuild import all_of, bottom_up, tree_of
from headrace.sql.plan import Equality, Expr, Join, MatchJoin, Node
from headrace.sql.render import columns_of
from headrace.sql.tree import Tree, bound, conjuncts, raw_cast

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
        if isinstance(node, OtherJoin) and node.words in _KINDS:
            return _matching(work, node)
        return node

    return bottom_up(root, change)


def _inner(work: Work, node: Join) -> Node:
    """Return the join with its keys found; columns made for keys do not show above it."""
    if node.residual is None:
        return node
    keys = Keys(work, node.parts)
    residual = keys.take(node.residual)
    parts = keys.parts()
    columns = tuple(c for part in parts for c in part.schema.columns)
    joined = Join(Schema(columns), parts, (*node.equalities, *keys.found), residual)
    return keys.selected(joined, node)


def _matching(work: Work, node: OtherJoin) -> Node:
    turned = node.words.startswith("RIGHT")
    keys = Keys(work, (node.right, node.left) if turned else (node.left, node.right))
    residual = keys.take(node.condition)
    left, right = keys.parts()
    kind = _KINDS[node.words]
    columns = left.schema.columns + (() if kind in ("semi", "anti") else right.schema.columns)
    pairs = tuple(
        (one.left_column, one.right_column) if one.left == 0 else (one.right_column, one.left_column)
        for one in keys.found
    )
    return keys.selected(MatchJoin(Schema(columns), left, right, kind, pairs, residual), node)


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
            if equality is None:
                rest.append(TreeExpr(self.work.render(tree), columns_of(tree), "BOOLEAN", tree))
            else:
                self.found.append(equality)
        return all_of(self.work, rest) if rest else None

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
        left, right = self._part(tree["left"]), self._part(tree["right"])
        if left is None or right is None or left == right:
            return None
        left_type, right_type = self._type(left, tree["left"]), self._type(right, tree["right"])
        common = self.work.duck.comparison_type(left_type, right_type)
        if common is None:
            return None
        one = self._column(left, tree["left"], left_type, common)
        other = self._column(right, tree["right"], right_type, common)
        return Equality(left, one, right, other)

    def _part(self, tree: Tree) -> int | None:
        """Return the one input that an expression reads, None where it reads none or several."""
        names = set(columns_of(tree))
        found = [i for i, part in enumerate(self.sides) if names & set(part.schema.names)]
        return found[0] if len(found) == 1 else None

    def _type(self, part: int, tree: Tree) -> str:
        return self.work.expr(self.sides[part].schema, tree).sql_type

    def _column(self, part: int, tree: Tree, sql_type: str, common: str) -> str:
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
