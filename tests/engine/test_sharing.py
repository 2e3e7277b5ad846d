"""Equal parts of a query are computed once, whatever their columns are called, and different ones are not
mixed up.
"""

from __future__ import annotations

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
LITERALS = "SELECT s || '\"k\"' AS a, k FROM t UNION ALL SELECT s || '\"x\"' AS a, x FROM t"


def test_shared_parts_are_right_and_shared() -> None:
    made = World({"t": THINGS, "u": OTHERS})
    for number, sql in enumerate((BUSIEST, ALIKE, UNLIKE, LITERALS)):
        made.add(f"v{number}", sql)
    kinds = [stage.operator.name for stage in made.engine._views["v0"].circuit._stages]
    assert (kinds.count("hop"), kinds.count("aggregate")) == (1, 2)
    kinds = [stage.operator.name for stage in made.engine._views["v1"].circuit._stages]
    assert (kinds.count("filter"), kinds.count("rename")) == (1, 1)
    random_steps(made, {"t": thing, "u": other}, steps=10, seed=1)
