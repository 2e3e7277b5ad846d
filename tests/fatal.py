"""A DuckDB that ends with a true fatal error: a checkpoint of a file that is told to stop half-way."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest


def that_can_end(folder: Path) -> duckdb.DuckDBPyConnection:
    """Open a database in a file; only such a one can be ended at will."""
    folder.mkdir(parents=True, exist_ok=True)
    con = duckdb.connect(str(folder / "ends.duckdb"))
    con.execute("CREATE TABLE ending AS SELECT * FROM range(10)")
    return con


def end(con: duckdb.DuckDBPyConnection) -> None:
    """End its database, for every connection to it."""
    con.execute("SET debug_checkpoint_abort = 'before_header'")
    con.execute("INSERT INTO ending VALUES (11)")
    with pytest.raises(duckdb.FatalException, match="before header write"):
        con.execute("CHECKPOINT")
