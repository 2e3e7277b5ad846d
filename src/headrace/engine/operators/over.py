"""Over: window functions; DuckDB answers the partitions that a change touches."""

from __future__ import annotations

from headrace.engine.duck import quote
from headrace.engine.operators.base import Operator
from headrace.engine.operators.touched import TouchedOperator
from headrace.sql.plan import KEY_COLUMN, Over, Touched


def over_operator(node: Over, *, append_only: bool) -> Operator:
    """Return the operator of some window functions."""
    return TouchedOperator(_as_touched(node), append_only=append_only)


def _as_touched(node: Over) -> Touched:
    """Return DuckDB's answer partition by partition."""
    items = [KEY_COLUMN, *(quote(name) for name in node.input.schema.names)]
    items += [f"{call.sql} AS {quote(call.name)}" for call in node.calls]
    reason = ", ".join(dict.fromkeys(f"{call.func}() OVER" for call in node.calls))
    sql = f'SELECT {", ".join(items)} FROM "__in0"'
    return Touched(node.schema, (node.input,), (node.partition,), ("__in0",), sql, reason)
