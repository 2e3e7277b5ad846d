"""Equalities between inputs of a join become its keys, both sides plain columns of one type."""

from __future__ import annotations

from dataclasses import dataclass, field

from headrace.sql.bind.work import TreeExpr, Work
from headrace.sql.passes.rebuild import all_of, bottom_up, tree_of
from headrace.sql.plan import Equality, Expr, Join, Node
from headrace.sql.render import columns_of
from headrace.sql.tree import Tree, bound, conjuncts, raw_cast


def join_keys(work: Work, root: Node) -> Node:
    """Return the plan with `Equality` for every `=` whose sides read one input each."""
    return bottom_up(root, lambda node: _Keys(work, node).join() if isinstance(node, Join) else node)


@dataclass(slots=True)
class _Keys:
    work: Work
    node: Join
    extra: list[list[tuple[str, Tree]]] = field(default_factory=list)

    def join(self) -> Node:
        """Return the join with its keys found; columns made for keys do not show above it."""
        node = self.node
        if node.residual is None:
            return node
        self.extra = [[] for _ in node.parts]
        equalities: list[Equality] = list(node.equalities)
        rest: list[Expr] = []
        for tree in conjuncts(tree_of(node.residual)):
            found = self._equality(tree)
            if found is None:
                rest.append(TreeExpr(self.work.render(tree), columns_of(tree), "BOOLEAN", tree))
            else:
                equalities.append(found)
        parts = [self.work.extended(part, extra) for part, extra in zip(node.parts, self.extra, strict=True)]
        columns = tuple(c for part in parts for c in part.schema.columns)
        residual = all_of(self.work, rest) if rest else None
        joined = Join(type(node.schema)(columns), tuple(parts), tuple(equalities), residual)
        if not any(self.extra):
            return joined
        return self.work.project(joined, [(name, bound(name)) for name in node.schema.names])

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
        found = [i for i, part in enumerate(self.node.parts) if names & set(part.schema.names)]
        return found[0] if len(found) == 1 else None

    def _type(self, part: int, tree: Tree) -> str:
        return self.work.expr(self.node.parts[part].schema, tree).sql_type

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
