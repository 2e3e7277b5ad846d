"""Numbers and days as spreadsheets of many countries write them.

Compared with what a person of that country would read. What two persons would read as two things must be
refused: a thousand taken for one would be an MRR that is wrong and looks right.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest

from headrace.errors import BadRequest
from headrace.solutions.billing.spreadsheet import (
    WrongCellError,
    amount_of,
    currency_of,
    interval_of,
    moment_of,
    price_of,
    read_sheet,
)


@pytest.mark.parametrize(
    ("text", "mark", "number"),
    [
        ("49", None, "49"),
        ("49.00", ",", "49"),
        ("49,00", ".", "49"),
        ("1,234.50", None, "1234.5"),
        ("1.234,50", None, "1234.5"),
        ("1 234,50", None, "1234.5"),
        ("1\u202f234,50", None, "1234.5"),
        ("1'234.50", None, "1234.5"),
        ("1.234.567", None, "1234567"),
        ("1,234", ".", "1234"),
        ("1,234", ",", "1.234"),
        ("0,005", None, "0.005"),
        ("1234,567", None, "1234.567"),
        (".5", None, "0.5"),
    ],
)
def test_a_number_is_what_its_country_reads(text: str, mark: str | None, number: str) -> None:
    assert amount_of("amount", text, mark) == Decimal(number)


@pytest.mark.parametrize(
    "text",
    ["1,234", "1.234", "1,23.45", "1.234 567", "12,34,567", "-5", "(5)", "1e3", "NaN", "$5", "٤٩", ".", "5€"],
)
def test_what_is_no_number_or_may_be_two_is_refused(text: str) -> None:
    with pytest.raises(WrongCellError):
        amount_of("amount", text, None)


@pytest.mark.parametrize(
    ("text", "currency"),
    [
        ("$1,234.50", "usd"),
        ("$ 1,234.50", "cad"),
        ("1.234,50 €", "eur"),
        ("1\u202f234,50\u00a0€", "eur"),
        ("£1,234.50", "gbp"),
        ("CHF 1'234.50", "chf"),
        ("1234.50 EUR", "eur"),
        ("1,234.50", "eur"),
    ],
)
def test_an_amount_may_bear_the_sign_of_its_currency(text: str, currency: str) -> None:
    assert price_of("amount", text, currency, None) == Decimal("1234.5")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("49.00 €", "not of the line's currency USD"),
        ("GBP 49.00", "not of the line's currency USD"),
        ("$", "no amount"),
        ("-$49.00", "no amount"),
        ("($49.00)", "no amount"),
        ("$49.00 a month", "no amount"),
    ],
)
def test_an_amount_of_another_currency_or_below_nothing_is_refused(text: str, problem: str) -> None:
    with pytest.raises(WrongCellError, match=problem):
        price_of("amount", text, "usd", None)


@pytest.mark.parametrize(
    ("text", "count", "interval"),
    [
        ("", "", ("month", 1)),
        ("Monthly", "", ("month", 1)),
        ("yearly", "2", ("year", 2)),
        ("ANNUAL", "", ("year", 1)),
        ("3 months", "", ("month", 3)),
        ("every 2 weeks", "", ("week", 2)),
        ("12-month", "", ("month", 12)),
        ("quarterly", "", ("month", 3)),
        ("semi-annual", "", ("month", 6)),
        ("half yearly", "", ("month", 6)),
    ],
)
def test_an_interval_is_what_it_is_called(text: str, count: str, interval: tuple[str, int]) -> None:
    assert interval_of("interval", text, count) == interval


@pytest.mark.parametrize("text", ["0 months", "biannual", "month 3", "3", "3 fortnights"])
def test_what_is_no_interval_is_refused(text: str) -> None:
    with pytest.raises(WrongCellError, match="no interval"):
        interval_of("interval", text, "")


def test_how_many_of_an_interval_is_said_once() -> None:
    with pytest.raises(WrongCellError, match="'3 months', and interval_count says 3"):
        interval_of("interval", "3 months", "3")


def test_a_currency_is_one_that_there_is() -> None:
    assert currency_of("currency", "Kwd") == "kwd"
    with pytest.raises(WrongCellError) as caught:
        currency_of("currency", "UDS")
    assert "USD" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "first", "day"),
    [
        ("31.12.2025", None, "2025-12-31"),
        ("1.2.2026", False, "2026-02-01"),
        ("31/12/2025", False, "2025-12-31"),
        ("12/31/2025", True, "2025-12-31"),
        ("1/2/2026", True, "2026-02-01"),
        ("1/2/2026", False, "2026-01-02"),
        ("2-2-2026", None, "2026-02-02"),
        ("2026/1/5", None, "2026-01-05"),
        ("05.01.2026 9:30", None, "2026-01-05T09:30"),
        ("2026-01-05T12:00:00+02:00", None, "2026-01-05T10:00"),
    ],
)
def test_a_day_is_what_its_country_reads(text: str, first: bool | None, day: str) -> None:
    assert moment_of("start", text, first).replace(tzinfo=None) == datetime.fromisoformat(day)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("1/2/2026", "write it as"),
        ("31.02.2026", "no such day"),
        ("13/13/2026", "no such day"),
        ("31.12.25", "year, month and day"),
        ("46027", "format of a date"),
        ("9999-12-31", "leave it empty"),
        ("0026-01-05", "leave it empty"),
        ("5 Jan 2026", "year, month and day"),
    ],
)
def test_what_is_no_day_or_may_be_two_is_refused_with_what_to_do(text: str, hint: str) -> None:
    with pytest.raises(WrongCellError) as caught:
        moment_of("end", text, None)
    assert hint in caught.value.hint


def test_lines_bear_the_numbers_of_the_file() -> None:
    sheet = read_sheet(b'\na,b c\n\n"x\ny",1\n,,\nz,2,,3\n')
    assert sheet.headings == ["a", "b_c"]
    assert [(line.number, list(line.cells.values()), list(line.spare)) for line in sheet.lines] == [
        (4, ["x\ny", "1"], []),
        (7, ["z", "2"], ["3"]),
    ]
    assert sheet.place("b_c") == "column B (b_c)"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"a\nb\n\xe4\n", "line 3: the sheet is not UTF-8"),
        (b"a\0b", "no text"),
        (b"PK\x03\x04\x14\0\6\0", "a workbook"),
        (b"\xff\xfea", "not UTF-8"),
        (b"\n,,\n", "empty"),
        (b"a,A", "two columns are headed 'a'"),
        (b'a\n1\n"2\n3\n', "line 3: the sheet cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(body: bytes, problem: str) -> None:
    with pytest.raises(BadRequest, match=problem):
        read_sheet(body)
