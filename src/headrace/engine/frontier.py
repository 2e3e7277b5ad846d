"""How watermarks free state: for every operator, the smallest times that its inputs may still hold.

A stream whose event time has a watermark never again brings a row below it: such rows are late and enter
nothing. So the scan of that stream gives its event-time column a *bound* (see `engine.monotone`), and every
operator says which bounds its output has, given those of its inputs:

    a bound B of a column c promises that no later change, of weight +1 or −1, holds a row with c < B

The promise covers retractions, so it can be trusted by whoever keeps state: what lies below the bound is
final. It holds for the scan of a stream (rows only come), and of a view whose own operators keep it. A table
promises nothing, since any of its rows may go; neither does a join with one. An operator passes on the bounds
of the columns by which it keeps rows apart (group keys, partition columns, columns of a DISTINCT), because a
change of its input below them is the only way to change such a row; an aggregate's results have no bound.

Watermarks are taken after the step that took the rows they were decided with, so that nothing is given up
before the last row that counts has come.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import sqlglot
from sqlglot import exp

from headrace.engine.monotone import Bounds, follow, shifted
from headrace.sql.plan import Equality, Expr, Hop, Project

NONE: Bounds = {}
Difference = tuple[str, str, int]
"""(column, other, length): column ≥ other + length, in microseconds, in every row."""


def kept(bounds: Bounds, columns: Iterable[str]) -> Bounds:
    """Return the bounds of some columns."""
    return {name: bounds[name] for name in columns if name in bounds}


def renamed(bounds: Bounds, names: Sequence[str], own: Sequence[str]) -> Bounds:
    """Return bounds by other names: column `names[i]` is called `own[i]`."""
    return {new: bounds[old] for old, new in zip(names, own, strict=True) if old in bounds}


def smallest(parts: Sequence[Bounds]) -> Bounds:
    """Return the bounds that hold for rows of any of the parts, which have the same columns."""
    if not parts:
        return NONE
    return {
        name: min(part[name] for part in parts) for name in parts[0] if all(name in part for part in parts)
    }


def project_bounds(node: Project, bounds: Bounds) -> Bounds:
    """Return the bounds of expressions that never fall while a bounded column rises."""
    if not bounds:
        return NONE
    found = {}
    for name, expr in zip(node.schema.names, node.exprs, strict=True):
        rule = follow(expr.sql) if any(column in bounds for column in expr.columns) else None
        bound = rule(bounds) if rule is not None else None
        if bound is not None:
            found[name] = bound
    return found


def hop_bounds(node: Hop, bounds: Bounds) -> Bounds:
    """Return the bounds of the input's columns, and of the windows that can still get a row.

    A row at t ≥ bound lies in windows that end after t, so the first of them is the first that ends after
    the bound: with windows of a minute and a bound of 12:01:00 that is [12:01, 12:02).
    """
    if node.time not in bounds:
        return bounds
    start, end = node.schema.names[-2:]
    if node.is_cumulative:
        at = bounds[node.time]
        return {**bounds, start: at - at % node.size_us, end: at - at % node.slide_us + node.slide_us}
    low = bounds[node.time] - node.size_us
    first = low - low % node.slide_us + node.slide_us
    return {**bounds, start: first, end: first + node.size_us}


def differences(predicate: Expr | None) -> list[Difference]:
    """Return the lengths of time that a predicate keeps between columns, from its ANDed comparisons.

    `a BETWEEN b - INTERVAL 1 HOUR AND b` says a ≥ b − 1 h, and b ≥ a.
    """
    if predicate is None:
        return []
    try:
        tree = sqlglot.parse_one(predicate.sql, dialect="duckdb")
    except sqlglot.errors.SqlglotError:
        return []
    return [one for part in _conjuncts(tree) for one in _differences(part)]


def _conjuncts(tree: exp.Expr) -> list[exp.Expr]:
    if isinstance(tree, exp.Paren):
        return _conjuncts(tree.this)
    if isinstance(tree, exp.And):
        return [*_conjuncts(tree.this), *_conjuncts(tree.expression)]
    return [tree]


def _differences(part: exp.Expr) -> list[Difference]:
    match part:
        case exp.Between():
            return [*_at_least(part.this, part.args["low"]), *_at_least(part.args["high"], part.this)]
        case exp.GTE() | exp.GT():
            return _at_least(part.this, part.expression)
        case exp.LTE() | exp.LT():
            return _at_least(part.expression, part.this)
        case exp.EQ():
            return [*_at_least(part.this, part.expression), *_at_least(part.expression, part.this)]
        case _:
            return []


def _at_least(larger: exp.Expr, smaller: exp.Expr) -> list[Difference]:
    one, other = shifted(larger), shifted(smaller)
    if one is None or other is None:
        return []
    if not (isinstance(one[0], exp.Column) and isinstance(other[0], exp.Column)):
        return []
    return [(one[0].name, other[0].name, other[1] - one[1])]


class JoinFrontier:
    """What bounds of the inputs say of the rows of an inner join.

    A change of one input makes output rows that hold its own columns, and other inputs' columns no smaller
    than equalities and differences of time allow; that is also how far back it can reach into the other
    inputs.

    Args:
        columns: per input the columns it has, by their (unique) output names.
        equalities: `inputs[left].left_column = inputs[right].right_column`.
        lengths: further differences between columns.
    """

    def __init__(
        self,
        columns: Sequence[Sequence[str]],
        equalities: Sequence[Equality] = (),
        lengths: Sequence[Difference] = (),
    ) -> None:
        self._columns = [tuple(names) for names in columns]
        same = [
            (one, other, 0)
            for eq in equalities
            for one, other in ((eq.left_column, eq.right_column), (eq.right_column, eq.left_column))
        ]
        self._rules: list[Difference] = [*same, *lengths]

    def reach(self, bounds: Bounds) -> Bounds:
        """Return the bounds of all columns in rows made by a change with these bounds."""
        found = dict(bounds)
        for _ in range(len(self._rules)):
            before = dict(found)
            for larger, smaller, length_us in self._rules:
                if smaller in found:
                    low = found[smaller] + length_us
                    found[larger] = max(found.get(larger, low), low)
            if found == before or not found:
                break
        return found

    def output(self, inputs: Sequence[Bounds]) -> Bounds:
        """Return the bounds of the output: those that hold whichever input changes."""
        reached = [self.reach(bounds) for bounds in inputs]
        return smallest(reached) if all(reached) else NONE

    def beyond_reach(self, inputs: Sequence[Bounds]) -> list[Bounds]:
        """Return, per input, below which values no change of the *other* inputs can meet its rows.

        Such rows may be given up. A later retraction of one of them needs the others' rows, not its own.
        """
        reached = [self.reach(bounds) for bounds in inputs]
        found = []
        for number, names in enumerate(self._columns):
            others = [one for at, one in enumerate(reached) if at != number]
            found.append(kept(smallest(others), names) if others and all(others) else NONE)
        return found


def relation_bounds(event_times: Mapping[str, str], watermarks_us: Mapping[str, int]) -> dict[str, Bounds]:
    """Return the bounds of the streams: their event-time column is not below their watermark."""
    return {name: {event_times[name]: at_us} for name, at_us in watermarks_us.items() if name in event_times}
