"""What DuckDB says about its functions: which aggregate, which depend on more than their arguments."""

from __future__ import annotations

import re
from functools import lru_cache

from headrace.sql.duck import connection

SYNONYMS = {
    "mean": "avg",
    "max_by": "arg_max",
    "argmax": "arg_max",
    "min_by": "arg_min",
    "argmin": "arg_min",
    "stddev": "stddev_samp",
    "variance": "var_samp",
    "array_agg": "list",
    "group_concat": "string_agg",
    "listagg": "string_agg",
    "countif": "count_if",
    "quantile": "quantile_disc",
    "percentile_cont": "quantile_cont",
    "percentile_disc": "quantile_disc",
    "sumkahan": "kahan_sum",
    "fsum": "kahan_sum",
    "favg": "kahan_avg",
    "arbitrary": "first",
}
"""Other names of the same aggregate."""

UNNESTING = frozenset({"unnest", "unlist", "generate_subscripts", "regexp_split_to_table"})
"""Functions that answer several rows."""

LAMBDA_FUNCTIONS = frozenset(
    {
        "list_transform", "array_transform", "list_apply", "array_apply", "apply",
        "list_filter", "array_filter", "filter",
        "list_reduce", "array_reduce", "reduce",
    }
)  # fmt: skip
"""Functions in whose arguments an arrow is a lambda; elsewhere it reads a JSON path."""

AGGREGATE_MACROS = {
    "weighted_avg": (
        ("value", "weight"),
        "(sum(value * weight) / sum(CASE WHEN value IS NOT NULL THEN weight ELSE 0 END))",
    ),
    "geomean": (("x",), "exp(avg(ln(x)))"),
    "json_group_array": (
        ("x",),
        (
            "CAST(('[' || string_agg(CASE WHEN x IS NULL THEN CAST('null' AS JSON) ELSE to_json(x) END, ',') "
            "|| ']') AS JSON)"
        ),
    ),
    "json_group_object": (
        ("n", "v"),
        (
            "CAST(('{' || string_agg(CASE WHEN n IS NULL THEN error('json_group_object key cannot be NULL') "
            "ELSE to_json(CAST(n AS VARCHAR)) END || ':' || CASE WHEN v IS NULL THEN CAST('null' AS JSON) "
            "ELSE to_json(v) END, ',') || '}') AS JSON)"
        ),
    ),
}
"""DuckDB's macros that hide an aggregate, written out: parameters and text."""

AGGREGATE_MACROS["wavg"] = AGGREGATE_MACROS["weighted_avg"]
AGGREGATE_MACROS["geometric_mean"] = AGGREGATE_MACROS["geomean"]


CLOCK_WORDS = frozenset({"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"})
"""Words that are functions without parentheses, unless a column is named so."""


@lru_cache(maxsize=1)
def _facts() -> tuple[frozenset[str], frozenset[str]]:
    con = connection()
    try:
        rows = con.execute(
            "SELECT lower(function_name), function_type, stability, macro_definition FROM duckdb_functions()"
        ).fetchall()
    finally:
        con.close()
    aggregates = frozenset(name for name, kind, _, _ in rows if kind == "aggregate")
    unstable = {
        name for name, _, stability, _ in rows if stability in ("VOLATILE", "CONSISTENT_WITHIN_QUERY")
    }
    unstable = (unstable | CLOCK_WORDS | {"current_localtime", "current_localtimestamp"}) - {"error"}
    outside = re.compile(r"\b(" + "|".join(map(re.escape, sorted(unstable))) + r"|duckdb_\w+|pragma_\w+)\b")
    macros = {name for name, _, _, text in rows if text and outside.search(text)}
    return aggregates, frozenset(unstable | macros)


def aggregates() -> frozenset[str]:
    """Names of all aggregate functions, lower case."""
    return _facts()[0]


def unstable_functions() -> frozenset[str]:
    """Names of scalar functions whose answer depends on more than their arguments: random, now, nextval, …"""
    return _facts()[1]


def canonical(name: str) -> str:
    """Return the one name of an aggregate that has several."""
    return SYNONYMS.get(name, name)
