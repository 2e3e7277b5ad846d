"""Filters: three-valued logic, and rows whose predicate fails in DuckDB."""

from __future__ import annotations

import pytest
from tests.engine.makers import OTHERS, THINGS, other, thing
from tests.engine.world import World, random_steps

from headrace.engine.hashing import truncated_hashes

RELATIONS = {"t": THINGS, "u": OTHERS}
MAKERS = {"t": thing, "u": other}
STEPS = 8
VIEWS = [
    "SELECT * FROM t WHERE x > 0",
    "SELECT k FROM t WHERE NOT b OR x IS NULL",
    "SELECT s FROM t WHERE s LIKE 'long%' AND d > 1",
    "SELECT k, f FROM t WHERE f >= 0",
    "SELECT k FROM t WHERE regexp_matches(s, 'x')",
    "SELECT k FROM t WHERE x // k > 0",
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
