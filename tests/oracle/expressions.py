"""Random scalar expressions, predicates and aggregate calls, none of which can fail for any row.

Forms are texts over `x`, a column of the family, and `y`, another of the same type where there is one.
"""

from __future__ import annotations

from random import Random

from .kinds import family, literal
from .scope import Relation, pick

FORMS: dict[str, tuple[str, ...]] = {
    "int": (
        "{x} % 3", "{x} // 2", "{x}::HUGEINT + 1", "coalesce({x}, 0)", "nullif({x}, 1)", "{x}::VARCHAR",
        "{x}::DOUBLE", "greatest({x}, {y})", "{x} > {y}", "TRY_CAST({x} AS TINYINT)", "{x} IN (1, 2, NULL)",
        "CASE WHEN {x} > 1 THEN {y} END", "{x}::DECIMAL(30,2) * 1.5", "sign({x})", "{x} BETWEEN 0 AND {y}",
    ),
    "huge": ("{x} % 3", "({x} % 1000)::DOUBLE", "{x}::VARCHAR", "coalesce({x}, 0)", "{x} > {y}"),
    "decimal": (
        "-{x}", "{x}::DOUBLE", "{x}::VARCHAR", "round({x}, 1)", "floor({x})", "coalesce({x}, 1)",
        "least({x}, {y})", "{x} >= {y}", "TRY_CAST({x} AS DECIMAL(4,1))", "{x} * 2",
    ),
    "float": (
        "{x} * 0.5::DOUBLE", "-{x}", "abs({x})", "isnan({x})", "coalesce({x}, 0.5)", "{x} > {y}", "{x} = {y}",
        "CASE WHEN isfinite({x}) THEN {x} END", "greatest({x}, {y})",
    ),
    "text": (
        "upper({x})", "lower({x})", "length({x})", "reverse({x})", "trim({x})", "substr({x}, 1, 2)",
        "{x} || 'z'", "{x} || {y}", "concat({x}, {y})", "{x} LIKE '%a%'", "contains({x}, 'a')",
        "replace({x}, 'a', 'bb')", "regexp_matches({x}, '^[a-z]+$')", "TRY_CAST({x} AS INTEGER)",
        "left({x}, 1)", "strlen({x})", "string_split({x}, 'b')", "coalesce({x}, '?')", "{x} < {y}",
        "split_part({x}, 'b', 1)", "{x} ILIKE 'A%'", "starts_with({x}, {y})",
    ),
    "bool": ("NOT {x}", "{x} AND {y}", "{x} OR {y}", "{x}::INTEGER", "{x} IS DISTINCT FROM {y}"),
    "date": (
        "year({x})", "date_trunc('month', {x})", "{x}::TIMESTAMP", "dayname({x})", "{x} + 1", "{x} > {y}",
        "datediff('day', {x}, DATE '2026-01-01')", "{x}::VARCHAR", "last_day({x})",
    ),
    "timestamp": (
        "date_trunc('minute', {x})", "{x} + INTERVAL 1 HOUR", "{x}::DATE", "epoch_us({x})", "hour({x})",
        "strftime({x}, '%Y-%m')", "time_bucket(INTERVAL '10 minutes', {x})", "{x} AT TIME ZONE 'UTC'",
        "{x} - {y}", "{x} > {y}", "{x}::VARCHAR", "extract(epoch FROM {x})", "{x} - INTERVAL 1 MONTH",
    ),
    "tz": ("epoch_us({x})", "{x} AT TIME ZONE 'UTC'", "date_trunc('hour', {x})", "{x} > {y}", "hour({x})"),
    "time": ("hour({x})", "{x} > {y}", "{x}::VARCHAR"),
    "interval": ("extract(day FROM {x})", "{x} + {y}", "{x} > INTERVAL 1 DAY", "{x}::VARCHAR"),
    "blob": ("octet_length({x})", "hex({x})", "{x} || {y}", "{x} > {y}"),
    "uuid": ("{x}::VARCHAR", "{x} = {y}"),
    "json": ("{x}->>'$.a'", "json_type({x})", "json_array_length({x})", "{x}::VARCHAR", "{x}->'b'"),
    "enum": ("{x}::VARCHAR", "{x} = 'x'", "{x} > {y}"),
    "list": ("len({x})", "{x}[1]", "list_sort({x})", "{x} || {y}", "list_contains({x}, {x}[1])", "{x} = {y}"),
    "struct": ("{x}.a", "{x}.b", "{x} = {y}", "{x} IS NULL"),
    "map": ("map_keys({x})", "cardinality({x})", "{x} = {y}"),
    "other": ("{x} IS NULL",),
}  # fmt: skip

AGGREGATES: dict[str, tuple[str, ...]] = {
    "any": (
        "count(*)", "count({x})", "count(DISTINCT {x})", "min({x})", "max({x})", "list({x} ORDER BY {x})",
        "arg_min({x}, {o})", "arg_max({x}, {o})", "first({x} ORDER BY {o}, {x})", "mode({x})",
        "last({x} ORDER BY {o}, {x})", "count_if({p})", "bool_or({p})", "bool_and({p})",
        "list({x})", "len(list(DISTINCT {x}))", "any_value({x} ORDER BY {x})", "arg_max({x}, {o}, 2)",
    ),
    "int": (
        "sum({x})", "avg({x})", "sum(DISTINCT {x})", "median({x})", "quantile_disc({x}, 0.25)",
        "quantile_cont({x}, 0.75)", "bit_or({x})", "bit_xor({x})", "min({x}, 2)", "max({x}, 2)",
        "approx_count_distinct({x})", "histogram({x})", "sum({x}) + count(*)", "avg(DISTINCT {x})",
        "var_pop({x} % 100)", "stddev({x} % 100)", "mad({x} % 100)", "quantile_cont({x}, [0.1, 0.9])",
    ),
    "huge": ("sum({x})", "avg({x})"),
    "decimal": ("sum({x})", "avg({x})", "median({x})", "sum({x}) FILTER ({p})", "quantile_disc({x}, 0.5)"),
    "float": ("sum({x})", "avg({x})", "max({x})", "median({x})", "sum(DISTINCT {x})"),
    "text": (
        "string_agg({x}, ',' ORDER BY {x} DESC)", "string_agg(DISTINCT {x}, '|' ORDER BY {x})",
        "string_agg({x}, '')", "max(length({x}))", "approx_count_distinct({x})", "histogram({x})",
    ),
    "bool": ("bool_and({x})", "bool_or({x})", "sum({x}::INTEGER)", "count_if({x})"),
    "date": ("max({x}) - min({x})", "median({x})"),
    "timestamp": ("max({x}) - min({x})", "quantile_disc({x}, 0.5)", "min({x}, 3)"),
}  # fmt: skip

ORDERED = (
    "int",
    "huge",
    "decimal",
    "text",
    "bool",
    "date",
    "timestamp",
    "tz",
    "time",
    "uuid",
    "enum",
    "blob",
)
"""Families whose order leaves nothing open: no NaN or negative zero, no parts."""


def scalar(rnd: Random, sources: list[Relation], depth: int = 0) -> str:
    """Return an expression over the columns of some relations."""
    source = rnd.choice(sources)
    x = pick(rnd, source.of())
    if rnd.random() < 0.45:
        return x
    if rnd.random() < 0.15:
        return f"CASE WHEN {predicate(rnd, sources, depth + 1)} THEN {x} END"
    kind = source.kind(x)
    y = pick(rnd, [column for column in source.of() if source.kind(column) == kind], x)
    return "(" + rnd.choice(FORMS[family(kind)]).format(x=x, y=y) + ")"


def predicate(rnd: Random, sources: list[Relation], depth: int = 0) -> str:
    """Return a condition over the columns of some relations."""
    source = rnd.choice(sources)
    x = pick(rnd, source.of())
    kind = source.kind(x)
    draw = rnd.randrange(8)
    if draw == 0:
        return f"{x} IS NOT NULL"
    if draw == 1:
        return f"{x} IS NULL"
    if draw == 2 and depth < 2:
        word = rnd.choice(("AND", "OR"))
        return f"({predicate(rnd, sources, depth + 1)} {word} {predicate(rnd, sources, depth + 1)})"
    if draw == 3 and depth < 2:
        return f"NOT ({predicate(rnd, sources, depth + 1)})"
    if family(kind) == "bool":
        return x
    if draw == 4 and family(kind) in ("text", "float", "list", "timestamp"):
        forms = {"text": "{x} LIKE '%a%'", "float": "isfinite({x})", "list": "len({x}) > 1",
                 "timestamp": "hour({x}) = 0"}  # fmt: skip
        return forms[family(kind)].format(x=x)
    value = literal(rnd, kind)
    if value is None:
        return f"{x} IS NOT NULL"
    if draw == 5:
        return f"{x} IN ({value}, {literal(rnd, kind)})"
    return f"{x} {rnd.choice(('=', '<>', '<', '<=', '>', '>=', 'IS NOT DISTINCT FROM'))} {value}"


def call(rnd: Random, source: Relation) -> str:
    """Return an aggregate call over the columns of a relation."""
    x = pick(rnd, source.of())
    kind = family(source.kind(x))
    forms = AGGREGATES["any"]
    if kind in AGGREGATES and rnd.random() < 0.6:
        forms = AGGREGATES[kind]
    form = rnd.choice(forms)
    if form in ("min({x})", "max({x})") and kind in ("map", "json", "other"):
        form = "count({x})"
    if (
        "{x}" in form
        and kind not in ORDERED
        and any(word in form for word in ("ORDER BY", "list", "mode", "arg_"))
    ):
        form = "count({x})"  # NaN, -0.0 and parts have an order, but ties of it are not equal bit for bit
    o = pick(rnd, source.of("int", "text", "timestamp", "date", "decimal"), x)
    made = form.format(x=x, o=o, p=predicate(rnd, [source], 1)).replace("FILTER (", "FILTER (WHERE ")
    if (
        "FILTER" not in made
        and made.count("(") == made.count(")")
        and made.endswith(")")
        and rnd.random() < 0.2
    ):
        return _filtered(made, predicate(rnd, [source], 1))
    return made


def _filtered(made: str, condition: str) -> str:
    """Return a call with a FILTER where the text is one call and nothing else."""
    depth = 0
    for at, char in enumerate(made):
        depth += (char == "(") - (char == ")")
        if char == ")" and depth == 0 and at < len(made) - 1:
            return made
    return made if made.startswith("len(") else f"{made} FILTER (WHERE {condition})"
