"""SQL types: DuckDB's spelling, the Arrow type that carries it, and its parts.

DuckDB itself reads the type text, so every type that DuckDB knows is known here, under DuckDB's spelling.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import duckdb
import pyarrow as pa

from headrace.contracts.schema import Column, Schema
from headrace.contracts.scratch import scratch
from headrace.contracts.shared_duckdb import answers
from headrace.errors import DeclarationError

UTC_TIMESTAMP = pa.timestamp("us", tz="UTC")
"""What TIMESTAMP WITH TIME ZONE travels as."""

_KINDS = {
    "BOOLEAN": "bool",
    "TINYINT": "int",
    "SMALLINT": "int",
    "INTEGER": "int",
    "BIGINT": "int",
    "UTINYINT": "int",
    "USMALLINT": "int",
    "UINTEGER": "int",
    "UBIGINT": "int",
    "HUGEINT": "huge",
    "UHUGEINT": "huge",
    "FLOAT": "float",
    "DOUBLE": "float",
    "VARCHAR": "text",
    "BLOB": "blob",
    "DATE": "date",
    "TIME": "time",
    "TIME_NS": "time",
    "TIMESTAMP": "timestamp",
    "TIMESTAMP_S": "timestamp",
    "TIMESTAMP_MS": "timestamp",
    "TIMESTAMP_NS": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamp",
    "INTERVAL": "interval",
    "UUID": "uuid",
    "JSON": "json",
}
_NESTED = {"struct", "list", "array", "map"}
_FOREIGN = {"GEOMETRY", "VARIANT", '"NULL"', "BIT", "TIME WITH TIME ZONE"}
"""Types that Arrow carries as something else, and that DuckDB does not read back as they were."""


@dataclass(frozen=True, slots=True)
class SqlType:
    """One SQL type, taken apart.

    Attributes:
        sql: DuckDB's canonical spelling.
        kind: bool, int, huge, float, decimal, text, blob, date, time, timestamp, interval, uuid, json,
            enum, struct, list, array, map, or `other`: what only DuckDB can read and write (BIT, TIMETZ, …).
        arrow: the Arrow type that carries it.
        names: member names of a struct.
        children: member types of a struct; the element of a list or array; key and value of a map.
        precision: digits of a decimal, and `scale` of them after the point.
        size: length of an array.
        values: the values of an enum.
    """

    sql: str
    kind: str
    arrow: pa.DataType
    names: tuple[str, ...] = ()
    children: tuple[SqlType, ...] = ()
    precision: int = 0
    scale: int = 0
    size: int = 0
    values: tuple[str, ...] = ()

    @property
    def is_storable(self) -> bool:
        """Whether a stream or table may have a column of it; views may have any."""
        foreign = isinstance(self.arrow, pa.BaseExtensionType) or pa.types.is_union(self.arrow)
        if foreign or self.sql in _FOREIGN:
            return False
        return all(child.is_storable for child in self.children)

    @property
    def is_nested(self) -> bool:
        """Whether it has parts with types of their own."""
        return self.kind in _NESTED


_lock = threading.Lock()
_connections: list[duckdb.DuckDBPyConnection] = []


def scratch_query(sql: str, **tables: pa.Table) -> Any:
    """Answer a small query in a scratch DuckDB that only knows the given tables; returns `pa.Table`."""
    with _lock:
        con = _connected()
        for name, table in tables.items():
            con.register(name, table)
        try:
            return con.sql(sql).to_arrow_table()
        finally:
            for name in tables:
                con.unregister(name)


def _connected() -> duckdb.DuckDBPyConnection:
    """Return the connection that is kept; another one after a fatal error, which ends all of a database."""
    if not _connections or not answers(_connections[0]):
        _connections[:] = [scratch()]
    return _connections[0]


@lru_cache(maxsize=4096)
def sql_type(text: str) -> SqlType:
    """Return the type that `text` names in DuckDB's dialect, such as `decimal(18, 2)` or `STRUCT(a INT)[]`.

    Raises:
        DeclarationError: DuckDB knows no such type.
    """
    query = f"SELECT CAST(NULL AS {text}) AS x"
    try:
        _refuse_foreign_text(text)
        with _lock:
            relation = _connected().sql(query)
            described, arrow = relation.types[0], relation.to_arrow_table().schema.field(0).type
    except (duckdb.Error, ValueError, AttributeError) as error:
        first_line = str(error).splitlines()[0]
        raise DeclarationError(
            f"{text.strip()!r} is not a SQL type: {first_line}",
            expected="a type of DuckDB, such as BIGINT, DECIMAL(18,2), VARCHAR, TIMESTAMP, VARCHAR[]",
        ) from None
    return _tree(described, arrow)


def _refuse_foreign_text(text: str) -> None:
    """Refuse text that could leave the CAST: unbalanced parentheses, a semicolon, a comment."""
    depth, quote = 0, ""
    for position, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == ";" or text.startswith(("--", "/*"), position):
            raise ValueError("a type ends before ';' or a comment")
        else:
            depth += (char in "([") - (char in ")]")
            if depth < 0:
                raise ValueError("a closing parenthesis has no opening one")
    if depth or quote or not text.strip():
        raise ValueError("a parenthesis or quote is not closed" if text.strip() else "the type is missing")


def _tree(described: Any, arrow: pa.DataType) -> SqlType:
    sql = str(described)
    kind = _KINDS.get(sql)
    if kind is not None:
        if sql == "TIMESTAMP WITH TIME ZONE":
            arrow = UTC_TIMESTAMP
        return SqlType(sql, kind, arrow)
    if described.id in ("decimal", "enum", "struct", "list", "array", "map"):
        return _with_parts(described, sql, arrow)
    return SqlType(sql, "other", arrow)


def _with_parts(described: Any, sql: str, arrow: pa.DataType) -> SqlType:
    parts: dict[str, Any] = dict(described.children)
    match described.id:
        case "decimal":
            return SqlType(sql, "decimal", arrow, precision=parts["precision"], scale=parts["scale"])
        case "enum":
            return SqlType(sql, "enum", arrow, values=tuple(parts["values"]))
        case "struct":
            children = tuple(
                _tree(child, arrow.field(index).type) for index, child in enumerate(parts.values())
            )
            rebuilt = pa.struct([(name, child.arrow) for name, child in zip(parts, children, strict=True)])
            return SqlType(sql, "struct", rebuilt, names=tuple(parts), children=children)
        case "map":
            key, value = _tree(parts["key"], arrow.key_type), _tree(parts["value"], arrow.item_type)
            return SqlType(sql, "map", pa.map_(key.arrow, value.arrow), children=(key, value))
        case "array":
            child = _tree(parts["child"], arrow.value_type)
            return SqlType(
                sql, "array", pa.list_(child.arrow, parts["size"]), children=(child,), size=parts["size"]
            )
        case _:
            child = _tree(parts["child"], arrow.value_type)
            return SqlType(sql, "list", pa.list_(child.arrow), children=(child,))


def column(name: str, text: str, *, nullable: bool = True, privacy: str | None = None) -> Column:
    """Return the column of that name and SQL type; DeclarationError where DuckDB knows no such type."""
    known = sql_type(text)
    return Column(name, known.sql, known.arrow, nullable, privacy)


@lru_cache(maxsize=1024)
def sql_of_arrow(arrow: pa.DataType) -> str:
    """Return the SQL type that DuckDB gives a column of this Arrow type."""
    table = pa.table({"x": pa.array([], type=arrow)})
    answer = scratch_query("SELECT column_type FROM (DESCRIBE SELECT x FROM _input)", _input=table)
    return str(answer.column(0)[0].as_py())


def schema_of_arrow(arrow: pa.Schema) -> Schema:
    """Return the schema with which DuckDB reads Arrow columns; Arrow knows neither privacy nor NOT NULL."""
    return Schema.of(column(field.name, sql_of_arrow(field.type)) for field in arrow)
