"""DISTINCT, ORDER BY, LIMIT and OFFSET over the outputs of a query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import duckdb

from headrace.sql.bind.env import Bound
from headrace.sql.bind.scope import Col
from headrace.sql.bind.work import NotPlanned, Work
from headrace.sql.plan import Distinct, Node, OrderKey, TopN
from headrace.sql.render import columns_of
from headrace.sql.tree import Tree, bound, integer_value, is_descending, is_null, is_nulls_first, walk


@dataclass(frozen=True, slots=True)
class Output:
    """One output column of a query: its label and what it is over the node below."""

    label: str
    tree: Tree


@dataclass(slots=True)
class _Outputs:
    """The projection of a query: its outputs, then what only ORDER BY needs."""

    work: Work
    outputs: Sequence[Output]
    items: list[tuple[str, Tree]] = field(default_factory=list)
    by_text: dict[str, str] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        taken: set[str] = set()
        for output in self.outputs:
            own = str(output.tree["name"]) if output.tree["class"] == "BOUND" else ""
            name = own if own and own not in taken else self.work.names.fresh(output.label)
            taken.add(name)
            self.items.append((name, output.tree))
            self.by_text.setdefault(self.work.render(output.tree), name)

    def column(self, tree: Tree) -> str:
        """Return the column of an expression, projected besides the outputs where it is none of them."""
        text = self.work.render(tree)
        if text not in self.by_text:
            name = str(tree["name"]) if tree["class"] == "BOUND" else self.work.names.fresh("order_key")
            self.items.append((name, tree))
            self.by_text[text] = name
        return self.by_text[text]

    def key(self, tree: Tree) -> str:
        """Return the column of a key, projected besides the outputs where it is none of them."""
        self.keys.append(self.column(tree))
        return self.keys[-1]

    def names(self) -> list[str]:
        return [name for name, _ in self.items[: len(self.outputs)]]


def apply_modifiers(
    work: Work,
    node: Node,
    outputs: Sequence[Output],
    modifiers: Sequence[Tree],
    expressions: Sequence[Tree],
    keys: Sequence[Tree] = (),
) -> Bound:
    """Return the outputs of a query under its modifiers.

    Args:
        work: the planning.
        node: the rows below the projection.
        outputs: labels and expressions of the query.
        modifiers: DISTINCT, ORDER BY and LIMIT as parsed.
        expressions: the expressions of ORDER BY and DISTINCT ON in order of appearance, resolved over `node`;
            an integer literal is a position, a star is every output.
        keys: of a correlated subquery, over `node`: all is done for each of their values by itself.
    """
    projection = _Outputs(work, outputs)
    apart = [projection.key(tree) for tree in keys]
    rest = iter(expressions)
    order: list[OrderKey] = []
    steps: list[tuple[str, Tree, list[str]]] = []
    for modifier in modifiers:
        kind = modifier["type"]
        if kind == "ORDER_MODIFIER":
            order = _order_keys(projection, modifier["orders"], rest)
        elif kind == "DISTINCT_MODIFIER":
            targets = [
                name for _ in modifier["distinct_on_targets"] for name in _columns(projection, next(rest))
            ]
            steps.append(("distinct", modifier, targets))
        elif kind == "LIMIT_MODIFIER":
            steps.append(("limit", modifier, []))
        else:
            raise NotPlanned(kind)
    top: Node = work.project(node, projection.items)
    top, is_single = _apply(work, top, projection, steps, order)
    names = projection.names()
    if len({*names, *apart}) < len(top.schema):
        top = work.project(top, [(name, bound(name)) for name in dict.fromkeys([*names, *apart])])
    columns = tuple(
        Col(output.label, name, top.schema[name].sql_type)
        for output, name in zip(outputs, names, strict=True)
    )
    shown = next((i for i, key in enumerate(order) if key.column not in names), len(order))
    return Bound(top, columns, tuple(order[:shown]), tuple(apart), is_single=is_single)


def _apply(
    work: Work,
    top: Node,
    projection: _Outputs,
    steps: list[tuple[str, Tree, list[str]]],
    order: list[OrderKey],
) -> tuple[Node, bool]:
    """Return the rows under DISTINCT and LIMIT, and whether that leaves one for each key at most."""
    apart = tuple(dict.fromkeys(projection.keys))
    is_single = False
    for kind, modifier, targets in steps:
        if kind == "limit":
            limit, offset = _bounds(work, modifier)
            if limit is not None or offset:
                keys = order or [OrderKey(name) for name in projection.names()]
                top = TopN(top.schema, top, apart, tuple(keys), limit, offset)
                is_single = is_single or (limit is not None and limit <= 1)
        elif targets:
            keys = [key for key in order if key.column not in targets]
            top = TopN(top.schema, top, tuple(dict.fromkeys([*targets, *apart])), tuple(keys), 1)
        elif len(projection.items) > len({*projection.names(), *apart}):
            raise NotPlanned("DISTINCT ordered by what it leaves out")
        else:
            top = Distinct(top.schema, top)
    return top, is_single


def _order_keys(projection: _Outputs, items: list[Tree], rest: Iterator[Tree]) -> list[OrderKey]:
    keys: dict[str, OrderKey] = {}
    for item in items:
        for name in _columns(projection, next(rest)):
            keys.setdefault(name, OrderKey(name, is_descending(item), is_nulls_first(item)))
    return list(keys.values())


def _columns(projection: _Outputs, tree: Tree) -> list[str]:
    if tree["class"] == "STAR":
        return projection.names()
    position = integer_value(tree)
    if position is not None:
        return [projection.names()[position - 1]]
    if tree["class"] == "COLLATE":
        raise NotPlanned("COLLATE in ORDER BY")
    return [] if not columns_of(tree) else [projection.column(tree)]


def _bounds(work: Work, modifier: Tree) -> tuple[int | None, int]:
    if modifier["limit_type"] != "ROW_COUNT":
        raise NotPlanned("LIMIT in percent")
    limit = _row_count(work, modifier["limit"])
    offset = _row_count(work, modifier["offset"])
    return limit, offset or 0


def _row_count(work: Work, tree: Tree | None) -> int | None:
    if tree is None or is_null(tree):
        return None
    value = integer_value(tree)
    if value is not None:
        return value
    if any(part.get("class") in ("COLUMN_REF", "SUBQUERY", "BOUND") for part in walk(tree)):
        raise NotPlanned("a LIMIT that is not constant")
    try:
        rows = work.duck.con.execute(f"SELECT CAST({work.render(tree)} AS BIGINT)").fetchall()
    except duckdb.Error as error:
        raise NotPlanned("a LIMIT that is not constant") from error
    return None if rows[0][0] is None else int(rows[0][0])
