"""Joins over streams with watermarks keep only what can still meet something: state stays flat, and views
stay equal to DuckDB's answer over the whole of the streams.
"""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from tests.engine.test_forgetting import EVENTS, START, held, run
from tests.engine.world import World

from headrace.engine import sweep

NEAR = "e.s = f.s AND e.t BETWEEN f.t - INTERVAL 5 SECOND AND f.t + INTERVAL 3 SECOND"
VIEWS = {
    "left_near": f"SELECT e.id, f.id AS other FROM e LEFT JOIN f ON {NEAR}",
    "full_near": f"SELECT e.id, f.id AS other FROM e FULL JOIN f ON {NEAR} AND e.v > f.v",
    "semi_near": f"SELECT e.id FROM e SEMI JOIN f ON {NEAR}",
    "without": f"SELECT e.id FROM e ANTI JOIN f ON {NEAR}",
    "near_in_time": (
        "SELECT e.id, f.id AS other FROM e JOIN f ON f.t >= e.t - INTERVAL 2 SECOND AND f.t < e.t"
    ),
    "left_same": "SELECT e.id, f.id AS other FROM e LEFT JOIN f ON e.t = f.t AND e.s = f.s",
    "semi_same": "SELECT e.id FROM e SEMI JOIN f ON e.t = f.t AND e.s = f.s",
    "full_same": "SELECT e.id, f.id AS other FROM e FULL JOIN f ON e.t = f.t AND e.s = f.s AND e.v < f.v",
    "latest": "SELECT e.id, f.id AS other FROM e ASOF LEFT JOIN f ON e.v = f.v AND e.t >= f.t",
    "latest_of_all": "SELECT e.id, f.id AS other FROM e ASOF JOIN f ON e.t > f.t",
}
TOGETHER = [
    ["left_near", "full_near", "near_in_time"],
    ["semi_near", "without", "semi_same"],
    ["left_same", "full_same", "latest", "latest_of_all"],
]


@pytest.mark.parametrize("names", TOGETHER, ids="-".join)
def test_state_stays_flat(names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "SWEEP_ROWS_MIN", 16)
    world = World({"e": EVENTS, "f": EVENTS}, append_only=("e", "f"), event_times={"e": "t", "f": "t"})
    for name in names:
        world.add(name, VIEWS[name])
    rng = random.Random(11)
    early = run(world, rng, 0, 20)
    late = run(world, rng, 20, 55)
    for name in names:
        assert late[name][0] <= 1.4 * early[name][0] + 16, name
        note = world.engine.explain(name).inputs[0].can_free or world.engine.explain(name).can_free
        assert note is None or note.startswith("frees state by "), name


@pytest.mark.parametrize("op", [">=", ">"])
def test_a_left_row_at_the_very_watermark_finds_the_row_before_it(
    op: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "SWEEP_ROWS_MIN", 1)
    world = World({"e": EVENTS, "f": EVENTS}, append_only=("e", "f"), event_times={"e": "t", "f": "t"})
    world.add("v", f"SELECT e.id, f.id AS other FROM e ASOF LEFT JOIN f ON e.t {op} f.t")
    for second in range(6):
        now = START + timedelta(seconds=second)
        event = {"id": second, "t": now.replace(tzinfo=None), "v": 1, "s": None, "d": None, "f": None}
        marks = {"e": now, "f": now}
        world.step({"f": [(event, 1)]}, marks)
        world.step({"e": [(event, 1)]}, marks)


def test_keys_that_vanish_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "SWEEP_ROWS_MIN", 16)
    world = World({"e": EVENTS, "f": EVENTS})
    world.add("left_", "SELECT e.id, f.v FROM e LEFT JOIN f ON e.id = f.id")
    world.add("semi_", "SELECT e.id FROM e SEMI JOIN f ON e.id = f.id AND e.v <= f.v")
    world.add("asof_", "SELECT e.id, f.v FROM e ASOF LEFT JOIN f ON e.id = f.id AND e.v >= f.v")
    plain = {"t": None, "s": None, "d": None, "f": None}
    most = 0
    for turn in range(40):
        come = [({"id": 8 * turn + at, "v": at, **plain}, 1) for at in range(8)]
        go = [({"id": 8 * (turn - 2) + at, "v": at, **plain}, -1) for at in range(8)] if turn > 1 else []
        world.step({"e": [*come, *go], "f": [*come, *go]})
        if turn > 20:
            most = max(most, *(held(world.engine.explain(name))[0] for name in world.plans))
    assert most < 400
