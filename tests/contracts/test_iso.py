"""ISO-8601 texts against Python's own dates and against intervals written back."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.contracts.iso import clock_ns, interval, interval_text, moment_ns, month_day_nano

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@given(st.datetimes(timezones=st.just(dt.UTC)), st.integers(-23 * 60, 23 * 60), st.sampled_from("T "))
def test_every_time_in_every_zone_is_the_same_moment(moment: dt.datetime, minutes: int, mark: str) -> None:
    zone = dt.timezone(dt.timedelta(minutes=minutes))
    written = dt.datetime.isoformat(moment.replace(tzinfo=zone), sep=mark)
    expected = (moment - EPOCH) // dt.timedelta(microseconds=1) * 1000 - minutes * 60 * 10**9
    assert moment_ns(written) == expected


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:01.5", 1_500_000_000),
        ("1970-01-01 00:00:00.123456789123", 123_456_789),
        ("1970-01-01T02:00+0200", 0),
        ("1970-01-01t00:00:00z", 0),
        ("1969-12-31T23:59:59.999999999Z", -1),
    ],
)
def test_forms_that_are_read(text: str, ns: int) -> None:
    assert moment_ns(text) == ns


@pytest.mark.parametrize(
    "text",
    ["", "now", "1970-01-01T", "1970-13-01", "1970-02-30", "1970-01-01T24:00", "1970-01-01T00:00:60", "0"],
)
def test_what_is_no_time_is_none(text: str) -> None:
    assert moment_ns(text) is None


def test_clocks() -> None:
    assert clock_ns("10:30") == 37_800 * 10**9
    assert clock_ns("23:59:59.999999999") == 86_400 * 10**9 - 1
    assert clock_ns("24:00") is None
    assert clock_ns("7:00") is None


@given(st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1), st.integers(-(2**53), 2**53))
def test_an_interval_reads_back_what_was_written(months: int, days: int, micros: int) -> None:
    value = pa.MonthDayNano([months, days, micros * 1000])
    assert interval(interval_text(value)) == value


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("P1DT2H", (0, 1, 7_200 * 10**9)),
        ("P1Y2M3W4DT5M6.5S", (14, 25, 306_500_000_000)),
        ("-PT5S", (0, 0, -5 * 10**9)),
        ("PT-0.25S", (0, 0, -250_000_000)),
        ("PT.5S", (0, 0, 500_000_000)),
        ("P-1MT1S", (-1, 0, 10**9)),
    ],
)
def test_durations_that_are_read(text: str, parts: tuple[int, int, int]) -> None:
    assert interval(text) == pa.MonthDayNano(list(parts))


@pytest.mark.parametrize("text", ["", "P", "PT", "1D", "P1", "P1H", "1 day", "PT1H30"])
def test_what_is_no_duration_is_none(text: str) -> None:
    assert interval(text) is None


def test_an_interval_that_does_not_fit_is_an_overflow() -> None:
    with pytest.raises(OverflowError):
        interval("P999999999999D")
    with pytest.raises(OverflowError):
        month_day_nano(0, 0, 2**63)
