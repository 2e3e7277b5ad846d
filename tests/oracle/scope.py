"""What a random query can name, and DuckDB's own opinion on the types of a text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from types import MappingProxyType

import duckdb

from headrace.contracts.shared_duckdb import SharedDuckdb

from .kinds import family

_FUNCTIONS = re.compile(r"\bmy_\w+(?=\()")
_WINDOWS = re.compile(r"(TUMBLE|HOP|SESSION|CUMULATE)\((\w+), (\w+)[^()]*\)")


@dataclass(frozen=True)
class Relation:
    """Something in FROM: its text, its alias, its columns with their types.

    `is_stream` says that rows never go; `time` is the event-time column.
    """

    sql: str
    alias: str
    columns: tuple[tuple[str, str], ...]
    time: str | None = None

    def of(self, *families: str) -> list[str]:
        """Return the columns, qualified, whose types are of those families; all where none is named."""
        return [
            f"{self.alias}.{name}" for name, kind in self.columns if not families or family(kind) in families
        ]

    def kind(self, column: str) -> str:
        """Return the type of a qualified column."""
        return dict(self.columns)[column.rpartition(".")[2]]


class NotBoundError(Exception):
    """DuckDB does not bind a text that the generator made."""


class Types:
    """Knows the relations of one case, as empty views of a scratch database.

    Args:
        relations: what texts may name.
        twins: functions that DuckDB lacks, and those of its own that have their types.
    """

    def __init__(
        self, relations: Sequence[Relation] = (), twins: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._con = _DATABASE.cursor()
        self._twins = twins
        for relation in relations:
            self.declare(relation.alias, relation.columns)

    def declare(self, name: str, columns: Sequence[tuple[str, str]]) -> None:
        """Make a relation known."""
        nulls = ", ".join(f"CAST(NULL AS {kind}) AS {column}" for column, kind in columns)
        self._con.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT {nulls} WHERE false")

    def describe(self, sql: str) -> tuple[tuple[str, str], ...]:
        """Return columns and types of a query, or raise NotBoundError."""
        bare = _WINDOWS.sub(r"(SELECT *, \3 AS window_start, \3 AS window_end FROM \2)", sql)
        bare = _FUNCTIONS.sub(lambda found: self._twins[found[0]], bare)
        try:
            relation = self._con.sql(f"SELECT * FROM ({bare})")
        except duckdb.Error as error:
            raise NotBoundError(f"{error}\n{sql}") from error
        kinds = (str(kind).replace('"NULL"', "INTEGER") for kind in relation.types)
        return tuple(zip(relation.columns, kinds, strict=True))

    def close(self) -> None:
        """Give the connection back."""
        self._con.close()


def _database() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect(":memory:", config={"threads": 1})
    con.execute("SET GLOBAL TimeZone = 'UTC'")
    return con


_DATABASE = SharedDuckdb(_database)


def pick(rnd: Random, items: Sequence[str], default: str = "1") -> str:
    """Return one of the items, or the default where there is none."""
    return rnd.choice(list(items)) if items else default
