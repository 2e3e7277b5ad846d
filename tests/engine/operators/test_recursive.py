"""WITH RECURSIVE equals DuckDB after every step of random insertions and deletions of edges, circles too.

Deletions are the hard part: rows of a circle hold each other up, and a row may lose one of two derivations.
Five nodes and few edges make both happen in nearly every step.
"""

from __future__ import annotations

import random

import pytest
from tests.engine.world import Row, World, random_steps, schema

from headrace.engine.operators.base import OperatorInfo
from headrace.errors import ViewInError

EDGES = schema(a="INTEGER", b="INTEGER", w="DOUBLE")
ROOTS = schema(n="INTEGER", name="VARCHAR")
VIEWS = [
    "WITH RECURSIVE r(n) AS (SELECT n FROM s UNION SELECT e.b FROM r JOIN e ON e.a = r.n) SELECT * FROM r",
    """WITH RECURSIVE r(x, y) AS (SELECT a, b FROM e UNION SELECT r.x, e.b FROM r JOIN e ON r.y = e.a)
    SELECT * FROM r""",
    """WITH RECURSIVE r AS (
        SELECT n, 0 AS d FROM s UNION ALL SELECT e.b, d + 1 FROM r, e WHERE e.a = r.n AND d < 3)
    SELECT n, d, count(*) AS c FROM r GROUP BY n, d""",
    """WITH RECURSIVE r AS (
        SELECT n FROM s UNION SELECT e.b FROM r JOIN e ON e.a = r.n WHERE e.b IN (SELECT n FROM s))
    SELECT count(*) AS c FROM r""",
    """WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 4)
    SELECT r.n, name FROM r LEFT JOIN s ON s.n = r.n""",
    """WITH RECURSIVE r AS (
        SELECT n FROM s
        UNION (SELECT b FROM r JOIN e ON a = n UNION ALL SELECT a FROM r JOIN e ON b = n))
    SELECT * FROM r""",
]


def edge(rng: random.Random) -> Row:
    return {"a": rng.choice([None, 1, 2, 3, 4, 5]), "b": rng.choice([1, 2, 3, 4, 5]), "w": 1.0}


def root(rng: random.Random) -> Row:
    return {"n": rng.choice([None, 1, 2]), "name": rng.choice("pq")}


def world(*views: str) -> World:
    made = World({"e": EDGES, "s": ROOTS})
    for number, sql in enumerate(views):
        made.add(f"v{number}", sql)
        assert "recomputed" not in str(made.engine.explain(f"v{number}"))
    return made


@pytest.mark.parametrize("seed", range(3))
def test_equals_duckdb_after_every_step(seed: int) -> None:
    random_steps(world(*VIEWS), {"e": edge, "s": root}, steps=9, seed=seed, most=5, deletes=0.5)


def test_a_circle_does_not_hold_itself_up() -> None:
    made = world(VIEWS[0])
    edges: list[Row] = [{"a": a, "b": b, "w": 1.0} for a, b in ((1, 2), (2, 3), (3, 2), (1, 4), (4, 2))]
    made.step({"s": [({"n": 1, "name": "p"}, 1)], "e": [(row, 1) for row in edges]})
    assert not made.step({"e": [(edges[0], -1)]}).changes, "4 still leads to 2"
    made.step({"e": [(edges[4], -1)]})
    assert sorted(made.engine.snapshot("v0").column("n").to_pylist()) == [1, 4]


def test_a_recursion_without_end_says_so() -> None:
    with pytest.raises(ViewInError, match="did not end"):
        world("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n FROM r) SELECT * FROM r")


def test_what_is_not_linear_is_recomputed_by_name() -> None:
    made = World({"e": EDGES, "s": ROOTS})
    greatest = "SELECT max(n) + 1 FROM r WHERE n < 4"
    made.add("v", f"WITH RECURSIVE r AS (SELECT n FROM s UNION {greatest}) SELECT * FROM r")
    assert "rows one by one" in str(made.engine.explain("v"))
    random_steps(made, {"s": root}, steps=3, seed=1)


def test_explain_shows_all_that_is_kept_and_why_nothing_is_freed() -> None:
    made = world(
        "WITH RECURSIVE r AS (SELECT n FROM s UNION SELECT e.b FROM r JOIN e ON r.n = e.a) SELECT * FROM r"
    )
    made.step({"s": [({"n": 1, "name": "p"}, 1)]})
    edges: list[Row] = [{"a": a, "b": a + 1, "w": 1.0} for a in range(100, 110)]
    made.step({"e": [(row, 1) for row in edges]})
    shown = next(info for info in operators(made.engine.explain("v0")) if info.name == "recursive")
    assert shown.state_rows >= 11, "the edges lie in a join of the step"
    assert shown.state_bytes > 0
    assert shown.can_free is not None
    assert shown.can_free.startswith("keeps all: a row that comes may lead on")


def operators(info: OperatorInfo) -> list[OperatorInfo]:
    return [info, *(below for part in info.inputs for below in operators(part))]
