"""Every aggregate function that DuckDB lists, as a view, against DuckDB after every random change.

The list is DuckDB's own (`duckdb_functions()`), so that a new release cannot add one unnoticed: each name has
calls here, or the reason why it is refused. Every call also stands with FILTER, with DISTINCT and with ORDER
BY inside it, where DuckDB lets it. Values repeat and are NULL often, groups empty out, and rows go again: the
shapes in which an accumulator that only ever grows is found out.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from decimal import Decimal

import duckdb
import pytest
from tests.engine.world import Row, World, random_steps, schema

from headrace.contracts.scratch import scratch
from headrace.errors import HeadraceError, UnsupportedSql

NUMBERS = schema(
    k="INTEGER",
    i="INTEGER",
    j="BIGINT",
    u="UTINYINT",
    f="DOUBLE",
    g="DOUBLE",
    d="DECIMAL(9,2)",
    s="VARCHAR",
    b="BOOLEAN",
    ts="TIMESTAMP",
    v="INTERVAL",
)

CALLS = {
    "any_value": ["any_value(i ORDER BY ts)", "any_value(s ORDER BY i DESC, ts)"],
    "approx_count_distinct": ["approx_count_distinct(i)", "approx_count_distinct(s)"],
    "approx_quantile": ["approx_quantile(f, 0.5)", "approx_quantile(i, [0.25, 0.75])"],
    "approx_top_k": ["approx_top_k(i, 2)"],
    "arbitrary": ["arbitrary(s ORDER BY ts)"],
    "arg_max": ["arg_max(i, ts)", "arg_max(s, f)", "arg_max(s, d)", "arg_max(i, j, 2)", "arg_max(f, s)"],
    "arg_max_null": ["arg_max_null(i, ts)", "arg_max_null(s, j)"],
    "arg_max_nulls_last": ["arg_max_nulls_last(i, ts)", "arg_max_nulls_last(i, j, 3)"],
    "arg_min": ["arg_min(i, ts)", "arg_min(s, f)", "arg_min(s, d)", "arg_min(i, j, 2)", "arg_min(f, s)"],
    "arg_min_null": ["arg_min_null(i, ts)", "arg_min_null(s, j)"],
    "arg_min_nulls_last": ["arg_min_nulls_last(i, ts)", "arg_min_nulls_last(i, j, 3)"],
    "argmax": ["argmax(i, ts)"],
    "argmin": ["argmin(i, ts)"],
    "array_agg": ["array_agg(i ORDER BY i)", "array_agg(s)"],
    "avg": ["avg(i)", "avg(f)", "avg(d)", "avg(v)", "avg(ts)", "avg(u)"],
    "bit_and": ["bit_and(i)", "bit_and(u)", "bit_and(j)"],
    "bit_or": ["bit_or(i)", "bit_or(u)", "bit_or(j)"],
    "bit_xor": ["bit_xor(i)", "bit_xor(u)", "bit_xor(j)", "bit_xor(CAST(j AS HUGEINT))"],
    "bitstring_agg": ["bitstring_agg(u, 0, 9)"],
    "bool_and": ["bool_and(b)", "bool_and(i > 0)"],
    "bool_or": ["bool_or(b)", "bool_or(i > 0)"],
    "corr": ["corr(f, g)"],
    "count": ["count(i)", "count(*)", "count()", "count(s)"],
    "count_if": ["count_if(b)", "count_if(i > 0)"],
    "count_star": ["count_star()"],
    "countif": ["countif(i > 0)"],
    "covar_pop": ["covar_pop(f, g)"],
    "covar_samp": ["covar_samp(f, g)"],
    "decimal_average": ["decimal_average(d)"],
    "entropy": ["entropy(i)", "entropy(s)"],
    "favg": ["favg(f)"],
    "first": ["first(i ORDER BY ts)", "first(s ORDER BY i DESC NULLS FIRST, f)"],
    "fsum": ["fsum(f)"],
    "group_concat": ["group_concat(s, '+')"],
    "histogram": ["histogram(i)", "histogram(s)", "histogram(i, [0, 5, 10])"],
    "histogram_exact": ["histogram_exact(i, [0, 5, 7])"],
    "kahan_sum": ["kahan_sum(f)"],
    "kurtosis": ["kurtosis(g)"],
    "kurtosis_pop": ["kurtosis_pop(g)"],
    "last": ["last(i ORDER BY ts)", "last(s ORDER BY i DESC NULLS FIRST, f)"],
    "list": ["list(i)", "list(s ORDER BY ts DESC)"],
    "listagg": ["listagg(s, ',' ORDER BY i)"],
    "lttb": ["lttb(f, g, 3)"],
    "mad": ["mad(i)", "mad(f)", "mad(ts)"],
    "max": ["max(i)", "max(s)", "max(f)", "max(d)", "max(i, 2)", "max(s, 3)", "max(v)"],
    "max_by": ["max_by(i, ts)"],
    "mean": ["mean(i)"],
    "median": ["median(i)", "median(d)", "median(ts)", "median(f)"],
    "min": ["min(i)", "min(s)", "min(f)", "min(d)", "min(i, 2)", "min(s, 3)", "min(v)"],
    "min_by": ["min_by(i, ts)"],
    "mode": ["mode(i)", "mode(s)"],
    "product": ["product(f)"],
    "quantile": ["quantile(i, 0.4)"],
    "quantile_cont": [
        "quantile_cont(i, 0.4)",
        "quantile_cont(d, [0.25, 1, 0])",
        "quantile_cont(f, [0.1, 0.9])",
        "quantile_cont(ts, 0.5)",
    ],
    "quantile_disc": ["quantile_disc(i, 0.4)", "quantile_disc(s, 0.5)", "quantile_disc(i, [0.1, 0.9])"],
    "regr_avgx": ["regr_avgx(f, g)"],
    "regr_avgy": ["regr_avgy(f, g)"],
    "regr_count": ["regr_count(f, g)"],
    "regr_intercept": ["regr_intercept(f, g)"],
    "regr_r2": ["regr_r2(f, g)"],
    "regr_slope": ["regr_slope(f, g)"],
    "regr_sxx": ["regr_sxx(f, g)"],
    "regr_sxy": ["regr_sxy(f, g)"],
    "regr_syy": ["regr_syy(f, g)"],
    "sem": ["sem(f)"],
    "skewness": ["skewness(g)"],
    "stddev": ["stddev(i)", "stddev(f)"],
    "stddev_pop": ["stddev_pop(f)"],
    "stddev_samp": ["stddev_samp(d)"],
    "string_agg": ["string_agg(s, ',')", "string_agg(s, '|' ORDER BY ts)"],
    "sum": ["sum(i)", "sum(f)", "sum(d)", "sum(b)", "sum(u)", "sum(CAST(j AS HUGEINT))"],
    "sum_no_overflow": ["sum_no_overflow(i)"],
    "sumkahan": ["sumkahan(f)"],
    "var_pop": ["var_pop(f)", "var_pop(i)"],
    "var_samp": ["var_samp(f)"],
    "variance": ["variance(d)"],
}
"""Calls per name."""

REFUSED = {
    "any_value(i)": "arg_min(x, time)",
    "arbitrary(i)": "arg_min(x, time)",
    "first(i)": "arg_min(x, time)",
    "last(i)": "arg_max(x, time)",
    "reservoir_quantile(i, 0.5)": "quantile_cont(x, fraction)",
    "variant_group_object(s, CAST(i AS VARIANT))": "json_group_object(key, value)",
    "bitstring_agg(i)": "bitstring_agg(x, min, max)",
    "combine_aggr(i)": "",
}
"""Calls that no view may have, and what the error's hint names."""

WHEN = datetime.fromisoformat("2024-01-01T00:00:00")


def row(rng: random.Random) -> Row:
    """Return a row in which values meet often."""
    number = rng.choice([None, -4, 0, 3, 3, 7])
    return {
        "k": rng.choice([1, 2, None]),
        "i": number,
        "j": rng.choice([None, -(2**40), 5, 6, 2**62]),
        "u": rng.choice([None, 0, 1, 6, 9]),
        "f": rng.choice([None, 0.0, -0.5, 1.25, 1.1, 1e6]),
        "g": rng.choice([None, 2.0, 3.5, -1.75, 100.0]),
        "d": rng.choice([None, Decimal("0.10"), Decimal("-7.55"), Decimal("99999.99")]),
        "s": rng.choice([None, "", "a", "b", "a longer text é"]),
        "b": rng.choice([None, True, True, False]),
        "ts": rng.choice([None, *(WHEN + timedelta(seconds=at) for at in range(0, 50, 7))]),
        "v": rng.choice([None, timedelta(days=1), timedelta(hours=5), timedelta(days=31)]),
    }


def listed() -> set[str]:
    with scratch() as connection:
        sql = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'aggregate'"
        return {name for (name,) in connection.execute(sql).fetchall()}


def variants(call: str) -> list[str]:
    """Return a call with FILTER, DISTINCT and ORDER BY, as far as DuckDB knows them of it."""
    found = [call]
    name, rest = call.split("(", 1)
    if "FILTER" not in call:
        found.append(f"{call} FILTER (WHERE i > 0 OR b)")
    if rest[0] not in "*)" and "ORDER BY" not in call and name != "count_star":
        found.append(f"{name}(DISTINCT {rest}")
    if "ORDER BY" not in call and rest[0] not in "*)" and call.endswith(")"):
        found.append(f"{call[:-1]} ORDER BY ts DESC)")
    return found


def test_the_list_is_whole() -> None:
    refused = {call.split("(")[0] for call in REFUSED}
    assert listed() - set(CALLS) - refused == set()


@pytest.mark.parametrize("name", list(CALLS))
def test_equals_duckdb(name: str) -> None:
    world = World({"t": NUMBERS})
    shapes = [shape for call in CALLS[name] for shape in variants(call)]
    bound = [shape for shape in shapes if binds(shape)]
    assert set(CALLS[name]) <= set(bound)
    items = ", ".join(f"{shape} AS c{at}" for at, shape in enumerate(bound))
    world.add("grouped", f"SELECT k, {items} FROM t GROUP BY k")
    world.add("whole", f"SELECT {items} FROM t WHERE i IS DISTINCT FROM 3")
    random_steps(world, {"t": row}, steps=5, seed=len(name), most=9)


@pytest.mark.parametrize("name", [name for name in CALLS if name.startswith(("arg_", "m", "f", "l", "a"))])
def test_equals_duckdb_where_rows_only_come(name: str) -> None:
    world = World({"t": NUMBERS}, append_only=["t"])
    items = ", ".join(f"{shape} AS c{at}" for at, shape in enumerate(CALLS[name]))
    world.add("grouped", f"SELECT k, {items} FROM t GROUP BY k")
    random_steps(world, {"t": row}, steps=4, seed=len(name), append_only=["t"])


def binds(call: str) -> bool:
    """Whether DuckDB knows a call."""
    nulls = ", ".join(f"CAST(NULL AS {column.sql_type}) AS {column.name}" for column in NUMBERS)
    with scratch() as connection:
        try:
            connection.sql(f"SELECT {call} FROM (SELECT {nulls})")
        except duckdb.Error:
            return False
    return True


@pytest.mark.parametrize("call", list(REFUSED))
def test_refused_with_a_reason(call: str) -> None:
    world = World({"t": NUMBERS})
    with pytest.raises(HeadraceError) as caught:
        world.add("v", f"SELECT k, {call} AS x FROM t GROUP BY k")
    assert REFUSED[call] in str(caught.value)
    assert isinstance(caught.value, UnsupportedSql) or call.startswith("combine_aggr")
