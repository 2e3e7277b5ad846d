"""Pointing into SQL text: lines, columns, bytes against characters, tabs, line ends."""

from __future__ import annotations

import pytest

from headrace.errors import SqlError
from headrace.sql.errors import Text, character_offset, format_error, line_and_column, located


@pytest.mark.parametrize(
    ("sql", "offset", "place"),
    [("abc", 0, (1, 1)), ("abc", 2, (1, 3)), ("a\nbc", 2, (2, 1)), ("a\n\nb", 3, (3, 1)), ("a\n", 1, (1, 2))],
)
def test_line_and_column(sql: str, offset: int, place: tuple[int, int]) -> None:
    assert line_and_column(sql, offset) == place


def test_the_marks_stand_below_the_text() -> None:
    assert located("SELECT a\nFROM t", 14, 1) == "2 | FROM t\n         ^"


def test_tabs_keep_the_marks_in_place() -> None:
    assert located("\tSELECT x", 8, 1) == "1 | \tSELECT x\n    \t       ^"


def test_marks_end_with_the_line() -> None:
    assert located("a\nbcd\r\ne", 2, 99) == "2 | bcd\n    ^^^"


def test_marks_behind_the_end_are_one() -> None:
    assert located("ab", 9, 3) == "1 | ab\n      ^"


def test_bytes_become_characters() -> None:
    assert character_offset("ü日x", len("ü日".encode())) == 2


def test_an_error_without_a_place_names_the_view() -> None:
    error = Text("v", "SELECT 1").error("bad")
    assert (error.where, error.details) == ("view 'v'", {"view": "v"})


def test_an_error_tells_its_place_to_machines_and_people() -> None:
    error = Text("v", "SELECT é, b").error("bad", byte_offset=11, byte_length=1)
    assert error.as_dict() == {
        "code": "sql",
        "problem": "bad\n1 | SELECT é, b\n              ^",
        "where": "view 'v', line 1, column 11",
        "view": "v",
        "line": 1,
        "column": 11,
        "excerpt": "1 | SELECT é, b\n              ^",
    }
    assert format_error(error).count("^") == 1


def test_other_errors_are_formatted_as_they_are() -> None:
    assert format_error(SqlError("bad", hint="good")) == "bad\n  try: good"
