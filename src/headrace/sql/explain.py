"""A plan as a text tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.sql.plan import (
    Aggregate,
    AsofJoin,
    Constant,
    Filter,
    Hop,
    Join,
    MatchJoin,
    Node,
    NowFilter,
    OrderKey,
    Over,
    Project,
    PythonCall,
    Range,
    Recompute,
    Recursive,
    Scan,
    Session,
    SetOp,
    Succession,
    TopN,
    Touched,
    Unnest,
    ViewPlan,
)


def explain_plan(plan: ViewPlan | Node) -> str:
    """Return one line for each node, inputs indented below."""
    lines: list[str] = []
    _write(plan.root if isinstance(plan, ViewPlan) else plan, 0, lines)
    return "\n".join(lines)


def _write(node: Node, depth: int, lines: list[str]) -> None:
    detail = describe_node(node)
    lines.append("  " * depth + type(node).__name__ + (f": {detail}" if detail else ""))
    for child in node.inputs:
        _write(child, depth + 1, lines)


def describe_node(node: Node) -> str:
    """Return what a node does, in a few words."""
    write = next((_WORDS[kind] for kind in type(node).__mro__ if kind in _WORDS), None)
    return write(node) if write is not None else ""


def _project(node: Project) -> str:
    pairs = zip(node.schema.names, node.exprs, strict=True)
    return ", ".join(e.sql if e.sql == f'"{name}"' else f"{e.sql} AS {name}" for name, e in pairs)


def _hop(node: Hop) -> str:
    return (
        f"{node.time} {'step' if node.is_cumulative else 'slide'} {node.slide_us} us size {node.size_us} us"
    )


def _aggregate(node: Aggregate) -> str:
    return f"by ({', '.join(node.keys)}) {_calls(node)}".rstrip()


def _calls(node: Aggregate | Over | PythonCall) -> str:
    return ", ".join(f"{call.sql} AS {call.name}" for call in node.calls)


def _touched(node: Touched) -> str:
    keys = " and ".join(", ".join(columns) for columns in node.keys)
    return f"{node.reason} by {keys if node.keys[0] else 'one key for all'}: {node.sql}"


def _clock(node: NowFilter) -> str:
    edges = [f"now >= {name} {offset:+d} us" for name, offset in node.begins]
    edges += [f"now < {name} {offset:+d} us" for name, offset in node.ends]
    return " and ".join(edges)


def _join(node: Join) -> str:
    keys = [f"{e.left}.{e.left_column} = {e.right}.{e.right_column}" for e in node.equalities]
    rest = [f"where {node.residual.sql}"] if node.residual else []
    return " and ".join(keys) + (" " if keys and rest else "") + "".join(rest)


def _match(node: MatchJoin | AsofJoin) -> str:
    keys = [f"{left} = {right}" for left, right in node.equalities]
    if isinstance(node, AsofJoin):
        return f"{node.kind} {' and '.join([*keys, f'{node.left_column} {node.op} {node.right_column}'])}"
    keys += [_range(node.range)] if node.range else []
    rest = f"where {node.residual.sql}" if node.residual else ""
    return " ".join(word for word in (node.kind, " and ".join(keys) or "every pair", rest) if word)


def _range(found: Range) -> str:
    low = f"{found.low} {'<' if found.low_is_open else '<='} " if found.low else ""
    high = f" {'<' if found.high_is_open else '<='} {found.high}" if found.high else ""
    return f"{low}{found.point}{high}"


def _top(node: TopN) -> str:
    words = [f"{node.rank} AS {node.rank_column}, {node.rank_keys} keys"] if node.rank else []
    words += [f"limit {node.limit}", f"offset {node.offset}"] if node.offset else [f"limit {node.limit}"]
    by = f"per ({', '.join(node.partition)}) " if node.partition else ""
    return f"{', '.join(words)} {by}order by {', '.join(map(_key, node.order))}"


def _key(key: OrderKey) -> str:
    return key.column + (" desc" if key.descending else "") + (" nulls first" if key.nulls_first else "")


_WORDS: dict[type, Callable[[Any], str]] = {
    Scan: lambda node: f"{node.relation} ({', '.join(node.columns)})",
    Constant: lambda node: node.sql,
    Filter: lambda node: node.predicate.sql,
    NowFilter: _clock,
    Project: _project,
    Hop: _hop,
    Session: lambda node: f"{node.time} gap {node.gap_us} us by ({', '.join(node.keys)})",
    Join: _join,
    MatchJoin: _match,
    AsofJoin: _match,
    Aggregate: _aggregate,
    TopN: _top,
    Over: _calls,
    SetOp: lambda node: node.kind + (" all" if node.is_all else ""),
    Unnest: lambda node: ", ".join(node.lists) + (" with ordinality" if node.ordinality else ""),
    PythonCall: _calls,
    Recursive: lambda node: f"{'union all' if node.is_all else 'union'} by {node.name}",
    Recompute: lambda node: f"{node.reason}: {node.sql}",
    Succession: lambda node: f"{', '.join(node.keys)} by {node.order}, {node.deleted}, from {node.start}",
    Touched: _touched,
}
"""How each kind of node is described; kinds that are not here have nothing to say."""
