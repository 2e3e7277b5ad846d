"""A view is in error exactly while DuckDB answers an error, whichever operator fails; then it is right again.

Each view computes something that the text `x` or the divisor 0 makes impossible, at another place of the
circuit each time. `World.step` compares with DuckDB, errors included; rows keep changing meanwhile.
"""

from __future__ import annotations

import pytest
from tests.engine.world import Row, World, bag, schema

from headrace.sql.planner import plan_view

TEXTS = schema(k="BIGINT", s="VARCHAR", n="BIGINT")
NAMES = schema(k="BIGINT", name="VARCHAR")
BAD = "CAST(s AS BIGINT)"
VIEWS = {
    "project": f"SELECT k, {BAD} AS v FROM a",
    "filter": f"SELECT k FROM a WHERE {BAD} > 1",
    "both": f"SELECT k, 10 // {BAD} AS v FROM a WHERE {BAD} >= 0",
    "aggregate": f"SELECT k, sum({BAD}) AS v, count(*) AS c FROM a GROUP BY k",
    "having": "SELECT k, max(s) AS m FROM a GROUP BY k HAVING CAST(max(s) AS BIGINT) > 0",
    "overflow": "SELECT k, sum(n) AS v FROM a GROUP BY k HAVING CAST(sum(n) AS BIGINT) > 0",
    "touched": f"SELECT k, list({BAD} ORDER BY k, s, n) AS v FROM a GROUP BY k",
    "distinct": f"SELECT DISTINCT {BAD} AS v FROM a",
    "top": f"SELECT k, s FROM a ORDER BY {BAD}, k, n LIMIT 2",
    "joined": f"SELECT a.k, name FROM a JOIN b ON a.k = b.k AND {BAD} > b.k",
    "of_pairs": "SELECT a.k, name FROM a JOIN b USING (k) WHERE CAST(s || name AS BIGINT) > 0",
    "outer_pairs": "SELECT a.k, name FROM a LEFT JOIN b ON a.k = b.k AND CAST(s || name AS BIGINT) > 0",
    "matched": f"SELECT k FROM b WHERE EXISTS (SELECT 1 FROM a WHERE a.k = b.k AND {BAD} > 0)",
    "union": f"SELECT {BAD} AS v FROM a UNION ALL SELECT k FROM b",
    "except": f"SELECT k FROM b EXCEPT SELECT {BAD} FROM a",
    "window": f"SELECT k, lag({BAD}) OVER (PARTITION BY k ORDER BY n, s) AS v FROM a",
    "ranked": f"SELECT k, s FROM a QUALIFY row_number() OVER (PARTITION BY k ORDER BY {BAD}, n) = 1",
    "sets": f"SELECT k, sum({BAD}) AS v FROM a GROUP BY GROUPING SETS ((k), ())",
    "scalar": f"SELECT k FROM b WHERE k >= (SELECT min({BAD}) FROM a)",
    "json": "SELECT k, CAST(s AS JSON) AS v FROM a",
}


def rows(*pairs: tuple[int, str], n: int = 1) -> list[tuple[Row, int]]:
    return [({"k": k, "s": s, "n": n}, 1) for k, s in pairs]


def back(changes: list[tuple[Row, int]]) -> list[tuple[Row, int]]:
    return [(row, -weight) for row, weight in changes]


@pytest.mark.parametrize("names", [list(VIEWS)[at : at + 5] for at in range(0, len(VIEWS), 5)], ids="-".join)
def test_a_failing_row_puts_its_views_in_error_until_it_goes(names: list[str]) -> None:
    world = World({"a": TEXTS, "b": NAMES})
    world.add("well", "SELECT k, count(*) AS n FROM a GROUP BY k")
    for name in names:
        world.add(name, VIEWS[name])
        world.add_unchecked(f"{name}_read", f'SELECT * FROM "{name}"')
    world.step({"a": rows((1, "1"), (1, "2"), (2, "3")), "b": [({"k": at, "name": "7"}, 1) for at in (1, 2)]})
    bad = rows((1, "x"), (1, "x"), n=2**62)
    output = world.step({"a": bad})
    failed = [name for name in names if name in output.errors]
    assert failed
    assert all(f"{name}_read" in output.errors for name in failed)
    assert "well" not in output.errors
    world.step({"a": rows((2, "5"), (3, "6")), "b": [({"k": 3, "name": "8"}, 1)]})
    world.step({"a": [*rows((1, "4")), *back(rows((1, "1")))]})
    world.step({"a": back(bad[:1])})
    assert not world.step({"a": back(bad[1:])}).errors
    world.step({"a": rows((1, "9")), "b": [({"k": 1, "name": "7"}, -1)]})
    for name in names:
        assert bag(world.engine.snapshot(f"{name}_read")) == bag(world.engine.snapshot(name))


def test_the_message_names_the_reason_and_the_row() -> None:
    world = World({"a": TEXTS, "b": NAMES})
    world.add("project", VIEWS["project"])
    output = world.step({"a": rows((7, "x"))})
    assert output.errors["project"] == (
        "Conversion Error: Could not convert string 'x' to INT64 when casting from source column s "
        "(row: k = 7, s = 'x')"
    )


def test_another_definition_heals_a_view() -> None:
    world = World({"a": TEXTS, "b": NAMES})
    world.add("project", VIEWS["project"])
    world.add("reader", "SELECT sum(v) AS v FROM project")
    assert set(world.step({"a": rows((7, "x"), (8, "2"))}).errors) == {"project", "reader"}
    engine = world.engine
    healed = plan_view("project", "SELECT k, TRY_CAST(s AS BIGINT) AS v FROM a", world.catalog())
    engine.replace_view(healed, world.history)
    assert engine.view_error("project") is None
    assert engine.view_error("reader") is None
    assert engine.snapshot("reader").to_pylist() == [{"v": 2}]
