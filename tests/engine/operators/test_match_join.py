"""Outer, semi and anti joins: NULL keys, duplicates, self-joins, residuals, no equality at all."""

from __future__ import annotations

import pytest
from tests.engine.makers import OTHERS, THINGS, other, thing
from tests.engine.world import Row, World, random_steps

from headrace.engine import sides
from headrace.engine.hashing import truncated_hashes
from headrace.engine.operators import join
from headrace.sql import explain_plan

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


PUSHED = [
    "SELECT t.k, u.name FROM t LEFT JOIN u ON t.k = u.k AND u.w > 1 AND t.x > 0 WHERE t.s > 'a'",
    "SELECT t.k, u.name FROM t LEFT JOIN u ON t.k = u.k WHERE u.w > 1",
    "SELECT t.k, u.name FROM t RIGHT JOIN u ON t.k = u.k AND t.x > 0 WHERE u.name > 'a'",
    "SELECT t.k, u.name FROM t FULL JOIN u ON t.k = u.k WHERE t.x > 0",
    "SELECT t.k, u.name FROM t FULL JOIN u ON t.k = u.k WHERE u.w > 0",
    "SELECT t.k, u.name FROM t FULL JOIN u ON t.k = u.k WHERE u.w > t.x",
    "SELECT k, name FROM t FULL JOIN u USING (k) WHERE k > 1",
    "SELECT t.k FROM t SEMI JOIN u ON t.k = u.k AND t.x > 0 AND u.w > 1 WHERE t.s > 'a'",
    "SELECT t.k FROM t ANTI JOIN u ON t.k = u.k AND t.x > 0 AND u.w > 1 WHERE t.s > 'a'",
    "SELECT t.k, u.name FROM t LEFT JOIN u ON u.w > 1",
    "SELECT t.k, u.name FROM t LEFT JOIN u ON true",
    "SELECT t.k, u.name FROM t FULL JOIN u ON false",
    "SELECT t.k FROM t SEMI JOIN u ON t.x > 0",
    "SELECT a.k, b.x, c.name FROM t a LEFT JOIN t b ON a.k = b.k AND a.x < b.x LEFT JOIN u c ON b.k = c.k",
    "SELECT a.k, b.x, c.name FROM t a LEFT JOIN t b ON a.s = b.s JOIN u c ON b.k = c.k AND c.w > 0",
    "SELECT count(*) AS n, count(name) AS m FROM t LEFT JOIN u USING (k)",
    (
        "SELECT a.k, b.w FROM (SELECT DISTINCT k FROM t) a "
        "FULL JOIN (SELECT k, sum(w) AS w FROM u GROUP BY k) b USING (k)"
    ),
]


def test_filters_near_outer_joins_equal_duckdb() -> None:
    made = World(RELATIONS)
    for number, sql in enumerate(PUSHED):
        text = explain_plan(made.add(f"v{number}", sql))
        assert "Recompute" not in text
        assert "where TRUE" not in text
    random_steps(made, MAKERS, steps=7, seed=6)


def _rows(name: str, keys: list[int]) -> list[tuple[Row, int]]:
    """Return rows of one relation under a key, negative for retractions."""
    plain: dict[str, Row] = {
        "t": {"s": None, "x": 1, "d": None, "f": None, "ts": None, "b": None, "day": None},
        "u": {"name": "p", "w": 0.0},
    }
    return [({"k": abs(key), **plain[name]}, 1 if key > 0 else -1) for key in keys]


TRANSITIONS = [
    # left before, right before, left change, right change
    ([1], [], [], [1]),
    ([1], [1], [], [-1]),
    ([1], [1, 1], [], [-1]),
    ([1], [1], [], [1]),
    ([1], [1], [], [1, -1]),
    ([1], [], [-1], [1]),
    ([1], [1], [-1], [-1]),
    ([], [], [1], [1]),
    ([], [1], [1, 1], []),
    ([1, 1], [1], [-1], []),
    ([1, 1], [1, 1], [-1, -1], [-1, -1]),
    ([1], [2], [2, -1], [1, -2]),
]


@pytest.mark.parametrize("residual", ["", " AND t.x > u.w"])
@pytest.mark.parametrize(("left", "right", "left_change", "right_change"), TRANSITIONS)
def test_every_transition(
    left: list[int], right: list[int], left_change: list[int], right_change: list[int], residual: str
) -> None:
    made = world(f"t.k = u.k{residual}")
    made.step({"t": _rows("t", left), "u": _rows("u", right)})
    made.step({"t": _rows("t", left_change), "u": _rows("u", right_change)})


def test_a_change_costs_its_key_alone() -> None:
    made = World(RELATIONS)
    made.add("v", "SELECT t.k, u.name FROM t LEFT JOIN u ON t.k = u.k AND t.x > u.w")
    made.step({"t": _rows("t", list(range(1, 300))), "u": _rows("u", list(range(100, 200)))})
    moved = made.step({"u": _rows("u", [7, -150])}).changes["v"]
    assert sorted(moved.weights.tolist()) == [-1, -1, 1, 1]


def test_a_pair_that_fails_puts_the_view_in_error_until_it_goes() -> None:
    made = World(RELATIONS)
    made.add("v", "SELECT t.k, u.name FROM t LEFT JOIN u ON t.k = u.k AND t.x > CAST(u.name AS INTEGER)")
    bad = {"k": 1, "name": "no number", "w": 1.0}
    good = {"k": 1, "name": "0", "w": 1.0}
    made.step({"t": _rows("t", [1, 1, 2])})
    assert "v" in made.step({"u": [(bad, 1), (good, 1)]}).errors
    assert "v" in made.step({"t": _rows("t", [-1])}).errors
    assert not made.step({"u": [(bad, -1)]}).errors


@pytest.mark.parametrize("condition", [CONDITIONS[2], CONDITIONS[4], "t.s < u.name"])
def test_equals_duckdb_when_pairs_are_asked_in_small_blocks(
    condition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sides, "PAIRS_MAX", 3)
    monkeypatch.setattr(join, "PAIRS_MAX", 3)
    made = world(condition)
    made.add("inner_", f"SELECT {BOTH} FROM t JOIN u ON {condition}")
    random_steps(made, MAKERS, steps=5, seed=9)
