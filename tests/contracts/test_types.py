"""SQL type text and its parts; DuckDB is asked, so what is compared is what DuckDB says of the same type."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest

from headrace.contracts.types import column, schema_of_arrow, sql_of_arrow, sql_type
from headrace.errors import DeclarationError


@pytest.mark.parametrize(
    ("text", "sql", "kind"),
    [
        ("int", "INTEGER", "int"),
        ("text", "VARCHAR", "text"),
        ("varchar(20)", "VARCHAR", "text"),
        ("numeric", "DECIMAL(18,3)", "decimal"),
        ("decimal( 9 , 2 )", "DECIMAL(9,2)", "decimal"),
        ("timestamptz", "TIMESTAMP WITH TIME ZONE", "timestamp"),
        ("datetime", "TIMESTAMP", "timestamp"),
        ("bytea", "BLOB", "blob"),
        ("hugeint", "HUGEINT", "huge"),
        ("real", "FLOAT", "float"),
        ("json", "JSON", "json"),
        ("uuid", "UUID", "uuid"),
        ("int[]", "INTEGER[]", "list"),
        ("int[3]", "INTEGER[3]", "array"),
        ('struct("x y" int, b text[])', 'STRUCT("x y" INTEGER, b VARCHAR[])', "struct"),
        ("map(text, int)", "MAP(VARCHAR, INTEGER)", "map"),
        ("enum('a', 'it''s')", "ENUM('a', 'it''s')", "enum"),
        ("bit", "BIT", "other"),
        ("timetz", "TIME WITH TIME ZONE", "other"),
    ],
)
def test_type_text_becomes_duckdbs_spelling(text: str, sql: str, kind: str) -> None:
    found = sql_type(text)
    assert (found.sql, found.kind) == (sql, kind)
    assert sql_type(found.sql) == found


@pytest.mark.parametrize(
    "text", ["BIGINT", "DECIMAL(38,10)", "TIMESTAMP_NS", "INTERVAL", "VARCHAR[][]", "MAP(UUID, JSON)"]
)
def test_the_arrow_type_is_what_duckdb_exchanges(text: str) -> None:
    with duckdb.connect() as con:
        exchanged = con.sql(f"SELECT NULL::{text} AS x").to_arrow_table().schema.field(0).type
    assert sql_type(text).arrow == exchanged


def test_times_with_a_zone_are_carried_in_utc_wherever_we_are() -> None:
    assert sql_type("TIMESTAMPTZ").arrow == pa.timestamp("us", tz="UTC")


def test_parts_are_known() -> None:
    found = sql_type("STRUCT(price DECIMAL(9,2), tags VARCHAR[], place DOUBLE[2])")
    assert found.names == ("price", "tags", "place")
    assert [child.kind for child in found.children] == ["decimal", "list", "array"]
    assert (found.children[0].precision, found.children[0].scale) == (9, 2)
    assert found.children[2].size == 2
    assert sql_type("ENUM('b', 'a')").values == ("b", "a")


@pytest.mark.parametrize(
    "text", ["", "  ", "FOO", "INT, 5", "INT) UNION SELECT (1", "DECIMAL(39,1)", "INT; DROP", "INT --", "("]
)
def test_what_is_no_type_is_refused(text: str) -> None:
    with pytest.raises(DeclarationError, match="is not a SQL type"):
        sql_type(text)


def test_some_types_of_views_cannot_be_stored() -> None:
    assert not sql_type("UNION(a INTEGER, b VARCHAR)").is_storable
    assert not sql_type("STRUCT(a VARIANT)").is_storable
    assert not sql_type("BIT[]").is_storable
    assert sql_type("STRUCT(a TIME_NS)").is_storable


def test_a_column_knows_whether_arrow_loses_its_type() -> None:
    assert column("a", "UUID[]").is_lossy
    assert not column("a", "BIGINT", nullable=False).is_lossy


def test_arrow_columns_get_the_types_duckdb_reads_them_with() -> None:
    assert sql_of_arrow(pa.list_(pa.int8())) == "TINYINT[]"
    arrow = pa.schema([("a", pa.large_string()), ("b", pa.timestamp("ns")), ("c", pa.decimal128(5, 1))])
    assert [(c.name, c.sql_type) for c in schema_of_arrow(arrow)] == [
        ("a", "VARCHAR"),
        ("b", "TIMESTAMP_NS"),
        ("c", "DECIMAL(5,1)"),
    ]
