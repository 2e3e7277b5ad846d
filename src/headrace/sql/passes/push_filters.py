"""Filters go down, as near to the scans as they may."""

from __future__ import annotations

from dataclasses import replace

from headrace.sql.bind.work import OtherJoin, TreeExpr, Window, Work
from headrace.sql.passes.rebuild import (
    all_of,
    filtered,
    meaning_of,
    other_join,
    substitute,
    tree_of,
    with_inputs,
)
from headrace.sql.plan import (
    Aggregate,
    Distinct,
    Expr,
    Filter,
    Hop,
    Join,
    MatchJoin,
    Node,
    Project,
    Session,
    PythonCall,
    SetOp,
    TopN,
    UnionAll,
    Unnest,
)
from headrace.sql.render import columns_of
from headrace.sql.tree import Tree, bound, conjunction, conjuncts


def push_filters(work: Work, root: Node) -> Node:
    """Return the plan with every predicate split at its ANDs and moved down where the meaning allows it."""
    return _Push(work).down(root, [])


class _Push:
    def __init__(self, work: Work) -> None:
        self.work = work

    def down(self, node: Node, predicates: list[Expr]) -> Node:
        """Return the node's rows for which the predicates are TRUE."""
        if isinstance(node, Filter):
            return self.down(node.input, [*self._split(node.predicate), *predicates])
        if isinstance(node, Project):
            meaning = meaning_of(node)
            below: list[Expr] = [substitute(self.work, predicate, meaning) for predicate in predicates]
            return replace(node, input=self.down(node.input, below))
        if isinstance(node, UnionAll | SetOp):
            return replace(node, parts=tuple(self._into_part(node, part, predicates) for part in node.parts))
        if isinstance(node, Join):
            return self._join(node, predicates)
        if isinstance(node, OtherJoin):
            return self._other_join(node, predicates)
        if isinstance(node, MatchJoin):
            return self._match_join(node, predicates)
        if isinstance(node, Distinct):
            return with_inputs(node, [self.down(node.input, predicates)])
        return self._through(node, predicates)

    def _through(self, node: Node, predicates: list[Expr]) -> Node:
        """Move those predicates below that read only columns by which the node keeps rows apart."""
        free = _free_columns(node)
        below = [p for p in predicates if p.columns and set(p.columns) <= free]
        above = [p for p in predicates if not (p.columns and set(p.columns) <= free)]
        inputs = [self.down(child, below if free else []) for child in node.inputs]
        if any(new is not old for new, old in zip(inputs, node.inputs, strict=True)):
            node = with_inputs(node, inputs)
        return filtered(self.work, node, above)

    def _into_part(self, node: UnionAll | SetOp, part: Node, predicates: list[Expr]) -> Node:
        meaning = {name: bound(own) for name, own in zip(node.schema.names, part.schema.names, strict=True)}
        return self.down(part, [substitute(self.work, predicate, meaning) for predicate in predicates])

    def _join(self, node: Join, predicates: list[Expr]) -> Node:
        pending = [*predicates, *(self._split(node.residual) if node.residual else [])]
        parts: list[Node] = []
        for part in node.parts:
            mine = [p for p in pending if p.columns and set(p.columns) <= set(part.schema.names)]
            pending = [p for p in pending if p not in mine]
            parts.append(self.down(part, mine))
        residual = all_of(self.work, pending) if pending else None
        return replace(with_inputs(node, parts), residual=residual)  # type: ignore[call-arg]

    def _other_join(self, node: OtherJoin, predicates: list[Expr]) -> Node:
        """A predicate on the side whose rows all stay may be asked before the join."""
        kept = node.words.split()[-2]
        left_names = set(node.left.schema.names) if kept in ("LEFT", "SEMI", "ANTI") else set()
        right_names = set(node.right.schema.names) if kept == "RIGHT" else set()
        left = [p for p in predicates if p.columns and set(p.columns) <= left_names]
        right = [p for p in predicates if p.columns and set(p.columns) <= right_names]
        above = [p for p in predicates if p not in left and p not in right]
        joined = other_join(
            self.down(node.left, left), self.down(node.right, right), node.words, node.condition
        )
        return filtered(self.work, joined, above)

    def _match_join(self, node: MatchJoin, predicates: list[Expr]) -> Node:
        names = set(node.left.schema.names) if node.kind != "full" else set()
        below = [p for p in predicates if p.columns and set(p.columns) <= names]
        above = [p for p in predicates if p not in below]
        joined = with_inputs(node, [self.down(node.left, below), self.down(node.right, [])])
        return filtered(self.work, joined, above)

    def _split(self, predicate: Expr) -> list[Expr]:
        parts = [part for one in conjuncts(tree_of(predicate)) for part in self._factored(one)]
        return [TreeExpr(self.work.render(part), columns_of(part), "BOOLEAN", part) for part in parts]

    def _factored(self, tree: Tree) -> list[Tree]:
        """Split `(a AND b) OR (a AND c)` into `a` and `b OR c`."""
        if tree.get("type") != "CONJUNCTION_OR":
            return [tree]
        sides = [{self.work.render(part): part for part in conjuncts(side)} for side in tree["children"]]
        common = [text for text in sides[0] if all(text in side for side in sides[1:])]
        if not common:
            return [tree]
        shared = [sides[0][text] for text in common]
        rests = [[part for text, part in side.items() if text not in common] for side in sides]
        if any(not rest for rest in rests):
            return shared
        return [*shared, tree | {"children": [conjunction(rest) for rest in rests]}]


def _free_columns(node: Node) -> set[str]:
    if isinstance(node, Aggregate):
        return set(node.keys)
    if isinstance(node, TopN):
        return set(node.partition)
    if isinstance(node, Window):
        return set.intersection(*(set(call.partition) for call in node.calls))
    if isinstance(node, Hop):
        return set(node.input.schema.names)
    if isinstance(node, Session):
        return set(node.keys)
    if isinstance(node, PythonCall):
        return set(node.input.schema.names)
    if isinstance(node, Unnest) and not node.keeps_empty:
        return set(node.input.schema.names) - set(node.lists)
    return set()
