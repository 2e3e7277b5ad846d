"""Succession against the SQL that says what a history is, over versions that come in any order.

Days and sequences are few: versions go back in time, are wholly overridden, end with the same instant, and
deletions stand first, last and between.
"""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from tests.engine.world import CLOCK, Row, World, bag, schema

from headrace.change import Change
from headrace.engine.hashing import truncated_hashes
from headrace.sql.plan import Scan, Succession, ViewPlan

VERSIONS = schema(
    id="INTEGER", part="VARCHAR", plan="VARCHAR", _deleted="BOOLEAN", _order="BIGINT", _valid_from="TIMESTAMP"
)
SQL = """SELECT id, part, plan, _valid_from AS valid_from,
    CASE WHEN _valid_to < _valid_from THEN _valid_from ELSE _valid_to END AS valid_to
FROM (SELECT *, min(_valid_from) OVER (
    PARTITION BY id, part ORDER BY _order, _deleted ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
) AS _valid_to FROM t)
WHERE NOT _deleted"""


def world(*, known: bool = True) -> World:
    """Return a world with the SQL as it stands, the operator, and a view over the operator."""
    made = World({"t": VERSIONS}, append_only=["t"])
    plan = made.add("by_sql", SQL)
    scan = Scan(VERSIONS, "t", VERSIONS.names)
    root = Succession(plan.schema, scan, ("id", "part"), "_order", "_deleted", "_valid_from", is_strict=known)
    put(made, replace(plan, name="v", root=root))
    made.add("held", "SELECT plan, count(*) AS n, max(valid_to) AS last FROM v GROUP BY plan")
    return made


def put(made: World, plan: ViewPlan) -> None:
    made.engine.add_view(plan, made.history)
    made.plans[plan.name] = plan
    made.duckdb.execute(f'CREATE TEMP VIEW "{plan.name}" AS {plan.reference_sql}')
    made.sums[plan.name] = bag(made.engine.snapshot(plan.name))


def day(number: int) -> datetime:
    return datetime(2026, 1, 1) + timedelta(days=number)  # noqa: DTZ001 - a TIMESTAMP has no zone


def version(chance: random.Random, taken: set[object]) -> Row | None:
    place = (chance.randint(0, 3), chance.choice(["a", "b"]), chance.randint(0, 30))
    is_deleted = chance.random() < 0.2
    if (*place, is_deleted) in taken:
        return None
    taken.add((*place, is_deleted))
    plan = None if is_deleted else chance.choice(["basic", "pro"])
    names = VERSIONS.names
    values = (*place[:2], plan, is_deleted, place[2], day(chance.randint(0, 15)))
    return dict(zip(names, values, strict=True))


def steps(made: World, seed: int, count: int = 12) -> None:
    chance, taken = random.Random(seed), set[object]()
    for _ in range(count):
        drawn = [version(chance, taken) for _ in range(chance.choice([1, 2, 20]))]
        rows = [row for row in drawn if row is not None]
        if rows:
            made.step({"t": [(row, 1) for row in rows]})


@pytest.mark.parametrize("seed", range(4))
def test_equals_duckdb_after_every_step(seed: int) -> None:
    steps(world(), seed)


def test_equals_duckdb_when_all_hashes_collide() -> None:
    with truncated_hashes(1):
        steps(world(), 5)


def test_a_view_that_is_added_later_has_all_versions() -> None:
    made = world()
    steps(made, 6)
    plan = made.plans["v"]
    put(made, replace(plan, name="w"))
    made.check(made.engine.step({}, CLOCK, {}))


def test_versions_that_are_alike_in_all_they_show() -> None:
    made = world(known=False)
    plans = ["basic", "pro", "basic", "pro", "basic"]
    for order, plan in enumerate(plans):
        row = {"id": 1, "part": "a", "plan": plan, "_deleted": False, "_order": order, "_valid_from": day(1)}
        made.step({"t": [(row, 1)]})
    again = [
        {"id": 1, "part": "a", "plan": plan, "_deleted": False, "_order": 9 + order, "_valid_from": day(1)}
        for order, plan in enumerate(plans)
    ]
    made.step({"t": [(row, 1) for row in again]})


def test_only_what_is_shown_otherwise_moves() -> None:
    made = world()

    def moved(order: int, starts: int) -> list[tuple[int, int]]:
        row = {
            "id": 1, "part": "a", "plan": str(order), "_deleted": False, "_order": order,
            "_valid_from": day(starts),
        }  # fmt: skip
        change: Change = made.step({"t": [(row, 1)]}).changes["v"]
        return sorted(
            (int(found["plan"]), weight)
            for found, weight in zip(change.rows.to_pylist(), change.weights.tolist(), strict=True)
        )

    assert moved(1, 1) == [(1, 1)]
    assert moved(2, 9) == [(1, -1), (1, 1), (2, 1)]
    assert moved(5, 5) == [(1, -1), (1, 1), (2, -1), (2, 1), (5, 1)]
    assert moved(3, 3) == [(1, -1), (1, 1), (3, 1)], "between: 2 never holds, 5 stays"
    assert moved(6, 4) == [(3, -1), (3, 1), (5, -1), (5, 1), (6, 1)]
    assert moved(4, 4) == [(4, 1)], "in the shade of 6: the ends of 1 and 3 stay"
    assert made.explain_rule("v") == "chains"
