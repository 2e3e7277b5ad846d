"""Whole recomputation: what has no rule is right all the same, and EXPLAIN says so."""

from __future__ import annotations

import pytest
from tests.engine.makers import OTHERS, THINGS, other, thing
from tests.engine.world import World, random_steps

from headrace.engine.hashing import truncated_hashes

RELATIONS = {"t": THINGS, "u": OTHERS}
MAKERS = {"t": thing, "u": other}
STEPS = 5
VIEWS = [
    "SELECT k, sum(x) OVER (PARTITION BY k ORDER BY ts, x) AS r FROM t",
    "SELECT t.k, u.name FROM t LEFT JOIN u ON t.k = u.k",
    "SELECT k, s FROM t EXCEPT SELECT k, name FROM u",
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
