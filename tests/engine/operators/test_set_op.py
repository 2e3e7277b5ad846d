"""INTERSECT and EXCEPT equal DuckDB after every step of random changes; every transition of the two weights.

Rows repeat on both sides; NULL, −0.0 and NaN count as equal to themselves, which plain `=` would miss.
"""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from tests.engine.makers import OTHERS, THINGS, other, thing
from tests.engine.world import CLOCK, World, random_steps, schema

from headrace.change import Change
from headrace.engine.hashing import truncated_hashes

RELATIONS = {"t": THINGS, "u": OTHERS}
MAKERS = {"t": thing, "u": other}
VIEWS = [
    "SELECT k FROM t INTERSECT SELECT k FROM u",
    "SELECT k FROM t INTERSECT ALL SELECT k FROM u",
    "SELECT k FROM t EXCEPT SELECT k FROM u",
    "SELECT k FROM t EXCEPT ALL SELECT k FROM u",
    "SELECT f FROM t INTERSECT SELECT w FROM u",
    "SELECT s, k FROM t EXCEPT ALL SELECT name, k FROM u",
    "SELECT x FROM t EXCEPT SELECT k FROM u EXCEPT SELECT k + 99 FROM u",
    "SELECT count(*) AS n FROM (SELECT k FROM t EXCEPT SELECT k FROM t INTERSECT ALL SELECT k FROM u)",
]


def world(append_only: bool = False) -> World:
    made = World(RELATIONS, append_only=("t", "u") if append_only else ())
    for number, sql in enumerate(VIEWS):
        made.add(f"v{number}", sql)
    return made


@pytest.mark.parametrize("append_only", [False, True])
def test_equals_duckdb_after_every_step(append_only: bool) -> None:
    random_steps(world(append_only), MAKERS, steps=8, seed=1, append_only=("t", "u") if append_only else ())


def test_equals_duckdb_when_all_hashes_collide() -> None:
    with truncated_hashes(1):
        random_steps(world(), MAKERS, steps=6, seed=2)


@pytest.mark.parametrize("sql", VIEWS[:4])
def test_every_transition_of_the_two_weights(sql: str) -> None:
    made = World({"t": OTHERS, "u": OTHERS})
    made.add("v", sql)
    counts = list(itertools.product(range(3), repeat=4))
    rows = [{"k": at or None, "name": "p", "w": 1.0} for at in range(len(counts))]
    first, second = {}, {}
    for at, name in enumerate("tu"):
        both = list(zip(rows, counts, strict=True))
        first[name] = [(row, count[at]) for row, count in both if count[at]]
        second[name] = [(row, count[2 + at] - count[at]) for row, count in both if count[at] != count[2 + at]]
    made.step(first)
    made.step(second)


def test_a_row_that_goes_and_comes_in_one_change_says_nothing() -> None:
    made = World({"t": OTHERS, "u": OTHERS})
    made.add("v", VIEWS[2])
    row = {"k": 1, "name": "p", "w": 1.0}
    made.step({"t": [(row, 1)]})
    rows = pa.RecordBatch.from_pylist([row, row], schema=OTHERS.arrow)
    output = made.engine.step({"t": Change(rows, np.array([1, -1]))}, CLOCK, {})
    assert not output.changes


def test_rows_that_are_gone_from_both_sides_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.engine.sweep.SWEEP_ROWS_MIN", 4)
    made = World({"t": OTHERS, "u": OTHERS})
    made.add("v", "SELECT k FROM t EXCEPT SELECT k FROM u")
    rows = [{"k": number, "name": "p", "w": 1.0} for number in range(40)]
    for row in rows:
        made.step({"t": [(row, 1)]})
        made.step({"t": [(row, -1)]})
    assert made.engine.explain("v").state_rows <= 8


def test_equal_intervals_go_as_they_came() -> None:
    spans = schema(i="INTERVAL")
    made = World({"t": spans, "u": spans})
    made.add("v", "SELECT i FROM t EXCEPT SELECT i FROM u")
    month, days = {"i": pa.MonthDayNano([1, 0, 0])}, {"i": pa.MonthDayNano([0, 30, 0])}
    made.step({"t": [(month, 1)]})
    made.step({"u": [(days, 1)]})
    assert made.engine.snapshot("v").num_rows == 0
