"""Python functions in views against DuckDB, which is given the same functions as its own.

The rows repeat, so that one answer serves several; some functions fail for some rows, one never answers the
same twice.
"""

from __future__ import annotations

import random
from itertools import count
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.engine.makers import OTHERS, THINGS, other, thing
from tests.engine.world import World, random_steps, schema

from headrace.errors import SqlError, UnsupportedSql
from headrace.functions import PythonFunction, declare, folded


def plus(one: pa.Array, two: pa.Array) -> pa.Array:
    return pc.add(one, two)


def shout(text: str | None) -> str | None:
    return None if text is None else text.upper() + "!"


def largest(rows: list[int | None]) -> int | None:
    return max((row for row in rows if row is not None), default=None)


def joined(rows: list[tuple[int | None, str | None]]) -> str:
    return "; ".join(f"{number}={text}" for number, text in rows)


FUNCTIONS = [
    declare("plus", plus, ["BIGINT", "BIGINT"], "BIGINT", "1", "columnar"),
    declare("shout", shout, ["VARCHAR"], "VARCHAR", "1", "rowwise"),
    declare("largest", largest, ["INTEGER"], "INTEGER", "1", "aggregate"),
    declare("joined", joined, ["INTEGER", "VARCHAR"], "VARCHAR", "1", "aggregate"),
    declare("pairs", lambda xs: [x for x in xs or () if x], ["INTEGER[]"], "INTEGER[]", "1", "rowwise"),
    declare(
        "total",
        folded(int, lambda sofar, x: sofar + (x or 0), float, 1),
        ["BIGINT"],
        "DOUBLE",
        "1",
        "aggregate",
    ),
]
VIEWS = [
    "SELECT k, plus(k, x) AS p, shout(s) AS t, x FROM t",
    "SELECT plus(k, 1) AS p, count(*) AS n, sum(plus(x, k)) AS s FROM t WHERE shout(s) <> 'A!' GROUP BY 1",
    "SELECT k, largest(x) AS m, joined(x, s) AS j, total(plus(k, x)) AS u FROM t GROUP BY k",
    "SELECT largest(x) FILTER (WHERE b) AS a, largest(DISTINCT x) AS c, joined(x, s ORDER BY s DESC) FROM t",
    "SELECT k, largest(x) AS m FROM t GROUP BY k HAVING largest(x) > 0",
    "SELECT shout(shout(s)) AS a, CASE WHEN b THEN plus(plus(x, 1), k) ELSE 0 END AS c FROM t",
    "SELECT t.k, u.name FROM t JOIN u ON plus(t.k, 1) = u.k AND shout(u.name) = shout(t.s)",
    "SELECT k, pairs(list(x)) AS p FROM t GROUP BY k",
    "SELECT DISTINCT p FROM (SELECT plus(x, x) AS p, shout(s) AS unread FROM t) WHERE p > 3",
    "SELECT s, k FROM t QUALIFY row_number() OVER (PARTITION BY s ORDER BY plus(k, x), k, x) <= 2",
]


def test_equals_duckdb_after_every_step() -> None:
    world = World({"t": THINGS, "u": OTHERS})
    for function in FUNCTIONS:
        world.declare(function)
    for number, sql in enumerate(VIEWS):
        world.add(f"v{number}", sql)
    random_steps(world, {"t": thing, "u": other}, steps=8, seed=4)


def test_an_answer_is_taken_back_as_it_was_given() -> None:
    numbers = count()
    calls: list[int] = []

    def different(x: int) -> int:
        calls.append(x)
        return next(numbers)

    world = World({"n": schema(k="INTEGER", x="INTEGER")})
    world.functions["different"] = declare("different", different, ["INTEGER"], "INTEGER", "1", "rowwise")
    plan = world.add_unchecked("v", "SELECT k, different(x) AS d FROM n")
    rng = random.Random(1)
    held: list[dict[str, Any]] = []
    for _ in range(30):
        row = {"k": rng.randrange(9), "x": rng.randrange(5)}
        world.step({"n": [(row, 1)]})
        held.append(row)
        if len(held) > 4:
            world.step({"n": [(held.pop(rng.randrange(len(held))), -1)]})
    found = world.engine.snapshot("v")
    assert found.num_rows == len(held)
    assert len({row["d"] for row in found.to_pylist()}) == len({row["x"] for row in held})
    assert plan.root.schema.names == ("k", "d")
    for row in held:
        world.step({"n": [(row, -1)]})
    assert world.engine.snapshot("v").num_rows == 0
    assert len(calls) < 60


def failing(text: str) -> PythonFunction:
    def fails(x: pa.Array) -> Any:
        if pc.any(pc.equal(x, 13)).as_py():
            raise ValueError("thirteen")
        return pa.array(["far"] * len(x)) if text == "type" else x.slice(1) if text == "length" else x

    return declare("fails", fails, ["INTEGER"], "INTEGER", "1", "columnar")


def test_a_function_that_fails_puts_its_view_in_error_until_the_row_goes() -> None:
    world = World({"n": schema(x="INTEGER")})
    world.functions["fails"] = failing("")
    world.add_unchecked("v", "SELECT fails(x) AS y FROM n")
    world.add_unchecked("w", "SELECT x FROM n")
    output = world.step({"n": [({"x": value}, 1) for value in (1, 13, 2)]})
    assert list(output.errors) == ["v"]
    assert "fails(): ValueError: thirteen (row: " in output.errors["v"]
    assert "13" in output.errors["v"]
    output = world.step({"n": [({"x": 5}, 1), ({"x": 13}, -1)]})
    assert output.errors == {}
    assert sorted(world.engine.snapshot("v").column("y").to_pylist()) == [1, 2, 5]


@pytest.mark.parametrize(
    ("kind", "message"), [("type", "the answer is no INTEGER"), ("length", "0 answers for 1 rows")]
)
def test_an_answer_that_is_not_as_declared_is_an_error(kind: str, message: str) -> None:
    world = World({"n": schema(x="INTEGER")})
    world.functions["fails"] = failing(kind)
    world.add_unchecked("v", "SELECT fails(x) AS y FROM n")
    output = world.step({"n": [({"x": 1}, 1), ({"x": 2}, 1)]})
    assert message in output.errors["v"]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT largest(x) OVER () AS m FROM t", "has no OVER"),
        ("SELECT t.k FROM t LEFT JOIN t AS u ON plus(t.k, u.k) > 3", "compute plus(…) AS a column"),
    ],
)
def test_where_a_function_cannot_stand(sql: str, message: str) -> None:
    world = World({"t": THINGS})
    for function in FUNCTIONS:
        world.functions[function.name] = function
    with pytest.raises(UnsupportedSql, match="Python function") as caught:
        world.add("v", sql)
    assert message in str(caught.value)


def test_a_call_with_too_few_arguments_is_an_error_in_the_text() -> None:
    world = World({"t": THINGS})
    world.functions["plus"] = FUNCTIONS[0]
    with pytest.raises(SqlError, match="line 1, column 8"):
        world.add("v", "SELECT plus(x) AS p FROM t")
