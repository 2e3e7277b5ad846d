"""Local times: UTC as clocks of a time zone show it.

What a zone's clocks are ahead of UTC is asked of DuckDB itself, for a stretch of days at a time, and kept as
pieces of time with one offset; nothing here knows a rule of any zone. A quarter of an hour within which an
offset changes (the local mean times of old) is left to DuckDB.
"""

from __future__ import annotations

from functools import lru_cache
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.contracts.schema import Column, Schema
from headrace.engine.columns import I64, nonzero
from headrace.engine.duck import Duck
from headrace.engine.kernels.time import FINITE_US, micros
from headrace.engine.kernels.vec import TIME, Miss, Vec, both_valid, text_valid
from headrace.errors import ViewInError

_DAY, _QUARTER = 86_400_000_000, 900_000_000
_STRETCH = 512 * _DAY
_STRETCHES_MAX = 2_048
"""Stretches of zones that are kept."""
_ZONES_MAX = 64
"""Zones in one batch; a batch of more is DuckDB's."""
_UNKNOWN = np.int64(-(2**62))
_asking = Lock()
_AHEAD = Schema((Column("start", "BIGINT", pa.int64()), Column("last", "BIGINT", pa.int64())))


def local_time(zone: Vec, part: Vec) -> Vec:
    """Return `timezone(zone, timezone('UTC', time))`: a TIMESTAMP without a zone."""
    if part.kind != TIME:
        raise Miss
    data = micros(part)
    if np.any(np.abs(data) > FINITE_US // 2):
        raise Miss
    valid = both_valid(text_valid(zone.data), part.valid)
    if isinstance(zone.data, pa.Scalar):
        ahead = _ahead(str(zone.data.as_py()), np.atleast_1d(data)) if zone.data.is_valid else np.int64(0)
        return Vec(TIME, data + (ahead if np.ndim(data) else np.atleast_1d(ahead)[0]), valid)
    names = pc.dictionary_encode(zone.data)
    places = pc.fill_null(names.indices, -1).to_numpy(zero_copy_only=False)
    if len(names.dictionary) > _ZONES_MAX:
        raise Miss
    found = np.broadcast_to(data, len(places)).copy()
    asked = np.ones(len(places), dtype=np.bool_) if valid is None else np.broadcast_to(valid, len(places))
    for number, name in enumerate(names.dictionary.to_pylist()):
        rows = nonzero((places == number) & asked)
        found[rows] += _ahead(name, found[rows])
    return Vec(TIME, found, valid)


def _ahead(zone: str, times: I64) -> I64:
    """Return how far a zone's clocks are ahead of UTC at some times, in microseconds."""
    stretches = times // _STRETCH
    found = np.empty(len(times), dtype=np.int64)
    for stretch in np.unique(stretches).tolist():
        rows = nonzero(stretches == stretch)
        starts, offsets = _pieces(zone, stretch)
        found[rows] = offsets[np.searchsorted(starts, times[rows], side="right") - 1]
    if (found == _UNKNOWN).any():
        raise Miss
    return found


@lru_cache(maxsize=_STRETCHES_MAX)
def _pieces(zone: str, stretch: int) -> tuple[I64, I64]:
    """Return when the pieces of a stretch begin, ascending, and their offsets."""
    days = np.arange(stretch * _STRETCH, (stretch + 1) * _STRETCH, _DAY, dtype=np.int64)
    starts, offsets = _asked(zone, days, _DAY)
    uneven = nonzero(offsets == _UNKNOWN)
    if len(uneven):
        quarters = (days[uneven][:, None] + np.arange(0, _DAY, _QUARTER, dtype=np.int64)).ravel()
        finer = _asked(zone, quarters, _QUARTER)
        starts = np.concatenate([np.delete(starts, uneven), finer[0]])
        offsets = np.concatenate([np.delete(offsets, uneven), finer[1]])
        order = np.argsort(starts)
        starts, offsets = starts[order], offsets[order]
    changes = nonzero(np.append(True, offsets[1:] != offsets[:-1]))
    return starts[changes], offsets[changes]


def _asked(zone: str, starts: I64, length: int) -> tuple[I64, I64]:
    """Return DuckDB's offset for pieces of time of some length, unknown where it is not one and the same."""
    table = pa.table({"s": pa.array(starts).cast(pa.timestamp("us"))})
    quoted = zone.replace("'", "''")
    ahead = "epoch_us(timezone('{0}', timezone('UTC', {1}))) - epoch_us({1})"
    last = f"(s + to_microseconds({length - 1}))"
    sql = f"SELECT {ahead.format(quoted, 's')}, {ahead.format(quoted, last)} FROM _times"
    try:
        with _asking:
            answer = Duck().query(sql, {"_times": table}, _AHEAD)
    except ViewInError as error:
        raise Miss from error
    first, end = (column.to_numpy(zero_copy_only=False) for column in answer.columns)
    return starts, np.where(first == end, first, _UNKNOWN)
