"""HOP and TUMBLE: windows are half open and aligned to the epoch; NULL times are in none."""

from __future__ import annotations

import pytest
from tests.engine.makers import OTHERS, THINGS, other, thing
from tests.engine.world import World, random_steps

from headrace.engine.hashing import truncated_hashes

RELATIONS = {"t": THINGS, "u": OTHERS}
MAKERS = {"t": thing, "u": other}
STEPS = 8
VIEWS = [
    (
        "SELECT window_start, k, count(*) AS n "
        "FROM HOP(t, ts, INTERVAL 10 SECOND, INTERVAL 40 SECOND) GROUP BY ALL"
    ),
    "SELECT window_start, window_end, k FROM TUMBLE(t, ts, INTERVAL 1 MINUTE)",
    (
        "SELECT window_start, count(*) AS n, sum(x) AS s FROM TUMBLE(t, ts, INTERVAL 1 MINUTE) GROUP "
        "BY window_start"
    ),
    (
        "SELECT window_start, window_end, k, max(x) AS m FROM HOP(t, ts, INTERVAL 10 SECOND, "
        "INTERVAL 30 SECOND) GROUP BY ALL"
    ),
    "SELECT window_end, x FROM HOP(t, ts, INTERVAL 7 SECOND, INTERVAL 10 SECOND)",
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
