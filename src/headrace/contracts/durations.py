"""Spans of time as people write them: "10s", "5m", "1h30m", "30 days"."""

from __future__ import annotations

import re
from datetime import timedelta

from headrace.errors import DeclarationError

Duration = str | timedelta
"""A span of time: a `timedelta`, or text such as `"10s"`."""

_UNITS_US = {
    "us": 1,
    "µs": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}
_SPELLINGS = {
    "microsecond": "us",
    "millisecond": "ms",
    "sec": "s",
    "second": "s",
    "min": "m",
    "minute": "m",
    "hour": "h",
    "day": "d",
    "week": "w",
}
_PART = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([a-zµ]+)\s*")
_EXPECTED = 'a timedelta, or text such as "250ms", "10s", "5m", "1h30m", "30d", "2w"'
_MAX_US = 36_525 * 86_400_000_000


def duration(value: object, *, where: str | None = None) -> timedelta:
    """Return the span of time that `value` writes.

    Args:
        value: a `timedelta`, or text of numbers with units (us, ms, s, m, h, d, w, also spelled out).
        where: what the error message should name.

    Raises:
        DeclarationError: no unit, an unknown unit, a negative span, or more than a hundred years.
    """
    if isinstance(value, timedelta):
        return _checked(value, value, where)
    if not isinstance(value, str):
        hint = f'write "{value}s" if seconds are meant' if isinstance(value, (int, float)) else None
        raise DeclarationError(f"{value!r} is not a duration", where=where, expected=_EXPECTED, hint=hint)
    return _checked(timedelta(microseconds=_parse_us(value, where)), value, where)


def _parse_us(text: str, where: str | None) -> int:
    lowered = text.lower()
    if not lowered.strip():
        raise DeclarationError("the duration is empty", where=where, expected=_EXPECTED)
    total_us = 0.0
    position = 0
    while position < len(lowered):
        part = _PART.match(lowered, position)
        if part is None:
            raise _unreadable(text, position, where)
        total_us += float(part[1]) * _unit_us(part[2], text, where)
        position = part.end()
    return round(min(total_us, _MAX_US * 2.0))


def _unit_us(unit: str, text: str, where: str | None) -> int:
    known = _SPELLINGS.get(unit.removesuffix("s") if len(unit) > 2 else unit, unit)
    if known not in _UNITS_US:
        raise DeclarationError(f"{text!r} has the unknown unit {unit!r}", where=where, expected=_EXPECTED)
    return _UNITS_US[known]


def _unreadable(text: str, position: int, where: str | None) -> DeclarationError:
    rest = text[position:].strip()
    if re.fullmatch(r"[0-9.]+", rest):
        return DeclarationError(
            f"{text!r} has no unit",
            where=where,
            expected=_EXPECTED,
            hint=f'write "{rest}s" if seconds are meant',
        )
    if rest.startswith("-"):
        return DeclarationError(f"{text!r} is negative", where=where, expected=_EXPECTED)
    return DeclarationError(f"{text!r} is not a duration", where=where, expected=_EXPECTED)


def _checked(span: timedelta, written: object, where: str | None) -> timedelta:
    if span < timedelta(0):
        raise DeclarationError(f"{written!r} is negative", where=where, expected=_EXPECTED)
    if span > timedelta(microseconds=_MAX_US):
        raise DeclarationError(f"{written!r} is more than a hundred years", where=where, expected=_EXPECTED)
    return span


def duration_text(span: timedelta) -> str:
    """Return the shortest text that `duration` reads back as `span`, such as `1h30m`."""
    left_us = span // timedelta(microseconds=1)
    parts = []
    for unit in ("d", "h", "m", "s", "ms", "us"):
        count, left_us = divmod(left_us, _UNITS_US[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
