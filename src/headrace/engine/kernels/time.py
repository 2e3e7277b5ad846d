"""Times and dates: date_trunc, date_part, epoch_ms, time_bucket, adding lengths of time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.engine.columns import I64, nonzero
from headrace.engine.kernels.arithmetic import limits
from headrace.engine.kernels.vec import DATE, FLOAT, INT, TEXT, TIME, Miss, Vec, both_valid

_SECOND, _DAY = 1_000_000, 86_400_000_000
FINITE_US = 9_000_000_000_000_000_000
_UNITS = {
    "microsecond": 1, "microseconds": 1, "millisecond": 1_000, "milliseconds": 1_000, "second": _SECOND,
    "seconds": _SECOND, "minute": 60 * _SECOND, "minutes": 60 * _SECOND, "hour": 3600 * _SECOND,
    "hours": 3600 * _SECOND, "day": _DAY, "days": _DAY,
}  # fmt: skip
_DAYS_MAX = 100_000_000
"""Dates so far around the epoch are finite."""
_CALENDAR = {"month": "M", "months": "M", "year": "Y", "years": "Y"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WRITTEN_US = 900 * 365 * _DAY
"""Years are written alike, with four digits, this far around the epoch."""
_WEEK_SHIFT = 3 * _DAY
"""The epoch was a Thursday; weeks begin on Monday."""
_BUCKETS_US = 10_959 * _DAY
"""Buckets are counted from a Monday, 2000-01-03."""
_SHIFTED_US, _MONTHS_MAX = 20_000 * 365 * _DAY, 120_000
"""Times so far around the epoch are moved by so many months, and stay within the calendar."""


def micros(part: Vec) -> Any:
    """Return times or dates as microseconds; infinities are left to DuckDB."""
    if part.kind == TIME:
        data = part.data
    elif part.kind == DATE:
        if np.any(np.abs(part.data) > _DAYS_MAX):
            raise Miss
        data = part.data * _DAY
    else:
        raise Miss
    if np.any(np.abs(data) > FINITE_US):
        raise Miss
    return data


def _within(data: Any, most: int) -> bool:
    """Whether whole numbers are no farther from zero; the least one of 64 bits has no absolute value."""
    least, greatest = limits(data)
    return -most <= least and greatest <= most


def shift_date(part: Vec, days: Vec, sign: int) -> Vec:
    """Return a date moved by so many days; infinities, and days beyond the calendar, are left to DuckDB."""
    if not (_within(part.data, _DAYS_MAX) and _within(days.data, _DAYS_MAX)):
        raise Miss
    return Vec(DATE, part.data + sign * days.data, both_valid(part.valid, days.valid))


def truncate(unit: str, part: Vec) -> Vec:
    """Return date_trunc as a TIMESTAMP."""
    data, name = micros(part), unit.lower()
    if name in _UNITS:
        return Vec(TIME, data - data % _UNITS[name], part.valid)
    if name in ("week", "weeks"):
        return Vec(TIME, data - (data + _WEEK_SHIFT) % (7 * _DAY), part.valid)
    if name in _CALENDAR:
        return Vec(TIME, _from_calendar(_calendar(data, _CALENDAR[name])), part.valid)
    raise Miss


def _calendar(data: Any, unit: str) -> Any:
    return np.asarray(data).astype("datetime64[us]").astype(f"datetime64[{unit}]")


def _from_calendar(data: Any) -> Any:
    return data.astype("datetime64[us]").astype(np.int64)


def _month(data: Any) -> Any:
    return _calendar(data, "M").astype(np.int64) % 12 + 1


_PARTS: dict[str, Callable[[Any], Any]] = {
    "year": lambda data: _calendar(data, "Y").astype(np.int64) + 1970,
    "quarter": lambda data: (_month(data) + 2) // 3,
    "month": _month,
    "day": lambda data: data // _DAY - _calendar(data, "M").astype("datetime64[D]").astype(np.int64) + 1,
    "dow": lambda data: (data // _DAY + 4) % 7,
    "dayofweek": lambda data: (data // _DAY + 4) % 7,
    "isodow": lambda data: (data // _DAY + 3) % 7 + 1,
    "doy": lambda data: data // _DAY - _calendar(data, "Y").astype("datetime64[D]").astype(np.int64) + 1,
    "hour": lambda data: data % _DAY // (3600 * _SECOND),
    "minute": lambda data: data % (3600 * _SECOND) // (60 * _SECOND),
    "second": lambda data: data % (60 * _SECOND) // _SECOND,
    "millisecond": lambda data: data % (60 * _SECOND) // 1000,
    "microsecond": lambda data: data % (60 * _SECOND),
}


def part_of(name: str, part: Vec) -> Vec:
    """Return date_part; BIGINT, or DOUBLE for the epoch."""
    data, wanted = micros(part), name.lower()
    if wanted == "epoch":
        return Vec(FLOAT, np.asarray(data).astype(np.float64) / 1e6, part.valid)
    if wanted not in _PARTS:
        raise Miss
    return Vec(INT, _PARTS[wanted](data), part.valid)


def epoch_ms(part: Vec) -> Vec:
    """Return milliseconds since the epoch, rounded to the nearest, halves away from zero."""
    if part.kind != TIME:
        raise Miss
    data = micros(part)
    return Vec(INT, np.sign(data) * ((np.abs(data) + 500) // 1000), part.valid)


def shift(part: Vec, amount_us: int) -> Vec:
    """Return a time moved by a constant length."""
    data = micros(part)
    if np.any(np.abs(data) > FINITE_US - abs(amount_us)):
        raise Miss
    return Vec(TIME, data + amount_us, part.valid)


def shift_days(part: Vec, days: Vec, sign: int) -> Vec:
    """Return a time moved by as many days as a column says."""
    data = micros(part)
    if np.any(np.abs(data) > FINITE_US // 2) or not _within(days.data, FINITE_US // 2 // _DAY):
        raise Miss
    return Vec(TIME, data + sign * days.data * _DAY, both_valid(part.valid, days.valid))


def shift_months(part: Vec, months: Vec, sign: int) -> Vec:
    """Return a time moved by as many months as a column says; a day that a month does not have is its
    last.
    """
    data = np.asarray(micros(part))
    if np.any(np.abs(data) > _SHIFTED_US) or not _within(months.data, _MONTHS_MAX):
        raise Miss
    month = _calendar(data, "M")
    moved = month + sign * np.asarray(months.data)
    within = data - _from_calendar(month)
    days = (_from_calendar(moved + 1) - _from_calendar(moved)) // _DAY
    day = np.minimum(within // _DAY, days - 1)
    return Vec(TIME, _from_calendar(moved) + day * _DAY + within % _DAY, both_valid(part.valid, months.valid))


def bucket(part: Vec, width_us: int) -> Vec:
    """Return time_bucket: the beginning of the stretch of constant length in which a time lies."""
    if part.kind != TIME:
        raise Miss
    data = micros(part)
    if np.any(np.abs(data) > FINITE_US // 2) or not 0 < width_us <= FINITE_US // 4:
        raise Miss
    return Vec(TIME, data - (data - _BUCKETS_US) % width_us, part.valid)


_FORMATS = {"Y": _DAY, "m": _DAY, "d": _DAY, "j": _DAY, "H": 3600 * _SECOND, "M": 60 * _SECOND, "S": _SECOND}
"""What `text_of` writes, and the length of time within which each is the same."""
_DISTINCT_MAX = 20_000


def _numbered(units: I64) -> tuple[I64, I64]:
    """Return the distinct numbers, ascending, and the place of each among them.

    Where they lie close to each other, nothing is sorted.
    """
    low = int(units.min()) if len(units) else 0
    span = int(units.max()) - low + 1 if len(units) else 0
    if not 0 < span <= len(units):
        return np.unique(units, return_inverse=True)
    at = units - low
    there = np.zeros(span, dtype=np.bool_)
    there[at] = True
    return nonzero(there) + low, (np.cumsum(there) - 1)[at]


def text_of(part: Vec, form: str) -> Vec:
    """Return strftime for a constant format: each distinct time is written once."""
    letters = [form[at + 1] for at, letter in enumerate(form) if letter == "%" and at + 1 < len(form)]
    if not letters or any(letter not in _FORMATS for letter in letters) or form.endswith("%"):
        raise Miss
    data = np.atleast_1d(micros(part))
    unit = min(_FORMATS[letter] for letter in letters)
    distinct, places = _numbered(data // unit)
    if len(distinct) > _DISTINCT_MAX or np.any(np.abs(data) > _WRITTEN_US):
        raise Miss
    written = [(_EPOCH + timedelta(microseconds=int(at) * unit)).strftime(form) for at in distinct.tolist()]
    texts = pa.array(written, pa.string()).take(pa.array(places))
    if part.valid is not None:
        texts = pc.if_else(
            pa.array(np.broadcast_to(part.valid, len(data))), texts, pa.scalar(None, pa.string())
        )
    return Vec(TEXT, texts)
