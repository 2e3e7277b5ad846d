"""State beyond a bound lies in files: results are the same, and what is in memory stays below the bound.

The shapes are those whose state is kept in different ways: chunks of rows and the index of a join, runs and
the rows of a top-N that takes rows back, accumulators and keys of an aggregate, the content of the views.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.engine.door import Door

import headrace as hr
from headrace.change import Change
from headrace.contracts.schema import Column, Schema
from headrace.engine.engine import Engine
from headrace.engine.growable import Growable
from headrace.engine.heap import Heap
from headrace.engine.memory import Memory
from headrace.sql.planner import plan_view
from headrace.testing import difference

SALES = Schema.of(
    [
        Column("k", "BIGINT", pa.int64()),
        Column("v", "BIGINT", pa.int64()),
        Column("note", "VARCHAR", pa.string()),
    ]
)
NAMES = Schema.of([Column("k", "BIGINT", pa.int64()), Column("name", "VARCHAR", pa.string())])
VIEWS = {
    "totals": "SELECT k, count(*) AS n, sum(v) AS s FROM sales GROUP BY k",
    "named": "SELECT sales.k, v, note, name FROM sales JOIN names ON sales.k = names.k",
    "best": "SELECT *, row_number() OVER (PARTITION BY k ORDER BY v DESC) AS r FROM sales QUALIFY r <= 2",
}
LIMIT_BYTES = 1_300_000
CLOCK = datetime(2026, 1, 1, tzinfo=UTC)


def built(memory: Memory | None) -> Engine:
    engine = Engine(memory=memory)
    engine.add_relation("sales", SALES)
    engine.add_relation("names", NAMES)
    for name, sql in VIEWS.items():
        engine.add_view(plan_view(name, sql, {"sales": SALES, "names": NAMES}), lambda _: iter(()))
    return engine


def test_a_row_that_goes_while_its_chunk_is_put_aside_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Engines beside the running one, and readers, work in other threads than its steps."""
    memory = Memory(0, tmp_path)
    with memory.watching():
        heap = Heap(SALES.arrow)
        rows = [{"k": at, "v": at, "note": "x" * 40} for at in range(1_000)]
        heap.append(pa.RecordBatch.from_pylist(rows, SALES.arrow), np.ones(1_000, dtype=np.int64))
    door = Door()
    monkeypatch.setattr(memory, "still", door)
    copied, go_on = Event(), Event()

    def array(values: np.ndarray[Any, Any], **_: bool) -> np.ndarray[Any, Any]:
        copy = values.copy()
        copied.set()
        assert go_on.wait(60)
        return copy

    def lower() -> None:
        heap.lower(np.array([7]), np.array([1]))
        door.asked.put("done")

    monkeypatch.setattr(memory, "array", array)
    settling, lowering = Thread(target=memory.settle), Thread(target=lower, name="lowering")
    settling.start()
    assert copied.wait(60)
    lowering.start()
    door.wait_for("lowering", "done")
    go_on.set()
    settling.join(60)
    lowering.join(60)
    assert heap.chunks[0].resident_bytes < 16_384
    assert heap.chunks[0].weights[7] == 0
    assert heap.chunks[0].weights.sum() == 999


def changes() -> Iterator[dict[str, Change]]:
    """Yield rows that come, and a third of them that go again a few steps later."""
    random = np.random.default_rng(5)
    sent: list[pa.RecordBatch] = []
    for step in range(12):
        keys = random.integers(0, 20_000, 6_000)
        rows = pa.record_batch(
            [
                pa.array(keys),
                pa.array(random.integers(0, 10**9, 6_000)),
                pa.array([f"note {k % 977}" for k in keys]),
            ],
            schema=SALES.arrow,
        )
        sent.append(rows)
        parts = [Change.inserts(rows)]
        if step >= 3:
            parts.append(Change.inserts(sent[step - 3].slice(0, 2_000)).negated())
        found = {"sales": Change.concat(parts)}
        if step % 4 == 0:
            names = [
                pa.array(np.arange(step * 1_500, step * 1_500 + 6_000)),
                pa.array([f"n{i}" for i in range(6_000)]),
            ]
            found["names"] = Change.inserts(pa.record_batch(names, schema=NAMES.arrow))
        yield found


def test_results_are_equal_and_memory_stays_below_the_bound(tmp_path: Path) -> None:
    free, bound = built(None), built(Memory(LIMIT_BYTES, tmp_path))
    for number, change in enumerate(changes()):
        free.step(change, CLOCK, {})
        assert not bound.step(change, CLOCK, {}).errors
        # views that step side by side may each take room that was there for one of them
        assert bound.memory.resident_bytes <= 1.2 * LIMIT_BYTES
        for name in VIEWS if number in (4, 11) else ():
            assert difference(free.snapshot(name), bound.snapshot(name)) is None
    assert sum(bound.explain(name).state_bytes for name in VIEWS) > 5 * LIMIT_BYTES
    assert not list(tmp_path.iterdir()), "files have no names"


def test_what_a_reader_holds_does_not_change_when_it_is_put_aside(tmp_path: Path) -> None:
    engine = built(Memory(1, tmp_path))
    steps = changes()
    engine.step(next(steps), CLOCK, {})
    held = engine.store("best").freeze()
    before = held.table().to_pylist()
    for change in steps:
        engine.step(change, CLOCK, {})
    assert held.table().to_pylist() == before


def test_an_app_takes_the_bound(tmp_path: Path) -> None:
    app = hr.App("shop")
    app.stream("sales", "k BIGINT, v BIGINT")
    app.view("totals", VIEWS["totals"])
    with app.open(tmp_path, state_bytes_max=200_000) as run:
        for first in range(0, 60_000, 10_000):
            keys = pa.array(np.arange(first, first + 10_000))
            run.append("sales", pa.table({"k": keys, "v": keys}))
            run.advance()
        assert run.query("SELECT count(*) AS n, sum(s) AS s FROM totals").to_pylist() == [
            {"n": 60_000, "s": 60_000 * 59_999 // 2}
        ]
        run.checkpoint()
    with app.open(tmp_path, state_bytes_max=200_000) as run:
        assert run._engine.memory.resident_bytes <= 200_000
        assert run.query("SELECT count(*) AS n FROM totals").to_pylist() == [{"n": 60_000}]


@pytest.mark.parametrize("limit_bytes", [None, 1, 3_000_000])
def test_large_columns_grow_with_their_values(tmp_path: Path, limit_bytes: int | None) -> None:
    with Memory(limit_bytes, tmp_path).watching():
        column = Growable(np.int64)
        for first in range(0, 1_000_000, 50_000):
            column.extend(np.arange(first, first + 50_000))
            older = column.view()[:3]
            assert (column.view() == np.arange(first + 50_000)).all()
            assert not column.data[column.size :].any()
    assert older.tolist() == [0, 1, 2]


def test_short_columns_are_counted_though_they_stay_in_memory(tmp_path: Path) -> None:
    memory = Memory(100, tmp_path)
    with memory.watching():
        columns = [Growable(np.int64) for _ in range(20)]
        for column in columns:
            column.extend(np.arange(5_000))
    assert memory.resident_bytes == 20 * 40_000
    columns.clear()
    del column
    assert memory.resident_bytes == 0


def test_what_readers_are_given_is_counted_and_makes_way(tmp_path: Path) -> None:
    engine = built(Memory(100_000_000, tmp_path))
    for change in changes():
        engine.step(change, CLOCK, {})
    before = engine.memory.resident_bytes
    once = engine.store("named").freeze().table(keep=False)
    assert engine.memory.resident_bytes == before
    kept = engine.store("named").freeze().table()
    assert kept.equals(once)
    assert engine.memory.resident_bytes > before
    engine.memory.limit_bytes = 1
    engine.memory.settle()
    assert engine.memory.resident_bytes < before
    assert engine.store("named").freeze().table().equals(once)


def test_nobody_writes_to_what_lies_in_a_file_unless_it_changes(tmp_path: Path) -> None:
    memory = Memory(1, tmp_path)
    kept, weights = memory.array(np.arange(9)), memory.array(np.arange(9), changes=True)
    weights[0] = 5
    assert weights[0] == 5
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 5


class Counted:
    """A part whose bytes are asked for."""

    used = 0

    def __init__(self, resident_bytes: int) -> None:
        self.size = resident_bytes
        self.asked = 0

    @property
    def resident_bytes(self) -> int:
        self.asked += 1
        return self.size

    def put_aside(self, _: Memory) -> None:
        self.size = 0

    def parts(self) -> Iterator[Counted]:
        yield self


@pytest.mark.parametrize(
    ("steps", "counted"), [([1] * 15, 1), ([1] * 16, 2), ([10_000], 2), ([6_000, 6_000, 1], 2), ([], 1)]
)
def test_parts_are_counted_again_when_much_has_come(tmp_path: Path, steps: list[int], counted: int) -> None:
    memory, part = Memory(200_000_000, tmp_path), Counted(50_000_000)
    memory.hold(part)
    memory.settle()
    for rows in steps:
        memory.moved(rows)
        memory.make_room()
    assert part.asked == counted


def test_beyond_the_bound_every_step_makes_room(tmp_path: Path) -> None:
    memory, part = Memory(100_000, tmp_path), Counted(50_000)
    memory.hold(part)
    memory.make_room()
    part.size = 150_000
    memory.moved(10)
    memory.make_room()
    assert part.size == 0
