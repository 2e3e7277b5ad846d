"""A predicate that is said to reject NULLs must never be TRUE over a row of NULLs, whatever stands beside."""

from __future__ import annotations

import duckdb
import pytest

from headrace.sql.duck import Duck
from headrace.sql.passes.null_rejecting import rejects_nulls
from headrace.sql.tree import Tree, bound, rewrite

REJECTING = [
    "u > 1", "1 >= u", "u = x", "u <> x", "u + 1 = 2", "-u < 3", "CAST(u AS VARCHAR) LIKE '%'", "NOT u > 1",
    "u BETWEEN 0 AND x", "u IN (1, x)", "u NOT IN (1, 2)", "u IS NOT NULL", "NOT (NOT u = 1)",
    "u > 1 AND x IS NULL", "u > 1 OR v < 2", "u = 1 OR (v = 2 AND x = 3)", "u % 2 = x", "u < v",
    "TRY_CAST(u AS INTEGER) = 1",
]  # fmt: skip
KEEPING = [
    "u IS NULL", "x > 1", "u > 1 OR x = 1", "coalesce(u, 1) = 1", "u IS DISTINCT FROM 1",
    "NOT (u IS NOT NULL)",
    "x BETWEEN 0 AND 9", "u IS NOT DISTINCT FROM v", "CASE WHEN u IS NULL THEN true END", "1 IN (u, 1)",
]  # fmt: skip
NAMES = {"u", "v"}


def parsed(text: str) -> Tree:
    duck = Duck()
    tree = duck.parse(f"SELECT {text}")["statements"][0]["node"]["select_list"][0]
    duck.close()
    return rewrite(
        tree, lambda part: bound(part["column_names"][0]) if part.get("class") == "COLUMN_REF" else None
    )


@pytest.mark.parametrize("text", REJECTING)
def test_a_predicate_that_needs_a_value(text: str) -> None:
    assert rejects_nulls([parsed(text)], NAMES)
    nulls = "CAST(NULL AS INTEGER) AS u, CAST(NULL AS INTEGER) AS v"
    rows = f"(SELECT {nulls}, x FROM (VALUES (0), (1), (NULL)) _(x))"
    with duckdb.connect() as connection:
        assert connection.sql(f"SELECT count(*) FROM {rows} WHERE {text}").fetchall() == [(0,)]


@pytest.mark.parametrize("text", KEEPING)
def test_a_predicate_that_may_hold_of_nulls(text: str) -> None:
    assert not rejects_nulls([parsed(text)], NAMES)
