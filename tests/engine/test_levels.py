"""Views side by side give what they give one after the other: the same changes, in the same order.

The views read each other, so that there are several levels; one of them fails for some rows, because what
goes wrong in one thread must not reach the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from headrace.change import Change
from headrace.contracts.schema import Column, Schema
from headrace.engine.engine import Engine
from headrace.engine.levels import WORTH_ROWS, Threads, levels_of
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
CLOCK = datetime(2026, 1, 1, tzinfo=UTC)


def built(threads: int) -> Engine:
    engine = Engine(threads=threads)
    engine.add_relation("sales", SALES, append_only=False)
    schemas = {"sales": SALES}
    for name, sql in VIEWS.items():
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


@pytest.mark.parametrize("rows", [[0, 0, 0], [WORTH_ROWS, WORTH_ROWS, 1]])
def test_answers_come_in_the_order_of_the_jobs(rows: list[int]) -> None:
    threads = Threads(2)
    assert threads.run([lambda: "a", lambda: "b", lambda: "c"], rows) == ["a", "b", "c"]
    threads.close()
