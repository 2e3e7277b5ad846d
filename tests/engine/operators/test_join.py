"""Delta joins: two and more inputs, self-joins, NULL keys, several key columns, cross joins, residuals."""

from __future__ import annotations

import pytest
from tests.engine.makers import OTHERS, THINGS, other, thing
from tests.engine.world import World, random_steps

from headrace.engine.hashing import truncated_hashes

RELATIONS = {"t": THINGS, "u": OTHERS}
MAKERS = {"t": thing, "u": other}
STEPS = 6
VIEWS = [
    "SELECT t.k, s, name, w FROM t JOIN u ON t.k = u.k",
    "SELECT t.x, a.w, c.name FROM t JOIN u a ON t.k = a.k JOIN u c ON a.name = c.name WHERE t.x > c.w",
    "SELECT a.x, b.x AS y FROM t a, t b WHERE a.k = b.k AND a.s = b.s",
    "SELECT t.k, u.w FROM t, u WHERE u.w = t.f",
    "SELECT a.k, b.name FROM u a, u b WHERE a.w < b.w",
    (
        "SELECT t.x, a.name, b.w FROM t JOIN u a ON t.k = a.k AND t.s = a.name JOIN u b ON b.k = a.k "
        "AND b.k = t.k"
    ),
    "SELECT count(*) AS n, sum(x) AS s FROM t JOIN u USING (k)",
    # what is equal stands for each other in joined rows: a.k and b.k are only once c is looked up
    (
        "SELECT a.k AS i, b.k AS j, c.k AS l, a.s, b.name, c.name AS other FROM t a JOIN u b ON a.s = b.name "
        "JOIN u c ON c.k = a.k AND c.k = b.k"
    ),
    (
        "SELECT a.f, b.f AS g, a.s, b.s AS z, c.w FROM t a JOIN t b ON a.f = b.f AND a.s = b.s "
        "JOIN u c ON c.k = b.k"
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
