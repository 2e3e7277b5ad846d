"""Spans of time as people write them, and what is said about those that are not."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.contracts.durations import duration, duration_text
from headrace.errors import DeclarationError


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("10s", timedelta(seconds=10)),
        ("5m", timedelta(minutes=5)),
        ("1h", timedelta(hours=1)),
        ("30d", timedelta(days=30)),
        ("2w", timedelta(weeks=2)),
        ("250ms", timedelta(milliseconds=250)),
        ("7us", timedelta(microseconds=7)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("1 h 30 min", timedelta(hours=1, minutes=30)),
        ("1.5h", timedelta(minutes=90)),
        ("30 days", timedelta(days=30)),
        ("1 Second", timedelta(seconds=1)),
        ("0s", timedelta(0)),
    ],
)
def test_text_with_units_is_a_span(text: str, span: timedelta) -> None:
    assert duration(text) == span


def test_a_timedelta_is_itself() -> None:
    assert duration(timedelta(seconds=3)) == timedelta(seconds=3)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("10", "no unit"),
        (10, "not a duration"),
        (None, "not a duration"),
        ("", "empty"),
        ("-1s", "negative"),
        (timedelta(seconds=-1), "negative"),
        ("1 parsec", "unknown unit 'parsec'"),
        ("soon", "not a duration"),
        ("1s soon", "not a duration"),
        ("1000000d", "hundred years"),
        ("999999999999999w", "hundred years"),
    ],
)
def test_what_is_no_span_says_why(value: object, problem: str) -> None:
    with pytest.raises(DeclarationError, match=problem) as caught:
        duration(value, where="stream 'x', lateness")
    assert caught.value.where == "stream 'x', lateness"
    assert "timedelta" in (caught.value.expected or "")


def test_a_bare_number_gets_the_hint_to_write_seconds() -> None:
    with pytest.raises(DeclarationError) as caught:
        duration("10")
    assert caught.value.hint == 'write "10s" if seconds are meant'


@given(st.timedeltas(timedelta(0), timedelta(days=36_000)))
def test_the_text_of_a_span_reads_back(span: timedelta) -> None:
    assert duration(duration_text(span)) == span
