"""Subqueries equal DuckDB after every step of random insertions and deletions, none of them recomputed.

Keys are NULL now and then and groups empty out again: the count of an empty group (0, not NULL), NOT IN
beside a NULL, and scalars that have several rows for a while are where decorrelation goes wrong.
"""

from __future__ import annotations

import random

import pytest
from tests.engine.makers import OTHERS, THINGS, other, thing
from tests.engine.world import Row, World, random_steps

from headrace.engine.operators.base import OperatorInfo

RELATIONS = {"t": THINGS, "u": OTHERS}
MAKERS = {"t": thing, "u": other}
SCALARS = [
    "SELECT k, (SELECT count(*) FROM u WHERE u.k = t.k) AS n FROM t",
    "SELECT k, (SELECT count(*) + 1 FROM u WHERE u.k > t.k) AS n FROM t",
    "SELECT k, x FROM t WHERE x > (SELECT avg(w) FROM u WHERE NOT isnan(w))",
    "SELECT k, (SELECT max(name) FROM u WHERE u.k = t.k HAVING count(*) > 1) AS m FROM t",
    "SELECT k, (SELECT name FROM u WHERE u.k = t.k ORDER BY w DESC, name LIMIT 1) AS top FROM t",
    "SELECT k, sum(x) AS x FROM t GROUP BY k HAVING sum(x) > (SELECT count(*) FROM u WHERE u.k = t.k)",
    "SELECT k, (SELECT sum(k) FROM u WHERE u.name = t.s AND t.b) AS m FROM t",
    "SELECT k FROM t WHERE x = (SELECT max(i.x) FROM t AS i WHERE i.k = t.k)",
]
MATCHES = [
    "SELECT k, s FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.k = t.k AND u.name <> t.s)",
    "SELECT k FROM t WHERE NOT EXISTS (SELECT 1 FROM u WHERE u.k = t.k)",
    "SELECT k, s FROM t WHERE k NOT IN (SELECT k FROM u)",
    "SELECT k, s FROM t WHERE k NOT IN (SELECT k FROM u WHERE u.name = t.s)",
    "SELECT k, k IN (SELECT k FROM u) AS i, s NOT IN (SELECT name FROM u WHERE u.k = t.k) AS j FROM t",
    "SELECT k, x > ALL (SELECT k FROM u WHERE u.name = t.s) AS a, x <> ANY (SELECT k FROM u) AS b FROM t",
    "SELECT s FROM t WHERE s IN (SELECT name FROM u GROUP BY name HAVING count(*) > 1) OR b",
    "SELECT k, EXISTS (SELECT 1 FROM u WHERE u.k < t.k) AS e FROM t",
    "SELECT k FROM t WHERE EXISTS (SELECT 1 FROM u WHERE w > 1)",
    "SELECT k FROM t WHERE k IN (SELECT k FROM u UNION SELECT i.x FROM t AS i WHERE i.s = t.s)",
]
LATERALS = [
    "SELECT t.k, x.n, x.m FROM t, LATERAL (SELECT count(*) AS n, max(name) AS m FROM u WHERE u.k = t.k) AS x",
    "SELECT t.k, m FROM t LEFT JOIN LATERAL (SELECT w AS m FROM u WHERE k = t.k ORDER BY w LIMIT 2) ON t.b",
    "SELECT t.k, x.name FROM t, LATERAL (SELECT DISTINCT name FROM u WHERE u.k >= t.k) AS x",
]


def world(views: list[str], append_only: bool = False) -> World:
    made = World(RELATIONS, append_only=("t", "u") if append_only else ())
    for number, sql in enumerate(views):
        made.add(f"v{number}", sql)
    return made


def rules(info: OperatorInfo) -> set[str]:
    return {info.rule}.union(*(rules(child) for child in info.inputs))


@pytest.mark.parametrize("views", [SCALARS, MATCHES, LATERALS], ids=["scalars", "matches", "laterals"])
def test_equals_duckdb_after_every_step(views: list[str]) -> None:
    made = world(views)
    assert all("recomputed" not in rules(made.engine.explain(name)) for name in made.plans)
    random_steps(made, MAKERS, steps=7, seed=5, most=7, deletes=0.45)


def test_equals_duckdb_on_append_only_input() -> None:
    random_steps(
        world([*SCALARS[:3], *MATCHES[:4]], append_only=True), MAKERS, steps=5, seed=6, append_only=("t", "u")
    )


def test_a_scalar_of_several_rows_is_an_error_until_one_is_left() -> None:
    made = world(
        ["SELECT k, (SELECT name FROM u WHERE u.k = t.k) AS n FROM t", "SELECT (SELECT k FROM u) AS k"]
    )
    rng = random.Random(1)
    left: Row = thing(rng) | {"k": 1}
    one: Row = {"k": 1, "name": "p", "w": 1.0}
    two: Row = {"k": 1, "name": "q", "w": 1.0}
    made.step({"t": [(left, 1)], "u": [(one, 1)]})
    output = made.step({"u": [(two, 1)]})
    assert set(output.errors) == {"v0", "v1"}
    assert "More than one row" in output.errors["v0"]
    assert not made.step({"u": [(one, -1)]}).errors
    assert made.engine.snapshot("v0").to_pylist() == [{"k": 1, "n": "q"}]


def test_a_group_of_several_rows_that_nobody_asks_for_is_no_error() -> None:
    made = world(["SELECT k, (SELECT name FROM u WHERE u.k = t.k) AS n FROM t"])
    rows: list[Row] = [{"k": 9, "name": name, "w": 1.0} for name in "pq"]
    assert not made.step(
        {"u": [(row, 1) for row in rows], "t": [(thing(random.Random(2)) | {"k": 1}, 1)]}
    ).errors
