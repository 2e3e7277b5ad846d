"""Comparisons in the condition of a join that keep a column of one side between two of the other's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headrace.sql.bind.work import TreeExpr, Work
from headrace.sql.plan import Range
from headrace.sql.render import columns_of
from headrace.sql.tree import Tree, arguments, comparison, conjunction, conjuncts, function_name

if TYPE_CHECKING:
    from headrace.sql.passes.join_keys import Keys

_FORWARD = {"COMPARE_LESSTHAN": True, "COMPARE_LESSTHANOREQUALTO": False}
_BACKWARD = {"COMPARE_GREATERTHAN": True, "COMPARE_GREATERTHANOREQUALTO": False}
_EXACT = frozenset(
    {
        "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "FLOAT",
        "DOUBLE", "DATE", "TIME", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS",
        "TIMESTAMP WITH TIME ZONE",
    }
)  # fmt: skip
_DECIMAL_DIGITS_MAX = 18


def has_order_word(sql_type: str) -> bool:
    """Whether eight bytes tell the values of a type apart and order them."""
    if sql_type.startswith("DECIMAL("):
        return int(sql_type[len("DECIMAL(") :].split(",")[0]) <= _DECIMAL_DIGITS_MAX
    return sql_type in _EXACT


@dataclass(frozen=True, slots=True)
class Order:
    """`small < large`, or `<=`; the two are expressions over different sides."""

    small: Tree
    small_side: int
    large: Tree
    large_side: int
    is_open: bool
    sql_type: str
    tree: Tree


def order_of(keys: Keys, tree: Tree) -> Order | None:
    """Return what a conjunct says of the order of two sides, None where it says nothing of the kind."""
    kind = tree.get("type")
    if kind in _FORWARD:
        small, large, is_open = tree["left"], tree["right"], _FORWARD[kind]
    elif kind in _BACKWARD:
        small, large, is_open = tree["right"], tree["left"], _BACKWARD[kind]
    else:
        return None
    small_side, large_side = keys.part_of(small), keys.part_of(large)
    if small_side is None or large_side is None or small_side == large_side:
        return None
    common = keys.work.duck.comparison_type(keys.type_of(small_side, small), keys.type_of(large_side, large))
    if common is None or not has_order_word(common):
        return None
    return Order(small, small_side, large, large_side, is_open, common, tree)


def take_range(keys: Keys, residual: TreeExpr | None) -> tuple[Range | None, TreeExpr | None]:
    """Return the best range of a condition over two sides, and what is left of the condition.

    Beside equalities only a range of constant width is taken: rows of one key are few until time makes them
    many.
    """
    if residual is None:
        return None, None
    trees = [part for tree in conjuncts(residual.tree) for part in split_between(keys, tree)]
    orders = [found for tree in trees if (found := order_of(keys, tree)) is not None]
    low, high = _best(keys, orders)
    if low is None and high is None:
        return None, residual
    if keys.found and not (low and high and _is_band(keys.work, low.small, high.large)):
        return None, residual
    used = [one.tree for one in (low, high) if one is not None]
    rest = [tree for tree in trees if not any(tree is one for one in used)]
    left = keys.work
    made = None
    if rest:
        tree = conjunction(rest)
        made = TreeExpr(left.render(tree), columns_of(tree), "BOOLEAN", tree)
    return _range(keys, low, high), made


def split_between(keys: Keys, tree: Tree) -> list[Tree]:
    """Return a BETWEEN as its two comparisons where one of them may be a bound."""
    if tree.get("class") != "BETWEEN" or tree.get("type") != "COMPARE_BETWEEN":
        return [tree]
    lower = comparison("COMPARE_GREATERTHANOREQUALTO", tree["input"], tree["lower"])
    upper = comparison("COMPARE_LESSTHANOREQUALTO", tree["input"], tree["upper"])
    return [lower, upper] if order_of(keys, lower) or order_of(keys, upper) else [tree]


def _best(keys: Keys, orders: Sequence[Order]) -> tuple[Order | None, Order | None]:
    """Return the lower and the upper bound of one column, both where there is such a pair."""
    for high in orders:
        point = keys.work.render(high.small)
        for low in orders:
            is_same = low.large_side == high.small_side and low.sql_type == high.sql_type
            if is_same and keys.work.render(low.large) == point:
                return low, high
    for one in orders:
        return (one, None) if one.large_side == 1 else (None, one)
    return None, None


def _is_band(work: Work, low: Tree, high: Tree) -> bool:
    """Whether two expressions are the same but for constants that are added."""
    return work.render(_base(low)) == work.render(_base(high))


def _base(tree: Tree) -> Tree:
    if tree.get("class") == "FUNCTION" and tree.get("is_operator") and function_name(tree) in ("+", "-"):
        sides = arguments(tree)
        if len(sides) == 2 and not columns_of(sides[1]):
            return _base(sides[0])
        if len(sides) == 2 and function_name(tree) == "+" and not columns_of(sides[0]):
            return _base(sides[1])
    return tree


def _range(keys: Keys, low: Order | None, high: Order | None) -> Range:
    one = low or high
    assert one is not None
    point, side = (low.large, low.large_side) if low else (one.small, one.small_side)

    def column(part: int, tree: Tree) -> str:
        return keys.column_of(part, tree, keys.type_of(part, tree), one.sql_type)

    return Range(
        point=column(side, point),
        point_is_right=side == 1,
        low=column(low.small_side, low.small) if low else None,
        high=column(high.large_side, high.large) if high else None,
        low_is_open=low is not None and low.is_open,
        high_is_open=high is not None and high.is_open,
        sql=" AND ".join(keys.work.render(found.tree) for found in (low, high) if found is not None),
    )
