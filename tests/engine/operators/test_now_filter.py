"""Rows that come and go as the clock passes, against DuckDB with the clock reading in the place of now()."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta

import pytest
from tests.engine.world import CLOCK, Row, World, schema

from headrace.engine.operators.base import OperatorInfo
from headrace.errors import UnsupportedSql
from headrace.sql.planner import plan_view

EVENTS = schema(id="BIGINT", t="TIMESTAMP", z="TIMESTAMPTZ", day="DATE")
NAMES = schema(id="BIGINT", since="TIMESTAMP")
LAST = datetime.max.replace(tzinfo=UTC)
VIEWS = {
    "recent": "SELECT id, t FROM e WHERE t > now() - INTERVAL 1 MINUTE",
    "recent_too": "SELECT id, t FROM e WHERE t >= now() - INTERVAL 1 MINUTE",
    "old": "SELECT id, t FROM e WHERE t < current_timestamp - INTERVAL 2 MINUTE",
    "old_too": "SELECT id, z FROM e WHERE now() - INTERVAL 2 MINUTE >= z",
    "span": "SELECT id, t FROM e WHERE t BETWEEN now() - INTERVAL 3 MINUTE AND now() - INTERVAL 1 MINUTE",
    "age": "SELECT id FROM e WHERE now() - t < INTERVAL 90 SECOND AND id > 2",
    "hour": "SELECT id FROM e WHERE t >= date_trunc('hour', now() - INTERVAL 10 MINUTE)",
    "before_hour": "SELECT id FROM e WHERE t < date_trunc('hour', now())",
    "minute": "SELECT id FROM e WHERE date_trunc('minute', t) = date_trunc('minute', now())",
    "today": "SELECT id FROM e WHERE day = current_date",
    "since": "SELECT id FROM e WHERE day > today() - 1",
    "month": "SELECT id FROM e WHERE z > date_trunc('month', now())",
    "counted": "SELECT count(*) AS n, max(t) AS t FROM e WHERE t > now() - INTERVAL 1 MINUTE",
    "late_groups": "SELECT day, max(t) AS m FROM e GROUP BY day HAVING max(t) > now() - INTERVAL 1 MINUTE",
    "joined": "SELECT id, t FROM e JOIN n USING (id) WHERE t > now() - INTERVAL 1 MINUTE AND since <= now()",
    "both_sides": "SELECT e.id FROM e JOIN n USING (id) WHERE t + (t - since) > now()",
    "inside": "SELECT id FROM n WHERE id IN (SELECT id FROM e WHERE t > now() - INTERVAL 1 MINUTE)",
    "of_view": "SELECT t, count(*) AS n FROM recent GROUP BY t",
}


def event(rng: random.Random, now: datetime) -> Row:
    """Return a row with times near the clock, on its minutes and hours, and the last of all."""
    at = now + timedelta(seconds=rng.choice([-200, -120, -90, -61, -60, -59, 0, 30, 3600]))
    at = rng.choice([at, at.replace(second=0), at.replace(minute=0, second=0), at, LAST])
    plain = at.replace(tzinfo=None)
    return {
        "id": rng.randrange(6),
        "t": rng.choice([None, plain, plain, plain]),
        "z": rng.choice([None, plain.replace(tzinfo=UTC)]),
        "day": rng.choice([None, plain.date(), date(2024, 1, 1), date(2024, 1, 2)]),
    }


def name(rng: random.Random, now: datetime) -> Row:
    since = now + timedelta(seconds=rng.randrange(-90, 90))
    return {"id": rng.randrange(6), "since": since.replace(tzinfo=None)}


@pytest.mark.parametrize("seed", [1, 2])
def test_rows_come_and_go_with_the_clock(seed: int) -> None:
    world = World({"e": EVENTS, "n": NAMES})
    for view, sql in VIEWS.items():
        world.add(view, sql)
    rng = random.Random(seed)
    clock = CLOCK + timedelta(minutes=57, seconds=30)
    for _ in range(22):
        clock += timedelta(seconds=rng.choice([0, 1, 29, 30, 60, 60, 61, 7200, 80_000]))
        changes: dict[str, list[tuple[Row, int]]] = {}
        for relation, make in (("e", event), ("n", name)):
            held = list(world.rows[relation])
            pairs = [(make(rng, clock), rng.choice([1, 1, 2])) for _ in range(rng.randrange(4))]
            pairs += [(row, -1) for row in rng.sample(held, min(len(held), rng.randrange(3)))]
            if pairs and rng.random() < 0.6:
                changes[relation] = pairs
        world.step(changes, clock=clock)


def test_a_view_made_later_starts_at_the_clock_of_the_last_step() -> None:
    world = World({"e": EVENTS})
    rows: list[Row] = [
        {"id": at, "t": (CLOCK - timedelta(seconds=20 * at)).replace(tzinfo=None), "z": None, "day": None}
        for at in range(8)
    ]
    world.step({"e": [(row, 1) for row in rows]})
    world.add("recent", VIEWS["recent"])
    assert sorted(world.engine.snapshot("recent")["id"].to_pylist()) == [0, 1, 2]
    world.step({}, clock=CLOCK + timedelta(seconds=30))
    assert world.engine.due == CLOCK + timedelta(seconds=40)


def state_rows(info: OperatorInfo) -> int:
    return info.state_rows + sum(state_rows(below) for below in info.inputs)


def test_what_has_gone_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.engine.sweep.SWEEP_ROWS_MIN", 16)
    world = World({"e": EVENTS}, append_only=("e",))
    world.add("recent", "SELECT t, count(*) AS n FROM e WHERE t > now() - INTERVAL 1 MINUTE GROUP BY t")
    for second in range(0, 1200, 10):
        clock = CLOCK + timedelta(seconds=second)
        row: Row = {"id": second, "t": clock.replace(tzinfo=None), "z": None, "day": None}
        world.step({"e": [(row, 1)]}, clock=clock)
    assert state_rows(world.engine.explain("recent")) < 60
    world.step({}, clock=CLOCK + timedelta(days=1))
    assert world.engine.snapshot("recent").num_rows == 0
    assert world.engine.due is None


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT now() FROM e",
        "SELECT id FROM e WHERE t > now() OR id > 2",
        "SELECT id FROM e WHERE NOT (t > now())",
        "SELECT id FROM e WHERE t > now() - INTERVAL 1 MONTH",
        "SELECT id FROM e WHERE id > epoch(now())",
        "SELECT id FROM e WHERE t BETWEEN now() AND t + (now() - t)",
        "SELECT id FROM e WHERE t <> now()",
        "SELECT id FROM e GROUP BY id, current_date",
        "SELECT e.id FROM e LEFT JOIN n ON e.id = n.id AND since < now()",
        "SELECT id, age(t) AS a FROM e",
        "SELECT current_localtimestamp() AS a FROM e",
    ],
)
def test_elsewhere_the_clock_is_refused(sql: str) -> None:
    with pytest.raises(UnsupportedSql):
        plan_view("x", sql, {"e": EVENTS, "n": NAMES})
