"""Top-N under insertions and deletions: LIMIT, OFFSET, ROW_NUMBER, RANK, DENSE_RANK, NULLs, NaN, ties."""

from __future__ import annotations

import random

import pytest
from tests.engine.makers import OTHERS, THINGS, other, thing
from tests.engine.world import World, random_steps

from headrace.engine.hashing import truncated_hashes

RELATIONS = {"t": THINGS, "u": OTHERS}
MAKERS = {"t": thing, "u": other}
STEPS = 8
VIEWS = [
    "SELECT k, x, s FROM t ORDER BY x DESC, s LIMIT 3",
    "SELECT x FROM t ORDER BY x NULLS FIRST LIMIT 2 OFFSET 1",
    "SELECT f, s FROM t ORDER BY f DESC LIMIT 3",
    "SELECT s, d FROM t ORDER BY s, d DESC LIMIT 4",
    (
        "SELECT * FROM (SELECT k, x, s, row_number() OVER (PARTITION BY k ORDER BY x DESC, s) AS r "
        "FROM t) WHERE r <= 2"
    ),
    "SELECT k, x, rank() OVER (PARTITION BY k ORDER BY x) AS r FROM t QUALIFY r <= 2",
    "SELECT k, x, dense_rank() OVER (PARTITION BY k ORDER BY x DESC) AS r FROM t QUALIFY r <= 2",
    "SELECT ts, x FROM t ORDER BY ts DESC LIMIT 1",
    "SELECT k, d FROM t ORDER BY d LIMIT 0",
    "SELECT k, s FROM t ORDER BY s OFFSET 2",
    (
        "SELECT s, d, row_number() OVER (PARTITION BY s, b ORDER BY d DESC NULLS FIRST) AS r FROM t "
        "QUALIFY r = 1"
    ),
    "SELECT k, x FROM t QUALIFY row_number() OVER (PARTITION BY k ORDER BY x DESC) <= 3",
    "SELECT k, x, s, f, d FROM t QUALIFY row_number() OVER (PARTITION BY s ORDER BY x) <= 4",
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


def test_rows_that_only_move_are_no_change_and_equal_rows_do_not_take_turns() -> None:
    """Without a rank to be seen: what comes is one row, and what drops out another."""
    made = World({"o": OTHERS}, append_only=("o",))
    made.add("best", "SELECT k, w FROM o QUALIFY row_number() OVER (PARTITION BY k ORDER BY w DESC) <= 3")

    def changed(*values: float) -> list[tuple[float, int]]:
        output = made.step({"o": [({"k": 1, "name": "p", "w": value}, 1) for value in values]})
        change = output.changes.get("best")
        if change is None:
            return []
        return sorted(zip(change.rows.column("w").to_pylist(), change.weights.tolist(), strict=True))

    assert changed(1.0, 2.0, 3.0) == [(1.0, 1), (2.0, 1), (3.0, 1)]
    assert changed(4.0) == [(1.0, -1), (4.0, 1)]
    assert changed(2.0) == []
    assert changed(0.5, 4.0, 0.5) == [(2.0, -1), (4.0, 1)]
    assert changed(9.0, 8.0, 7.0) == [(3.0, -1), (4.0, -1), (4.0, -1), (7.0, 1), (8.0, 1), (9.0, 1)]


def test_seats_are_given_again_over_a_long_life() -> None:
    rng = random.Random(3)
    made = World({"o": OTHERS}, append_only=("o",))
    made.add("best", "SELECT k, w FROM o QUALIFY row_number() OVER (PARTITION BY k ORDER BY w DESC) <= 4")
    for _ in range(60):
        rows = [{"k": rng.randrange(5), "name": "p", "w": float(rng.randrange(30))} for _ in range(7)]
        made.step({"o": [(row, 1) for row in rows]})
