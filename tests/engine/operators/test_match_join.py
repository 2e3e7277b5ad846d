"""Outer, semi and anti joins: NULL keys, duplicates, self-joins, residuals, no equality at all."""

from __future__ import annotations

import pytest
from tests.engine.makers import OTHERS, THINGS, other, thing
from tests.engine.world import World, random_steps

from headrace.engine.hashing import truncated_hashes

RELATIONS = {"t": THINGS, "u": OTHERS}
MAKERS = {"t": thing, "u": other}
CONDITIONS = [
    "t.k = u.k",
    "t.k = u.k AND t.s = u.name",
    "t.k = u.k AND t.x > u.w",
    "t.k + 1 = u.k AND u.name > 'a'",
    "t.x < u.w",
    "t.s IS NOT DISTINCT FROM u.name",
    "t.f = u.w",
]
BOTH = "t.k, t.s, t.x, t.f, u.k AS uk, u.name, u.w"


def views(condition: str) -> list[str]:
    return [
        f"SELECT {BOTH} FROM t LEFT JOIN u ON {condition}",
        f"SELECT {BOTH} FROM t RIGHT JOIN u ON {condition}",
        f"SELECT {BOTH} FROM t FULL JOIN u ON {condition}",
        f"SELECT t.* FROM t SEMI JOIN u ON {condition}",
        f"SELECT t.* FROM t ANTI JOIN u ON {condition}",
    ]


def world(condition: str) -> World:
    made = World(RELATIONS)
    for number, sql in enumerate(views(condition)):
        made.add(f"v{number}", sql)
    return made


@pytest.mark.parametrize("condition", CONDITIONS)
def test_equals_duckdb_after_every_step(condition: str) -> None:
    random_steps(world(condition), MAKERS, steps=8, seed=1)


def test_equals_duckdb_when_all_hashes_collide() -> None:
    with truncated_hashes(1):
        random_steps(world(CONDITIONS[2]), MAKERS, steps=6, seed=2)
