"""UNNEST equals DuckDB after every step: empty lists, NULL lists and NULLs in lists, two lists side by side.

A row without elements vanishes, but for LEFT JOIN UNNEST … ON true, which keeps it with NULLs.
"""

from __future__ import annotations

import random

import pytest
from tests.engine.world import Row, World, random_steps, schema

LISTS = schema(
    k="BIGINT", tags="VARCHAR[]", nums="DECIMAL(9,2)[]", ts="TIMESTAMP", obj="STRUCT(x INTEGER, y VARCHAR)"
)
VIEWS = [
    "SELECT k, unnest(tags) AS tag FROM t",
    "SELECT k, unnest(tags) AS tag, unnest(nums) AS num FROM t",
    "SELECT tag, count(*) AS n FROM (SELECT unnest(tags) AS tag FROM t) GROUP BY tag",
    "SELECT k, x, o FROM t LEFT JOIN unnest(tags) WITH ORDINALITY AS z(x, o) ON true",
    "SELECT k, g FROM t, generate_series(1, k) AS r(g)",
    "SELECT k, unnest(obj) FROM t",
    "SELECT k, (SELECT count(DISTINCT x) FROM unnest(t.tags) AS z(x)) AS n FROM t",
    "SELECT unnest(list(k ORDER BY k)) AS k, tags FROM t GROUP BY tags",
]


def row(rng: random.Random) -> Row:
    """Return a row whose lists are short, empty or NULL."""
    texts = rng.choice([None, [], ["a"], ["a", None, "b"], ["", "a", "a"]])
    return {
        "k": rng.choice([None, 0, 1, 3]),
        "tags": texts,
        "nums": rng.choice([None, [], [1, 2], [None]]),
        "ts": None,
        "obj": rng.choice([None, {"x": 1, "y": None}, {"x": None, "y": "z"}]),
    }


@pytest.mark.parametrize("append_only", [False, True])
def test_equals_duckdb_after_every_step(append_only: bool) -> None:
    made = World({"t": LISTS}, append_only=("t",) if append_only else ())
    for number, sql in enumerate(VIEWS):
        made.add(f"v{number}", sql)
        assert "recomputed" not in str(made.engine.explain(f"v{number}"))
    random_steps(made, {"t": row}, steps=7, seed=1, most=8, append_only=("t",) if append_only else ())
