"""A plan as a text tree."""

from __future__ import annotations

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
    if isinstance(node, Scan):
        return f"{node.relation} ({', '.join(node.columns)})"
    if isinstance(node, Constant):
        return node.sql
    if isinstance(node, Filter):
        return node.predicate.sql
    if isinstance(node, NowFilter):
        return _clock(node)
    if isinstance(node, Project):
        pairs = zip(node.schema.names, node.exprs, strict=True)
        return ", ".join(e.sql if e.sql == f'"{name}"' else f"{e.sql} AS {name}" for name, e in pairs)
    if isinstance(node, Hop):
        word = "step" if node.is_cumulative else "slide"
        return f"{node.time} {word} {node.slide_us} us size {node.size_us} us"
    if isinstance(node, Session):
        return f"{node.time} gap {node.gap_us} us by ({', '.join(node.keys)})"
    if isinstance(node, Join):
        return _join(node)
    if isinstance(node, MatchJoin | AsofJoin):
        return _match(node)
    if isinstance(node, Aggregate):
        calls = ", ".join(f"{call.sql} AS {call.name}" for call in node.calls)
        return f"by ({', '.join(node.keys)}) {calls}".rstrip()
    if isinstance(node, TopN):
        return _top(node)
    if isinstance(node, Over):
        return ", ".join(f"{call.sql} AS {call.name}" for call in node.calls)
    if isinstance(node, SetOp):
        return node.kind + (" all" if node.is_all else "")
    if isinstance(node, Unnest):
        return ", ".join(node.lists) + (" with ordinality" if node.ordinality else "")
    if isinstance(node, PythonCall):
        return ", ".join(f"{c.sql} AS {c.name}" for c in node.calls)
    if isinstance(node, Recursive):
        return f"{'union all' if node.is_all else 'union'} by {node.name}"
    if isinstance(node, Recompute):
        return f"{node.reason}: {node.sql}"
    if isinstance(node, Touched):
        return f"{node.reason} by {' and '.join(', '.join(keys) for keys in node.keys)}: {node.sql}"
    return ""


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
