"""SQL column lists: what they declare, and where a wrong one is wrong."""

from __future__ import annotations

import pytest

from headrace.contracts.column_list import parse_columns
from headrace.errors import DeclarationError


def test_names_types_and_not_null_are_read() -> None:
    schema = parse_columns("url TEXT NOT NULL, seen_at TIMESTAMP, price DECIMAL(18, 2) NULL")
    assert [(c.name, c.sql_type, c.nullable) for c in schema] == [
        ("url", "VARCHAR", False),
        ("seen_at", "TIMESTAMP", True),
        ("price", "DECIMAL(18,2)", True),
    ]


def test_commas_and_quotes_inside_of_types_do_not_divide() -> None:
    schema = parse_columns("""
        "a, b" STRUCT(x INT, "y, z" TEXT[]) not null,
        e ENUM('a,', 'b)'),
        m MAP(VARCHAR, DECIMAL(9,2)),
    """)
    assert schema.names == ("a, b", "e", "m")
    assert not schema["a, b"].nullable
    assert schema["e"].sql_type == "ENUM('a,', 'b)')"


def test_a_quote_in_a_name_is_doubled() -> None:
    assert parse_columns('"say ""hi""" INT').names == ('say "hi"',)


@pytest.mark.parametrize(
    ("text", "line", "column", "problem"),
    [
        ("", 1, 1, "a column is missing here"),
        ("a", 1, 2, "'a' has no type"),
        ("a INT,, b INT", 1, 7, "a column is missing here"),
        ("a INT, A TEXT", 1, 8, "'A' is declared twice"),
        ("a INT,\n  b NUMBR", 2, 5, "'NUMBR' is not a SQL type"),
        ("a INT PRIMARY KEY", 1, 7, "PRIMARY KEY has no place here"),
        ("a INT DEFAULT 5", 1, 7, "DEFAULT has no place here"),
        ("a INT)", 1, 6, "')' closes nothing"),
        ("a DECIMAL(5", 1, 1, "a parenthesis is not closed"),
        ("5 INT", 1, 1, "does not start with a column name"),
        ("a INT, b UNION(x INT, y TEXT)", 1, 10, "cannot be stored"),
    ],
)
def test_what_is_wrong_is_shown_in_its_place(text: str, line: int, column: int, problem: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        parse_columns(text, where="stream 'clicks'")
    error = caught.value
    assert problem in error.problem
    assert error.where == f"stream 'clicks', column list, line {line}, column {column}"
    assert (error.details["line"], error.details["column"]) == (line, column)
    if text:
        assert error.problem.endswith(" " * (4 + column - 1) + "^")


def test_a_key_in_the_list_gets_the_hint_to_name_it_outside() -> None:
    with pytest.raises(DeclarationError) as caught:
        parse_columns("a INT PRIMARY KEY")
    assert caught.value.hint == "name the key in app.table(…, key=…)"
