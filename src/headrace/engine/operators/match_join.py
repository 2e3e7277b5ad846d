"""Match join: LEFT, FULL, SEMI and ANTI joins."""

from __future__ import annotations

from headrace.engine.duck import quote
from headrace.engine.operators.touched import TouchedOperator
from headrace.sql.plan import KEY_COLUMN, MatchJoin, Touched

_WORDS = {"left": "LEFT JOIN", "full": "FULL JOIN", "semi": "SEMI JOIN", "anti": "ANTI JOIN"}


class MatchJoinOperator(TouchedOperator):
    """A match join answered key by key."""

    name = "match join"

    def __init__(self, node: MatchJoin) -> None:
        super().__init__(_touched(node))


def _touched(node: MatchJoin) -> Touched:
    key = f"coalesce(l.{KEY_COLUMN}, r.{KEY_COLUMN})" if node.kind == "full" else f"l.{KEY_COLUMN}"
    items = ", ".join([key, *(quote(name) for name in node.schema.names)])
    conditions = [f"l.{KEY_COLUMN} = r.{KEY_COLUMN}"]
    conditions += [f"l.{quote(left)} = r.{quote(right)}" for left, right in node.equalities]
    if node.residual is not None:
        conditions.append(f"({node.residual.sql})")
    sql = f"SELECT {items} FROM l {_WORDS[node.kind]} r ON {' AND '.join(conditions)}"
    keys = tuple(left for left, _ in node.equalities), tuple(right for _, right in node.equalities)
    return Touched(node.schema, (node.left, node.right), keys, ("l", "r"), sql, _WORDS[node.kind])
