"""now() in a filter: rows come and go as the engine's clock passes.

Allowed is a comparison of a time with the clock, ANDed at the top of WHERE, HAVING or QUALIFY:

    t > now() - INTERVAL 5 MINUTE        now() - t <= INTERVAL 1 DAY        day = current_date
    t BETWEEN date_trunc('hour', now()) AND now()

Each says from when (`begins`) or until when (`ends`) a row is there; see `plan.NowFilter`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import duckdb

from headrace.sql.tree import Tree, arguments, conjuncts, is_query, rewrite, walk

if TYPE_CHECKING:
    from headrace.sql.bind.work import Work
    from headrace.sql.duck import Duck

_MOMENTS = {
    "now": "now()",
    "current_timestamp": "now()",
    "get_current_timestamp": "now()",
    "transaction_timestamp": "now()",
    "localtimestamp": "CAST(now() AS TIMESTAMP)",
    "current_localtimestamp": "CAST(now() AS TIMESTAMP)",
    "current_date": "CAST(now() AS DATE)",
    "today": "CAST(now() AS DATE)",
}
"""Ways to say the present moment or day, by the call of now() that they mean."""
CLOCK_CALLS = frozenset(_MOMENTS)
_WORDS = frozenset({"current_timestamp", "localtimestamp", "current_date"})
_NOW = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\bnow\(\)""")
_FLIPPED = {
    "COMPARE_LESSTHAN": "COMPARE_GREATERTHAN",
    "COMPARE_GREATERTHAN": "COMPARE_LESSTHAN",
    "COMPARE_LESSTHANOREQUALTO": "COMPARE_GREATERTHANOREQUALTO",
    "COMPARE_GREATERTHANOREQUALTO": "COMPARE_LESSTHANOREQUALTO",
    "COMPARE_EQUAL": "COMPARE_EQUAL",
}
_TIMES = ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "DATE")
_UNITS = ("second", "minute", "hour", "day", "week", "month", "quarter", "year")


def clock_call(tree: Tree) -> str | None:
    """Return the lower-case name of a call that tells the present moment, or None."""
    if tree.get("class") == "FUNCTION" and not tree.get("is_operator"):
        name = str(tree["function_name"]).lower()
        return name if name in CLOCK_CALLS and not tree["arguments"] else None
    if tree.get("class") == "COLUMN_REF" and len(tree["column_names"]) == 1:
        name = str(tree["column_names"][0]).lower()
        return name if name in _WORDS else None
    return None


def reads_clock(tree: Tree) -> bool:
    """Whether the present moment stands somewhere in an expression, nested queries left out."""
    return any(clock_call(part) for part in walk(tree, into_queries=False))


def allowed_places(tree: Tree) -> set[int]:
    """Return the `id` of every call of the clock that stands in a comparison of a filter."""
    found: set[int] = set()
    for query in walk(tree):
        if is_query(query) and query["type"] == "SELECT_NODE":
            for key in ("where_clause", "having", "qualify"):
                for part in conjuncts(query[key]) if query.get(key) else []:
                    if part.get("class") in ("COMPARISON", "BETWEEN"):
                        found |= {id(call) for call in walk(part, into_queries=False) if clock_call(call)}
    return found


def spelled_out(duck: Duck, tree: Tree, columns: frozenset[str]) -> Tree:
    """Return a query in which every way to say the present moment is a call of now().

    Args:
        duck: parses SQL.
        tree: the query.
        columns: lower-case column names and aliases, which a word may mean instead.
    """

    def change(part: Tree) -> Tree | None:
        name = clock_call(part)
        if name is None or (part["class"] == "COLUMN_REF" and name in columns):
            return None
        made = _parsed(duck, _MOMENTS[name])
        return made | {"alias": part.get("alias", "")}

    return rewrite(tree, change)


def at_moment(sql: str, clock: datetime | None) -> str:
    """Return SQL with now() replaced by a moment; unchanged where it is None."""
    if clock is None:
        return sql
    moment = f"CAST('{clock.isoformat(sep=' ')}' AS TIMESTAMP WITH TIME ZONE)"
    return _NOW.sub(lambda found: moment if found[0] == "now()" else found[0], sql)


def mentions_now(sql: str) -> bool:
    """Whether rendered SQL calls now()."""
    return any(found[0] == "now()" for found in _NOW.finditer(sql))


@dataclass(frozen=True, slots=True)
class Edge:
    """From when, or until before when, a row is there: the value of `tree` plus `offset_us`."""

    tree: Tree
    offset_us: int
    is_end: bool


@dataclass(frozen=True, slots=True)
class _Moment:
    """`date_trunc(unit, now() + before_us) + after_us`; without a unit `before_us` alone."""

    before_us: int = 0
    unit: str | None = None
    after_us: int = 0


def edges(work: Work, part: Tree) -> list[Edge] | None:
    """Return what a conjunct that reads the clock says of when a row is there; None: it has no rule.

    `part` is resolved, and every call of the clock is a plain now().
    """
    if part["class"] == "BETWEEN":
        low = _comparison(work, part["input"], "COMPARE_GREATERTHANOREQUALTO", part["lower"])
        high = _comparison(work, part["input"], "COMPARE_LESSTHANOREQUALTO", part["upper"])
        return None if low is None or high is None else [*low, *high]
    if part["class"] != "COMPARISON" or part["type"] not in _FLIPPED:
        return None
    return _comparison(work, part["left"], part["type"], part["right"])


def _comparison(work: Work, left: Tree, kind: str, right: Tree) -> list[Edge] | None:
    if reads_clock(left):
        if reads_clock(right):
            return None
        left, kind, right = right, _FLIPPED[kind], left
    aged = _age(work, left, kind, right)
    if aged is not None:
        left, kind, moment = aged
    else:
        found = _moment(work, right)
        if found is None:
            return None
        moment = found
    return _edges(work, left, kind, moment)


def _age(work: Work, left: Tree, kind: str, right: Tree) -> tuple[Tree, str, _Moment] | None:
    """Read `interval > now() - t` as `t > now() - interval`."""
    if right.get("class") != "FUNCTION" or right["function_name"] != "-" or len(right["arguments"]) != 2:
        return None
    present, then = arguments(right)
    if reads_clock(then) or _is_time(work, left) or clock_call(present) is None:
        return None
    length = _length_us(work, left)
    return None if length is None else (then, kind, _Moment(-length))


def _is_time(work: Work, tree: Tree) -> bool:
    return any(part.get("class") == "BOUND" for part in walk(tree)) or _length_us(work, tree) is None


def _moment(work: Work, tree: Tree) -> _Moment | None:
    if clock_call(tree) is not None:
        return _Moment()
    if tree["class"] in ("CAST", "RAW_CAST"):
        below = _moment(work, tree["child"])
        name = work.render(tree).rsplit(" AS ", 1)[1].rstrip(")").upper()
        if below is None or name == "DATE":
            return _truncated(below, "day") if below is not None else None
        return below if name in ("TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE") else None
    if tree["class"] != "FUNCTION":
        return None
    name, args = str(tree["function_name"]).lower(), arguments(tree)
    if name in ("+", "-") and len(args) == 2:
        one, other = (args[1], args[0]) if name == "+" and reads_clock(args[1]) else (args[0], args[1])
        below, length = _moment(work, one), None if reads_clock(other) else _length_us(work, other)
        if below is None or length is None:
            return None
        length = length if name == "+" else -length
        if below.unit is None:
            return _Moment(below.before_us + length)
        return _Moment(below.before_us, below.unit, below.after_us + length)
    if name in ("date_trunc", "datetrunc") and len(args) == 2:
        below, unit = _moment(work, args[1]), str((args[0].get("literal") or {}).get("text", "")).lower()
        return None if below is None else _truncated(below, unit.removesuffix("s"))
    return None


def _truncated(below: _Moment, unit: str) -> _Moment | None:
    if below.unit is not None or unit not in _UNITS:
        return None
    return _Moment(below.before_us, unit)


def _length_us(work: Work, tree: Tree) -> int | None:
    """Return a constant length of time in microseconds, integers counting days, or None."""
    if any(part.get("class") == "BOUND" for part in walk(tree)):
        return None
    sql = work.render(tree)
    try:
        kind = work.duck.describe(f"SELECT {sql}")[0][1]
        length = sql if kind == "INTERVAL" else f"to_days(CAST({sql} AS INTEGER))"
        if kind != "INTERVAL" and not kind.endswith("INT") and kind != "INTEGER":
            return None
        months, days, micros = work.duck.con.execute(
            "SELECT datepart('year', i) * 12 + datepart('month', i), datepart('day', i), "
            "datepart('hour', i) * 3600000000 + datepart('minute', i) * 60000000 "
            f"+ datepart('microsecond', i) FROM (SELECT {length} AS i)"
        ).fetchall()[0]
    except duckdb.Error:
        return None
    return None if months is None or months else int(days) * 86_400_000_000 + int(micros)


def _edges(work: Work, tree: Tree, kind: str, moment: _Moment) -> list[Edge]:
    tree = _shifted(work, tree, -moment.after_us)
    before = -moment.before_us
    if moment.unit is None:
        at, beyond = Edge(tree, before, False), Edge(tree, before + 1, False)
    else:
        at = Edge(_boundary(work, tree, moment.unit, beyond=False), before, False)
        beyond = Edge(_boundary(work, tree, moment.unit, beyond=True), before, False)
    return {
        "COMPARE_GREATERTHAN": [_end(at)],
        "COMPARE_GREATERTHANOREQUALTO": [_end(beyond)],
        "COMPARE_LESSTHAN": [beyond],
        "COMPARE_LESSTHANOREQUALTO": [at],
        "COMPARE_EQUAL": [at, _end(beyond)],
    }[kind]


def _end(edge: Edge) -> Edge:
    return Edge(edge.tree, edge.offset_us, True)


def _shifted(work: Work, tree: Tree, length_us: int) -> Tree:
    return tree if length_us == 0 else _filled(work, f"__x + to_microseconds({length_us})", tree)


def _boundary(work: Work, tree: Tree, unit: str, *, beyond: bool) -> Tree:
    """Return the first beginning of a unit at or after a time, or strictly beyond it."""
    start = f"date_trunc('{unit}', CAST(__x AS TIMESTAMP))"
    step = "INTERVAL 3 MONTH" if unit == "quarter" else f"INTERVAL 1 {unit}"
    following = f"{start} + {step}"
    if beyond:
        return _filled(work, following, tree)
    on_it = f"{start} = CAST(__x AS TIMESTAMP)"
    return _filled(work, f"CASE WHEN {on_it} THEN {start} ELSE {following} END", tree)


def _parsed(duck: Duck, sql: str) -> Tree:
    made: Tree = duck.parse(f"SELECT {sql}")["statements"][0]["node"]["select_list"][0]
    return made


def _filled(work: Work, template: str, tree: Tree) -> Tree:
    made = _parsed(work.duck, template)
    return rewrite(made, lambda part: tree if part.get("column_names") == ["__x"] else None)


def is_time(sql_type: str) -> bool:
    """Whether values of this type may be compared with the clock."""
    return sql_type in _TIMES
