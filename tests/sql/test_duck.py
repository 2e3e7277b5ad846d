"""The planner's scratch DuckDB after a fatal error: the next view is planned on another one."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from tests.fatal import end, that_can_end

from headrace.contracts.shared_duckdb import SharedDuckdb
from headrace.sql import duck as sql_duck
from headrace.sql import plan_view
from headrace.sql.duck import schema_of


def test_views_are_planned_after_a_fatal_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[duckdb.DuckDBPyConnection] = []

    def open_() -> duckdb.DuckDBPyConnection:
        opened.append(that_can_end(tmp_path / str(len(opened))))
        return opened[-1]

    monkeypatch.setattr(sql_duck, "_SCRATCH", SharedDuckdb(open_))
    catalog = {"fatal": schema_of([("x", "INTEGER")])}
    before = plan_view("v", "SELECT x + 1 AS before FROM fatal", catalog)
    assert before.schema.names == ("before",)
    end(opened[0])
    after = plan_view("v", "SELECT x + 2 AS after FROM fatal", catalog)
    assert after.schema.names == ("after",)
    assert len(opened) == 2
