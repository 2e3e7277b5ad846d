"""Views side by side give what they give one after the other: the same changes, in the same order.

The views read each other, so that there are several levels; one of them fails for some rows, because what
goes wrong in one thread must not reach the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from threading import Thread

import numpy as np
import pyarrow as pa
import pytest

from headrace.change import Change
from headrace.contracts.schema import Column, Schema
from headrace.engine.engine import Engine
from headrace.engine.levels import SPLIT_ROWS, WORTH_ROWS, Threads, levels_of, parts_of, side_by_side
from headrace.sql.planner import plan_view
from headrace.testing import difference

SALES = Schema.of([Column("k", "BIGINT", pa.int64()), Column("v", "BIGINT", pa.int64())])
VIEWS = {
    "totals": "SELECT k, count(*) AS n, sum(v) AS s FROM sales GROUP BY k",
    "best": "SELECT *, row_number() OVER (PARTITION BY k ORDER BY v DESC) AS r FROM sales QUALIFY r <= 2",
    "shares": "SELECT k, 100 // (v - 7) AS share FROM sales",
    "large": "SELECT k, s FROM totals WHERE n > 3",
    "pairs": "SELECT large.k, s, r FROM large JOIN best ON large.k = best.k",
    "texts": "SELECT md5(CAST(k AS VARCHAR)) AS t, v FROM sales WHERE v > 500",
}
TEXTS = Schema.of([*SALES, Column("t", "VARCHAR", pa.string())])
WIDE = {
    "totals": "SELECT t, k, count(*) AS n, sum(v) AS s FROM sales GROUP BY t, k",
    "pairs": "SELECT a.t, a.k, a.n, b.v FROM totals AS a JOIN sales AS b ON a.t = b.t AND a.k = b.k",
    "both": "SELECT t, v FROM sales WHERE v > 20 UNION ALL SELECT t, k FROM sales WHERE k < 10",
    "kept": "SELECT s.t, s.v, p.n FROM sales AS s LEFT JOIN pairs AS p ON p.t = s.t AND p.v = s.v + 1",
}
"""Joins and groups by texts, of which some are longer than the words that are kept of them."""
CLOCK = datetime(2026, 1, 1, tzinfo=UTC)


def built(threads: int, views: Mapping[str, str] = VIEWS) -> Engine:
    sold = SALES if views is VIEWS else TEXTS
    engine = Engine(threads=threads)
    engine.add_relation("sales", sold, append_only=False)
    schemas = {"sales": sold}
    for name, sql in views.items():
        plan = plan_view(name, sql, schemas)
        schemas[name] = plan.schema
        engine.add_view(plan, lambda _: iter(()))
    return engine


def changes() -> Iterator[Change]:
    random = np.random.default_rng(3)
    for step in range(4):
        count = 2 * WORTH_ROWS if step != 2 else 10
        values = random.integers(0, 1_000, count)
        if step != 1:
            values[values == 7] = 8
        columns = [pa.array(random.integers(0, 3_000, count)), pa.array(values)]
        yield Change.inserts(pa.record_batch(columns, schema=SALES.arrow))


def test_threads_change_nothing() -> None:
    one, many = built(1), built(3)
    failed = []
    for change in changes():
        alone = one.step({"sales": change}, CLOCK, {})
        beside = many.step({"sales": change}, CLOCK, {})
        assert list(alone.changes) == list(beside.changes)
        assert alone.errors == beside.errors
        failed.append(sorted(beside.errors))
        for name in alone.changes:
            assert alone.changes[name].to_table().equals(beside.changes[name].to_table()), name
    for name in VIEWS:
        assert difference(one.snapshot(name), many.snapshot(name)) is None
    assert failed == [[], ["shares"], ["shares"], ["shares"]]
    one.close()
    many.close()


def test_levels_follow_what_is_read() -> None:
    reads = {"a": set(), "b": {"a"}, "c": {"sales"}, "d": {"b", "c"}, "e": {"a"}}
    assert levels_of(list("abcde"), reads) == (("a", "c"), ("b", "e"), ("d",))
    assert levels_of([], {}) == ()


def test_parts_and_operators_side_by_side_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.engine.levels.WORTH_ROWS", 8)
    monkeypatch.setattr("headrace.engine.circuit.WORTH_ROWS", 8)
    monkeypatch.setattr("headrace.engine.levels.SPLIT_ROWS", 16)
    monkeypatch.setattr("headrace.engine.columns.COPIED_ROWS", 16)
    monkeypatch.setattr("headrace.engine.columns._READ_ROWS_MIN", 4)
    random = np.random.default_rng(5)
    one, many = built(1, WIDE), built(3, WIDE)
    rows: list[dict[str, object]] = []
    for count in (500, 3, 200, 60):
        gone, rows = rows[: len(rows) // 3], rows[len(rows) // 3 :]
        come: list[dict[str, object]] = [
            {"k": int(k), "v": int(v), "t": f"{'customer number ' * (k % 3)}{k}"}
            for k, v in random.integers(0, 40, (count, 2))
        ]
        rows += come
        both = pa.RecordBatch.from_pylist([*gone, *come], schema=TEXTS.arrow)
        change = Change(both, np.array([-1] * len(gone) + [1] * len(come)))
        alone = one.step({"sales": change}, CLOCK, {})
        beside = many.step({"sales": change}, CLOCK, {})
        assert list(alone.changes) == list(beside.changes)
        for name in alone.changes:
            assert alone.changes[name].to_table().equals(beside.changes[name].to_table()), name
    assert one.snapshot("pairs").num_rows > 300
    for name in WIDE:
        assert one.snapshot(name).equals(many.snapshot(name)), name
    one.close()
    many.close()


def test_jobs_may_have_jobs_and_none_runs_on_after_a_failure() -> None:
    threads, done = Threads(2), list[int]()
    rows = [WORTH_ROWS, WORTH_ROWS]

    def fails(number: int) -> int:
        raise ValueError(number)

    def sums() -> int:
        return sum(side_by_side([lambda: 1, lambda: 2], rows))

    with threads.working():
        assert side_by_side([sums, sums, sums], [*rows, 1]) == [3, 3, 3]
        jobs = [lambda: fails(0), lambda: fails(1), lambda: done.append(2)]
        with pytest.raises(ValueError, match="0"):
            side_by_side(jobs, [*rows, WORTH_ROWS])
    assert done == [2]
    threads.close()


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_started_is_done_before_the_threads_end(count: int) -> None:
    threads, done = Threads(count), list[int]()
    threads.start([partial(done.append, number) for number in range(5)])
    threads.close()
    assert sorted(done) == [0, 1, 2, 3, 4]


def test_where_no_thread_can_be_had_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Thread, "start", none_left)
    threads = Threads(2)
    threads.start([lambda: None])
    monkeypatch.undo()
    threads.close()


def test_rows_are_split_among_the_threads_that_work() -> None:
    assert parts_of(10 * SPLIT_ROWS) == [slice(0, 10 * SPLIT_ROWS)]
    threads = Threads(2)
    with threads.working():
        assert parts_of(2 * SPLIT_ROWS - 1) == [slice(0, 2 * SPLIT_ROWS - 1)]
        assert parts_of(2 * SPLIT_ROWS + 1) == [slice(0, SPLIT_ROWS), slice(SPLIT_ROWS, 2 * SPLIT_ROWS + 1)]
    threads.close()


@pytest.mark.parametrize("rows", [[0, 0, 0], [WORTH_ROWS, WORTH_ROWS, 1]])
def test_answers_come_in_the_order_of_the_jobs(rows: list[int]) -> None:
    threads = Threads(2)
    assert threads.run([lambda: "a", lambda: "b", lambda: "c"], rows) == ["a", "b", "c"]
    threads.close()
