"""The scratch DuckDB: what one connection registers no other sees, and it reaches nothing outside."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from headrace.contracts.scratch import scratch


def test_what_is_registered_is_seen_by_nobody_else() -> None:
    with scratch() as one, scratch() as two:
        one.register("rows", pa.table({"x": [1]}))
        two.register("rows", pa.table({"x": [2]}))
        assert [con.sql("SELECT x FROM rows").fetchall() for con in (one, two)] == [[(1,)], [(2,)]]
    with scratch() as later, pytest.raises(duckdb.CatalogException):
        later.sql("SELECT x FROM rows")


def test_it_reads_no_file_and_no_variable_and_no_setting_changes(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("x\n1\n")
    rows = pa.table({"x": [1]})
    with scratch() as con:
        for sql in (f"SELECT * FROM '{tmp_path}/rows.csv'", "SELECT * FROM rows", "SET threads = 2"):
            with pytest.raises(duckdb.Error):
                con.execute(sql)
    assert rows.num_rows == 1


def test_times_are_told_in_utc() -> None:
    with scratch() as con:
        found = con.sql("SELECT CAST(TIMESTAMPTZ '2026-01-01 12:00:00+02' AS VARCHAR)").fetchall()
    assert found == [("2026-01-01 10:00:00+00",)]
