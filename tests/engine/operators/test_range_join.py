"""Joins by a range against DuckDB: one end and two, open and closed, with and without equalities, all kinds;
rows whose ends are turned round, NULL ends, equal ends, intervals of very different lengths.
"""

from __future__ import annotations

import random

import pytest
from tests.engine.makers import TIMES
from tests.engine.world import Row, World, random_steps, schema

from headrace.engine.hashing import truncated_hashes
from headrace.sql import explain_plan

RELATIONS = {
    "a": schema(k="INTEGER", t="TIMESTAMP", x="INTEGER", f="DOUBLE", low="BIGINT", high="BIGINT"),
    "b": schema(k="INTEGER", t="TIMESTAMP", y="SMALLINT", d="DECIMAL(9,2)", g="DOUBLE"),
}
NUMBERS = [None, -(2**63), -7, -1, 0, 0, 1, 2, 5, 1000, 2**62, 2**63 - 1]
FLOATS = [None, float("nan"), float("-inf"), float("inf"), -0.0, 0.0, 1.5, -2.0, 1e300]


def left(rng: random.Random) -> Row:
    return {
        "k": rng.choice([None, 1, 2]), "t": rng.choice([None, *TIMES]), "x": rng.choice([1, 2, 5, None]),
        "f": rng.choice(FLOATS), "low": rng.choice(NUMBERS), "high": rng.choice(NUMBERS),
    }  # fmt: skip


def right(rng: random.Random) -> Row:
    return {
        "k": rng.choice([None, 1, 2]), "t": rng.choice([None, *TIMES]), "y": rng.choice([-1, 0, 2, 5, None]),
        "d": rng.randrange(5), "g": rng.choice(FLOATS),
    }  # fmt: skip


MAKERS = {"a": left, "b": right}
CONDITIONS = [
    "a.x < b.y",
    "a.x >= b.y",
    "b.y BETWEEN a.low AND a.high",
    "b.y > a.low AND b.y < a.high",
    "a.low <= b.y AND b.y < a.high AND a.k = b.k",
    "a.k = b.k AND b.t BETWEEN a.t - INTERVAL 20 SECOND AND a.t + INTERVAL 1 MINUTE",
    "b.t > a.t - INTERVAL 20 SECOND AND b.t < a.t AND a.x > b.y",
    "a.t BETWEEN b.t AND b.t + INTERVAL 7 MINUTE AND b.d > 1",
    "a.f < b.g",
    "a.f BETWEEN b.g AND b.d",
    "a.x <= b.d",
]
BOTH = "a.k, a.x, a.f, a.t, a.low, b.k AS bk, b.t AS bt, b.y, b.g, b.d"


def world(condition: str) -> World:
    made = World(RELATIONS)
    for number, kind in enumerate(("", "LEFT", "RIGHT", "FULL")):
        plan = made.add(f"v{number}", f"SELECT {BOTH} FROM a {kind} JOIN b ON {condition}")
        text = explain_plan(plan)
        assert "Recompute" not in text
        assert "BETWEEN" not in text or "a.k" in condition
    for number, kind in enumerate(("SEMI", "ANTI")):
        made.add(f"w{number}", f"SELECT a.* FROM a {kind} JOIN b ON {condition}")
    return made


@pytest.mark.parametrize("condition", CONDITIONS)
def test_equals_duckdb_after_every_step(condition: str) -> None:
    random_steps(world(condition), MAKERS, steps=8, seed=7, most=10)


THREE = [
    "SELECT x.k, y.x, b.y FROM a x JOIN a y ON x.k = y.k JOIN b ON b.t BETWEEN x.t AND y.t",
    "SELECT x.k, y.x, b.y FROM a x JOIN a y ON x.k = y.k AND x.x < y.x JOIN b ON b.y < y.x AND b.d > 1",
    "SELECT a.k, b.y, c.y AS z FROM b, a, b c WHERE a.k = c.k AND b.y BETWEEN a.low AND a.high AND c.d < 3",
]


@pytest.mark.parametrize("sql", THREE)
def test_an_input_held_by_a_range_alone_is_joined_last(sql: str) -> None:
    made = World(RELATIONS)
    assert "MatchJoin: inner " in explain_plan(made.add("v", sql))
    random_steps(made, MAKERS, steps=6, seed=5)


def test_equals_duckdb_when_all_hashes_collide() -> None:
    with truncated_hashes(1):
        random_steps(world(CONDITIONS[5]), MAKERS, steps=5, seed=8)


def test_a_change_looks_only_at_its_range() -> None:
    made = World(RELATIONS)
    plan = made.add("v", "SELECT a.low, b.y FROM a JOIN b ON b.y BETWEEN a.low AND a.high")
    assert "MatchJoin: inner low <= " in explain_plan(plan)
    rows = [({"k": 1, "t": None, "x": 1, "f": None, "low": at, "high": at + 2}, 1) for at in range(200)]
    made.step({"a": rows})
    moved = made.step({"b": [({"k": 1, "t": None, "y": 50, "d": 0, "g": None}, 1)]}).changes["v"]
    assert sorted(row["low"] for row in moved.rows.to_pylist()) == [48, 49, 50]
