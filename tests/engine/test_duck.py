"""The engine's DuckDB after a fatal error: the view that met it is in error, every other one goes on.

The databases are shared by all connections of a process: one fatal error ended the answers of every view that
DuckDB computes, until the process was started again.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from tests.fatal import end, that_can_end

from headrace.contracts.schema import Column, Schema
from headrace.contracts.shared_duckdb import SharedDuckdb
from headrace.engine import duck as engine_duck
from headrace.engine.duck import Duck
from headrace.errors import ViewInError

X = Schema((Column("x", "BIGINT", pa.int64()),))
ROWS = pa.record_batch({"x": [1, 2]})


@pytest.fixture
def ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[duckdb.DuckDBPyConnection]:
    """Have the engine's databases lie in files, where they can be ended; those that were opened."""
    opened: list[duckdb.DuckDBPyConnection] = []

    def open_() -> duckdb.DuckDBPyConnection:
        opened.append(that_can_end(tmp_path / str(len(opened))))
        return opened[-1]

    databases = lru_cache(lambda *_: SharedDuckdb(open_))
    monkeypatch.setattr(engine_duck, "_database", databases)
    return opened


def test_others_go_on_after_a_fatal_error(ended: list[duckdb.DuckDBPyConnection]) -> None:
    one, other = Duck(), Duck()
    for duck in (one, other):
        assert duck.select(ROWS, X, ["x"], X).column(0).to_pylist() == [1, 2]
    end(ended[0])
    for duck in (one, other):
        assert duck.select(ROWS, X, ["x + 1"], X).column(0).to_pylist() == [2, 3]
        assert duck.select(ROWS, X, ["x * 2"], X).column(0).to_pylist() == [2, 4]
    assert len(ended) == 2
    end(ended[1])
    assert one.types(["x + 1"], X) == ["BIGINT"]
    assert other.constant("1 + 1").to_pylist() == [2]
    one.close()
    other.close()


def test_who_never_asks_has_no_connection(ended: list[duckdb.DuckDBPyConnection]) -> None:
    duck = Duck()
    duck.close()
    assert ended == []


def test_the_question_itself_is_not_asked_again(ended: list[duckdb.DuckDBPyConnection]) -> None:
    duck = Duck()
    assert duck.types(["x"], X) == ["BIGINT"]
    assert duck._connection is not None
    duck._connection.execute("SET debug_checkpoint_abort = 'before_header'")
    duck._connection.execute("INSERT INTO ending VALUES (11)")
    with pytest.raises(ViewInError, match="before header write"):
        duck.query("CHECKPOINT", {}, X)
    assert len(ended) == 1
    assert duck.select(ROWS, X, ["x"], X).column(0).to_pylist() == [1, 2]
    assert len(ended) == 2
