"""Random trees of joins against DuckDB at every step: all kinds, nested, with equalities, ranges, residuals,
filters above that turn outer joins into inner ones, self-joins, and an aggregate on top now and then.
"""

from __future__ import annotations

import random

import pytest
from tests.engine.makers import TIMES
from tests.engine.world import Row, World, random_steps, schema

from headrace.sql import explain_plan
from headrace.state.frozen import freeze, thaw

RELATIONS = {
    name: schema(k="INTEGER", j="BIGINT", t="TIMESTAMP", x="SMALLINT", d="DECIMAL(6,1)", s="VARCHAR")
    for name in ("p", "q", "r")
}
KINDS = (
    "JOIN",
    "JOIN",
    "LEFT JOIN",
    "RIGHT JOIN",
    "FULL JOIN",
    "SEMI JOIN",
    "ANTI JOIN",
    "ASOF LEFT JOIN",
    "ASOF JOIN",
)


def maker(rng: random.Random) -> Row:
    return {
        "k": rng.choice([None, 1, 1, 2, 2]), "j": rng.choice([1, 1, 2]), "t": rng.choice([None, *TIMES[:5]]),
        "x": rng.choice([None, 0, 1, 2, 5]), "d": rng.choice([0, 1, 3]), "s": rng.choice([None, "", "a"]),
    }  # fmt: skip


class Tree:
    """One random query.

    Attributes:
        aliases: in sight at present.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.count = 0

    def leaf(self) -> tuple[str, list[str]]:
        self.count += 1
        alias = f"a{self.count}"
        name = self.rng.choice(sorted(RELATIONS))
        if self.rng.random() < 0.2:
            return f"(SELECT * FROM {name} WHERE {self.filter_on('')}) AS {alias}", [alias]
        return f"{name} AS {alias}", [alias]

    def filter_on(self, prefix: str) -> str:
        return self.rng.choice(
            [
                f"{prefix}x > 0",
                f"{prefix}k = 1",
                f"{prefix}s IS NOT NULL",
                f"{prefix}d IS NULL OR {prefix}k > 1",
            ]
        )

    def join(self, depth: int) -> tuple[str, list[str]]:
        if depth == 0:
            return self.leaf()
        left, left_aliases = self.join(depth - 1)
        right, right_aliases = self.leaf() if self.rng.random() < 0.7 else self.join(depth - 1)
        if len(right_aliases) > 1 or " JOIN " in right:
            right = f"({right})"
        kind = self.rng.choice(KINDS)
        if kind.startswith("ASOF") and " JOIN " in right:
            kind = "LEFT JOIN"
        on = self.condition(kind, self.rng.choice(left_aliases), self.rng.choice(right_aliases))
        kept = left_aliases if kind in ("SEMI JOIN", "ANTI JOIN") else left_aliases + right_aliases
        return f"{left} {kind} {right} ON {on}", kept

    def condition(self, kind: str, one: str, other: str) -> str:
        parts = self.rng.sample(
            [f"{one}.k = {other}.k", f"{one}.j = {other}.k", f"{one}.s IS NOT DISTINCT FROM {other}.s"],
            self.rng.choice([0, 1, 1, 1, 2]),
        )
        if kind.startswith("ASOF"):
            column = self.rng.choice(["t", "x", "d"])
            return " AND ".join(
                [*parts, f"{one}.{column} {self.rng.choice(['>=', '>', '<', '<='])} {other}.{column}"]
            )
        ranges = [
            f"{one}.x < {other}.d",
            f"{other}.t BETWEEN {one}.t - INTERVAL 1 MINUTE AND {one}.t + INTERVAL 10 SECOND",
            f"{other}.x BETWEEN {one}.j AND {one}.d",
            f"{one}.d >= {other}.x AND {one}.k < {other}.k",
        ]
        if self.rng.random() < 0.5 or not parts:
            parts.append(self.rng.choice(ranges))
        if self.rng.random() < 0.3:
            parts.append(
                self.rng.choice(
                    [self.filter_on(f"{one}."), self.filter_on(f"{other}."), f"{one}.x + {other}.x > 1"]
                )
            )
        return " AND ".join(f"({part})" for part in parts)

    def sql(self) -> str:
        source, aliases = self.join(self.rng.choice([1, 2, 2, 3]))
        where = f" WHERE {self.filter_on(self.rng.choice(aliases) + '.')}" if self.rng.random() < 0.4 else ""
        shown = [f"{alias}.{column}" for alias in aliases for column in self.rng.sample("kjtxds", 2)]
        if self.rng.random() < 0.2:
            calls = f"count(*) AS n, sum({aliases[-1]}.x) AS y"
            return f"SELECT {shown[0]} AS g, {calls} FROM {source}{where} GROUP BY 1"
        items = ", ".join(f"{item} AS c{at}" for at, item in enumerate(shown))
        return f"SELECT {items} FROM {source}{where}"


def run_case(seed: int, steps: int) -> None:
    rng = random.Random(seed)
    world = World(RELATIONS)
    for number in range(3):
        sql = Tree(rng).sql()
        assert "Recompute" not in explain_plan(world.add(f"v{number}", sql)), sql
    random_steps(world, dict.fromkeys(RELATIONS, maker), steps=steps, seed=seed, most=8)


@pytest.mark.parametrize("seed", range(4))
def test_equals_duckdb_after_every_step(seed: int) -> None:
    run_case(seed, 6)


def test_equals_duckdb_over_states_that_were_written_down() -> None:
    rng = random.Random(3)
    world = World(RELATIONS)
    for number in range(4):
        world.add(f"v{number}", Tree(rng).sql())
    world.add("interval", "SELECT p.k, q.x FROM p LEFT JOIN q ON q.x BETWEEN p.j AND p.d")
    for turn in range(3):
        random_steps(world, dict.fromkeys(RELATIONS, maker), steps=2, seed=turn, most=8)
        for name in world.plans:
            view = world.engine._views[name]
            frozen = freeze(view.circuit)
            view.circuit = thaw(frozen.shape, [bytearray(column) for column in frozen.columns])
