"""A shared DuckDB after a true fatal error: the next who asks has another, and whoever asks knows why."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
from tests.fatal import end, that_can_end

from headrace.contracts import types
from headrace.contracts.shared_duckdb import SharedDuckdb, answers, has_ended


def test_a_database_is_opened_once_and_again_after_it_has_ended(tmp_path: Path) -> None:
    opened: list[duckdb.DuckDBPyConnection] = []

    def open_() -> duckdb.DuckDBPyConnection:
        opened.append(that_can_end(tmp_path / str(len(opened))))
        return opened[-1]

    shared = SharedDuckdb(open_)
    first, second = shared.cursor(), shared.cursor()
    assert len(opened) == 1
    end(second)
    with pytest.raises(duckdb.FatalException) as caught:
        first.execute("SELECT 1")
    assert has_ended(caught.value)
    assert not answers(first)
    third = shared.cursor()
    assert third.execute("SELECT max(range) FROM ending").fetchall() == [(9,)]
    shared.cursor().close()
    assert len(opened) == 2
    shared.close()
    shared.cursor().close()
    assert len(opened) == 3


def test_only_what_a_former_error_ended_has_ended(tmp_path: Path) -> None:
    con = that_can_end(tmp_path)
    with pytest.raises(duckdb.Error) as wrong:
        con.execute("SELECT CAST('x' AS INTEGER)")
    assert not has_ended(wrong.value)
    con.execute("SET debug_checkpoint_abort = 'before_header'")
    con.execute("INSERT INTO ending VALUES (11)")
    with pytest.raises(duckdb.FatalException) as fatal:
        con.execute("CHECKPOINT")
    assert not has_ended(fatal.value)  # it is the error itself: asked again, it would be met again
    outer = ValueError("an error of ours")
    with pytest.raises(duckdb.FatalException) as later:
        con.cursor().execute("SELECT 1")
    outer.__cause__ = later.value
    assert has_ended(outer)
    assert not has_ended(None)


def test_small_questions_are_answered_after_a_fatal_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = [that_can_end(tmp_path)]
    shared = SharedDuckdb(opened.pop)
    monkeypatch.setattr(types, "_connections", [])
    with monkeypatch.context() as patched:
        patched.setattr(types, "scratch", shared.cursor)
        assert types.scratch_query("SELECT max(range) AS x FROM ending").to_pylist() == [{"x": 9}]
        end(shared.cursor())
    assert types.scratch_query("SELECT 1 AS x").to_pylist() == [{"x": 1}]
    assert types.sql_type("DECIMAL(17, 13)").sql == "DECIMAL(17,13)"
