"""Names that streams, tables, views and columns may not have."""

from __future__ import annotations

import pytest

from headrace.contracts.column_list import parse_columns
from headrace.contracts.names import check_column, check_columns, check_name
from headrace.errors import DeclarationError


@pytest.mark.parametrize(
    "name", ["orders", "Orders2", "top_5", "a", "x" * 100, "late", "tumble", "timestamp"]
)
def test_identifiers_are_names(name: str) -> None:
    assert check_name("stream", name) == name


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "not an identifier"),
        ("1st", "not an identifier"),
        ("my orders", "not an identifier"),
        ("_x", "not an identifier"),
        ("bestellungen_für", "not an identifier"),
        ("orders\n", "not an identifier"),
        (None, "not an identifier"),
        ("x" * 101, "too long"),
        ("orders__late", "end in __late"),
        ("Orders__REJECTED", "end in __rejected"),
        ("t__history", "end in __history"),
        ("v__new", "end in __new"),
        ("pg_class", "start with pg_"),
        ("duckdb_tables", "start with duckdb_"),
        ("select", "reserved word"),
        ("Table", "reserved word"),
    ],
)
def test_other_names_are_refused_with_the_reason(name: str, problem: str) -> None:
    with pytest.raises(DeclarationError, match=problem) as caught:
        check_name("view", name)
    assert caught.value.where == f"view {name!r}"
    assert caught.value.expected


def test_a_name_is_taken_without_regard_to_case() -> None:
    with pytest.raises(DeclarationError, match="taken by the stream 'Orders'"):
        check_name("view", "ORDERS", [("Orders", "stream")])


@pytest.mark.parametrize("name", ["_weight", "_VERSION", "_watermark"])
def test_columns_that_headrace_adds_are_refused(name: str) -> None:
    with pytest.raises(DeclarationError, match="reserved"):
        check_columns("stream 'x'", parse_columns(f"{name} INT"))


def test_a_column_is_found_without_regard_to_case() -> None:
    schema = parse_columns("Id INT, at TIMESTAMP")
    assert check_column("stream 'x'", "event_id", "ID", schema) == "Id"
    with pytest.raises(DeclarationError, match="event_id='ident' is not a column") as caught:
        check_column("stream 'x'", "event_id", "ident", schema)
    assert caught.value.expected == "one of: Id, at"
