"""Times as windows see them: whole microseconds since 1970, without NULLs and infinities."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from headrace.engine.columns import I64, Bools, validity, values

_US_PER = {"s": 1_000_000, "ms": 1_000, "us": 1}
_DAY_US = 86_400_000_000
_INT64, _MICROS = pa.int64(), pa.timestamp("us")


def window_micros(times: pa.Array) -> tuple[I64, Bools | None]:
    """Return times as microseconds since the epoch, and which of them are finite (None: all).

    What stands at the others has no meaning. DuckDB writes the infinities as the largest and smallest value.
    """
    raw = values(times)
    edge = np.iinfo(raw.dtype).max
    finite = (raw < edge) & (raw > -edge)
    valid = validity(times)
    if valid is not None:
        finite &= valid
    inside = None if finite.all() else finite
    if times.type == pa.date32():
        return raw.astype(np.int64) * _DAY_US, inside
    micros: I64 = raw.astype(np.int64, copy=False)
    unit = times.type.unit
    return (micros // 1000 if unit == "ns" else micros * _US_PER[unit]), inside


def bound_arrays(schema: pa.Schema, starts: I64, ends: I64) -> list[pa.Array]:
    """Return window bounds as the last two columns of a schema."""
    kinds = schema.types[-2:]
    return [time_array(bound, kind) for bound, kind in zip((starts, ends), kinds, strict=True)]


def time_array(micros: I64, kind: pa.DataType) -> pa.Array:
    """Return microseconds since the epoch as a column of a type of times."""
    plain = pa.array(micros, _INT64).view(_MICROS)
    return plain if kind == _MICROS else plain.cast(kind)
