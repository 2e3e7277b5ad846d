"""Values of rows, read a second time: what a column accepts, in plain Python, one value at a time.

The door has rules of its own, in columns; this is the slow and obvious other opinion that the oracle uses.
A value is JSON, as in a case file or a request, or a Python value; what is read is what Arrow takes for the
column's type.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

import pyarrow as pa

from headrace.contracts.types import SqlType

INTEGER_BITS = {"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64, "HUGEINT": 128}
EXACT_FLOAT_MAX = 2**53
HUGE_DIGITS = 38
"""Arrow carries HUGEINT as a decimal of so many digits."""
_DIGITS = re.compile(r"-?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_SPAN = re.compile(
    r"P(?:(-?\d+)Y)?(?:(-?\d+)M)?(?:(-?\d+)W)?(?:(-?\d+)D)?"
    r"(?:T(?:(-?\d+)H)?(?:(-?\d+)M)?(?:(-?\d+(?:\.\d+)?)S)?)?"
)


class RefusedError(Exception):
    """A column of that type does not accept that value."""


def read_value(kind: SqlType, value: Any) -> Any:
    """Return a value as Arrow takes it for a column of that type; None is NULL.

    Raises:
        RefusedError: the door must reject its row.
    """
    if value is None:
        return None
    reader = _READERS.get(kind.kind)
    if reader is None:
        raise RefusedError(f"no column can have the type {kind.sql}")
    return reader(kind, value)


def _bool(_: SqlType, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    raise RefusedError


def _integer(kind: SqlType, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise RefusedError
    if isinstance(value, str) and not _DIGITS.fullmatch(value):
        raise RefusedError
    if isinstance(value, float) and not (value.is_integer() and abs(value) <= EXACT_FLOAT_MAX):
        raise RefusedError
    number = int(value)
    unsigned = kind.sql.startswith("U")
    bits = INTEGER_BITS[kind.sql.removeprefix("U")]
    low, high = (0, 2**bits) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    if not low <= number < high or (kind.kind == "huge" and abs(number) >= 10**HUGE_DIGITS):
        raise RefusedError
    return number


def _float(kind: SqlType, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal, str)):
        raise RefusedError
    if isinstance(value, str):
        if value in _SPECIAL:
            return _SPECIAL[value]
        if not _NUMBER.fullmatch(value):
            raise RefusedError
    number = float(value)
    if math.isinf(number) and not isinstance(value, float):
        raise RefusedError
    if kind.sql != "FLOAT":
        return number
    try:
        return float(struct.unpack("f", struct.pack("f", number))[0])
    except OverflowError:
        raise RefusedError from None


def _decimal(kind: SqlType, value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal, str)):
        raise RefusedError
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise RefusedError
    try:
        number = Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        raise RefusedError from None
    if not number.is_finite():
        raise RefusedError
    sign, digits, exponent = number.as_tuple()
    scaled = Decimal((sign, digits, int(exponent) + kind.scale))  # scaleb would round to 28 digits
    if scaled != scaled.to_integral_value() or abs(scaled) >= 10**kind.precision:
        raise RefusedError
    return Decimal(f"{int(scaled)}e{-kind.scale}")


def _text(_: SqlType, value: Any) -> str:
    if not isinstance(value, str):
        raise RefusedError
    return value


def _blob(_: SqlType, value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        return base64.b64decode(_text(_, value), validate=True)
    except binascii.Error:
        raise RefusedError from None


def _date(_: SqlType, value: Any) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(_text(_, value))
    except ValueError:
        raise RefusedError from None


def _time(_: SqlType, value: Any) -> time:
    if isinstance(value, time):
        return value
    try:
        return time.fromisoformat(_text(_, value))
    except ValueError:
        raise RefusedError from None


def _timestamp(kind: SqlType, value: Any) -> datetime:
    try:
        at = value if isinstance(value, datetime) else datetime.fromisoformat(_text(kind, value))
    except ValueError:
        raise RefusedError from None
    at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    return at if kind.sql == "TIMESTAMP WITH TIME ZONE" else at.replace(tzinfo=None)


def _interval(_: SqlType, value: Any) -> Any:
    if isinstance(value, timedelta):
        micros = (value - timedelta(value.days)) // timedelta(microseconds=1)
        return pa.MonthDayNano((0, value.days, micros * 1000))
    found = _SPAN.fullmatch(_text(_, value))
    if not found or value in ("P", "PT"):
        raise RefusedError
    years, months, weeks, days, hours, minutes, seconds = (Decimal(part or 0) for part in found.groups())
    nanos = int((hours * 3600 + minutes * 60 + seconds) * 1_000_000_000)
    return pa.MonthDayNano((int(years * 12 + months), int(weeks * 7 + days), nanos))


def _uuid(_: SqlType, value: Any) -> str:
    try:
        return str(value if isinstance(value, UUID) else UUID(_text(_, value)))
    except ValueError:
        raise RefusedError from None


def _json(_: SqlType, value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        json.loads(value)
    except ValueError:
        raise RefusedError from None
    return value


def _enum(kind: SqlType, value: Any) -> str:
    if value not in kind.values:
        raise RefusedError
    return str(value)


def _struct(kind: SqlType, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or value.keys() - set(kind.names):
        raise RefusedError
    pairs = zip(kind.names, kind.children, strict=True)
    return {name: read_value(child, value.get(name)) for name, child in pairs}


def _list(kind: SqlType, value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)) or (kind.kind == "array" and len(value) != kind.size):
        raise RefusedError
    return [read_value(kind.children[0], item) for item in value]


def _map(kind: SqlType, value: Any) -> list[tuple[Any, Any]]:
    items = value.items() if isinstance(value, Mapping) else value
    if not isinstance(value, (Mapping, list, tuple)):
        raise RefusedError
    key, item = kind.children
    return [(read_value(key, name), read_value(item, part)) for name, part in items]


_READERS: dict[str, Callable[[SqlType, Any], Any]] = {
    "bool": _bool,
    "int": _integer,
    "huge": _integer,
    "float": _float,
    "decimal": _decimal,
    "text": _text,
    "blob": _blob,
    "date": _date,
    "time": _time,
    "timestamp": _timestamp,
    "interval": _interval,
    "uuid": _uuid,
    "json": _json,
    "enum": _enum,
    "struct": _struct,
    "list": _list,
    "array": _list,
    "map": _map,
}
