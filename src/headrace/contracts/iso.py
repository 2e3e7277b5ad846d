"""Times, dates and intervals as ISO-8601 text."""

from __future__ import annotations

import datetime as dt
import re

import pyarrow as pa

_MOMENT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[Tt ]([0-9]{2})(?::?([0-9]{2})(?::?([0-9]{2})(?:[.,]([0-9]+))?)?)?"
    r" ?([Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
_CLOCK = re.compile(r"([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]+))?)?")
_NUMBER = r"([+-]?[0-9]{1,18})"
_SPAN = re.compile(
    rf"([+-])?P(?:{_NUMBER}Y)?(?:{_NUMBER}M)?(?:{_NUMBER}W)?(?:{_NUMBER}D)?"
    rf"(T(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:([+-]?)([0-9]{{1,18}})?(?:\.([0-9]{{1,9}}))?S)?)?"
)
_EPOCH_DAY = dt.date(1970, 1, 1).toordinal()
_DAY_NS = 86_400_000_000_000
_INT32 = 2**31
_INT64 = 2**63


def moment_ns(text: str) -> int | None:
    """Return nanoseconds since 1970 UTC of an ISO-8601 date or time, no zone is UTC; else None.

    Digits beyond the ninth after the point are cut.
    """
    found = _MOMENT.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    try:
        days = dt.date(int(year), int(month), int(day)).toordinal() - _EPOCH_DAY
        clock_ns = _clock_ns(hour or "0", minute or "0", second or "0", fraction)
        return days * _DAY_NS + clock_ns - _zone_ns(zone)
    except ValueError:
        return None


def clock_ns(text: str) -> int | None:
    """Return nanoseconds since midnight of `10:30`, `10:30:01` or `10:30:01.5`; None where it is no time."""
    found = _CLOCK.fullmatch(text)
    if found is None:
        return None
    try:
        return _clock_ns(found[1], found[2], found[3] or "0", found[4])
    except ValueError:
        return None


def _clock_ns(hour: str, minute: str, second: str, fraction: str | None) -> int:
    clock = dt.time(int(hour), int(minute), int(second))
    seconds = clock.hour * 3600 + clock.minute * 60 + clock.second
    return seconds * 1_000_000_000 + (int(fraction[:9].ljust(9, "0")) if fraction else 0)


def _zone_ns(zone: str | None) -> int:
    if zone is None or zone in "Zz":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 23 or minutes > 59:
        raise ValueError(zone)
    sign = -1 if zone[0] == "-" else 1
    return sign * (hours * 60 + minutes) * 60_000_000_000


def interval(text: str) -> pa.MonthDayNano | None:
    """Return the interval of an ISO-8601 duration such as `P1Y2M3DT4H5M6.5S` or `PT-5S`, else None.

    Raises:
        OverflowError: more months or days than 32 bits, or more hours than 64 bits of nanoseconds hold.
    """
    found = _SPAN.fullmatch(text)
    if found is None or text[-1] in "PT":
        return None
    sign, years, months, weeks, days, _, hours, minutes, second_sign, seconds, fraction = found.groups()
    total_months = int(years or 0) * 12 + int(months or 0)
    total_days = int(weeks or 0) * 7 + int(days or 0)
    nanos = int(seconds or 0) * 1_000_000_000 + int((fraction or "0")[:6].ljust(9, "0"))
    nanos = -nanos if second_sign == "-" else nanos
    nanos += (int(hours or 0) * 60 + int(minutes or 0)) * 60_000_000_000
    flip = -1 if sign == "-" else 1
    return month_day_nano(flip * total_months, flip * total_days, flip * nanos)


def month_day_nano(months: int, days: int, nanos: int) -> pa.MonthDayNano:
    """Return the Arrow value, cut to microseconds; OverflowError where it does not fit."""
    if not (-_INT32 <= months < _INT32 and -_INT32 <= days < _INT32 and -_INT64 <= nanos < _INT64):
        raise OverflowError("the interval is out of range")
    micros = abs(nanos) // 1000 * 1000
    return pa.MonthDayNano([months, days, -micros if nanos < 0 else micros])


def interval_text(value: pa.MonthDayNano) -> str:
    """Return an interval as the ISO-8601 duration that `interval` reads back; each part has its own sign."""
    months, days, nanos = value
    years, months = int(months / 12), months - int(months / 12) * 12
    date_part = "".join(
        f"{count}{unit}" for count, unit in ((years, "Y"), (months, "M"), (days, "D")) if count
    )
    time_part = _clock_text(nanos)
    if not date_part and not time_part:
        return "PT0S"
    return f"P{date_part}T{time_part}" if time_part else f"P{date_part}"


def _clock_text(nanos: int) -> str:
    sign = "-" if nanos < 0 else ""
    minutes, rest = divmod(abs(nanos), 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    seconds, rest = divmod(rest, 1_000_000_000)
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    parts = [f"{sign}{count}{unit}" for count, unit in ((hours, "H"), (minutes, "M")) if count]
    if seconds or fraction:
        parts.append(f"{sign}{seconds}{fraction}S")
    return "".join(parts)
