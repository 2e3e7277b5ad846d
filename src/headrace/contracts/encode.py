"""Rows as JSON, for every way out: HTTP, WebSocket, the command line.

- Integers beyond 2^53 and all decimals are strings, in plain notation; NaN and infinities are the strings
  "NaN", "Infinity" and "-Infinity".
- TIMESTAMP, with or without zone, is ISO-8601 in UTC with Z; digits after the second only where they are not
  zero. DATE and TIME are ISO-8601; DuckDB's infinite dates and times are "infinity" and "-infinity".
- INTERVAL is an ISO-8601 duration, each part with its own sign. BLOB is base64. A JSON column stands in the
  answer as JSON, not as text.
- STRUCT is an object, LIST and ARRAY are arrays, MAP is an object whose keys are text.
- What is left (BIT, UNION, TIME WITH TIME ZONE, …) is DuckDB's text.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from headrace.contracts.casts import simple
from headrace.contracts.iso import interval_text
from headrace.contracts.jsontext import float_text
from headrace.contracts.schema import Schema
from headrace.contracts.types import SqlType, scratch_query, sql_type

EXACT_INT_MAX = 2**53
"""The largest integer that travels as a JSON number."""
_Encoder = Callable[[pa.Array, SqlType, bool], list[Any]]
_TIMES = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z
_FIRST, _LAST = np.datetime64("0001-01-01", "us"), np.datetime64("9999-12-30", "us")
"""Times from the first to before the last are written by orjson, several times quicker than by Arrow."""
_PLAIN_SCALE_MAX = 6
"""Arrow writes decimals of more digits after the point with an exponent where they are small."""


def to_json_rows(table: pa.Table, schema: Schema) -> list[dict[str, Any]]:
    """Return one dict of JSON values per row.

    Args:
        table: the rows; its columns are those of `schema`, in order.
        schema: the SQL types.
    """
    return _rows(table, schema, for_bytes=False)


def rows_json(
    table: pa.Table | pa.RecordBatch, schema: Schema, beside: Mapping[str, list[Any]] | None = None
) -> bytes:
    """Return the rows as one JSON array of objects.

    Args:
        table: the rows; its columns are those of `schema`, in order.
        schema: the SQL types.
        beside: further members of each row, by name, as JSON values.
    """
    return orjson.dumps(_rows(table, schema, for_bytes=True, beside=beside or {}))


def ndjson(table: pa.Table, schema: Schema) -> bytes:
    """Return the rows as one JSON object a line, each line ended."""
    return b"".join(
        orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in _rows(table, schema, for_bytes=True)
    )


def column_values(column: pa.ChunkedArray | pa.Array, kind: SqlType) -> list[Any]:
    """Return one column as JSON values."""
    return _column(column, kind, for_bytes=False)


def _rows(
    table: pa.Table | pa.RecordBatch,
    schema: Schema,
    *,
    for_bytes: bool,
    beside: Mapping[str, list[Any]] | None = None,
) -> list[dict[str, Any]]:
    columns = [
        _column(table.column(index), sql_type(column.sql_type), for_bytes=for_bytes)
        for index, column in enumerate(schema)
    ]
    names = schema.names
    if beside:
        names, columns = (*names, *beside), [*columns, *beside.values()]
    if not names:
        return [{} for _ in range(table.num_rows)]
    return _maker(len(names))(names, zip(*columns, strict=True))


@cache
def _maker(width: int) -> Callable[[Sequence[str], Iterable[tuple[Any, ...]]], list[dict[str, Any]]]:
    """Return what makes a dict of each row of so many values.

    It is written out for the width, as a person would for one table: that takes a third of the time of a
    loop over names and values, and rows are most of what a change costs on its way out.
    """
    numbers = range(width)
    keys = ", ".join(f"k{at}" for at in numbers)
    values = ", ".join(f"v{at}" for at in numbers)
    pairs = ", ".join(f"k{at}: v{at}" for at in numbers)
    text = f"lambda names, rows: (lambda {keys}: [{{{pairs}}} for {values}, in rows])(*names)"
    made: Callable[..., list[dict[str, Any]]] = eval(text, {})  # of a number alone
    return made


def _column(column: pa.ChunkedArray | pa.Array, kind: SqlType, *, for_bytes: bool) -> list[Any]:
    if isinstance(column, pa.ChunkedArray):
        found: list[Any] = []
        for chunk in column.chunks:
            found += _encode(chunk, kind, for_bytes)
        return found
    return _encode(column, kind, for_bytes)


def _encode(array: pa.Array, kind: SqlType, for_bytes: bool) -> list[Any]:
    if pt.is_null(array.type):
        return [None] * len(array)
    if isinstance(array.type, pa.BaseExtensionType) and kind.kind == "other":
        return _other(array, kind, for_bytes)
    array = simple(array)
    return _ENCODERS[kind.kind](array, kind, for_bytes)


def _as_is(array: pa.Array, _: SqlType, __: bool) -> list[Any]:
    return list(array.to_pylist())


def _int(array: pa.Array, _: SqlType, __: bool) -> list[Any]:
    if pt.is_decimal(array.type):
        return [None if value is None else _int_value(int(value)) for value in array.to_pylist()]
    values: list[Any] = array.to_pylist()
    if array.type.bit_width < 64:
        return values
    if not array.null_count:
        if values and (min(values) < -EXACT_INT_MAX or max(values) > EXACT_INT_MAX):
            return [_int_value(value) for value in values]
        return values
    ends = pc.min_max(array)
    low, high = ends["min"].as_py(), ends["max"].as_py()
    if low is None or (low >= -EXACT_INT_MAX and high <= EXACT_INT_MAX):
        return values
    return [None if value is None else _int_value(value) for value in values]


def _int_value(value: int) -> int | str:
    return value if -EXACT_INT_MAX <= value <= EXACT_INT_MAX else str(value)


def _float(array: pa.Array, _: SqlType, __: bool) -> list[Any]:
    finite = pc.all(pc.is_finite(array), min_count=0).as_py() is not False
    if pt.is_float32(array.type):
        texts = array.cast(pa.string()).to_pylist()
        values = [None if text is None else float(text) for text in texts]
    else:
        values = array.to_pylist()
    if finite:
        return values
    return [value if value is None or math.isfinite(value) else float_text(value) for value in values]


def _decimal(array: pa.Array, _: SqlType, __: bool) -> list[Any]:
    if not pt.is_decimal(array.type):
        return [None if value is None else str(value) for value in array.to_pylist()]
    if array.type.scale <= _PLAIN_SCALE_MAX:
        return list(array.cast(pa.string()).to_pylist())
    return [None if value is None else format(value, "f") for value in array.to_pylist()]


def _blob(array: pa.Array, _: SqlType, __: bool) -> list[Any]:
    return [None if value is None else base64.b64encode(value).decode() for value in array.to_pylist()]


def _date(array: pa.Array, _: SqlType, __: bool) -> list[Any]:
    return _with_infinities(
        array.cast(pa.date32()).cast(pa.string()), array.cast(pa.date32()).cast(pa.int32()), 2**31 - 1
    )


def _timestamp(array: pa.Array, _: SqlType, __: bool) -> list[Any]:
    naive = array.cast(pa.timestamp(array.type.unit))
    if len(array) and array.type.unit == "us" and not array.null_count:
        moments = naive.to_numpy(zero_copy_only=False)
        if moments.min() >= _FIRST and moments.max() < _LAST:
            texts: list[Any] = orjson.loads(orjson.dumps(moments, option=_TIMES))
            return texts
    text = pc.replace_substring_regex(naive.cast(pa.string()), r"\.0+$", "")
    text = pc.binary_join_element_wise(pc.replace_substring(text, " ", "T"), "Z", "")
    return _with_infinities(text, naive.cast(pa.int64()), 2**63 - 1)


def _with_infinities(text: pa.Array, numbers: pa.Array, infinity: int) -> list[Any]:
    values: list[Any] = text.to_pylist()
    ends = pc.min_max(numbers)
    low, high = ends["min"].as_py(), ends["max"].as_py()
    if low is None or (high < infinity and low > -infinity):
        return values
    named = {infinity: "infinity", -infinity: "-infinity"}
    return [named.get(number, value) for number, value in zip(numbers.to_pylist(), values, strict=True)]


def _time(array: pa.Array, _: SqlType, __: bool) -> list[Any]:
    return list(pc.replace_substring_regex(array.cast(pa.string()), r"\.0+$", "").to_pylist())


def _interval(array: pa.Array, _: SqlType, __: bool) -> list[Any]:
    return [None if value is None else interval_text(value) for value in array.to_pylist()]


def _json(array: pa.Array, _: SqlType, for_bytes: bool) -> list[Any]:
    return [None if text is None else _json_value(text, for_bytes) for text in array.to_pylist()]


def _json_value(text: str, for_bytes: bool) -> Any:
    """Return the JSON of a JSON column; text that strict JSON does not allow (such as NaN) stays text."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return orjson.Fragment(text) if for_bytes and isinstance(value, dict | list | int | float) else value


def _uuid(array: pa.Array, _: SqlType, __: bool) -> list[Any]:
    return [None if value is None else str(value) for value in array.to_pylist()]


def _struct(array: pa.Array, kind: SqlType, for_bytes: bool) -> list[Any]:
    parts = [
        _encode(part, child, for_bytes) for part, child in zip(array.flatten(), kind.children, strict=True)
    ]
    rows = zip(*parts, strict=True)
    valid = array.is_valid().to_pylist()
    return [
        dict(zip(kind.names, row, strict=True)) if ok else None for ok, row in zip(valid, rows, strict=True)
    ]


def _list(array: pa.Array, kind: SqlType, for_bytes: bool) -> list[Any]:
    items = _encode(array.flatten(), kind.children[0], for_bytes)
    return _cut(items, pc.list_value_length(array).to_pylist())


def _cut(items: Sequence[Any], lengths: Sequence[int | None]) -> list[Any]:
    found: list[Any] = []
    start = 0
    for length in lengths:
        found.append(None if length is None else items[start : start + length])
        start += length or 0
    return found


def _map(array: pa.Array, kind: SqlType, for_bytes: bool) -> list[Any]:
    pairs: list[list[tuple[Any, Any]] | None] = array.to_pylist()
    keys = pa.array([key for pair in pairs for key, _ in pair or ()], kind.children[0].arrow)
    items = pa.array([item for pair in pairs for _, item in pair or ()], kind.children[1].arrow)
    texts = [_key(key) for key in _encode(keys, kind.children[0], False)]
    flat = list(zip(texts, _encode(items, kind.children[1], for_bytes), strict=True))
    lengths = [None if pair is None else len(pair) for pair in pairs]
    return [None if pair is None else dict(pair) for pair in _cut(flat, lengths)]


def _key(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _other(array: pa.Array, kind: SqlType, _: bool) -> list[Any]:
    """Let DuckDB write what only DuckDB knows; BIT it hands out in its own layout, and takes for bytes."""
    if kind.sql == "BIT":
        return [None if value is None else _bits(value) for value in array.to_pylist()]
    table = pa.table({"x": array})
    written = scratch_query(f"SELECT CAST(CAST(x AS {kind.sql}) AS VARCHAR) AS x FROM _input", _input=table)
    return list(written.column(0).to_pylist())


def _bits(value: bytes) -> str:
    """Return the digits of a BIT: the first byte says how many leading bits are padding."""
    return "".join(f"{byte:08b}" for byte in value[1:])[value[0] :]


_ENCODERS: dict[str, _Encoder] = {
    "bool": _as_is,
    "int": _int,
    "huge": _int,
    "float": _float,
    "decimal": _decimal,
    "text": _as_is,
    "enum": _as_is,
    "uuid": _uuid,
    "blob": _blob,
    "date": _date,
    "time": _time,
    "timestamp": _timestamp,
    "interval": _interval,
    "json": _json,
    "struct": _struct,
    "list": _list,
    "array": _list,
    "map": _map,
    "other": _other,
}


def json_schema(schema: Schema) -> dict[str, Any]:
    """Return the JSON Schema of one row, for OpenAPI; every column is there, null where it may be NULL."""
    properties = {
        column.name: _value_schema(sql_type(column.sql_type), nullable=column.nullable)
        | {"x-sql-type": column.sql_type}
        for column in schema
    }
    return {
        "type": "object",
        "properties": properties,
        "required": list(schema.names),
        "additionalProperties": False,
    }


_TEXT: dict[str, Any] = {"type": "string"}
_INTEGER_TEXT = {"type": "string", "pattern": "^-?[0-9]+$", "description": "an integer beyond 2^53"}
_SCHEMAS: dict[str, dict[str, Any]] = {
    "bool": {"type": "boolean"},
    "huge": {"anyOf": [{"type": "integer"}, _INTEGER_TEXT]},
    "float": {"anyOf": [{"type": "number"}, {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]}]},
    "decimal": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"},
    "text": _TEXT,
    "blob": {"type": "string", "contentEncoding": "base64"},
    "date": {"type": "string", "format": "date"},
    "time": {"type": "string", "format": "time"},
    "timestamp": {"type": "string", "format": "date-time"},
    "interval": {"type": "string", "format": "duration"},
    "uuid": {"type": "string", "format": "uuid"},
    "json": {},
    "other": _TEXT,
}


def _value_schema(kind: SqlType, *, nullable: bool = True) -> dict[str, Any]:
    found = _not_null_schema(kind)
    if not nullable or not found:
        return found
    if "anyOf" in found:
        return {"anyOf": [*found["anyOf"], {"type": "null"}]}
    return {"anyOf": [found, {"type": "null"}]}


def _not_null_schema(kind: SqlType) -> dict[str, Any]:
    match kind.kind:
        case "int":
            wide = kind.sql in ("BIGINT", "UBIGINT")
            return dict(_SCHEMAS["huge"]) if wide else {"type": "integer"}
        case "enum":
            return {"type": "string", "enum": list(kind.values)}
        case "struct":
            parts = {
                name: _value_schema(child) for name, child in zip(kind.names, kind.children, strict=True)
            }
            return {"type": "object", "properties": parts, "required": list(kind.names)}
        case "list" | "array":
            sizes = {"minItems": kind.size, "maxItems": kind.size} if kind.kind == "array" else {}
            return {"type": "array", "items": _value_schema(kind.children[0]), **sizes}
        case "map":
            return {"type": "object", "additionalProperties": _value_schema(kind.children[1])}
        case _:
            return dict(_SCHEMAS[kind.kind])
