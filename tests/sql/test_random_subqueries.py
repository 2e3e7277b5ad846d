"""Random subqueries in every place and form: plans run node by node equal DuckDB, and little is recomputed.

A seed makes one query of one to three subqueries, correlated by equalities, inequalities or not at all,
nested to depth two. The relations have few values, many NULLs and repeated rows; one is often empty.
"""

from __future__ import annotations

import functools
import random

import duckdb
import pytest
from tests.conftest import Torture
from tests.sql.data import CATALOG, filled
from tests.sql.naive import Naive, answer, bag

from headrace.errors import SqlError
from headrace.sql import explain_plan, plan_view
from headrace.sql.plan import Recompute

NUMBERS = {"t": ("a", "b", "c"), "u": ("a", "k"), "v": ("k",), "e": ("a",)}
TEXTS = {"t": "s", "u": "s", "v": "name", "e": "s"}


@functools.lru_cache(maxsize=3)
def database(seed: int) -> duckdb.DuckDBPyConnection:
    return filled(seed, rows_max=9)


class Maker:
    """Makes random queries over t, u, v and e with subqueries."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self._count = 0

    def query(self) -> str:
        """Return one query."""
        outer = self._alias("t")
        column = self._number(outer)
        match self.rng.randrange(6):
            case 0:
                return f"SELECT {column}, {self.value([outer], 2)} AS x FROM {self._from(outer)}"
            case 1:
                keyed = f"{column}, {self._number(outer)} AS n"
                return f"SELECT {keyed} FROM {self._from(outer)} WHERE {self.condition([outer], 2)}"
            case 2:
                word = self.rng.choice(["AND", "OR"])
                both = f"{self.condition([outer], 1)} {word} {self.condition([outer], 2)}"
                return f"SELECT {column} FROM {self._from(outer)} WHERE {both}"
            case 3:
                having = f"count(*) >= {self.scalar([], 1)}"
                grouped = f"{self._from(outer)} GROUP BY {column} HAVING {having}"
                return f"SELECT {column}, count(*) AS n FROM {grouped}"
            case 4:
                case = f"CASE WHEN {self.condition([outer], 1)} THEN {self.scalar([outer], 1)} ELSE -1 END"
                return f"SELECT {case} AS x, {column} FROM {self._from(outer)}"
            case _:
                inner = self._alias(self.rng.choice("uve"))
                body = f"SELECT {self._number(inner)} AS p, {self._text(inner)} AS q FROM {self._from(inner)}"
                limit = self.rng.choice(["", f" ORDER BY p, q LIMIT {self.rng.randrange(1, 3)}"])
                sub = f"({body} WHERE {self._correlation([outer], inner, 1)}{limit})"
                kind = self.rng.choice([", LATERAL {} AS z", " LEFT JOIN LATERAL {} AS z ON true"])
                return f"SELECT {column}, z.p, z.q FROM {self._from(outer)}{kind.format(sub)}"

    def _alias(self, relation: str) -> str:
        self._count += 1
        return f"{relation}{self._count}"

    def _from(self, alias: str) -> str:
        return f"{alias[0]} AS {alias}"

    def _number(self, alias: str) -> str:
        return f"{alias}.{self.rng.choice(NUMBERS[alias[0]])}"

    def _text(self, alias: str) -> str:
        return f"{alias}.{TEXTS[alias[0]]}"

    def value(self, around: list[str], depth: int) -> str:
        """Return an expression with a subquery."""
        return self.scalar(around, depth) if self.rng.random() < 0.5 else self.condition(around, depth)

    def scalar(self, around: list[str], depth: int) -> str:
        """Return a scalar subquery of one row at most."""
        inner = self._alias(self.rng.choice("tuve"))
        number, where = self._number(inner), self._correlation(around, inner, depth)
        if self.rng.random() < 0.25:
            order = f"ORDER BY {number} {self.rng.choice(['', 'DESC'])} LIMIT 1"
            return f"(SELECT {number} FROM {self._from(inner)} WHERE {where} {order})"
        call = self.rng.choice(
            [
                f"count({number})",
                "count(*)",
                f"max({number})",
                f"sum({number}) + 1",
                f"count(DISTINCT {number})",
            ]
        )
        having = self.rng.choice(["", "", " HAVING count(*) > 1"])
        return f"(SELECT {call} FROM {self._from(inner)} WHERE {where}{having})"

    def condition(self, around: list[str], depth: int) -> str:
        """Return a predicate with a subquery."""
        inner = self._alias(self.rng.choice("tuve"))
        where, number = self._correlation(around, inner, depth), self._number(inner)
        body = f"FROM {self._from(inner)} WHERE {where}"
        group = self.rng.choice(["", "", f" GROUP BY {number}"])
        mine = self._number(around[-1]) if around else "1"
        match self.rng.randrange(4):
            case 0:
                return f"{self.rng.choice(['', 'NOT '])}EXISTS (SELECT {number} {body}{group})"
            case 1:
                return f"{mine} {self.rng.choice(['', 'NOT '])}IN (SELECT {number} {body}{group})"
            case 2:
                word = self.rng.choice(["ANY", "ALL"])
                sign = self.rng.choice(["=", "<>", "<", ">="])
                return f"{mine} {sign} {word} (SELECT {number} {body}{group})"
            case _:
                sign = self.rng.choice(["=", "<", "<>", "IS NOT DISTINCT FROM"])
                return f"{mine} {sign} {self.scalar(around, depth)}"

    def _correlation(self, around: list[str], inner: str, depth: int) -> str:
        rng = self.rng
        tests = [rng.choice(["true", f"{self._number(inner)} > 0"])]
        if around and rng.random() < 0.8:
            sign = rng.choice(["=", "=", "=", "<", "<>", "IS NOT DISTINCT FROM"])
            tests.append(f"{self._number(inner)} {sign} {self._number(rng.choice(around))}")
            if rng.random() < 0.3:
                tests.append(f"{self._text(inner)} {rng.choice(['=', '<'])} {self._text(rng.choice(around))}")
        if depth > 1 and rng.random() < 0.5:
            tests.append(self.condition([*around, inner], depth - 1))
        return " AND ".join(tests)


def run_case(seed: int) -> tuple[bool, bool]:
    """Plan and run one query; answer whether it was a case, and whether some of it is recomputed."""
    sql = Maker(random.Random(seed)).query()
    con = database(21 + seed % 3)
    try:
        plan = plan_view("case", sql, CATALOG)
        expected = answer(con, plan.reference_sql)
    except (SqlError, duckdb.Error):
        return False, False
    assert bag(Naive(con).rows(plan.root)) == bag(expected), f"seed {seed}: {sql}\n{explain_plan(plan)}"
    return True, any(isinstance(node, Recompute) for node in plan.root.walk())


@pytest.mark.parametrize("block", range(3))
def test_random_subqueries(block: int) -> None:
    cases = [run_case(seed) for seed in range(block * 12, block * 12 + 12)]
    assert sum(done for done, _ in cases) >= 9
    assert sum(recomputed for _, recomputed in cases) <= 1


@pytest.mark.torture(weight=1.5, least=500)
def test_many_random_subqueries(torture: Torture) -> None:
    torture.play(run_case)
