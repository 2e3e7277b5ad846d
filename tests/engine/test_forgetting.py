"""State stays flat over a long stream, and every view stays equal to DuckDB's answer over all of it.

Two streams move on in time with some disorder; a watermark follows each, at a lag of its own. Sweeps come
early here (`SWEEP_ROWS_MIN`), so that slots are given back and taken again many times. What the views keep
must not grow with the length of the stream: it is compared after the first third and at the end. DuckDB is
asked every fifth time: a row that is missing or too much once stays so, in the view or in the sum of changes.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from tests.engine.world import Row, World, schema

from headrace.engine import sweep
from headrace.engine.operators.base import OperatorInfo

EVENTS = schema(id="BIGINT", t="TIMESTAMP", v="INTEGER", s="VARCHAR", d="DECIMAL(10,2)", f="DOUBLE")
START = datetime(2024, 1, 1, tzinfo=UTC)
TUMBLED = "FROM TUMBLE(e, t, INTERVAL 10 SECOND) GROUP BY window_end"
VIEWS = {
    "sums": f"SELECT window_end, count(*) AS n, sum(v) AS v, avg(f) AS f, sum(f) AS g, sum(d) AS d {TUMBLED}",
    "sets": f"SELECT window_end, count(DISTINCT s) AS a, count(DISTINCT v) FILTER (v > 3) AS b {TUMBLED}",
    "ends": f"SELECT window_end, s, min(v) AS lo, max(t) AS hi, min(s) AS a, max(s) AS b {TUMBLED}, s",
    "touched": f"SELECT window_end, list(v ORDER BY v, id) AS l, mode(s) AS m {TUMBLED}",
    "quantiles": f"SELECT window_start, median(v) AS m, quantile_disc(f, 0.9) AS q {TUMBLED}, window_start",
    "hops": (
        "SELECT window_end, s, count(*) AS n FROM HOP(e, t, INTERVAL 5 SECOND, INTERVAL 20 SECOND) "
        "GROUP BY window_end, s"
    ),
    "grown": (
        "SELECT window_end, s, count(*) AS n FROM CUMULATE(e, t, INTERVAL 5 SECOND, INTERVAL 20 SECOND) "
        "GROUP BY window_end, s"
    ),
    "sessions": "SELECT s, window_end, count(*) AS n, sum(f) AS f FROM SESSION(e, t, '6s', s) GROUP BY ALL",
    "visits": "SELECT id, s, v, window_start, window_end FROM SESSION(e, t, '4s', s)",
    "visits_ended": "SELECT window_end, count(DISTINCT id) AS n FROM visits GROUP BY window_end",
    "moving": (
        "SELECT id, s, t, lag(v) OVER (PARTITION BY v ORDER BY t, id) AS before, "
        "avg(f) OVER (PARTITION BY v ORDER BY t "
        "RANGE BETWEEN INTERVAL 9 SECONDS PRECEDING AND CURRENT ROW) AS a FROM e"
    ),
    "moving_sets": (
        "SELECT id, t, count(DISTINCT s) OVER (PARTITION BY v ORDER BY t "
        "RANGE BETWEEN INTERVAL 9 SECONDS PRECEDING AND CURRENT ROW) AS n, "
        "last_value(f IGNORE NULLS) OVER (PARTITION BY v ORDER BY t) AS known FROM e"
    ),
    "running": (
        "SELECT id, v, sum(f) OVER (PARTITION BY v ORDER BY t) AS total, "
        "row_number() OVER (PARTITION BY v ORDER BY t, id) AS number, lead(id) OVER (ORDER BY t, id) AS next "
        "FROM e"
    ),
    "minutes": "SELECT date_trunc('minute', t) AS m, count(*) AS n FROM e GROUP BY 1",
    "seen": "SELECT DISTINCT time_bucket(INTERVAL '15 seconds', t) AS b, s FROM e",
    "best": (
        "SELECT window_end, s, v, id FROM TUMBLE(e, t, INTERVAL 10 SECOND) "
        "QUALIFY row_number() OVER (PARTITION BY window_end ORDER BY v DESC, id) <= 2"
    ),
    "ranked": (
        "SELECT window_end, s, v, id FROM TUMBLE(e, t, INTERVAL 10 SECOND) "
        "QUALIFY rank() OVER (PARTITION BY window_end ORDER BY v DESC) <= 2"
    ),
    "twice": "SELECT window_end, max(n) AS n FROM hops GROUP BY window_end",
    "same_time": "SELECT e.id, f.id AS other, e.t FROM e JOIN f ON e.t = f.t AND e.s = f.s",
    "near": (
        "SELECT e.id, f.id AS other FROM e JOIN f ON e.s = f.s "
        "AND e.t BETWEEN f.t - INTERVAL 5 SECOND AND f.t + INTERVAL 3 SECOND"
    ),
    "merged": "SELECT t, s FROM e UNION ALL SELECT t, s FROM f",
    "rolled": "SELECT date_trunc('minute', t) AS m, count(DISTINCT s) AS n FROM merged GROUP BY m",
    "windows_joined": (
        "SELECT a.window_end, a.n, b.n AS others "
        "FROM (SELECT window_end, count(*) AS n FROM TUMBLE(e, t, INTERVAL 10 SECOND) GROUP BY window_end) a "
        "JOIN (SELECT window_end, count(*) AS n FROM TUMBLE(f, t, INTERVAL 10 SECOND) GROUP BY window_end) b "
        "USING (window_end)"
    ),
}


def row(rng: random.Random, number: int, at: datetime) -> Row:
    """Return an event at about that time."""
    shifted = at + timedelta(seconds=rng.randrange(-4, 5))
    return {
        "id": number,
        "t": shifted.replace(tzinfo=None),
        "v": rng.choice([None, *range(8)]),
        "s": rng.choice([None, "", "a", f"user {number % 7}", f"long user name {number // 10}"]),
        "d": None,
        "f": rng.choice([None, 0.5, 1e10, float(number)]),
    }


def held(info: OperatorInfo) -> tuple[int, int]:
    """Return rows and bytes kept by an operator and all below it."""
    parts = [held(below) for below in info.inputs]
    return info.state_rows + sum(p[0] for p in parts), info.state_bytes + sum(p[1] for p in parts)


def run(world: World, rng: random.Random, first: int, last: int) -> dict[str, tuple[int, int]]:
    """Move on second by second; return the most that each view held."""
    most: dict[str, tuple[int, int]] = {}
    for second in range(first, last):
        now = START + timedelta(seconds=3 * second)
        number = 12 * second
        changes = {
            "e": [(row(rng, number + at, now), 1) for at in range(rng.randrange(7))],
            "f": [(row(rng, number + at, now - timedelta(seconds=6)), 1) for at in range(rng.randrange(5))],
        }
        marks = {"e": now - timedelta(seconds=2), "f": now - timedelta(seconds=8)}
        world.step({name: rows for name, rows in changes.items() if rows}, marks, look=second % 5 == 4)
        for name in world.plans:
            rows, size = held(world.engine.explain(name))
            before = most.get(name, (0, 0))
            most[name] = max(before[0], rows), max(before[1], size)
    return most


TOGETHER = [
    ["sums", "sets", "ends"],
    ["touched", "quantiles", "minutes"],
    ["hops", "twice", "seen", "best", "ranked"],
    ["same_time", "near", "windows_joined"],
    ["merged", "rolled"],
    ["grown", "sessions", "visits", "visits_ended"],
    ["moving", "moving_sets", "running"],
]


@pytest.mark.parametrize("names", TOGETHER, ids="-".join)
def test_state_stays_flat(names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "SWEEP_ROWS_MIN", 16)
    world = World({"e": EVENTS, "f": EVENTS}, append_only=("e", "f"), event_times={"e": "t", "f": "t"})
    for name in names:
        world.add(name, VIEWS[name])
    rng = random.Random(7)
    early = run(world, rng, 0, 25)
    late = run(world, rng, 25, 75)
    for name in names:
        assert late[name][0] <= 1.3 * early[name][0] + 16, name
        assert late[name][1] <= 1.3 * early[name][1] + 2_000, name


def test_groups_that_vanish_are_given_back_without_any_watermark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "SWEEP_ROWS_MIN", 16)
    columns = schema(k="BIGINT", s="VARCHAR")
    world = World({"a": columns, "b": columns})
    world.add(
        "groups", "SELECT k, s, count(*) AS n, count(DISTINCT s) AS m, max(s) AS b FROM a GROUP BY k, s"
    )
    world.add("keys", "SELECT DISTINCT k FROM a")
    world.add("firsts", "SELECT k, s FROM a QUALIFY row_number() OVER (PARTITION BY k ORDER BY s) = 1")
    world.add("pairs", "SELECT a.s, b.s AS other FROM a JOIN b USING (k)")
    most = dict.fromkeys(world.plans, 0)
    for turn in range(60):
        rows: list[Row] = [{"k": turn * 10 + at, "s": f"s{at}"} for at in range(10)]
        old: list[Row] = [{"k": (turn - 3) * 10 + at, "s": f"s{at}"} for at in range(10)] if turn > 2 else []
        pairs = [(one, 1) for one in rows] + [(one, -1) for one in old]
        world.step({"a": pairs, "b": pairs})
        if turn > 20:
            for name in world.plans:
                most[name] = max(most[name], held(world.engine.explain(name))[0])
    assert max(most.values()) < 600, most
