"""Equal parts of a query are computed once, whatever their columns are called, and different ones are not
mixed up.
"""

from __future__ import annotations

import pytest
from tests.engine.makers import OTHERS, THINGS, other, thing
from tests.engine.world import World, random_steps

BUSIEST = """
WITH counted AS (SELECT k AS key, count(*) AS n, window_start AS w
    FROM HOP(t, ts, INTERVAL 10 SECOND, INTERVAL 30 SECOND) GROUP BY k, window_start),
most AS (SELECT max(n) AS top, w FROM counted GROUP BY w)
SELECT counted.key, counted.n, counted.w FROM counted JOIN most ON counted.w = most.w AND counted.n = most.top
"""
ALIKE = """
SELECT a.s, b.s AS z FROM (SELECT k, s FROM t WHERE x > 0) a
JOIN (SELECT k AS j, s FROM t WHERE x > 0) b ON a.k = b.j
"""
UNLIKE = """
SELECT a.m, b.m AS z FROM (SELECT k, min(x) AS m FROM t GROUP BY k) a
JOIN (SELECT k, max(x) AS m FROM t
GROUP BY k) b ON a.k = b.k
"""
TAKEN_APART = """
WITH parts AS (SELECT k, unnest(CASE WHEN x > 0 THEN [1, 2] ELSE [3] END) AS part FROM t)
SELECT k, part, 'three' AS name FROM parts WHERE part = 3
UNION ALL SELECT k, part, 'less' FROM parts WHERE part < 3
"""
LITERALS = "SELECT s || '\"k\"' AS a, k FROM t UNION ALL SELECT s || '\"x\"' AS a, x FROM t"


def test_shared_parts_are_right_and_shared() -> None:
    made = World({"t": THINGS, "u": OTHERS})
    for number, sql in enumerate((BUSIEST, ALIKE, UNLIKE, LITERALS, TAKEN_APART)):
        made.add(f"v{number}", sql)
    kinds = [stage.operator.name for stage in made.engine._views["v0"].circuit._stages]
    assert (kinds.count("hop"), kinds.count("aggregate")) == (1, 2)
    kinds = [stage.operator.name for stage in made.engine._views["v1"].circuit._stages]
    assert (kinds.count("filter"), kinds.count("rename")) == (1, 1)
    kinds = [stage.operator.name for stage in made.engine._views["v4"].circuit._stages]
    assert (kinds.count("unnest"), kinds.count("filter")) == (1, 2)
    random_steps(made, {"t": thing, "u": other}, steps=10, seed=1)


LEFT_TWICE = """
SELECT a.k, b.m FROM (SELECT t.k, u.name FROM t LEFT JOIN u ON t.k = u.k AND t.x > u.w) a
JOIN (SELECT q.k AS j, r.name AS m FROM t q LEFT JOIN u r ON q.k = r.k AND q.x > r.w) b
ON a.k = b.j AND a.name = b.m
"""
INNER_TWICE = """
SELECT a.n, b.m FROM (SELECT t.k, min(u.name) AS n FROM t JOIN u ON t.k = u.k AND t.x > u.w GROUP BY t.k) a
JOIN (SELECT q.k AS j, max(r.name) AS m FROM t q JOIN u r ON q.k = r.k AND q.x > r.w GROUP BY q.k) b
ON a.k = b.j
"""
NEARLY = """
SELECT count(*) AS n FROM (SELECT t.k FROM t SEMI JOIN u ON t.k = u.k AND t.x > u.w) a
JOIN (SELECT q.k AS j FROM t q SEMI JOIN u r ON q.k = r.k AND q.x >= r.w) b ON a.k = b.j
"""
RANGED = """
SELECT a.x, b.y FROM (SELECT t.x FROM t SEMI JOIN u ON t.x < u.w) a JOIN
(SELECT q.x AS y FROM t q SEMI JOIN u r ON q.x < r.w) b ON a.x = b.y
"""
NEAREST = """
SELECT a.x, b.y FROM (SELECT t.x, u.name FROM t ASOF JOIN u ON t.f >= u.w) a JOIN
(SELECT q.x AS y, r.name FROM t q ASOF JOIN u r ON q.f >= r.w) b ON a.x = b.y AND a.name = b.name
"""


@pytest.mark.parametrize(
    ("sql", "name", "count"),
    [
        (LEFT_TWICE, "match join", 1),
        (INNER_TWICE, "join", 2),
        (NEARLY, "match join", 2),
        (RANGED, "match join", 1),
        (NEAREST, "asof join", 1),
    ],
)
def test_equal_joins_are_computed_once(sql: str, name: str, count: int) -> None:
    made = World({"t": THINGS, "u": OTHERS})
    made.add("v", sql)
    kinds = [stage.operator.name for stage in made.engine._views["v"].circuit._stages]
    assert kinds.count(name) == count
    random_steps(made, {"t": thing, "u": other}, steps=4, seed=2)
