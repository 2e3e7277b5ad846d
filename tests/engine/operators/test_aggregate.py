"""Aggregates of every family side by side, global and grouped, with FILTER, DISTINCT and HAVING."""

from __future__ import annotations

import random
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest
from tests.engine.makers import OTHERS, THINGS, other, thing
from tests.engine.world import World, random_steps, schema

from headrace.engine.hashing import truncated_hashes

RELATIONS = {"t": THINGS, "u": OTHERS}
MAKERS = {"t": thing, "u": other}
STEPS = 8
VIEWS = [
    (
        "SELECT k, count(*) AS n, sum(x) AS sx, sum(d) AS sd, avg(x) AS ax, avg(d) AS ad, min(x) AS "
        "mn, max(x) AS mx, count(DISTINCT s) AS ds FROM t GROUP BY k"
    ),
    (
        "SELECT count(*) AS n, sum(x) AS sx, min(f) AS mf, max(f) AS xf, max(ts) AS mt, "
        "count(DISTINCT x) FILTER (WHERE b) AS dx, count(DISTINCT x) AS dy FROM t"
    ),
    (
        "SELECT s, b, min(d) AS a, max(d) AS e, min(ts) AS g, min(s) AS h, max(b) AS i, "
        "quantile_cont(x, 0.75) AS q, median(d) AS m, list(x ORDER BY x) AS l FROM t GROUP BY s, b"
    ),
    "SELECT f, count(*) AS c, sum(x) FILTER (WHERE x < 10) AS sf FROM t GROUP BY f HAVING count(*) > 1",
    "SELECT k, stddev(x) AS a, var_pop(d) AS b FROM t GROUP BY k",
    "SELECT k, max(day) AS a, min(day) AS b, count(f) AS c, max(s) AS e FROM t GROUP BY k",
    "SELECT count(DISTINCT (k, s)) AS n FROM t",
    "SELECT sum(x) FILTER (WHERE k = 1) AS a, avg(d) FILTER (WHERE b) AS c FROM t",
    "SELECT k, quantile_disc(d, 0.5) AS q, mode(x) AS m FROM t WHERE x <> 0 GROUP BY k",
    "SELECT min(x) AS m, k FROM t GROUP BY k HAVING min(x) < 5",
    (
        "SELECT b, sum(k) AS s, count(DISTINCT d) AS c, count(DISTINCT d) FILTER (WHERE x > 0) AS e "
        "FROM t GROUP BY b"
    ),
    "SELECT k, s FROM t GROUP BY k, s",
    "SELECT f, b FROM t GROUP BY f, b HAVING b",
    (
        "SELECT a.k, a.x, c.k AS other FROM (SELECT k, x FROM t GROUP BY k, x) AS a JOIN "
        "(SELECT k FROM u GROUP BY k) AS c ON a.k = c.k"
    ),
]


def world(append_only: bool = False) -> World:
    made = World(RELATIONS, append_only=("t", "u") if append_only else ())
    for number, sql in enumerate(VIEWS):
        made.add(f"v{number}", sql)
    return made


@pytest.mark.parametrize("append_only", [False, True])
def test_equals_duckdb_after_every_step(append_only: bool) -> None:
    random_steps(
        world(append_only), MAKERS, steps=STEPS, seed=1, append_only=("t", "u") if append_only else ()
    )


def test_equals_duckdb_when_all_hashes_collide() -> None:
    with truncated_hashes(1):
        random_steps(world(), MAKERS, steps=STEPS, seed=2)


def test_a_global_aggregate_has_its_row_before_any_input() -> None:
    made = World({"t": THINGS})
    made.add(
        "v", "SELECT count(*) AS n, sum(x) AS s, min(x) AS m, median(x) AS q, count(DISTINCT s) AS d FROM t"
    )
    assert made.engine.snapshot("v").to_pylist() == [{"n": 0, "s": None, "m": None, "q": None, "d": 0}]


def test_a_sum_that_overflows_is_an_error_of_its_group_until_it_fits_again() -> None:
    made = World({"n": schema(k="INTEGER", d="DECIMAL(38,0)")})
    made.add("v", "SELECT k, sum(d) AS s FROM n GROUP BY k")
    huge = Decimal("9" * 38)
    made.step({"n": [({"k": 1, "d": huge}, 1), ({"k": 2, "d": Decimal(5)}, 1)]})
    output = made.step({"n": [({"k": 1, "d": Decimal(1)}, 1)]})
    assert "Overflow" in output.errors["v"]
    output = made.step({"n": [({"k": 1, "d": Decimal(-7)}, 1)]})
    assert output.errors == {}
    assert made.engine.store("v").lookup(["k"], [1]).to_pylist() == [{"k": 1, "s": Decimal("9" * 37 + "3")}]


def test_integer_averages_are_duckdbs_bit_for_bit() -> None:
    made = World({"n": schema(k="INTEGER", x="BIGINT", d="DECIMAL(12,3)")})
    made.add("v", "SELECT k, avg(x) AS a, avg(d) AS b FROM n GROUP BY k")
    rng = random.Random(5)
    rows = [
        {
            "k": rng.randrange(40),
            "x": rng.randrange(-(2**62), 2**62),
            "d": Decimal(rng.randrange(-(10**11), 10**11)) / 1000,
        }
        for _ in range(400)
    ]
    made.step({"n": [(row, 1) for row in rows]})
    with duckdb.connect() as connection:
        connection.register("n", pa.Table.from_pylist(rows, schema=made.relations["n"].arrow))
        wanted = connection.sql("SELECT k, avg(x) AS a, avg(d) AS b FROM n GROUP BY k ORDER BY k").fetchall()
    found = made.engine.snapshot("v").sort_by("k").to_pylist()
    assert [tuple(row.values()) for row in found] == wanted
