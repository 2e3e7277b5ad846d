"""Filters go down, as near to the scans as they may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from headrace.contracts.schema import Schema
from headrace.sql.bind.work import OtherJoin, TreeExpr, Window, Work
from headrace.sql.passes.null_rejecting import rejects_nulls
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
    PythonCall,
    Session,
    SetOp,
    TopN,
    UnionAll,
    Unnest,
)
from headrace.sql.render import columns_of
from headrace.sql.tree import TRUE, Tree, bound, conjunction, conjuncts


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
        """Filters on the side whose rows all stay are asked before the join; conditions on the other side
        too. Where a filter needs a match, the join need not keep rows without one.
        """
        words = _narrowed(node, predicates)
        if words == "INNER JOIN":
            schema = Schema((*node.left.schema.columns, *node.right.schema.columns))
            return self._join(Join(schema, (node.left, node.right), (), node.condition), predicates)
        kind = words.split()[-2]
        left_names, right_names = set(node.left.schema.names), set(node.right.schema.names)
        stays_left = kind in ("LEFT", "SEMI", "ANTI", "INNER")
        below_left, above = _parted(predicates, left_names if stays_left else set())
        stays_right = words == "RIGHT JOIN"  # an ASOF JOIN would find other rows among fewer
        below_right, above = _parted(above, right_names if stays_right else set())
        conditions = self._split(node.condition)
        asks_right = kind in ("LEFT", "SEMI", "ANTI", "INNER")
        asks_left = kind in ("SEMI", "INNER") or words == "RIGHT JOIN"
        into_right, conditions = _parted(conditions, right_names if asks_right else set())
        into_left, conditions = _parted(conditions, left_names if asks_left else set())
        joined = other_join(
            self.down(node.left, [*below_left, *into_left]),
            self.down(node.right, [*below_right, *into_right]),
            words,
            all_of(self.work, conditions) if conditions else self._true(),
        )
        return filtered(self.work, joined, above)

    def _true(self) -> TreeExpr:
        return TreeExpr(self.work.render(TRUE), (), "BOOLEAN", TRUE)

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


def _parted(predicates: Sequence[Expr], names: set[str]) -> tuple[list[Expr], list[Expr]]:
    """Return the predicates that read only those columns, and the rest."""
    inside = [p for p in predicates if p.columns and set(p.columns) <= names]
    return inside, [p for p in predicates if p not in inside]


def _narrowed(node: OtherJoin, predicates: Sequence[Expr]) -> str:
    """Return the words of a join that keeps no rows which the predicates drop anyway."""
    trees = [tree_of(predicate) for predicate in predicates]
    needs_left = rejects_nulls(trees, set(node.left.schema.names))
    needs_right = rejects_nulls(trees, set(node.right.schema.names))
    kept = {
        "LEFT JOIN": "INNER JOIN" if needs_right else "LEFT JOIN",
        "RIGHT JOIN": "INNER JOIN" if needs_left else "RIGHT JOIN",
        "ASOF LEFT JOIN": "ASOF INNER JOIN" if needs_right else "ASOF LEFT JOIN",
    }
    if node.words == "FULL JOIN":
        words = {(True, True): "INNER JOIN", (True, False): "LEFT JOIN", (False, True): "RIGHT JOIN"}
        return words.get((needs_left, needs_right), node.words)
    return kept.get(node.words, node.words)


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
