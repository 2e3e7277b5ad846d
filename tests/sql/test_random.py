"""Random nested queries: the plan run node by node equals DuckDB on the reference SQL.

A seed makes one query; a failure names it. What random nesting reaches, and written cases seldom do: columns
of one label on both sides of a join below a star, unions of casts inside groups, ranks over ranks.
"""

from __future__ import annotations

import functools
import random

import duckdb
import pytest
from tests.conftest import Torture
from tests.sql.data import CATALOG, filled
from tests.sql.naive import Naive, answer, bag
from tests.sql.queries import Queries

from headrace.errors import SqlError
from headrace.sql import explain_plan, plan_view

ROWS_MAX = 20_000


@functools.lru_cache(maxsize=2)
def database(seed: int) -> duckdb.DuckDBPyConnection:
    return filled(seed, rows_max=9)


def run_case(seed: int) -> bool:
    """Plan and run one random query; False where DuckDB refuses it or its answer is too large.

    Where a cast fails for some row, whether DuckDB meets that row depends on its own plan: no case either.
    """
    rng = random.Random(seed)
    con = database(11 + seed % 2)
    try:
        sql = Queries(rng).query(rng.choice((1, 2, 3)))
        plan = plan_view("case", sql, CATALOG)
        expected = answer(con, plan.reference_sql)
    except (SqlError, duckdb.Error):
        return False
    if len(expected) > ROWS_MAX:
        return False
    try:
        got = Naive(con).rows(plan.root)
    except duckdb.ConversionException:
        return False
    assert bag(got) == bag(expected), f"seed {seed}: {sql}\n{plan.reference_sql}\n{explain_plan(plan)}"
    return True


@pytest.mark.parametrize("block", range(4))
def test_random_queries(block: int) -> None:
    assert sum(run_case(seed) for seed in range(block * 12, block * 12 + 12)) >= 8


def test_a_join_that_takes_in_joins_keeps_its_own_columns() -> None:
    """Two joins inside a third became one of five inputs, and their columns that nobody selects came out."""
    assert run_case(1_000_635)


@pytest.mark.torture(weight=2, least=1_000)
def test_many_random_queries(torture: Torture) -> None:
    torture.play(run_case)
