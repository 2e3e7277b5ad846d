"""GROUPING SETS, ROLLUP, CUBE: a group for each set, equal to DuckDB after every step, also over nothing.

Random deletions empty single groups and now and then the whole input, where only `()` keeps its one row.
"""

from __future__ import annotations

import random

from tests.engine.makers import THINGS, thing
from tests.engine.world import Row, World, random_steps

VIEWS = [
    "SELECT k, s, grouping(k, s) AS g, count(*) AS n, sum(d) AS d FROM t GROUP BY ROLLUP (k, s)",
    "SELECT k, b, max(x) AS m FROM t GROUP BY CUBE (k, b) HAVING count(*) > 1",
    "SELECT k, count(DISTINCT s) AS n FROM t GROUP BY GROUPING SETS ((k), (), (k))",
    "SELECT count(*) AS n FROM t GROUP BY ()",
    """SELECT x + 1 AS y, avg(x) AS a FROM t WHERE k > 1 GROUP BY GROUPING SETS ((y), ())
    QUALIFY row_number() OVER (ORDER BY grouping(y) DESC, y) < 3""",
]


def world() -> World:
    made = World({"t": THINGS})
    for number, sql in enumerate(VIEWS):
        made.add(f"v{number}", sql)
    return made


def test_equals_duckdb_after_every_step() -> None:
    random_steps(world(), {"t": thing}, steps=10, seed=3, most=6, deletes=0.55)


def test_equals_duckdb_down_to_nothing() -> None:
    made = world()
    rng = random.Random(4)
    rows: list[Row] = [thing(rng) for _ in range(5)]
    made.step({"t": [(row, 1) for row in rows]})
    for row in rows:
        made.step({"t": [(row, -1)]})
    assert made.engine.snapshot("v3").to_pylist() == [{"n": 0}]
    assert made.engine.snapshot("v0").to_pylist() == [{"k": None, "s": None, "g": 3, "n": 0, "d": None}]


def test_no_set_is_recomputed() -> None:
    made = world()
    for name in made.plans:
        assert "recomputed" not in str(made.engine.explain(name))
