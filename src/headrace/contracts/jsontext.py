"""Any Python value as JSON text, exactly: what a JSON column holds, and how a rejected row is kept."""

from __future__ import annotations

import base64
import datetime as dt
import enum
import json
import math
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from pydantic import BaseModel

from headrace.contracts import iso

_PLAIN_TYPES = (str, int, float, bool, type(None))
_ONLY_PLAIN = (
    orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS
)
DEPTH_MAX = 200
"""Values nested deeper are refused as JSON, and cut in the text of a rejected row."""
_UNREADABLE = "(cannot be shown)"


def json_text(value: Any) -> str:
    """Return a value as JSON text.

    Decimals, integers beyond 64 bits, NaN and infinities become strings, times ISO-8601, bytes base64.

    Raises:
        TypeError: something in it has no JSON.
        ValueError: nested too deep.
    """
    try:
        text = orjson.dumps(value, option=_ONLY_PLAIN)
        if b"null" not in text:
            return text.decode()
    except TypeError:
        pass
    return orjson.dumps(_jsonable(value, 0, strict=True)).decode()


def row_text(row: Any, bytes_max: int) -> str:
    """Return a row that was rejected as JSON text; whatever it holds, there is an answer.

    Args:
        row: what the caller sent.
        bytes_max: a longer text has its long values cut.
    """
    text = _loose_text(_jsonable(row, 0, strict=False))
    if len(text) <= bytes_max:
        return text
    cut = (
        {str(key)[:200]: _cut(value) for key, value in row.items()} if isinstance(row, Mapping) else _cut(row)
    )
    return _loose_text(cut)


def _cut(value: Any) -> Any:
    text = _loose_text(_jsonable(value, 0, strict=False))
    return f"{text[:1000]}… ({len(text)} characters)" if len(text) > 1000 else json.loads(text)


def _loose_text(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except (TypeError, ValueError):
        return json.dumps(value, ensure_ascii=True, default=str)


def _jsonable(value: Any, depth: int, *, strict: bool) -> Any:
    if depth > DEPTH_MAX:
        if strict:
            raise ValueError(f"nested more than {DEPTH_MAX} deep")
        return "…"
    if isinstance(value, BaseModel):
        value = value.__dict__
    if isinstance(value, Mapping):
        return {_key(key, strict): _jsonable(item, depth + 1, strict=strict) for key, item in value.items()}
    if isinstance(value, pa.MonthDayNano):
        return iso.interval_text(value)
    if isinstance(value, list | tuple | np.ndarray):
        return [_jsonable(item, depth + 1, strict=strict) for item in value]
    return _scalar(value, strict)


def _key(key: Any, strict: bool) -> str:
    if isinstance(key, str):
        return _clean(key, strict)
    shown = _scalar(key, strict)
    return shown if isinstance(shown, str) else orjson.dumps(shown).decode()


def _clean(text: str, strict: bool) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        if strict:
            raise TypeError("not valid UTF-8") from None
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def _scalar(value: Any, strict: bool) -> Any:
    match value:
        case enum.Enum():
            return _scalar(value.value, strict)
        case np.generic():
            return _scalar(value.item(), strict) if not isinstance(value.item(), np.generic) else str(value)
        case str():
            return _clean(str(value), strict)
        case None | bool():
            return value
        case int():
            return value if -(2**63) <= value < 2**64 else _digits(value)
        case float():
            return value if math.isfinite(value) else float_text(value)
        case Decimal():
            return format(value, "f") if value.is_finite() and abs(value.adjusted()) < 100 else str(value)
        case dt.datetime() if value.tzinfo is not None:
            return _in_utc(value)
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case dt.timedelta():
            days, seconds = value.days, value.seconds * 10**9 + value.microseconds * 1000
            return iso.interval_text(pa.MonthDayNano([0, days, seconds]))
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(bytes(value)).decode()
        case uuid.UUID():
            return str(value)
    return _foreign(value, strict)


def _in_utc(value: dt.datetime) -> str:
    try:
        return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    except (OverflowError, ValueError):
        return str(value.isoformat())


def _digits(value: int) -> str:
    return str(value) if value.bit_length() < 4_000 else f"{hex(value)[:40]}…"


def _foreign(value: Any, strict: bool) -> str:
    if type(value).__name__ in ("NaTType", "NAType"):
        return "NaT"
    if strict:
        raise TypeError(f"{type(value).__name__} has no JSON")
    try:
        return _clean(str(value)[:1000], strict=False)
    except Exception:  # noqa: BLE001 - a stranger's __str__ may raise anything
        return _UNREADABLE


def float_text(value: float) -> str:
    """Return the text that JSON carries for NaN and the infinities."""
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
