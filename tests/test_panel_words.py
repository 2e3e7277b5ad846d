"""The small texts of panels: what is read, and what is said when it cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.panel_words import (
    Condition,
    Format,
    Ordering,
    Threshold,
    parse_duration_ms,
    parse_format,
    parse_order,
    parse_thresholds,
    parse_where,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("integer", Format("integer")),
        ("number 2", Format("number", digits=2)),
        ("number 0 unit:%", Format("number", digits=0, unit="%")),
        ("money GBP", Format("money", currency="GBP")),
        ("money GBP 0 compact", Format("money", digits=0, currency="GBP", compact=True)),
        ("money @currency minor", Format("money", currency_column="currency", minor=True)),
        ("duration us", Format("duration", unit="us")),
    ],
)
def test_formats(text: str, expected: Format) -> None:
    assert parse_format(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is no format"),
        ("mony GBP", "did you mean 'money'"),
        ("money", "money needs its currency"),
        ("money gbp", "'gbp' means nothing"),
        ("integer compackt", "did you mean 'compact'"),
        ("number 99", "'99' means nothing"),
        ("percent ms", "'ms' means nothing"),
    ],
)
def test_formats_that_are_none(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_format(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 'it''s'", [Condition("a", "=", "it's")]),
        ("a <> -1.5 AND b", None),
        ('a != -1.5 AND 3 < "b c"', [Condition("a", "!=", -1.5), Condition("b c", ">", 3)]),
        (
            "(a >= 1 AND b <= 2) AND c IS NULL",
            [Condition("a", ">=", 1), Condition("b", "<=", 2), Condition("c", "is null")],
        ),
        (
            "a IS NOT NULL AND b NOT IN ('x', 'y')",
            [Condition("a", "is not null"), Condition("b", "not in", ("x", "y"))],
        ),
        (
            "a BETWEEN 1 AND 2 AND b LIKE 'x%'",
            [Condition("a", ">=", 1), Condition("a", "<=", 2), Condition("b", "like", "x%")],
        ),
        ("a = true", [Condition("a", "=", True)]),
        ("a = 1 OR b = 2", None),
        ("a = b", None),
        ("lower(a) = 'x'", None),
        ("a IN (SELECT 1)", None),
        ("a = ", None),
        ("a = 1; DROP TABLE b", None),
        ("t.a = 1", None),
    ],
)
def test_filters(text: str, expected: list[Condition] | None) -> None:
    if expected is None:
        with pytest.raises(ValueError, match="filter"):
            parse_where(text)
    else:
        assert list(parse_where(text)) == expected


def test_orders() -> None:
    assert parse_order('revenue DESC, "sku code", n asc') == (
        Ordering("revenue", True),
        Ordering("sku code"),
        Ordering("n"),
    )
    with pytest.raises(ValueError, match="'-revenue' is not an order"):
        parse_order("sku, -revenue")


@pytest.mark.parametrize(
    ("text", "length_ms"), [("250ms", 250), ("10s", 10_000), ("1h 30m", 5_400_000), ("7d", 604_800_000)]
)
def test_lengths_of_time(text: str, length_ms: int) -> None:
    assert parse_duration_ms(text) == length_ms


@pytest.mark.parametrize("text", ["", "10", "1 hour", "0s", "-5m", "5m and more"])
def test_lengths_of_time_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"length of time|longer than nothing"):
        parse_duration_ms(text)


def test_thresholds() -> None:
    levels: dict[str, float | str] = {"good": "< 10", "warn": 70, "bad": "> 90.5"}
    assert parse_thresholds(levels) == (
        Threshold("good", "<", 10.0),
        Threshold("warn", ">=", 70.0),
        Threshold("bad", ">", 90.5),
    )


@pytest.mark.parametrize("levels", [{"warning": 1}, {"warn": "high"}, {"warn": True}, {"bad": "= 3"}])
def test_thresholds_that_are_none(levels: Any) -> None:
    with pytest.raises(ValueError, match=r"is no level|is no threshold"):
        parse_thresholds(levels)
