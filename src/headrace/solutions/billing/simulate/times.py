"""Times as microseconds since the epoch in UTC, months with an anchor day, and instants worth a visit."""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from random import Random
from zoneinfo import ZoneInfo

SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
DAY_US = 24 * HOUR_US
EPOCH_DAY = date(1970, 1, 1).toordinal()


def to_us(moment: datetime) -> int:
    """Return an aware datetime as microseconds."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def from_us(at_us: int) -> datetime:
    """Return microseconds as a datetime in UTC."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)


def add_months(at_us: int, months: int) -> int:
    """Return the same day and time of a later month, or its last day where it is shorter."""
    days, rest = divmod(at_us, DAY_US)
    day = date.fromordinal(EPOCH_DAY + days)
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return (date(year, month + 1, min(day.day, last)).toordinal() - EPOCH_DAY) * DAY_US + rest


def nth_period(anchor_us: int, interval: str, count: int, nth: int) -> int:
    """Return where the nth period from the anchor begins; months keep the anchor's day where they can."""
    if interval == "day":
        return anchor_us + nth * count * DAY_US
    if interval == "week":
        return anchor_us + nth * count * 7 * DAY_US
    return add_months(anchor_us, nth * count * (12 if interval == "year" else 1))


@lru_cache(maxsize=200_000)
def local_day(at_us: int, zone: str) -> date:
    """Return the day of a moment in a time zone."""
    return from_us(at_us).astimezone(ZoneInfo(zone)).date()


def local_midnight(day: date, zone: str) -> int:
    """Return the first moment of a day in a time zone."""
    return to_us(datetime.combine(day, time(0), ZoneInfo(zone)))


def special(draw: Random, at_us: int, zone: str) -> int:
    """Return an instant near `at_us` at which mistakes like to hide: month ends, midnights, leap days."""
    day = from_us(at_us).date()
    match draw.randrange(5):
        case 0:
            day = date(day.year, day.month, calendar.monthrange(day.year, day.month)[1])
            return local_midnight(day, "UTC") + draw.randrange(DAY_US // SECOND_US) * SECOND_US
        case 1:
            return local_midnight(day, zone)
        case 2:
            return local_midnight(day, zone) - SECOND_US
        case 3 if calendar.isleap(day.year):
            return local_midnight(date(day.year, 2, 29), "UTC") + 12 * HOUR_US
        case _:
            return local_midnight(day, "UTC") - 1
