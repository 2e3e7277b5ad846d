"""A DuckDB in memory that many share by cursors, and that a fatal error does not end for ever.

After a fatal error DuckDB refuses every further statement to that database, of whomever, until it is opened
again. One statement that DuckDB fails at must not be the last that anybody asks.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

import duckdb

_ENDED = "because of a previous fatal error"


class SharedDuckdb:
    """Opens one database when it is first wanted, and another where a fatal error has ended it.

    Args:
        open_: opens a database and says its settings; it costs some 20 ms, a cursor a quarter of one.
    """

    def __init__(self, open_: Callable[[], duckdb.DuckDBPyConnection]) -> None:
        self._open = open_
        self._con: duckdb.DuckDBPyConnection | None = None
        self._lock = Lock()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a new connection to a database that answers; what it registers is its own."""
        with self._lock:
            if self._con is not None:
                cursor = self._con.cursor()
                if answers(cursor):
                    return cursor
            self._con = self._open()
            return self._con.cursor()

    def close(self) -> None:
        """Let go of the database: who asks next has another, such as each child of a process that forks."""
        with self._lock:
            self._con = None


def answers(con: duckdb.DuckDBPyConnection) -> bool:
    """Return whether the database of a connection still answers: False after a fatal error."""
    try:
        con.execute("SELECT 1").fetchall()
    except duckdb.FatalException:
        return False
    return True


def has_ended(error: BaseException | None) -> bool:
    """Return whether a question failed, directly or as a cause, for a fatal error of one before it."""
    while error is not None:
        if isinstance(error, duckdb.FatalException) and _ENDED in str(error):
            return True
        error = error.__cause__
    return False
