"""DuckDB's answer key by key against its answer to the whole: only touched keys are asked about, NULL keys
are a key, a key at fault fails alone and heals, keys without rows are given back.
"""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from tests.engine.makers import OTHERS, THINGS, other, thing
from tests.engine.world import Row, bag

import headrace as hr
from headrace.change import Change
from headrace.contracts.schema import Schema
from headrace.engine import sweep
from headrace.engine.duck import Duck
from headrace.engine.hashing import truncated_hashes
from headrace.engine.operators.base import StepContext
from headrace.engine.operators.touched import TouchedOperator
from headrace.sql.plan import Scan, Touched

PARTS = (Scan(THINGS, "t", THINGS.names), Scan(OTHERS, "u", OTHERS.names))
MAKERS = (thing, other)
Bag = Counter[tuple[str, ...]]


def node(sql: str, keys: tuple[str, ...]) -> Touched:
    output = Schema.of([THINGS["k"], THINGS["x"], OTHERS["name"]])
    return Touched(output, PARTS, (keys, keys), ("a", "b"), sql, "a test")


JOINED = (
    "SELECT a._key, a.k, sum(a.x) OVER (PARTITION BY a._key, a.s)::INTEGER, b.name FROM a "
    "JOIN b ON a._key = b._key"
)
WHOLE = (
    "SELECT a.k, sum(a.x) OVER (PARTITION BY a.k, a.s)::INTEGER AS x, b.name FROM a "
    "JOIN b ON a.k IS NOT DISTINCT FROM b.k"
)


class Run:
    """An operator, the rows of its parts and the sum of its output."""

    def __init__(self, made: Touched) -> None:
        self.duck = Duck()
        self.operator = TouchedOperator(made)
        self.rows: tuple[list[Row], list[Row]] = ([], [])
        self.sum: Bag = Counter()

    def step(self, pairs: tuple[list[tuple[Row, int]], list[tuple[Row, int]]]) -> Change:
        changes = []
        for part, mine, rows in zip(PARTS, pairs, self.rows, strict=True):
            for row, weight in mine:
                rows.append(row) if weight > 0 else rows.remove(row)
            batch = pa.RecordBatch.from_pylist([row for row, _ in mine], schema=part.schema.arrow)
            changes.append(Change(batch, np.array([weight for _, weight in mine], dtype=np.int64)))
        output = self.operator.run(changes, StepContext(self.duck))
        for row, weight in zip(output.rows.to_pylist(), output.weights.tolist(), strict=True):
            self.sum[next(iter(bag(pa.Table.from_pylist([row], schema=output.schema))))] += weight
        return output

    def whole(self, sql: str) -> Bag:
        tables = {
            name: pa.Table.from_pylist(rows, schema=part.schema.arrow)
            for name, part, rows in zip(("a", "b"), PARTS, self.rows, strict=True)
        }
        return bag(pa.Table.from_batches([self.duck.query(sql, tables, self.operator.schema)]))


def random_pairs(rng: random.Random, run: Run) -> tuple[list[tuple[Row, int]], list[tuple[Row, int]]]:
    found: list[list[tuple[Row, int]]] = []
    for make, rows in zip(MAKERS, run.rows, strict=True):
        held = list(rows)
        pairs: list[tuple[Row, int]] = []
        for _ in range(rng.randrange(5)):
            if held and rng.random() < 0.45:
                pairs.append((held.pop(rng.randrange(len(held))), -1))
            else:
                pairs.append((make(rng), 1))
        found.append(pairs)
    return found[0], found[1]


@pytest.mark.parametrize("bits", [64, 1])
@pytest.mark.parametrize("keys", [("k",), ()])
def test_equals_the_whole_after_every_step(keys: tuple[str, ...], bits: int) -> None:
    sql = JOINED if keys else WHOLE.replace("SELECT a.k", "SELECT 0, a.k")
    run, rng = Run(node(sql, keys)), random.Random(5)
    with truncated_hashes(bits):
        for _ in range(12):
            pairs = random_pairs(rng, run)
            if any(pairs):
                run.step(pairs)
            wanted = run.whole(WHOLE)
            assert {row: count for row, count in run.sum.items() if count} == dict(wanted)


def a_row(key: int | None, s: str, x: int = 1) -> Row:
    return {"k": key, "s": s, "x": x, "d": None, "f": None, "ts": None, "b": None, "day": None}


def b_row(key: int | None) -> Row:
    return {"k": key, "name": "n", "w": 0.0}


def test_only_touched_keys_are_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(node(JOINED, ("k",)))
    run.step(([(a_row(at, "1"), 1) for at in range(50)], [(b_row(at), 1) for at in range(50)]))
    asked: list[int] = []
    ask = Duck.query

    def query(duck: Duck, sql: str, tables: dict[str, pa.Table], output: Schema) -> pa.RecordBatch:
        asked.extend(table.num_rows for table in tables.values())
        return ask(duck, sql, tables, output)

    monkeypatch.setattr(Duck, "query", query)
    moved = run.step(([(a_row(7, "1", 4), 1)], []))
    assert asked == [2, 1]
    assert sorted(moved.weights.tolist()) == [-1, 2]


def test_a_key_at_fault_fails_alone_and_heals() -> None:
    run = Run(node("SELECT _key, k, CAST(s AS INTEGER), NULL FROM a", ("k",)))
    run.step(([(a_row(at, "1"), 1) for at in range(9)], []))
    run.step(([(a_row(3, "none"), 1), (a_row(4, "2"), 1)], []))
    assert run.operator.error is not None
    assert "none" in run.operator.error
    assert run.sum["4", "2", "None"] == 1
    run.step(([(a_row(5, "3"), 1)], []))
    assert run.operator.error is not None
    run.step(([(a_row(3, "none"), -1)], []))
    assert run.operator.error is None
    assert run.sum["3", "1", "None"] == 1


def test_keys_without_rows_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "SWEEP_ROWS_MIN", 16)
    run = Run(node(JOINED, ("k",)))
    most = 0
    for turn in range(30):
        come = [(turn * 5 + at, 1) for at in range(5)]
        go = [(key - 5, -1) for key, _ in come] if turn else []
        moves = come + go
        run.step(
            ([(a_row(key, "s"), weight) for key, weight in moves], [(b_row(key), w) for key, w in moves])
        )
        run.operator.forget([{}, {}])
        most = max(most, run.operator.state_rows)
    assert run.operator._keys.live <= 20
    assert most < 100
    assert {row: count for row, count in run.sum.items() if count} == dict(run.whole(WHOLE))


@pytest.mark.parametrize("kind", ["RIGHT", "FULL"])
def test_right_rows_may_come_before_any_left_row(kind: str) -> None:
    """With one thread DuckDB waits for ever in such a join, so the answer is written down here."""
    app = hr.App("near")
    app.table("l", "k TEXT, c INTEGER")
    app.table("r", "k TEXT, c INTEGER")
    app.view("v", f"SELECT l.k, r.k AS near FROM l ASOF {kind} JOIN r ON l.c = r.c AND l.k <= r.k")
    with app.open(None) as run:
        run.upsert("r", [{"k": "m", "c": 1}])
        run.advance()
        assert run.query("FROM v").to_pylist() == [{"k": None, "near": "m"}]
        run.upsert("l", [{"k": "a", "c": 1}])
        run.advance()
        assert run.query("FROM v").to_pylist() == [{"k": "a", "near": "m"}]
        run.delete("l", [{"k": "a", "c": 1}])
        run.advance()
        assert run.query("FROM v").to_pylist() == [{"k": None, "near": "m"}]
