"""MIN, MAX and quantiles from ordered ranges: DuckDB's answers bit for bit, in small ranges and in
searched ones.
"""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from tests.engine.world import Row, World, random_steps, schema

import headrace.engine.ranks as ranks
from headrace.engine.operators.base import OperatorInfo

NUMBERS = schema(k="INTEGER", x="DOUBLE", i="BIGINT", d="DECIMAL(12,3)", s="VARCHAR", h="HUGEINT")
VIEW = """SELECT k, quantile_cont(x, 0.75) AS a, median(x) AS b, quantile_disc(x, 0.9) AS c,
    quantile_cont(i, 0.33) AS e, quantile_disc(i, 0.5) AS f, median(d) AS g, quantile_cont(d, 0.7) AS h,
    min(x) AS o, max(i) AS p, min(s) AS l, max(s) AS m, max(h) AS q, quantile_disc(x, 0) AS y,
    quantile_cont(x, 1) AS z FROM n GROUP BY k"""


def number(rng: random.Random) -> Row:
    odd = [None, 1e300 * rng.random(), float("inf"), float("nan"), -0.0]
    return {
        "k": rng.randrange(3),
        "x": rng.choice(odd) if rng.random() < 0.1 else rng.gauss(0, 100),
        "i": rng.choice([None, rng.randrange(-(10**18), 10**18), rng.randrange(100)]),
        "d": rng.choice([None, Decimal(rng.randrange(-(10**9), 10**9)) / 1000]),
        "s": rng.choice([None, "a", f"common prefix {rng.randrange(50)}", "é"]),
        "h": rng.choice([None, rng.randrange(-(10**30), 10**30)]),
    }


def rules(told: OperatorInfo) -> set[str]:
    return {told.rule}.union(*(rules(part) for part in told.inputs))


@pytest.mark.parametrize(("read_max", "seed"), [(4_096, 20_000), (4_096, 4_096), (2, 2)])
def test_equals_duckdb(read_max: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "READ_MAX", read_max)
    made = World({"n": NUMBERS})
    made.add("v", VIEW)
    assert "touched groups" not in rules(made.engine.explain("v"))
    random_steps(made, {"n": number}, steps=12, seed=seed, most=50)
    found = made.engine.snapshot("v").sort_by("k").to_pylist()
    wanted = made.duckdb.sql("SELECT * FROM v ORDER BY k").to_arrow_table().to_pylist()
    assert [list(map(repr, row.values())) for row in found] == [
        list(map(repr, row.values())) for row in wanted
    ]


@pytest.mark.parametrize("append_only", [False, True])
def test_whole_values_append_only_or_not(append_only: bool) -> None:
    made = World({"n": NUMBERS}, append_only=["n"] if append_only else [])
    made.add("v", "SELECT k, min(s) AS a, max(s) FILTER (WHERE x > 0) AS b, max(h) AS c FROM n GROUP BY k")
    random_steps(made, {"n": number}, steps=12, seed=3, append_only=["n"] if append_only else [])
