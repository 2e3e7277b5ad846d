"""Whole Arrow columns at once: the casts that mean exactly what the readers of `values` mean, or nothing.

Every function returns None where the column is not clean, or where Arrow's cast would mean something else;
the column is then read value by value.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from headrace.contracts.types import SqlType
from headrace.contracts.values import (
    EXACT_FLOAT_MAX,
    FLOAT_DIGITS,
    INTEGER_TEXT,
    NUMBER_CHARS_MAX,
    NUMBER_TEXT,
    UNIT_NS,
)

_UUID = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_ZONE = re.compile("Z$|[+-][0-9:]+$")
_DATE_CHARS = len("2026-11-21")
_PLAIN_DECIMAL = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)"
_PLAIN_DECIMAL_CHARS_MAX = 38
"""Arrow reads `1e-69` as 0 without a word: a scale beyond its own 38 digits is left to the readers."""
_Cast = Callable[[pa.Array, SqlType], pa.Array | None]
_ENCODED = frozenset(
    kind.id
    for kind in (
        pa.uuid(), pa.dictionary(pa.int32(), pa.string()), pa.run_end_encoded(pa.int32(), pa.string()),
        pa.large_string(), pa.string_view(), pa.large_binary(), pa.binary_view(), pa.binary(1),
    )
)  # fmt: skip
"""Types that `simple` looks at; every extension type has the id of one."""


def cast_column(array: pa.Array, kind: SqlType) -> pa.Array | None:
    """Return the column as the SQL type's Arrow type, or None where it has to be read value by value."""
    if pt.is_null(array.type):
        return pa.nulls(len(array), kind.arrow)
    cast = _CASTS.get(kind.kind)
    try:
        return cast(array, kind) if cast is not None else None
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        return None


def simple(array: pa.Array) -> pa.Array:
    """Return the column without encodings: dictionaries, run ends, extensions, views, large offsets."""
    if array.type.id not in _ENCODED:
        return array
    if isinstance(array.type, pa.BaseExtensionType):
        return array if array.type == pa.uuid() else simple(array.storage)
    if pt.is_dictionary(array.type):
        return simple(array.dictionary_decode())
    if pt.is_run_end_encoded(array.type):
        return simple(pc.run_end_decode(array))
    if pt.is_large_string(array.type) or pt.is_string_view(array.type):
        return array.cast(pa.string())
    if pt.is_large_binary(array.type) or pt.is_binary_view(array.type) or pt.is_fixed_size_binary(array.type):
        return array.cast(pa.binary())
    return array


def _all(mask: pa.Array) -> bool:
    """Whether every value that is not NULL is True."""
    return pc.all(mask, min_count=0).as_py() is not False


def _is_written_as(array: pa.Array, pattern: str, chars_max: int = NUMBER_CHARS_MAX) -> bool:
    longest = pc.max(pc.binary_length(array)).as_py()
    if longest is None or longest > chars_max:
        return longest is None
    return _all(pc.match_substring_regex(array, f"^(?:{pattern})$"))


def _bool(array: pa.Array, _: SqlType) -> pa.Array | None:
    return array if pt.is_boolean(array.type) else None


def _int(array: pa.Array, kind: SqlType) -> pa.Array | None:
    if array.type == kind.arrow and not pt.is_decimal(array.type):
        return array
    if pt.is_integer(array.type):
        return array.cast(kind.arrow)
    if pt.is_floating(array.type):
        return array.cast(kind.arrow) if _within(array, EXACT_FLOAT_MAX) else None
    if pt.is_string(array.type) and _is_written_as(array, INTEGER_TEXT):
        return pc.utf8_ltrim(array, "+").cast(kind.arrow)
    return None


def _within(array: pa.Array, limit: float) -> bool:
    """Whether all floats lie in [-limit, limit] and none is NaN."""
    ends = pc.min_max(array)
    low, high = ends["min"].as_py(), ends["max"].as_py()
    return low is None or (-limit <= low and high <= limit and _all(pc.is_finite(array)))


def _huge(array: pa.Array, kind: SqlType) -> pa.Array | None:
    if pt.is_integer(array.type) or pt.is_decimal(array.type):
        found = array.cast(kind.arrow)
        return None if kind.sql == "UHUGEINT" and _has_negative(found) else found
    return None


def _has_negative(array: pa.Array) -> bool:
    low = pc.min(array).as_py()
    return low is not None and low < 0


def _float(array: pa.Array, kind: SqlType) -> pa.Array | None:
    if array.type == kind.arrow:
        return array
    if pt.is_integer(array.type):
        array = array.cast(pa.float64())
    if pt.is_string(array.type) and _is_written_as(array, NUMBER_TEXT):
        array = array.cast(pa.float64())
        if not _all(pc.is_finite(array)):
            return None
    if not pt.is_floating(array.type):
        return None
    found = array.cast(kind.arrow, safe=False)
    return found if pc.is_inf(found).equals(pc.is_inf(array)) else None


def _decimal(array: pa.Array, kind: SqlType) -> pa.Array | None:
    if array.type == kind.arrow:
        return array
    if pt.is_decimal(array.type):
        return array.cast(kind.arrow)
    if pt.is_integer(array.type):
        return array.cast(pa.decimal128(20 + min(kind.scale, 18), min(kind.scale, 18))).cast(kind.arrow)
    if pt.is_float64(array.type):
        if not _within(array, np.nextafter(10.0 ** (FLOAT_DIGITS - kind.scale), 0)):
            return None
        array = array.cast(pa.string())
    if pt.is_string(array.type) and _is_written_as(array, _PLAIN_DECIMAL, _PLAIN_DECIMAL_CHARS_MAX):
        return array.cast(kind.arrow)
    return None


def _text(array: pa.Array, _: SqlType) -> pa.Array | None:
    return array if pt.is_string(array.type) else None


def _blob(array: pa.Array, _: SqlType) -> pa.Array | None:
    return array if pt.is_binary(array.type) else None


def _date(array: pa.Array, kind: SqlType) -> pa.Array | None:
    if pt.is_date(array.type) or pt.is_string(array.type):
        return _in_years(array.cast(kind.arrow))
    return None


def _in_years(array: pa.Array) -> pa.Array | None:
    """Refuse what lies out of the years 0001 to 9999, which Python and most readers cannot hold."""
    if pt.is_date(array.type):
        low, high, numbers = -719_162, 2_932_896, array.cast(pa.int32())
    else:
        per_s = 10**9 // UNIT_NS[array.type.unit]
        low, high = -62_135_596_800 * per_s, 253_402_300_800 * per_s - 1
        low, high = max(low, -(2**63) + 1), min(high, 2**63 - 2)
        numbers = array.cast(pa.int64())
    ends = pc.min_max(numbers)
    lowest, highest = ends["min"].as_py(), ends["max"].as_py()
    return array if lowest is None or (low <= lowest and highest <= high) else None


def _timestamp(array: pa.Array, kind: SqlType) -> pa.Array | None:
    if pt.is_timestamp(array.type):
        array = _to_unit(array, kind.arrow.unit)
    elif pt.is_string(array.type):
        array = _timestamp_of_text(array, kind.arrow.unit)
    else:
        return None
    return _in_years(array.cast(kind.arrow))


def _to_unit(array: pa.Array, unit: str) -> pa.Array:
    """Change the unit; finer digits are cut towards the past, as the readers do."""
    have, want = UNIT_NS[array.type.unit], UNIT_NS[unit]
    if have >= want:
        return array.cast(pa.timestamp(unit, array.type.tz))
    numbers = array.cast(pa.int64())
    floored = np.floor_divide(numbers.fill_null(0).to_numpy(zero_copy_only=False), want // have)
    mask = numbers.is_null().to_numpy(zero_copy_only=False) if numbers.null_count else None
    return pa.array(floored, pa.int64(), mask=mask).cast(pa.timestamp(unit, array.type.tz))


def _timestamp_of_text(array: pa.Array, unit: str) -> pa.Array:
    """Read texts that all have a zone, or all have none; the first one tells which to try, for Arrow writes a
    message for each value that does not fit.
    """
    first = array[0].as_py() if len(array) else None
    zones = ("UTC", None) if first is None or _ZONE.search(first, _DATE_CHARS) else (None, "UTC")
    try:
        return array.cast(pa.timestamp(unit, zones[0]))
    except pa.ArrowInvalid:
        return array.cast(pa.timestamp(unit, zones[1]))


def _time(array: pa.Array, kind: SqlType) -> pa.Array | None:
    if not pt.is_time(array.type):
        return None
    found = array.cast(kind.arrow, safe=UNIT_NS[array.type.unit] >= UNIT_NS[kind.arrow.unit])
    ends = pc.min_max(found.cast(pa.int64()))
    low, high = ends["min"].as_py(), ends["max"].as_py()
    return found if low is None or (low >= 0 and high < 86_400 * 10**9 // UNIT_NS[found.type.unit]) else None


def _interval(array: pa.Array, kind: SqlType) -> pa.Array | None:
    return None if array.type != kind.arrow or _has_nanoseconds(array) else array


def _has_nanoseconds(array: pa.Array) -> bool:
    words = np.frombuffer(array.buffers()[1], dtype=np.int64)
    nanos = words[1::2][array.offset : array.offset + len(array)]
    return bool(np.any(nanos % 1000))


def _uuid(array: pa.Array, _: SqlType) -> pa.Array | None:
    return array if pt.is_string(array.type) and _all(pc.match_substring_regex(array, _UUID)) else None


def _enum(array: pa.Array, kind: SqlType) -> pa.Array | None:
    if not pt.is_string(array.type):
        return None
    values = pa.array(kind.values, pa.string())
    found = pc.index_in(array, values)
    if found.null_count > array.null_count:
        return None
    return pa.DictionaryArray.from_arrays(found.cast(kind.arrow.index_type), values)


_CASTS: dict[str, _Cast] = {
    "bool": _bool,
    "int": _int,
    "huge": _huge,
    "float": _float,
    "decimal": _decimal,
    "text": _text,
    "blob": _blob,
    "date": _date,
    "timestamp": _timestamp,
    "time": _time,
    "interval": _interval,
    "uuid": _uuid,
    "enum": _enum,
}
