"""Which names a stream, table, view or column may have."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from headrace.contracts.schema import Schema
from headrace.contracts.types import scratch_query, sql_type
from headrace.errors import DeclarationError

RESERVED_SUFFIXES = ("__late", "__rejected", "__history", "__versions", "__new")
"""Endings of the names of side tables, which Headrace itself gives."""
RESERVED_COLUMNS = ("_weight", "_version", "_watermark")
"""Columns that Headrace itself adds to changes and side tables."""
_RESERVED_PREFIXES = ("duckdb_", "pg_", "sqlite_", "information_schema")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_LENGTH_MAX = 100


def check_name(kind: str, name: object, taken: Iterable[tuple[str, str]] = ()) -> str:
    """Return `name` when a stream, table or view may be called so.

    Args:
        kind: `stream`, `table` or `view`, for the message.
        name: the proposed name.
        taken: (name, kind) of everything that is declared already.

    Raises:
        DeclarationError: no identifier, reserved, too long, or taken (without regard to case).
    """
    where = f"{kind} {name!r}"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DeclarationError(
            "the name is not an identifier", where=where, expected="letters, digits and _, first a letter"
        )
    if len(name) > _LENGTH_MAX:
        raise DeclarationError("the name is too long", where=where, expected=f"at most {_LENGTH_MAX} letters")
    lowered = name.lower()
    _check_reserved(where, lowered)
    for other, other_kind in taken:
        if other.lower() == lowered:
            raise DeclarationError(
                f"the name is taken by the {other_kind} {other!r}",
                where=where,
                expected="a name that differs without regard to case",
            )
    return name


def _check_reserved(where: str, lowered: str) -> None:
    for suffix in RESERVED_SUFFIXES:
        if lowered.endswith(suffix):
            raise DeclarationError(
                f"names that end in {suffix} are given by Headrace", where=where, expected="another ending"
            )
    for prefix in _RESERVED_PREFIXES:
        if lowered.startswith(prefix):
            raise DeclarationError(
                f"names that start with {prefix} belong to SQL catalogs",
                where=where,
                expected="another start",
            )
    if lowered in _sql_words():
        raise DeclarationError(
            "the name is a reserved word of SQL",
            where=where,
            expected="a name that SQL can read without quotes",
            hint=f"{lowered}s, or all_{lowered}",
        )


@lru_cache(maxsize=1)
def _sql_words() -> frozenset[str]:
    sql = "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category = 'reserved'"
    return frozenset(scratch_query(sql).column(0).to_pylist())


def check_columns(where: str, schema: Schema) -> None:
    """Refuse columns that Headrace itself adds; DeclarationError names the column."""
    if not len(schema):
        raise DeclarationError("there is no column", where=where, expected="at least one")
    for name in schema.names:
        if not sql_type(schema[name].sql_type).is_storable:
            raise DeclarationError(
                f"the column {name!r} is a {schema[name].sql_type}, which cannot be stored",
                where=where,
                expected="a type that Arrow and DuckDB exchange without loss",
            )
        if name.lower() in RESERVED_COLUMNS:
            raise DeclarationError(
                f"the column name {name!r} is reserved",
                where=where,
                expected="a name that Headrace does not add",
            )


def check_column(where: str, role: str, name: object, schema: Schema) -> str:
    """Return the column's name as declared; DeclarationError where the schema has none of that name."""
    if isinstance(name, str) and name in schema:
        return schema[name].name
    listed = ", ".join(schema.names)
    raise DeclarationError(f"{role}={name!r} is not a column", where=where, expected=f"one of: {listed}")
