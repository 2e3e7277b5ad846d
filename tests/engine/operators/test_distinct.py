"""Distinct, through every sign transition; −0.0 and 0.0, NaN and NaN, NULL and NULL are one row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from tests.engine.makers import OTHERS, THINGS, other, thing
from tests.engine.world import CLOCK, World, random_steps

from headrace.change import Change
from headrace.engine.hashing import truncated_hashes

RELATIONS = {"t": THINGS, "u": OTHERS}
MAKERS = {"t": thing, "u": other}
STEPS = 8
VIEWS = [
    "SELECT DISTINCT k, s FROM t",
    "SELECT DISTINCT f FROM t",
    "SELECT DISTINCT d, b, day FROM t",
    "SELECT k FROM t UNION SELECT k FROM u",
    "SELECT DISTINCT w FROM u",
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


@pytest.mark.parametrize(
    ("before", "change", "emitted"),
    [
        (0, [2], [1]), (2, [-1], []), (1, [-1], [-1]), (1, [1, -1], []), (0, [1, -1], []), (3, [-3], [-1]),
        (1, [-1, 1], []), (2, [-2, 1], []),
    ],
)  # fmt: skip
def test_sign_transitions(before: int, change: list[int], emitted: list[int]) -> None:
    made = World({"u": OTHERS})
    made.add("v", "SELECT DISTINCT k FROM u")
    row = {"k": 1, "name": "p", "w": 1.0}
    rows = pa.RecordBatch.from_pylist([row], schema=OTHERS.arrow)
    made.engine.step({"u": Change(rows, np.array([before]))}, CLOCK, {})
    moved = Change(pa.concat_batches([rows] * len(change)), np.array(change))
    output = made.engine.step({"u": moved}, CLOCK, {})
    assert [weight for one in output.changes.values() for weight in one.weights.tolist()] == emitted
