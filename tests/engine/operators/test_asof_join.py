"""ASOF joins against DuckDB: all four comparisons, inner and left, with and without equalities, USING, ties,
NULL keys and times, several right rows at one time, and right rows that come late or go again.
"""

from __future__ import annotations

import random

import pytest
from tests.engine.makers import TIMES
from tests.engine.world import Row, World, random_steps, schema

from headrace.engine.hashing import truncated_hashes
from headrace.sql import explain_plan

RELATIONS = {
    "a": schema(k="INTEGER", t="TIMESTAMP", x="INTEGER", d="DECIMAL(9,2)"),
    "b": schema(k="INTEGER", t="TIMESTAMP", y="INTEGER", d="DECIMAL(9,2)", s="VARCHAR"),
}


def left(rng: random.Random) -> Row:
    return {
        "k": rng.choice([None, 1, 1, 2, 3]),
        "t": rng.choice([None, *TIMES]),
        "x": rng.choice([1, 2, None]),
        "d": rng.randrange(5),
    }


def right(rng: random.Random) -> Row:
    return {
        "k": rng.choice([None, 1, 1, 2]),
        "t": rng.choice([None, *TIMES]),
        "y": rng.choice([1, 2, 2, None]),
        "d": rng.randrange(5),
        "s": rng.choice(["", "p", None]),
    }


MAKERS = {"a": left, "b": right}
COLUMNS = "a.k, a.t, a.x, b.k AS bk, b.t AS bt, b.y"
VIEWS = [
    *(
        f"SELECT {COLUMNS} FROM a ASOF {kind} JOIN b ON a.k = b.k AND a.t {op} b.t"
        for kind in ("", "LEFT")
        for op in (">=", ">", "<=", "<")
    ),
    f"SELECT {COLUMNS} FROM a ASOF LEFT JOIN b ON a.t >= b.t",
    f"SELECT {COLUMNS} FROM a ASOF JOIN b ON b.t > a.t - INTERVAL 1 MINUTE",
    "SELECT * FROM a ASOF JOIN b USING (k, t)",
    "SELECT * FROM a ASOF LEFT JOIN b USING (t)",
    f"SELECT {COLUMNS} FROM a ASOF LEFT JOIN b ON a.k = b.k AND a.d >= b.d AND a.x > 1",
    f"SELECT {COLUMNS} FROM a ASOF LEFT JOIN b ON a.k = b.k AND a.d >= b.d AND b.y > 1",
    f"SELECT {COLUMNS} FROM a ASOF JOIN b ON a.k = b.k AND a.d > b.d AND a.x > 1 AND b.s IS NOT NULL",
    "SELECT a.* FROM a ASOF SEMI JOIN b ON a.k = b.k AND a.t > b.t",
    "SELECT a.* FROM a ASOF ANTI JOIN b ON a.k = b.k AND a.t > b.t",
    f"SELECT {COLUMNS} FROM a ASOF LEFT JOIN b ON a.k = b.k AND a.t >= b.t WHERE b.y > 1",
    "SELECT count(*) AS n, sum(b.y) AS y FROM a ASOF LEFT JOIN b ON a.k = b.k AND a.t >= b.t",
]


@pytest.mark.parametrize("sql", VIEWS)
def test_equals_duckdb_after_every_step(sql: str) -> None:
    world = World(RELATIONS)
    plan = world.add("v", sql)
    assert "Recompute" not in explain_plan(plan)
    random_steps(world, MAKERS, steps=14, seed=3, most=8)


def test_equals_duckdb_when_all_hashes_collide() -> None:
    world = World(RELATIONS)
    world.add("v", VIEWS[4])
    with truncated_hashes(1):
        random_steps(world, MAKERS, steps=8, seed=4)


def test_equals_duckdb_on_append_only_input() -> None:
    world = World(RELATIONS, append_only=("a", "b"))
    for number, sql in enumerate(VIEWS[:8]):
        world.add(f"v{number}", sql)
    random_steps(world, MAKERS, steps=8, seed=5, append_only=("a", "b"))


def test_a_right_row_touches_the_left_rows_up_to_its_neighbour() -> None:
    world = World(RELATIONS)
    world.add("v", VIEWS[4])
    world.step({"b": [(_right(at), 1) for at in (0, 4)], "a": [(_left(at), 1) for at in range(9)]})
    moved = world.step({"b": [(_right(2), 1)]}).changes["v"]
    assert sorted(row["t"] for row in moved.rows.to_pylist()) == [TIMES[at] for at in (2, 2, 3, 3)]
    moved = world.step({"b": [(_right(2), -1), (_right(4), -1)]}).changes["v"]
    assert len(moved) == 2 * 7


def _left(at: int) -> Row:
    return {"k": 1, "t": TIMES[at], "x": at, "d": 0}


def _right(at: int) -> Row:
    return {"k": 1, "t": TIMES[at], "y": at, "d": 0, "s": ""}
