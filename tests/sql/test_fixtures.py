"""Plans against DuckDB: for each query of `fixtures/*.sql`, on random small data,

    the plan run node by node  ==  DuckDB on the reference SQL  ==  DuckDB on the query as written.

The last holds where the query is plain DuckDB and leaves no order open; a case that does not says
`-- open order`. Beside each query stands the shape of its plan, so that a rule that is lost shows in a diff.
The data has few values, duplicates and NULLs: forgotten ties, USING columns and NULL keys were found so.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest
from tests.sql.data import CATALOG, filled
from tests.sql.naive import Naive, answer, bag

from headrace.errors import SqlError
from headrace.sql import format_error, plan_view
from headrace.sql.plan import Node, Recompute, Scan, ViewPlan

FOLDER = Path(__file__).parent / "fixtures"
SEEDS = (1, 2)
WRITES_SHAPES = bool(os.environ.get("HEADRACE_WRITE_SHAPES"))


@dataclass(frozen=True)
class Case:
    """One query and the shape of its plan."""

    file: str
    number: int
    sql: str
    shape: str

    @property
    def is_open(self) -> bool:
        return "-- open order" in self.sql

    @property
    def is_plain(self) -> bool:
        lower = self.sql.lower()
        return not any(f"{name}(" in lower for name in ("tumble", "hop", "cumulate", "session"))


def read_cases(path: Path) -> list[Case]:
    """Return the pairs of a fixture file: a query, `---`, a shape, a blank line."""
    cases = []
    for number, block in enumerate(filter(None, path.read_text().split("\n\n"))):
        sql, _, shape = block.strip("\n").partition("\n---\n")
        cases.append(Case(path.stem, number, sql, " ".join(shape.split())))
    return cases


def shape_of(node: Node) -> str:
    """Return the kinds of nodes in a plan, recomputed ones with their reason."""
    if isinstance(node, Scan):
        return node.relation
    name = f"Recompute[{node.reason}]" if isinstance(node, Recompute) else type(node).__name__
    inputs = ", ".join(shape_of(child) for child in node.inputs)
    return f"{name}({inputs})"


FILES = sorted(path for path in FOLDER.glob("*.sql") if path.stem != "errors")
CASES = [case for path in FILES for case in read_cases(path)]


@functools.lru_cache(maxsize=8)
def database(seed: int) -> duckdb.DuckDBPyConnection:
    return filled(seed)


@functools.cache
def planned(sql: str) -> ViewPlan:
    return plan_view("case", sql, CATALOG)


def named(case: Case) -> str:
    return f"{case.file}-{case.number}"


@pytest.mark.parametrize("case", CASES, ids=named)
def test_plan_names_and_types_equal_duckdbs(case: Case) -> None:
    plan = planned(case.sql)
    assert shape_of(plan.root) == case.shape or WRITES_SHAPES
    for seed in SEEDS:
        con = database(seed)
        expected = bag(answer(con, plan.reference_sql))
        assert bag(Naive(con, checks_types=seed == SEEDS[0]).rows(plan.root)) == expected, plan.reference_sql
        if case.is_plain and not case.is_open:
            assert bag(answer(con, case.sql)) == expected, plan.reference_sql
    relation = database(1).sql(f"SELECT * FROM ({plan.reference_sql})")
    assert list(plan.schema.names) == relation.columns
    assert [c.sql_type for c in plan.schema] == [str(t).replace('"NULL"', "INTEGER") for t in relation.types]


if WRITES_SHAPES:

    @pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
    def test_shapes_are_written(path: Path) -> None:
        cases = read_cases(path)
        shapes = [shape_of(planned(case.sql).root) for case in cases]
        pairs = [f"{case.sql}\n---\n{shape}" for case, shape in zip(cases, shapes, strict=True)]
        path.write_text("\n\n".join(pairs) + "\n")


def error_of(sql: str) -> str:
    """Return the error that planning a query raises, as a person reads it."""
    with pytest.raises(SqlError) as caught:
        plan_view("case", sql, CATALOG)
    kind = type(caught.value).__name__
    return "\n".join(f"{kind}: {format_error(caught.value)}".split("\n"))


def test_errors_name_the_place_and_the_way_out() -> None:
    path = FOLDER / "errors.sql"
    blocks = [block.strip("\n").partition("\n---\n") for block in path.read_text().split("\n\n") if block]
    told = [error_of(sql) for sql, _, _ in blocks]
    if WRITES_SHAPES:
        pairs = [f"{sql}\n---\n{text}" for (sql, _, _), text in zip(blocks, told, strict=True)]
        path.write_text("\n\n".join(pairs) + "\n")
    else:
        assert told == [expected for _, _, expected in blocks]


def test_the_corpus_is_large() -> None:
    assert len(CASES) >= 200
