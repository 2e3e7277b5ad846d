"""One value at a time: what a Python value means as a SQL type, or why it means nothing.

The columnar paths of `columns` must agree with these readers; they are asked whenever a column is not clean.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import enum
import math
import re
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from pydantic import BaseModel

from headrace.contracts import iso
from headrace.contracts.types import SqlType

EXACT_FLOAT_MAX = 2**53
"""Integers beyond this have no exact double; they must come as integers or text."""
FLOAT_DIGITS = 15
"""Any decimal of so many digits survives a double; one with more may not."""
UNIT_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
NUMBER_CHARS_MAX = 100
"""Longer text is no number that a column could hold; it keeps hostile text from costing time."""
INTEGER_TEXT = "[+-]?[0-9]+"
NUMBER_TEXT = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?"
_INTEGER = re.compile(INTEGER_TEXT)
_NUMBER = re.compile(NUMBER_TEXT)
_NOT_FINITE = re.compile(r"[+-]?(?:inf|infinity)|nan", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - naive is UTC here
_MICRO = dt.timedelta(microseconds=1)
_TEXT_LIKE = ("ipaddress", "pydantic.networks")
_RANGES = {
    "TINYINT": (-(2**7), 2**7 - 1),
    "SMALLINT": (-(2**15), 2**15 - 1),
    "INTEGER": (-(2**31), 2**31 - 1),
    "BIGINT": (-(2**63), 2**63 - 1),
    "UTINYINT": (0, 2**8 - 1),
    "USMALLINT": (0, 2**16 - 1),
    "UINTEGER": (0, 2**32 - 1),
    "UBIGINT": (0, 2**64 - 1),
    "HUGEINT": (1 - 10**38, 10**38 - 1),
    "UHUGEINT": (0, 10**38 - 1),
}


class Refused(ValueError):  # noqa: N818 - it is no error of the program
    """A value that its column cannot take; the text is the reason, without the value."""


Reader = Callable[[Any], Any]
"""Takes a plain value that is not None; returns what Arrow builds the column from, or raises Refused."""


def plain(value: Any) -> Any:
    """Return a value without what libraries wrap around it: NumPy scalars, enum members, pandas' NA."""
    kind = type(value)
    if kind.__name__ in ("NaTType", "NAType"):
        return None
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, np.datetime64 | np.timedelta64):
        return None if np.isnat(value) else value.astype(value.dtype.str[:3] + "[us]").item()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, pa.Scalar):
        return value.as_py()
    return str(value) if kind.__module__ in _TEXT_LIKE else value


def noun(value: Any) -> str:
    """Return what a value is, for a reason: `text`, `an integer`, `a list`."""
    match value:
        case bool():
            return "true or false"
        case int():
            return "an integer"
        case float() | Decimal():
            return "a number"
        case str():
            return "text"
        case bytes() | bytearray() | memoryview():
            return "bytes"
        case dt.datetime() | dt.date() | dt.time():
            return "a time"
        case dt.timedelta() | pa.MonthDayNano():
            return "an interval"
        case Mapping() | BaseModel():
            return "an object"
        case list() | tuple() | np.ndarray():
            return "a list"
        case _:
            return f"a {type(value).__name__}"


def _wrong(value: Any, wanted: str) -> Refused:
    return Refused(f"expected {wanted}, got {noun(value)}")


def read_bool(value: Any) -> bool:
    """BOOLEAN: true or false, also as text."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise _wrong(value, "true or false") if not isinstance(value, str) else Refused("is not true or false")


def integer_reader(sql: str) -> Reader:
    """Integers: also whole floats up to 2^53, whole decimals, and text of digits; never true or false."""
    low, high = _RANGES[sql]

    def read(value: Any) -> int:
        number = _whole(value)
        if not low <= number <= high:
            raise Refused(f"is out of the range of {sql}, {low} to {high}")
        return number

    return read


def _whole(value: Any) -> int:
    if isinstance(value, bool):
        raise _wrong(value, "an integer")
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        if len(value) > NUMBER_CHARS_MAX or not _INTEGER.fullmatch(value):
            raise Refused("is not an integer")
        return int(value)
    if isinstance(value, float):
        if not value.is_integer():
            raise Refused("is not a whole number")
        if abs(value) > EXACT_FLOAT_MAX:
            raise Refused(
                "is a floating-point number beyond 2^53, which is not exact; send an integer or text"
            )
        return int(value)
    if isinstance(value, Decimal):
        if not value.is_finite() or value.adjusted() > 60 or value != value.to_integral_value():
            raise Refused("is not a whole number")
        return int(value)
    raise _wrong(value, "an integer")


def float_reader(sql: str) -> Reader:
    """FLOAT and DOUBLE: any number, also as text, with NaN, Infinity and -Infinity."""
    limit = float(np.finfo(np.float32).max) * (1 + 2**-25) if sql == "FLOAT" else math.inf

    def read(value: Any) -> float:
        number, is_infinite = _number(value)
        if math.isinf(number) != is_infinite or (not is_infinite and abs(number) >= limit):
            raise Refused(f"is out of the range of {sql}")
        return number

    return read


def _number(value: Any) -> tuple[float, bool]:
    """Return the double and whether the writer meant an infinity."""
    if isinstance(value, bool):
        raise _wrong(value, "a number")
    if isinstance(value, float):
        return value, math.isinf(value)
    if isinstance(value, int | Decimal):
        try:
            return float(value), isinstance(value, Decimal) and value.is_infinite()
        except (OverflowError, ValueError):
            return math.inf, False
    if isinstance(value, str):
        if len(value) > NUMBER_CHARS_MAX or not (_NUMBER.fullmatch(value) or _NOT_FINITE.fullmatch(value)):
            raise Refused("is not a number")
        return float(value), "inf" in value.lower()
    raise _wrong(value, "a number")


def decimal_reader(kind: SqlType) -> Reader:
    """DECIMAL: exact; more digits than declared are refused, never rounded; floats only where exact."""
    limit = 10**kind.precision

    def read(value: Any) -> Decimal:
        unscaled = _unscaled(_exact(value, kind.scale), kind)
        if abs(unscaled) >= limit:
            raise Refused(
                f"has more than {kind.precision - kind.scale} digits before the point of {kind.sql}"
            )
        digits = tuple(map(int, str(abs(unscaled))))
        return Decimal((int(unscaled < 0), digits, -kind.scale))

    return read


def _exact(value: Any, scale: int) -> Decimal:
    if isinstance(value, bool):
        raise _wrong(value, "a decimal number")
    if isinstance(value, Decimal):
        number = value
    elif isinstance(value, int):
        if abs(value) >= 10**60:
            raise Refused("has too many digits")
        number = Decimal(value)
    elif isinstance(value, float):
        if math.isfinite(value) and abs(value) * 10.0**scale >= 10.0**FLOAT_DIGITS:
            raise Refused(f"is a float of more than {FLOAT_DIGITS} digits, which is not exact; send text")
        number = Decimal(repr(value))
    elif isinstance(value, str):
        if len(value) > NUMBER_CHARS_MAX or not _NUMBER.fullmatch(value):
            raise Refused("is not a decimal number")
        number = Decimal(value)
    else:
        raise _wrong(value, "a decimal number")
    if not number.is_finite():
        raise Refused("is not a finite number")
    return number


def _unscaled(number: Decimal, kind: SqlType) -> int:
    sign, digits, exponent = number.as_tuple()
    whole = int("".join(map(str, digits)) or "0")
    if whole == 0:
        return 0
    shift = int(exponent) + kind.scale
    if shift > 60:
        raise Refused(f"has more than {kind.precision - kind.scale} digits before the point of {kind.sql}")
    left = 0
    if shift >= 0:
        whole *= int(10**shift)
    else:
        whole, left = divmod(whole, int(10 ** min(-shift, 10_000)))
    if left:
        raise Refused(f"has more than {kind.scale} digits after the point of {kind.sql}")
    return -whole if sign else whole


def read_text(value: Any) -> str:
    """VARCHAR: text that is valid UTF-8."""
    if not isinstance(value, str):
        raise _wrong(value, "text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Refused("is not valid UTF-8") from None
    return value


def read_blob(value: Any) -> bytes:
    """BLOB: bytes, or their base64 text."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise Refused("is not base64") from None
    raise _wrong(value, "bytes, or base64 text")


def timestamp_reader(unit: str) -> Reader:
    """Timestamps as an integer of `unit`s since 1970 UTC; finer digits are cut; epoch numbers are refused."""
    unit_ns = UNIT_NS[unit]

    def read(value: Any) -> int:
        ns = _moment_ns(value)
        if not -62_135_596_800 * 10**9 <= ns < 253_402_300_800 * 10**9:
            raise Refused("is out of the years 0001 to 9999")
        units = ns // unit_ns
        if not -(2**63) < units < 2**63 - 1:
            raise Refused("is out of the range of nanoseconds, 1677 to 2262")
        return units

    return read


def _moment_ns(value: Any) -> int:
    if isinstance(value, dt.datetime):
        try:
            offset = value.utcoffset() or dt.timedelta(0)
        except (OverflowError, ValueError):
            raise Refused("has an impossible time zone") from None
        return ((value.replace(tzinfo=None) - _EPOCH - offset) // _MICRO) * 1000 + int(
            getattr(value, "nanosecond", 0)
        )
    if isinstance(value, dt.date):
        return (dt.datetime(value.year, value.month, value.day) - _EPOCH) // _MICRO * 1000  # noqa: DTZ001
    if isinstance(value, str):
        ns = iso.moment_ns(value)
        if ns is None:
            raise Refused("is not an ISO-8601 time")
        return ns
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        raise Refused(
            "is an epoch number, whose unit is open; send ISO-8601 text such as 2025-01-31T09:30:00Z"
        )
    raise _wrong(value, "an ISO-8601 time")


def read_date(value: Any) -> dt.date:
    """DATE: a date, a time at midnight UTC, or their ISO-8601 text."""
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        raise Refused("is a number, not a date; send ISO-8601 text such as 2025-01-31")
    if not isinstance(value, str | dt.datetime):
        raise _wrong(value, "a date")
    ns = iso.moment_ns(value) if isinstance(value, str) else _moment_ns(value)
    if ns is None:
        raise Refused("is not an ISO-8601 date")
    days, rest = divmod(ns, 86_400 * 10**9)
    if rest:
        raise Refused("is a time of day, not a date")
    try:
        return dt.date(1970, 1, 1) + dt.timedelta(days=days)
    except OverflowError:
        raise Refused("is out of the years 0001 to 9999") from None


def time_reader(unit: str) -> Reader:
    """TIME as an integer of `unit`s since midnight: a time without zone, or its text; finer is cut."""
    unit_ns = UNIT_NS[unit]

    def read(value: Any) -> int:
        if not isinstance(value, str | dt.time):
            raise _wrong(value, "a time of day")
        if isinstance(value, dt.time) and value.tzinfo is not None:
            raise Refused("has a time zone, which TIME cannot keep")
        ns = iso.clock_ns(value if isinstance(value, str) else value.isoformat())
        if ns is None:
            raise Refused("is not a time of day such as 09:30:00")
        return ns // unit_ns

    return read


def read_interval(value: Any) -> pa.MonthDayNano:
    """INTERVAL: a timedelta, or an ISO-8601 duration such as P1DT2H."""
    try:
        if isinstance(value, pa.MonthDayNano):
            return iso.month_day_nano(*value)
        if isinstance(value, dt.timedelta):
            nanos = (value.seconds * 1_000_000 + value.microseconds) * 1000
            return iso.month_day_nano(0, value.days, nanos)
        if isinstance(value, str):
            found = iso.interval(value)
            if found is None:
                raise Refused("is not an ISO-8601 duration such as P1DT2H")
            return found
    except OverflowError:
        raise Refused("is out of the range of INTERVAL") from None
    raise _wrong(value, "an interval")


def read_uuid(value: Any) -> str:
    """UUID: as canonical lower-case text."""
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, bytes) and len(value) == 16:
        return str(uuid.UUID(bytes=value))
    if isinstance(value, str):
        if not _UUID.fullmatch(value):
            raise Refused("is not a UUID")
        return str(uuid.UUID(value))
    raise _wrong(value, "a UUID")


def read_json(value: Any) -> str:
    """JSON: text must be JSON already; anything else is written as JSON."""
    from headrace.contracts.jsontext import json_text

    if not isinstance(value, str):
        try:
            return json_text(value)
        except (TypeError, ValueError, RecursionError):
            raise Refused("cannot be written as JSON") from None
    try:
        orjson.loads(value)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        raise Refused("is not JSON text") from None
    return value


def enum_reader(values: tuple[str, ...]) -> Reader:
    """ENUM: one of its values."""
    allowed = set(values)

    def read(value: Any) -> str:
        if not isinstance(value, str):
            raise _wrong(value, "text")
        if value not in allowed:
            raise Refused(f"is not one of: {', '.join(values[:20])}")
        return value

    return read


_READERS: dict[str, Reader] = {
    "bool": read_bool,
    "text": read_text,
    "blob": read_blob,
    "date": read_date,
    "interval": read_interval,
    "uuid": read_uuid,
    "json": read_json,
}


def reader(kind: SqlType) -> Reader:
    """Return the reader of a SQL type that has no parts."""
    match kind.kind:
        case "int" | "huge":
            return integer_reader(kind.sql)
        case "float":
            return float_reader(kind.sql)
        case "decimal":
            return decimal_reader(kind)
        case "timestamp":
            return timestamp_reader(kind.arrow.unit)
        case "time":
            return time_reader(kind.arrow.unit)
        case "enum":
            return enum_reader(kind.values)
        case _:
            return _READERS[kind.kind]
