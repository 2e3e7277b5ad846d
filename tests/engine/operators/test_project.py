"""Projections: kernels, DuckDB, plain columns side by side; failing rows are quarantined and heal."""

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
    "SELECT k + 1 AS a, upper(s) AS u, md5(s) AS h, x FROM t",
    "SELECT d * 2 AS a, d / 3 AS b, f * f AS c FROM t",
    "SELECT 1 AS one, 'x' AS x FROM t",
    "SELECT CAST(s AS INTEGER) AS i FROM t",
    "SELECT date_trunc('hour', ts) AS h, day, hour(ts) AS o FROM t",
    "SELECT x % k AS m FROM t WHERE k IS NOT NULL",
    "SELECT [x, 1] AS l, {'a': s} AS r FROM t",
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


def test_a_failing_row_puts_the_view_in_error_and_its_removal_heals_it() -> None:
    made = World({"t": THINGS})
    made.add("v", "SELECT k, CAST(s AS INTEGER) AS i FROM t")
    made.add("w", "SELECT i, count(*) AS n FROM v GROUP BY i")
    fine, bad = thing(random.Random(1)) | {"s": "12"}, thing(random.Random(2)) | {"s": "x"}
    made.step({"t": [(fine, 1)]})
    output = made.step({"t": [(bad, 1), (fine, 1)]})
    assert set(output.errors) == {"v", "w"}
    assert "x" in output.errors["v"]
    assert output.changes == {}
    assert made.engine.snapshot("w").to_pylist() == [{"i": 12, "n": 1}]
    made.step({"t": [(fine, 1)]})
    assert made.engine.view_error("w") is not None
    output = made.step({"t": [(bad, -1)]})
    assert output.errors == {}
    assert made.engine.snapshot("w").to_pylist() == [{"i": 12, "n": 3}]
