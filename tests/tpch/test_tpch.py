"""The 22 queries of TPC-H as views: equal to DuckDB after each refresh, none recomputed, each with its rules.

The tables are small, but steered so that every query answers rows; orders come and go with their lines, and
customers and parts change under the joins and subqueries that read them.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import duckdb
import pyarrow as pa
import pytest
from tests.engine.world import bag

from headrace.change import Change
from headrace.engine.engine import Engine
from headrace.engine.operators.base import OperatorInfo
from headrace.sql.plan import ViewPlan
from headrace.sql.planner import plan_view
from headrace.testing.tpch import QUERIES, TABLES, Refresh, make_tables, query

CLOCK = datetime(2024, 1, 1, tzinfo=UTC)
ORDERS = 500
GROUPS = [QUERIES[at::4] for at in range(4)]
"""Queries that go through the refreshes together."""
JOINED = {"linear", "delta join", "accumulators"}
RULES = {
    "q1": {"linear", "accumulators"},
    "q2": {"linear", "delta join", "ordered range"},
    "q3": JOINED | {"ordered range"},
    "q4": {"linear", "accumulators", "match counts"},
    "q5": JOINED,
    "q6": {"linear", "accumulators"},
    "q7": JOINED,
    "q8": JOINED,
    "q9": JOINED,
    "q10": JOINED | {"ordered range"},
    "q11": JOINED,
    "q12": JOINED,
    "q13": {"linear", "accumulators", "match counts"},
    "q14": JOINED,
    "q15": JOINED | {"ordered range"},
    "q16": JOINED | {"match counts", "distinct set"},
    "q17": JOINED,
    "q18": JOINED | {"match counts", "ordered range"},
    "q19": JOINED,
    "q20": JOINED | {"match counts"},
    "q21": JOINED | {"match counts", "ordered range"},
    "q22": {"linear", "accumulators", "match counts"},
}


@functools.cache
def plan(name: str) -> ViewPlan:
    return plan_view(name, query(name), TABLES)


def rules(info: OperatorInfo) -> set[str]:
    """Return the rules of an operator and all below."""
    return {info.rule}.union(*(rules(child) for child in info.inputs))


def engine_of(names: tuple[str, ...], tables: Mapping[str, pa.RecordBatch]) -> Engine:
    """Return an engine with some of the views over the tables."""

    def history(name: str) -> Iterator[Change]:
        yield Change.inserts(tables[name])

    engine = Engine()
    for name, schema in TABLES.items():
        engine.add_relation(name, schema)
    for name in names:
        engine.add_view(plan(name), history)
    return engine


def answers(
    tables: Mapping[str, pa.RecordBatch], names: tuple[str, ...]
) -> dict[str, Counter[tuple[str, ...]]]:
    """Return what DuckDB answers over the tables."""
    with duckdb.connect(config={"threads": 1}) as connection:
        for name, rows in tables.items():
            connection.register(name, pa.Table.from_batches([rows]))
        return {name: bag(connection.sql(plan(name).reference_sql).to_arrow_table()) for name in names}


@pytest.mark.parametrize("names", GROUPS, ids=lambda names: names[0])
def test_every_query_equals_duckdb_after_each_refresh(names: tuple[str, ...]) -> None:
    tables = make_tables(ORDERS)
    engine = engine_of(names, tables)
    refresh = Refresh(tables)
    found = answers(tables, names)
    assert all(found.values()), [name for name, rows in found.items() if not rows]
    streams = [refresh.insert_orders, refresh.delete_orders, refresh.update, refresh.delete_orders]
    for number, stream in enumerate(streams):
        assert not engine.step(stream(40 if number < 3 else 300), CLOCK, {}).errors
        wanted = answers(refresh.tables, names)
        for name in names:
            assert bag(engine.snapshot(name)) == wanted[name], (name, number)


@pytest.mark.parametrize("name", QUERIES)
def test_no_query_is_recomputed(name: str) -> None:
    engine = engine_of((name,), make_tables(20))
    assert rules(engine.explain(name)) == RULES[name], rules(engine.explain(name))


def test_the_tables_are_a_function_of_the_seed() -> None:
    assert make_tables(30)["lineitem"].equals(make_tables(30)["lineitem"])
    assert not make_tables(30, 2)["lineitem"].equals(make_tables(30)["lineitem"])
