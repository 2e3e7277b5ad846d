"""SESSION under insertions, deletions, late rows, duplicates and NULLs, against DuckDB after every step.

Times lie on a grid about as wide as the gap, so that rows join sessions, part them, and meet them at exactly
the gap. A session that was joined from both ends at once, and one that lost its first and its last row in
one step, were wrong once.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest
from tests.engine.makers import OTHERS, THINGS, other, thing
from tests.engine.world import Row, World, random_steps, schema

from headrace.engine.hashing import truncated_hashes
from headrace.engine.operators.base import OperatorInfo

VISITS = schema(k="BIGINT", s="VARCHAR", ts="TIMESTAMP", x="INTEGER", d="DECIMAL(18,2)", f="DOUBLE")
START = datetime.fromisoformat("2024-01-01T00:00:00")
VIEWS = [
    "SELECT * FROM SESSION(t, ts, INTERVAL 10 SECOND, k)",
    "SELECT k, window_start, window_end, count(*) AS n FROM SESSION(t, ts, '10s', k) GROUP BY ALL",
    (
        "SELECT k, window_start, count(x) AS n, sum(x) AS s, sum(d) AS d, avg(x) AS a, avg(f) AS g, "
        "min(x) AS low, max(d) AS high FROM SESSION(t, ts, '7s', k) GROUP BY k, window_start"
    ),
    "SELECT window_start, window_end, count(*) AS n, max(ts) AS m FROM SESSION(t, ts, '3s') GROUP BY ALL",
    (
        "SELECT window_end, k, s, count(DISTINCT x) AS n, median(x) AS m "
        "FROM SESSION(t, ts, '5s', k, s) GROUP BY ALL"
    ),
    "SELECT window_start, count(*) AS n FROM SESSION(t, ts, '10s', k) GROUP BY ALL",
    (
        "SELECT k AS key, window_end AS until, sum(x * 2) AS s, min(ts) AS low, max(abs(x)) AS high "
        "FROM SESSION(t, ts, '6s', k) GROUP BY key, until"
    ),
    "SELECT k, window_start, sum(x + 1) AS s FROM SESSION(t, ts, '6s', k) GROUP BY ALL",
    "SELECT k, window_end, max(epoch(window_end) - x) AS s FROM SESSION(t, ts, '6s', k) GROUP BY ALL",
    "SELECT k, window_end, sum(x) FILTER (WHERE s = 'a') AS s FROM SESSION(t, ts, '4s', k) GROUP BY ALL",
]


def visit(rng: random.Random) -> Row:
    at = None if rng.random() < 0.05 else START + timedelta(seconds=rng.randrange(120))
    return {
        "k": rng.choice([None, 1, 2]),
        "s": rng.choice(["a", "b", None]),
        "ts": at,
        "x": rng.choice([None, -5, 0, 7, 100]),
        "d": thing(rng)["d"],
        "f": rng.choice([None, 0.25, 1.5, -2.0]),
    }


def world(append_only: bool = False) -> World:
    made = World({"t": VISITS}, append_only=("t",) if append_only else ())
    for number, sql in enumerate(VIEWS):
        made.add(f"v{number}", sql)
    return made


@pytest.mark.parametrize("append_only", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_equals_duckdb_after_every_step(append_only: bool, seed: int) -> None:
    kept = ("t",) if append_only else ()
    random_steps(world(append_only), {"t": visit}, steps=12, seed=seed, append_only=kept)


def test_many_small_steps_with_more_deletions_than_insertions() -> None:
    made = world()
    random_steps(made, {"t": visit}, steps=4, seed=3, most=30, deletes=0.1)
    random_steps(made, {"t": visit}, steps=25, seed=4, most=4, deletes=0.7)


def test_equals_duckdb_when_all_hashes_collide() -> None:
    with truncated_hashes(1):
        random_steps(world(), {"t": visit}, steps=6, seed=5)


def test_over_relations_of_every_type() -> None:
    made = World({"t": THINGS, "u": OTHERS})
    made.add("days", "SELECT k, window_start, window_end, d FROM SESSION(t, day, '2d', k)")
    made.add("text", "SELECT s, window_end, min(s) AS m FROM SESSION(t, ts, '50s', s) GROUP BY ALL")
    made.add("joined", "SELECT w.k, w.window_end, u.name FROM SESSION(t, ts, '1m', k) w JOIN u ON u.k = w.k")
    random_steps(made, {"t": thing, "u": other}, steps=8, seed=6)


def test_what_merges_and_what_reads_its_rows_again() -> None:
    made = world(append_only=True)
    rules = [_rules(made.engine.explain(f"v{number}")) for number in range(len(VIEWS))]
    merging = [number for number, found in enumerate(rules) if "merging sessions" in found]
    assert merging == [1, 2, 3, 6, 7, 9]
    assert [number for number, found in enumerate(rules) if "touched sessions" in found] == [0, 4, 5, 8]


def _rules(info: OperatorInfo) -> set[str]:
    return {info.rule}.union(*(_rules(below) for below in info.inputs))


def test_a_row_at_the_end_of_a_session_gives_out_two_rows() -> None:
    made = world(append_only=True)
    rows = [(_at(second), 1) for second in range(200)]
    made.step({"t": rows})
    output = made.step({"t": [(_at(201), 1)]})
    assert len(output.changes["v1"]) == 2


def _at(second: int) -> Row:
    return {"k": 1, "s": "a", "ts": START + timedelta(seconds=second), "x": 1, "d": None, "f": 1.0}
