"""ASOF joins: the column by which the nearest row is looked up, or DuckDB's answer key by key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.contracts.schema import Schema
from headrace.sql.bind.work import OtherJoin, Work
from headrace.sql.duck import quote
from headrace.sql.passes.join_ranges import Order, order_of
from headrace.sql.plan import KEY_COLUMN, AsofJoin, Node, Touched
from headrace.sql.tree import Tree, case_of, conjunction, conjuncts, null

if TYPE_CHECKING:
    from headrace.sql.passes.join_keys import Keys

_KINDS = {"ASOF INNER JOIN": "inner", "ASOF LEFT JOIN": "left"}


def asof_join(work: Work, node: OtherJoin) -> Node:
    """Return an ASOF join as `AsofJoin`; where it is RIGHT or FULL, or its column has no order word, as
    `Touched`.
    """
    from headrace.sql.passes.join_keys import Keys  # the two modules call each other

    keys = Keys(work, (node.left, node.right))
    rest = keys.take(node.condition)
    trees = conjuncts(rest.tree) if rest else []
    orders = [(tree, order) for tree in trees if (order := order_of(keys, tree)) is not None]
    others = [tree for tree in trees if not any(tree is one for one, _ in orders)]
    left_only = all(keys.part_of(tree) == 0 for tree in others)
    if node.words not in _KINDS or len(orders) != 1 or not left_only:
        return _by_key(work, node, keys, trees)
    order = orders[0][1]
    is_after = order.large_side == 0
    mine, theirs = (order.large, order.small) if is_after else (order.small, order.large)
    left = _column(keys, 0, _where(mine, others), order)
    right = _column(keys, 1, theirs, order)
    op = (">" if is_after else "<") + ("" if order.is_open else "=")
    one, other = keys.parts()
    schema = Schema((*one.schema.columns, *other.schema.columns))
    joined = AsofJoin(schema, one, other, _KINDS[node.words], keys.pairs(), left, op, right)
    return keys.selected(joined, node)


def _column(keys: Keys, side: int, tree: Tree, order: Order) -> str:
    return keys.column_of(side, tree, keys.type_of(side, tree), order.sql_type)


def _where(tree: Tree, conditions: list[Tree]) -> Tree:
    """Return NULL, which matches nothing, where a condition on the left row does not hold."""
    return case_of([(conjunction(conditions), tree)], null()) if conditions else tree


def _by_key(work: Work, node: OtherJoin, keys: Keys, rest: list[Tree]) -> Node:
    """Return the join, asked key by key; INNER and LEFT are not asked for the equalities again.

    Beside the number of the key DuckDB answers `{'a': NULL} = {'a': NULL}` otherwise than alone. RIGHT and
    FULL are asked as they are written: over the other form DuckDB may wait for ever.
    """
    left, right = keys.parts()
    pairs = keys.pairs()
    columns = tuple(one for one, _ in pairs), tuple(other for _, other in pairs)
    has_key = " AND ".join(f"l.{quote(name)} IS NOT NULL" for name in columns[0]) or "TRUE"
    same_key = f"CASE WHEN {has_key} THEN l.{KEY_COLUMN} ELSE -1 END = r.{KEY_COLUMN}"
    on = " AND ".join([same_key, *(work.render(tree) for tree in rest)])
    if node.words not in _KINDS:
        on = f"l.{KEY_COLUMN} = r.{KEY_COLUMN} AND {node.condition.sql}"
    key = f"coalesce(l.{KEY_COLUMN}, r.{KEY_COLUMN})"
    items = ", ".join([key, *(quote(name) for name in node.schema.names)])
    sql = f"SELECT {items} FROM l {node.words} r ON {on}"
    return Touched(node.schema, (left, right), columns, ("l", "r"), sql, node.words)
