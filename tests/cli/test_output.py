"""Data on stdout: aligned tables, CSV and JSON that carry the values exactly and cannot steer a terminal."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from headrace.cli.output import as_text, fitted, jsonable, printable, say_csv, say_json, say_table, width_of


def test_a_table_is_aligned_numbers_to_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    say_table(["name", "n"], [("tea", 5), ("kettle", 1200), (None, None)], [False, True])
    assert capsys.readouterr().out.splitlines() == [
        "name       n",
        "──────  ────",
        "tea        5",
        "kettle  1200",
        "NULL    NULL",
    ]


def test_a_table_without_rows_or_columns(capsys: pytest.CaptureFixture[str]) -> None:
    say_table(["a"], [])
    say_table([], [])
    assert capsys.readouterr().out.splitlines() == ["a", "─", "", ""]


def test_wide_characters_take_two_columns() -> None:
    assert width_of("茶") == 2
    assert width_of("é") == 1
    assert fitted("茶茶茶", 4) == "茶…"
    assert fitted("tea", 3) == "tea"


def test_control_characters_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say_table(["x"], [("\x1b[2Jgone\r\n",)])
    assert "\x1b" not in capsys.readouterr().out
    assert printable("a\tb") == "a\\x09b"


JSON_VALUES = [
    (None, None),
    (True, True),
    (2**53, 2**53),
    (2**53 + 1, str(2**53 + 1)),
    (Decimal("1E+3"), "1000"),
    (Decimal("0.10"), "0.10"),
    (b"\x00\xff", "00ff"),
    (date(2026, 1, 2), "2026-01-02"),
    (datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02T03:00:00+00:00"),
    ([Decimal(1), {"a": 2**60}], ["1", {"a": str(2**60)}]),
    (float("nan"), None),
]


@pytest.mark.parametrize(("value", "expected"), JSON_VALUES)
def test_json_loses_nothing(value: object, expected: object, capsys: pytest.CaptureFixture[str]) -> None:
    say_json([{"v": value}])
    assert json.loads(capsys.readouterr().out) == [{"v": expected}]


def test_json_of_an_unknown_kind_is_its_text() -> None:
    assert jsonable({1: complex(1, 2)}) == {"1": "(1+2j)"}


def test_csv_reads_back(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("a,b", Decimal("1.50")), ('say "x"', None), ("two\nlines", [1, 2])]
    say_csv(["t", "v"], rows)
    back = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert back == [["t", "v"], ["a,b", "1.50"], ['say "x"', ""], ["two\nlines", "[1,2]"]]


def test_text_of_values() -> None:
    assert [as_text(v) for v in (None, True, 1.5, {"a": None})] == ["NULL", "true", "1.5", '{"a":null}']
