"""Lists of groups of one row are made without DuckDB, and are what DuckDB would have made.

Groups come with one row, get a second one, lose one, and go; the values are those that a list could lose:
NULL, both zeros, structs, lists, texts of an ENUM. Whether DuckDB was asked is counted.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from tests.engine.world import World, schema

from headrace.engine.duck import Duck

VALUES: dict[str, list[Any]] = {
    "INTEGER": [None, 0, 7],
    "DOUBLE": [None, 0.0, -0.0, float("nan")],
    "VARCHAR": ["", None, "a"],
    "STRUCT(a INTEGER, b VARCHAR)": [{"a": 1, "b": None}, None, {"a": None, "b": "x"}],
    "INTEGER[]": [[], None, [None, 1]],
    "ENUM('one', 'two')": ["one", None, "two"],
}


@pytest.mark.parametrize("kind", VALUES)
def test_groups_of_one_row_and_of_more(kind: str) -> None:
    world = World({"t": schema(g="INTEGER", v=kind)})
    world.add("lists", "SELECT g, list(v) AS l FROM t GROUP BY g")
    world.add("two", "SELECT g, list(v) AS l, list(v ORDER BY v DESC) AS m, count(*) AS n FROM t GROUP BY g")
    world.add("whole", "SELECT list(v) AS l FROM t")
    rows = [{"g": at, "v": value} for at, value in enumerate(VALUES[kind])]
    for row in rows:
        world.step({"t": [(row, 1)]})
    world.step({"t": [(row, 1) for row in rows[:2]]})
    world.step({"t": [(rows[0], -1), (rows[2], -1)]})
    world.step({"t": [(row, 1) for row in reversed(rows)]})
    world.step({"t": [(rows[0], -2), (rows[1], -3), (rows[2], -1)]})


def test_duckdb_is_asked_only_for_groups_of_more(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World({"t": schema(g="INTEGER", v="STRUCT(a INTEGER)")})
    world.add("lists", "SELECT g, list(v) AS l FROM t GROUP BY g")
    asked: list[str] = []
    query = Duck.query

    def counted(self: Duck, sql: str, *others: Any) -> pa.RecordBatch:
        asked.append(sql)
        return query(self, sql, *others)

    monkeypatch.setattr(Duck, "query", counted)
    one, other = {"g": 1, "v": {"a": 1}}, {"g": 2, "v": None}
    world.step({"t": [(one, 1), (other, 1)]})
    world.step({"t": [(one, -1)]})
    assert asked == []
    world.step({"t": [(other, 1)]})
    assert asked != []
