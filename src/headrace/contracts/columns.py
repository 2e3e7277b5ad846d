"""Columns of any type, nested ones too: converted member by member, wrong values found by position."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
from pydantic import BaseModel

from headrace.contracts.casts import simple
from headrace.contracts.checks import failing
from headrace.contracts.faults import Fault, Faults
from headrace.contracts.gather import Gathered, Names, Row, as_row, gather_arrow, gather_rows
from headrace.contracts.leaves import Values, read_leaves, to_python
from headrace.contracts.shape import Member, Shape
from headrace.contracts.values import Refused, noun, plain

Mask = npt.NDArray[np.bool_]


def read_column(source: Values, shape: Shape, bytes_max: int) -> tuple[pa.Array, Faults]:
    """Return the column as `shape.type.arrow` and what breaks type or constraints; NULLs are not judged."""
    match shape.type.kind:
        case "struct":
            array, faults = _read_struct(source, shape, bytes_max)
        case "list" | "array":
            array, faults = _read_list(source, shape, bytes_max)
        case "map":
            array, faults = _read_map(source, shape, bytes_max)
        case _:
            array, faults = read_leaves(source, shape.type, bytes_max)
    for check in shape.checks:
        for position, fault in failing(array, shape.type, check):
            faults.setdefault(position, fault)
    return array, faults


def read_members(
    gathered: Gathered, members: tuple[Member, ...], bytes_max: int
) -> tuple[list[pa.Array], Faults]:
    """Return one array per member, and the first fault of each row in the order of the members."""
    faults = dict(gathered.faults)
    arrays = []
    for source, member, missing in zip(gathered.columns, members, gathered.missing, strict=True):
        array, found = read_column(source, member.shape, bytes_max)
        if not member.shape.nullable and array.null_count:
            _add_nulls(array, found, missing, gathered.present)
        for position, fault in found.items():
            faults.setdefault(position, fault.inside(f".{member.name}"))
        arrays.append(array)
    return arrays, faults


def _add_nulls(array: pa.Array, faults: Faults, missing: set[int], present: Mask | None) -> None:
    nulls = array.is_null().to_numpy(zero_copy_only=False)
    for position in np.flatnonzero(nulls if present is None else nulls & present):
        reason = "is missing" if int(position) in missing else "is NULL"
        faults.setdefault(int(position), Fault(reason))


def _mask(valid: Mask) -> pa.Array | None:
    return None if bool(valid.all()) else pa.array(~valid)


# --- structs ----------------------------------------------------------------------


def _read_struct(source: Values, shape: Shape, bytes_max: int) -> tuple[pa.Array, Faults]:
    names = Names(shape.members)
    own: Faults = {}
    if isinstance(source, pa.Array) and pt.is_struct(simple(source).type):
        source = simple(source)
        valid = source.is_valid().to_numpy(zero_copy_only=False)
        parts = [(source.type.field(i).name, part) for i, part in enumerate(source.flatten())]
        gathered = gather_arrow(parts, len(source), names, valid, extra_ignored=shape.extra_ignored)
    else:
        rows = _rows_of(to_python(source), own)
        valid = np.array([row is not None for row in rows], dtype=np.bool_)
        gathered = gather_rows(rows, names, extra_ignored=shape.extra_ignored)
    arrays, faults = read_members(gathered, shape.members, bytes_max)
    array = pa.StructArray.from_arrays(arrays, fields=list(shape.type.arrow), mask=_mask(valid))
    return array, faults | own


def _rows_of(values: list[Any], faults: Faults) -> list[Row]:
    rows: list[Row] = []
    for position, raw in enumerate(values):
        value = plain(raw) if not isinstance(raw, dict | None) else raw
        row = None if value is None else as_row(value)
        if value is not None and row is None:
            faults[position] = _wrong(value, "an object")
        rows.append(row)
    return rows


def _wrong(value: Any, wanted: str) -> Fault:
    if isinstance(value, Refused):
        return Fault(str(value))
    return Fault(f"expected {wanted}, got {noun(value)}", value)


# --- lists ----------------------------------------------------------------------


def _read_list(source: Values, shape: Shape, bytes_max: int) -> tuple[pa.Array, Faults]:
    own: Faults = {}
    lengths, inner = _list_parts(source, own)
    size = shape.type.size
    if shape.type.kind == "array":
        for position in np.flatnonzero((lengths >= 0) & (lengths != size)):
            own.setdefault(int(position), Fault(f"has {lengths[position]} items, not {size}"))
        if own:
            return _again_without(source, shape, own, bytes_max)
    valid = lengths >= 0
    offsets = np.concatenate(([0], np.cumsum(np.where(valid, lengths, 0))))
    items, item_faults = _read_items(inner, shape.members[0], bytes_max)
    faults = _outside(item_faults, offsets) | own
    if shape.type.kind == "array":
        return _fixed(items, valid, shape), faults
    array = pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), items, type=shape.type.arrow, mask=_mask(valid)
    )
    return array, faults


def _again_without(source: Values, shape: Shape, own: Faults, bytes_max: int) -> tuple[pa.Array, Faults]:
    """Read the column once more with NULL in place of the values that are known to be wrong."""
    values = [None if position in own else value for position, value in enumerate(to_python(source))]
    array, faults = read_column(values, shape, bytes_max)
    return array, faults | own


def _list_parts(source: Values, faults: Faults) -> tuple[npt.NDArray[np.int64], Values]:
    """Return the length of each list (-1: NULL) and all items in one column."""
    if isinstance(source, pa.Array):
        source = simple(source)
        if pt.is_list(source.type) or pt.is_large_list(source.type) or pt.is_fixed_size_list(source.type):
            lengths = pc.list_value_length(source).cast(pa.int64()).fill_null(-1)
            return lengths.to_numpy(zero_copy_only=False), source.flatten()
    lists: list[list[Any]] = []
    counts = np.full(len(source), -1, dtype=np.int64)
    for position, raw in enumerate(to_python(source)):
        value = raw.tolist() if isinstance(raw, np.ndarray) else raw
        if isinstance(value, list | tuple) and not isinstance(value, pa.MonthDayNano):
            counts[position] = len(value)
            lists.append(list(value))
        elif plain(value) is not None:
            faults[position] = _wrong(value, "a list")
    return counts, list(chain.from_iterable(lists))


def _read_items(source: Values, member: Member, bytes_max: int) -> tuple[pa.Array, Faults]:
    array, faults = read_column(source, member.shape, bytes_max)
    if not member.shape.nullable and array.null_count:
        _add_nulls(array, faults, set(), None)
    return array, faults


def _outside(faults: Faults, offsets: npt.NDArray[np.int64]) -> Faults:
    """Turn faults of items into faults of the lists that hold them."""
    found: Faults = {}
    for position in sorted(faults):
        parent = int(np.searchsorted(offsets, position, side="right")) - 1
        found.setdefault(parent, faults[position].inside(f"[{position - int(offsets[parent])}]"))
    return found


def _fixed(items: pa.Array, valid: Mask, shape: Shape) -> pa.Array:
    """Build an array column; a NULL array takes the room of one, as Arrow wants it."""
    size = shape.type.size
    places = np.repeat(np.cumsum(valid) - 1, size) * size + np.tile(np.arange(size), len(valid))
    indices = pa.array(places, pa.int64(), mask=np.repeat(~valid, size))
    return pa.FixedSizeListArray.from_arrays(items.take(indices), type=shape.type.arrow, mask=_mask(valid))


# --- maps ----------------------------------------------------------------------


def _read_map(source: Values, shape: Shape, bytes_max: int) -> tuple[pa.Array, Faults]:
    own: Faults = {}
    values = to_python(source)
    pairs = [_pairs(value, position, own) for position, value in enumerate(values)]
    valid = np.array([pair is not None for pair in pairs], dtype=np.bool_)
    lengths = [len(pair) if pair is not None else 0 for pair in pairs]
    offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    flat = list(chain.from_iterable(pair for pair in pairs if pair is not None))
    keys, key_faults = _read_items([key for key, _ in flat], shape.members[0], bytes_max)
    items, item_faults = _read_items([item for _, item in flat], shape.members[1], bytes_max)
    bad_keys = _outside(key_faults, offsets)
    own |= {at: Fault(f"key {fault.reason}", fault.value) for at, fault in bad_keys.items()}
    own |= _repeated_keys(keys, offsets, own)
    if any(valid[position] for position in own):
        return _again_without(values, shape, own, bytes_max)
    array = pa.MapArray.from_arrays(
        pa.array(offsets, pa.int32()), keys, items, type=shape.type.arrow, mask=_mask(valid)
    )
    faults: Faults = {}
    for position in sorted(item_faults):
        parent = int(np.searchsorted(offsets, position, side="right")) - 1
        faults.setdefault(parent, item_faults[position].inside(f"[{flat[position][0]!r}]"))
    return array, faults | own


def _pairs(raw: Any, position: int, faults: Faults) -> list[tuple[Any, Any]] | None:
    value = plain(raw)
    if value is None:
        return None
    if isinstance(value, BaseModel):
        value = value.__dict__
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, list) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
        return list(value)
    faults[position] = _wrong(value, "an object")
    return None


def _repeated_keys(keys: pa.Array, offsets: npt.NDArray[np.int64], known: Faults) -> Faults:
    """Find maps that hold one key twice; keys are compared as stored, so 1 and "01" are one."""
    parents = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    seen: set[tuple[int, str]] = set()
    found: Faults = {}
    for parent, key in zip(parents.tolist(), to_python(keys), strict=True):
        mark = (parent, repr(key))
        if mark in seen and parent not in known:
            found.setdefault(parent, Fault("holds a key twice", key))
        seen.add(mark)
    return found
