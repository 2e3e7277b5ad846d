"""Window functions under insertions, deletions, late rows, ties and NULLs, against DuckDB after every step.

Times come from a small grid, so that rows tie and meet frames at their very edges. A running value that was
carried over from a row that the same step deleted, and a tie whose rows were numbered twice, were wrong once.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from tests.engine.makers import THINGS, thing
from tests.engine.world import Row, World, random_steps, schema

from headrace.engine import tiers
from headrace.engine.hashing import truncated_hashes
from headrace.engine.operators import over
from headrace.engine.operators.base import OperatorInfo

TICKS = schema(
    k="BIGINT", ts="TIMESTAMP", n="INTEGER", d="DECIMAL(18,2)", f="DOUBLE", s="VARCHAR", i="BIGINT"
)
START = datetime.fromisoformat("2024-01-01T00:00:00")
BY = "PARTITION BY k ORDER BY ts"
RUNNING = [
    f"max(s) OVER ({BY}) AS a, min(d) OVER ({BY}) AS b",
    f"sum(n) OVER ({BY}) AS a, count(*) OVER ({BY}) AS b, avg(d) OVER ({BY}) AS c",
    f"sum(d) OVER ({BY}) AS a, sum(f) OVER ({BY}) AS b, avg(f) OVER ({BY}) AS c, count(n) OVER ({BY}) AS e",
    f"min(n) OVER ({BY}) AS a, max(f) OVER ({BY}) AS b, max(ts) OVER ({BY}) AS c, avg(n) OVER ({BY}) AS e",
    f"sum(n) OVER ({BY} ROWS UNBOUNDED PRECEDING) AS a, row_number() OVER ({BY}) AS b",
    f"rank() OVER ({BY}) AS a, dense_rank() OVER ({BY}) AS b, row_number() OVER ({BY}) AS c",
    f"first_value(s) OVER ({BY}) AS a, last_value(s) OVER ({BY}) AS b, first_value(n) OVER ({BY}) AS c",
    "sum(i) OVER (ORDER BY ts DESC) AS a, rank() OVER (ORDER BY ts DESC NULLS LAST) AS b",
    f"sum(n) FILTER (WHERE s = 'a') OVER ({BY}) AS a, lag(n) OVER ({BY}) AS b",
    "row_number() OVER (ORDER BY s, ts) AS a, count(*) OVER (ORDER BY s) AS b",
    f"last_value(n IGNORE NULLS) OVER ({BY}) AS a, first_value(s IGNORE NULLS) OVER ({BY}) AS b",
    f"lag(n IGNORE NULLS) OVER ({BY}) AS a",
    "lag(d IGNORE NULLS) OVER (ORDER BY ts DESC NULLS FIRST, s) AS a",
    f"last_value(d IGNORE NULLS) OVER ({BY} ROWS UNBOUNDED PRECEDING) AS a, sum(n) OVER ({BY}) AS b",
    f"sum(n) OVER ({BY}) AS a, median(n) OVER ({BY} ROWS 2 PRECEDING) AS b, row_number() OVER ({BY}) AS c",
]
NEAR = [
    "sum(n) OVER (w ROWS 2 PRECEDING) AS a, lead(n) OVER w AS b FROM t WINDOW w AS (ORDER BY s)",
    f"lag(n) OVER ({BY}) AS a, lead(s, 2) OVER ({BY}) AS b",
    f"lag(ts, 3, TIMESTAMP '2000-01-01') OVER ({BY}) AS a, lag(n, 1, -1) OVER ({BY}) AS b",
    f"avg(n) OVER ({BY} ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS a",
    f"sum(d) OVER ({BY} ROWS BETWEEN 1 PRECEDING AND 2 FOLLOWING) AS a",
    f"min(f) OVER ({BY} ROWS 1 PRECEDING) AS a, count(s) OVER ({BY} ROWS 2 PRECEDING) AS b",
    f"sum(f) OVER ({BY} ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING) AS a",
    f"first_value(n) OVER ({BY} ROWS 1 PRECEDING) AS a",
    f"last_value(s) OVER ({BY} ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS a",
    f"sum(n) OVER ({BY} RANGE BETWEEN INTERVAL 5 SECONDS PRECEDING AND CURRENT ROW) AS a",
    f"max(f) OVER ({BY} RANGE BETWEEN INTERVAL 5 SECONDS PRECEDING AND INTERVAL 3 SECONDS FOLLOWING) AS a",
    "sum(n) OVER (PARTITION BY s ORDER BY i RANGE BETWEEN 2 PRECEDING AND 1 PRECEDING) AS a",
    "lag(i) OVER (PARTITION BY s ORDER BY i) AS a, lead(f) OVER (PARTITION BY s ORDER BY i) AS b",
    "avg(f) OVER (ORDER BY ts RANGE BETWEEN INTERVAL 2 SECONDS PRECEDING AND CURRENT ROW) AS a",
]
TOUCHED = [
    f"sum(n) OVER ({BY} ROWS BETWEEN UNBOUNDED PRECEDING AND 2 PRECEDING) AS a",
    f"max(n) OVER ({BY} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING) AS a",
    f"ntile(3) OVER ({BY}) AS a, percent_rank() OVER ({BY}) AS b, cume_dist() OVER ({BY}) AS c",
    "sum(n) OVER (PARTITION BY k) AS a, count(*) OVER () AS b",
    f"nth_value(s, 2) OVER ({BY}) AS a",
    f"max(n) OVER ({BY} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW) AS a",
    f"sum(n) OVER ({BY} GROUPS 1 PRECEDING) AS a",
    f"sum(n) OVER ({BY} ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS a",
    "list(n) OVER (PARTITION BY k ORDER BY ts) AS a, count(DISTINCT n) OVER (PARTITION BY k) AS b",
    f"lead(n IGNORE NULLS) OVER ({BY}) AS a, lag(n, 2 IGNORE NULLS) OVER ({BY}) AS b",
    f"stddev(n) OVER ({BY}) AS a, last_value(n IGNORE NULLS) OVER (PARTITION BY k) AS b",
    "last_value(n) OVER (PARTITION BY k) AS a, first_value(s IGNORE NULLS) OVER () AS b",
    "sum(n ORDER BY ts) OVER (PARTITION BY k) AS a",
]
ASKED = [
    f"max(n) OVER ({BY} ROWS BETWEEN 2 PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW) AS a",
    f"sum(n) OVER ({BY} RANGE BETWEEN INTERVAL 1 MONTH PRECEDING AND CURRENT ROW) AS a",
    f"sum(n) OVER ({BY} DESC RANGE BETWEEN INTERVAL 4 SECONDS PRECEDING AND CURRENT ROW) AS a",
    f"count(DISTINCT s) OVER ({BY} RANGE BETWEEN INTERVAL 6 SECONDS PRECEDING AND CURRENT ROW) AS a",
    f"median(n) OVER ({BY} ROWS 3 PRECEDING) AS a, list(s) OVER ({BY} ROWS 2 PRECEDING) AS b",
    f"string_agg(s, '+') OVER ({BY} ROWS BETWEEN 1 FOLLOWING AND 2 FOLLOWING) AS a, lag(n) OVER ({BY}) AS b",
    f"nth_value(n, 2) OVER ({BY} ROWS 3 PRECEDING) AS a",
    f"first_value(n IGNORE NULLS) OVER ({BY} ROWS 2 PRECEDING) AS a",
    f"stddev(d) OVER ({BY} RANGE BETWEEN INTERVAL 5 SECONDS PRECEDING AND CURRENT ROW EXCLUDE TIES) AS a",
    f"arg_max(s, n) OVER ({BY} ROWS 2 PRECEDING) AS a",
    f"mode(n) FILTER (WHERE n > 0) OVER ({BY} ROWS 4 PRECEDING) AS a",
    "bool_or(n > 0) OVER (PARTITION BY s ORDER BY i DESC RANGE BETWEEN 2 PRECEDING AND 1 PRECEDING) AS a",
    f"list(n) OVER ({BY} RANGE BETWEEN CURRENT ROW AND CURRENT ROW) AS a",
    f"var_pop(f) OVER ({BY} ROWS 1 PRECEDING) AS a",
]
"""Bounded frames that DuckDB answers around a changed row; the last is an error where `f` is not finite."""


def tick(rng: random.Random) -> Row:
    at = None if rng.random() < 0.05 else START + timedelta(seconds=rng.randrange(40))
    return {
        "k": rng.choice([None, 1, 2]),
        "ts": at,
        "n": rng.choice([None, -5, 0, 7, 100]),
        "d": rng.choice([None, Decimal("1.25"), Decimal("-7.50"), Decimal("1000000.01")]),
        "f": rng.choice([None, 0.25, 1.5, -2.0, 1e15, float("inf"), float("nan")]),
        "s": rng.choice(["a", "b", None]),
        "i": rng.choice([None, 1, 2, 3, 4, 9, 2**62]),
    }


def world(calls: list[str], append_only: bool = False) -> World:
    made = World({"t": TICKS}, append_only=("t",) if append_only else ())
    for number, text in enumerate(calls):
        made.add(f"v{number}", f"SELECT *, {text}" + ("" if "FROM t" in text else " FROM t"))
    return made


@pytest.mark.parametrize("append_only", [False, True])
@pytest.mark.parametrize(
    "calls", [RUNNING, NEAR, ASKED, TOUCHED], ids=["running", "near", "asked", "touched"]
)
def test_equals_duckdb_after_every_step(calls: list[str], append_only: bool) -> None:
    kept = ("t",) if append_only else ()
    random_steps(world(calls, append_only), {"t": tick}, steps=8, seed=1, append_only=kept)


@pytest.mark.parametrize("calls", [RUNNING, NEAR, ASKED], ids=["running", "near", "asked"])
def test_one_row_at_a_time_in_large_partitions(calls: list[str]) -> None:
    made = world(calls)
    random_steps(made, {"t": tick}, steps=3, seed=2, most=60, deletes=0.0)
    random_steps(made, {"t": tick}, steps=9, seed=3, most=3, deletes=0.5)


def test_rows_of_one_time_that_come_and_go_in_different_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """How far back a frame begins was misjudged where rows of one time were read in part."""
    monkeypatch.setattr(tiers, "_SMALL", 64)
    made = world([NEAR[2], NEAR[3], RUNNING[5]])
    random_steps(made, {"t": tick}, steps=2, seed=7, most=700, deletes=0.0)
    random_steps(made, {"t": tick}, steps=12, seed=8, most=20, deletes=0.6)


@pytest.mark.parametrize("below", ["GROUP BY k, ts", "GROUP BY k, ts, s"], ids=["apart", "some in one place"])
def test_many_changed_rows_that_stand_apart(monkeypatch: pytest.MonkeyPatch, below: str) -> None:
    """Rows that go are found by their place, where each place holds one row at most."""
    monkeypatch.setattr(over, "APART_ROWS_MIN", 0)
    monkeypatch.setattr(tiers, "_SMALL", 64)
    made = World({"t": TICKS})
    groups = f"SELECT k, ts, max(s) AS s, sum(n) AS n, sum(d) AS d, sum(i) AS i, max(f) AS f FROM t {below}"
    for number, text in enumerate([RUNNING[1], RUNNING[5], RUNNING[10], NEAR[1], NEAR[9], ASKED[0]]):
        made.add(f"v{number}", f"SELECT *, {text} FROM ({groups})")
    random_steps(made, {"t": tick}, steps=1, seed=11, most=300, deletes=0.0)
    random_steps(made, {"t": tick}, steps=6, seed=12, most=40, deletes=0.5)


def test_equals_duckdb_when_all_hashes_collide() -> None:
    with truncated_hashes(1):
        random_steps(world([RUNNING[0], NEAR[0], ASKED[0], TOUCHED[0]]), {"t": tick}, steps=5, seed=4)


def test_over_columns_of_every_type() -> None:
    made = World({"t": THINGS})
    made.add("a", "SELECT s, day, max(day) OVER (PARTITION BY s ORDER BY d, x) AS m FROM t")
    made.add("b", "SELECT k, f, sum(x) OVER (PARTITION BY b ORDER BY f) AS m FROM t")
    made.add("c", "SELECT k, f, lead(d) OVER (PARTITION BY f ORDER BY k) AS l FROM t")
    made.add("e", "SELECT s, b, lag(b) OVER (ORDER BY s) AS m FROM t")
    made.add("d", "SELECT k, sum(x) OVER (PARTITION BY k ORDER BY ts) AS m FROM t QUALIFY m > 3")
    random_steps(made, {"t": thing}, steps=10, seed=5)


@pytest.mark.parametrize(
    ("calls", "rule"),
    [(RUNNING, "running"), (NEAR, "neighbourhood"), (ASKED, "neighbourhood"), (TOUCHED, "touched groups")],
)
def test_every_call_has_the_rule_that_is_promised(calls: list[str], rule: str) -> None:
    made = world(calls)
    for number in range(len(calls)):
        rules = {info.rule for info in operators(made.engine.explain(f"v{number}"))}
        assert rule in rules
        assert rules <= {rule, "linear"}


def operators(info: OperatorInfo) -> list[OperatorInfo]:
    return [info, *(below for part in info.inputs for below in operators(part))]


def test_calls_without_a_rule_leave_the_others_theirs() -> None:
    made = world([f"ntile(2) OVER ({BY}) AS a, sum(n) OVER ({BY}) AS b, list(n) OVER ({BY}) AS c"])
    rules = {info.rule for info in operators(made.engine.explain("v0"))}
    assert rules == {"linear", "running", "touched groups"}
    random_steps(made, {"t": tick}, steps=5, seed=6)


def test_an_append_at_the_end_reads_and_gives_out_no_more_than_itself() -> None:
    made = world([RUNNING[1], RUNNING[5], NEAR[1]], append_only=True)
    rows = [late(second) for second in range(300)]
    made.step({"t": [(row, 1) for row in rows]})
    output = made.step({"t": [(late(1000), 1)]})
    assert [len(output.changes[name]) for name in ("v0", "v1")] == [1, 1]
    assert len(output.changes["v2"]) == 3  # the row two before it sees it by LEAD(s, 2)


def late(second: int) -> Row:
    return {
        "k": 1,
        "ts": START + timedelta(seconds=second),
        "n": 1,
        "d": None,
        "f": 1.0,
        "s": str(second),
        "i": 1,
    }


def test_floating_sums_do_not_drift() -> None:
    made = World({"t": TICKS})
    made.add("v", "SELECT ts, sum(f) OVER (ORDER BY ts) AS s FROM t")
    huge = {**late(5), "f": 1e17}
    made.step({"t": [({**late(second), "f": 0.1}, 1) for second in range(10)]})
    for _ in range(20):
        made.step({"t": [(huge, 1)]})
        made.step({"t": [(huge, -1)]})
    found = made.engine.snapshot("v").column("s").to_pylist()
    assert sorted(found) == pytest.approx([0.1 * n for n in range(1, 11)], rel=1e-15)
