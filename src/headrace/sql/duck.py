"""A scratch DuckDB that holds no data: it parses, prints, binds and types SQL; its meaning is ours."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import duckdb

from headrace.contracts import types
from headrace.contracts.schema import Column, Schema
from headrace.contracts.shared_duckdb import SharedDuckdb
from headrace.sql.tree import Tree

PARSED_MAX = 256
"""Texts whose trees are remembered: relations are looked up in the text that is planned afterwards."""
_PARSED: dict[str, str] = {}


def quote(name: str) -> str:
    """Return an identifier in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def _base() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect(":memory:", config={"threads": "1"})
    con.execute("SET TimeZone = 'UTC'")
    con.execute("SET python_enable_replacements = false")
    con.execute("SET autoinstall_known_extensions = false")
    con.execute("SET autoload_known_extensions = false")
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")
    return con


_SCRATCH = SharedDuckdb(_base)


def connection() -> duckdb.DuckDBPyConnection:
    """Return a new connection to the scratch database; its temporary views are its own."""
    return _SCRATCH.cursor()


class Duck:
    """One planning's connection to the scratch database.

    A planning asks many things twice, and an answer costs half a millisecond: answers are remembered until
    something new is defined.
    """

    def __init__(self) -> None:
        self.con = connection()
        self._answers: dict[tuple[str, ...], Any] = {}

    def close(self) -> None:
        """Give the connection back."""
        self.con.close()

    def declare(self, name: str, schema: Schema) -> None:
        """Make a relation known: an empty view, so that it has columns and types but no rows and no rowid."""
        nulls = ", ".join(f"CAST(NULL AS {c.sql_type}) AS {quote(c.name)}" for c in schema)
        self.define(f"CREATE OR REPLACE TEMP VIEW {quote(name)} AS SELECT {nulls} WHERE false")

    def define(self, statement: str) -> None:
        """Run a statement that gives names a meaning."""
        self.con.execute(statement)
        self._answers.clear()

    def parse(self, sql: str) -> Tree:
        """Return DuckDB's syntax tree of a text, or its complaint (`error` is then True)."""
        found = _PARSED.get(sql)
        if found is None:
            if len(_PARSED) >= PARSED_MAX:
                _PARSED.clear()
            found = _PARSED[sql] = self._value("SELECT json_serialize_sql(?)", sql)
        tree: Tree = json.loads(found)
        return tree

    def complaint(self, sql: str) -> Tree | None:
        """Return DuckDB's complaint at binding a text, with its position, or None where there is none."""
        answer = self._ask("SELECT json_serialize_plan(?)", sql)
        return answer if answer.get("error") else None

    def bound_plan(self, sql: str) -> Tree:
        """Return DuckDB's bound plan of a query, not optimised."""
        return self._ask("SELECT json_serialize_plan(?, optimize := false)", sql)

    def text(self, query: Tree) -> str:
        """Return a query node as SQL."""
        statement = {"error": False, "statements": [{"node": query, "named_param_map": []}]}
        return self._value("SELECT json_deserialize_sql(?)", json.dumps(statement))

    def _ask(self, call: str, argument: str) -> Tree:
        answer = json.loads(self._value(call, argument))
        assert isinstance(answer, dict)
        return answer

    def _value(self, call: str, argument: str) -> str:
        asked = (call, argument)
        if asked not in self._answers:
            self._answers[asked] = str(self.con.execute(call, [argument]).fetchall()[0][0])
        return str(self._answers[asked])

    def describe(self, sql: str) -> list[tuple[str, str]]:
        """Return names and types of a query's columns, names made unique as DuckDB does it for a subquery."""
        return self.labels(f"SELECT * FROM ({sql}\n)")

    def labels(self, sql: str) -> list[tuple[str, str]]:
        """Return names and types of a query's columns, names as they are, perhaps repeated."""
        if (sql,) not in self._answers:
            relation = self.con.sql(sql)
            kinds = [_known(kind) for kind in relation.types]
            self._answers[(sql,)] = list(zip(relation.columns, kinds, strict=True))
        return list(self._answers[(sql,)])

    def types(self, columns: Mapping[str, str], expressions: Sequence[str]) -> list[str]:
        """Return the type of each scalar expression over columns of the given types."""
        if not expressions:
            return []
        return [kind for _, kind in self.labels(f"SELECT {', '.join(expressions)} FROM {_nulls(columns)}")]

    def comparison_type(self, left: str, right: str) -> str | None:
        """Return the type to which DuckDB casts the sides of `left = right`, None where it cannot."""
        if left == right:
            return left
        return _comparison_type(left, right)


def _known(sql_type: object) -> str:
    """Return a type's name; a bare NULL is an INTEGER, as in a table that DuckDB makes of it."""
    return str(sql_type).replace('"NULL"', "INTEGER")


def _nulls(columns: Mapping[str, str]) -> str:
    if not columns:
        return "(SELECT 1 AS _nothing)"
    return "(SELECT " + ", ".join(f"CAST(NULL AS {t}) AS {quote(n)}" for n, t in columns.items()) + ")"


@lru_cache(maxsize=4096)
def _comparison_type(left: str, right: str) -> str | None:
    duck = Duck()
    try:
        nulls = _nulls({"l": left, "r": right})
        answer = duck.bound_plan(f"SELECT l = r FROM {nulls}")
        if answer.get("error"):
            return None
        sides = answer["plans"][0]["expressions"][0]["children"]
        if any(side.get("type") not in ("OPERATOR_CAST", "BOUND_REF", "BOUND_COLUMN_REF") for side in sides):
            return None
        wanted = {json.dumps(side["return_type"], sort_keys=True) for side in sides}
        if len(wanted) != 1:
            return None
        return _type_name(sides[0]["return_type"])
    finally:
        duck.close()


def _type_name(logical: Tree) -> str | None:
    """Return the SQL spelling of a simple type in a bound plan; None for nested types and the like."""
    info = logical.get("type_info")
    if logical["id"] == "DECIMAL" and info:
        return f"DECIMAL({info['width']},{info['scale']})"
    if info is None:
        return str(logical["id"])
    return None


def column(name: str, text: str) -> Column:
    """Return the column of that name and SQL type."""
    return Column(name, text, types.sql_type(text).arrow)


def schema_of(columns: Iterable[tuple[str, str]]) -> Schema:
    """Return the schema of names and SQL types."""
    return Schema.of(column(name, sql_type) for name, sql_type in columns)
