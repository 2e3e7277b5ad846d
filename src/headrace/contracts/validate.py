"""Checking of rows at the door: a column at a time; a bad row is rejected alone, its neighbours go in.

The rules, the same for dicts, models and Arrow:

- Integers: whole numbers in range, also as text of digits (JSON sends those beyond 2^53 so) or as whole
  floats up to 2^53; never true or false. DOUBLE: any number, also as text, "NaN", "Infinity", "-Infinity".
- DECIMAL: digits beyond the scale are rejected, never rounded; a float only where 15 digits hold it; no NaN.
- TIMESTAMP: ISO-8601 text or `datetime`; a zone is converted to UTC, none is UTC; digits finer than the
  column are cut; an epoch number is rejected, because its unit is open. Years 0001 to 9999.
- BLOB: bytes or base64 text. UUID: with or without hyphens. INTERVAL: `timedelta` or ISO-8601. BOOLEAN: also
  "true" and "false". JSON: text must be JSON; any other value is written as JSON.
- Field names match exactly, by alias, or without regard to case. A missing field is the model's default, else
  NULL where allowed. An unknown field rejects the row, unless the model says `extra="ignore"`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel

from headrace.contracts.columns import read_members
from headrace.contracts.custom import run_after, run_before
from headrace.contracts.faults import Fault, Faults, shown
from headrace.contracts.gather import Gathered, Names, gather_arrow, gather_rows
from headrace.contracts.incoming import Incoming, take_in
from headrace.contracts.models import row_shape
from headrace.contracts.schema import Schema
from headrace.contracts.shape import Custom, Member, RowShape, row_shape_of_schema
from headrace.results import Rejection

VALUE_BYTES_MAX = 16 << 20
"""Default limit of one text, blob or JSON value."""
_PRIVATE = "(private)"


@dataclass(frozen=True, slots=True)
class Validated:
    """The rows of one call, sorted into good and bad.

    Attributes:
        batch: the good rows, in declared column order and types.
        positions: int64, the index in the call of each row of `batch`.
        rejections: why each bad row is bad, in the order of the call.
        rejected_rows: each bad row as JSON text, parallel to `rejections`.
        total: rows of the call.
    """

    batch: pa.RecordBatch
    positions: npt.NDArray[np.int64]
    rejections: tuple[Rejection, ...]
    rejected_rows: list[str]
    total: int


def validate(
    schema: Schema,
    rows: Any,
    *,
    model: type[BaseModel] | None = None,
    extra: str | None = None,
    renamed: tuple[tuple[str, str], ...] = (),
    value_bytes_max: int = VALUE_BYTES_MAX,
) -> Validated:
    """Check rows against a schema, and against the model it was made from.

    Args:
        schema: the columns of the answer; with a model, all or some of its fields.
        rows: dicts, models, or anything with `__arrow_c_stream__`.
        model: its defaults, constraints, validators and treatment of unknown fields apply.
        extra: `ignore` drops unknown fields, `forbid` rejects their rows; None: as the model says.
        renamed: other names under which rows may carry a column, each with the column's name.
        value_bytes_max: limit of one text, blob or JSON value.

    Raises:
        RowsRejected: `rows` is no collection of rows at all.
    """
    shape, names = _expected(schema, model, extra, renamed)
    incoming = take_in(rows)
    arrays, faults = _read(incoming, shape, names, model, value_bytes_max)
    return _sorted_out(schema, shape.members, arrays, faults, incoming)


@lru_cache(maxsize=1_024)
def _expected(
    schema: Schema, model: type[BaseModel] | None, extra: str | None, renamed: tuple[tuple[str, str], ...]
) -> tuple[RowShape, Names]:
    """Return what rows are to look like, and the names under which their values may come."""
    whole = row_shape(model) if model is not None else row_shape_of_schema(schema)
    whole = replace(whole, members=tuple(_also_named(member, renamed) for member in whole.members))
    shape = _narrowed(whole, schema)
    if extra is not None:
        shape = replace(shape, extra_ignored=extra == "ignore")
    ignored = [name for member in whole.members for name in (member.name, *member.aliases)]
    return shape, Names(shape.members, ignored=ignored)


def _also_named(member: Member, renamed: tuple[tuple[str, str], ...]) -> Member:
    others = tuple(other for other, name in renamed if name == member.name and other not in member.aliases)
    return replace(member, aliases=(*member.aliases, *others)) if others else member


def _narrowed(shape: RowShape, schema: Schema) -> RowShape:
    """Return the members that the schema asks for, in its order; what it declares NOT NULL is so."""
    by_name = {member.name.lower(): member for member in shape.members}
    members = []
    for column in schema:
        member = by_name[column.name.lower()]
        if not column.nullable and member.shape.nullable:
            member = replace(member, shape=replace(member.shape, nullable=False))
        members.append(member)
    custom = shape.custom if len(members) == len(shape.members) else Custom.NONE
    return RowShape(tuple(members), shape.extra_ignored, custom)


def _read(
    incoming: Incoming, shape: RowShape, names: Names, model: type[BaseModel] | None, bytes_max: int
) -> tuple[list[pa.Array], Faults]:
    faults = dict(incoming.faults)
    if model is not None and shape.custom is Custom.BEFORE:
        made = run_before(model, shape, incoming.as_rows(), incoming.originals, faults)
        gathered = gather_rows(made, names, extra_ignored=True)
    else:
        gathered = _gather(incoming, names, shape)
    arrays, found = read_members(gathered, shape.members, bytes_max)
    faults = found | faults
    if model is not None and shape.custom is Custom.AFTER:
        return _after(incoming, shape, names, model, arrays, faults, bytes_max)
    return arrays, faults


def _gather(incoming: Incoming, names: Names, shape: RowShape) -> Gathered:
    if incoming.rows is not None:
        return gather_rows(incoming.rows, names, extra_ignored=shape.extra_ignored)
    return gather_arrow(incoming.arrays, incoming.count, names, extra_ignored=shape.extra_ignored)


def _after(
    incoming: Incoming,
    shape: RowShape,
    names: Names,
    model: type[BaseModel],
    arrays: list[pa.Array],
    faults: Faults,
    bytes_max: int,
) -> tuple[list[pa.Array], Faults]:
    """Run validators on good rows only, then read again what they made of them."""
    made_already = [isinstance(original, model) for original in incoming.originals]
    wanted = [
        position
        for position in range(incoming.count)
        if position not in faults and not (made_already and made_already[position])
    ]
    if not wanted:
        return arrays, faults
    made = run_after(model, shape, arrays, wanted, faults)
    rows = [made.get(position) for position in range(incoming.count)]
    if made_already:
        rows = [
            incoming.rows[at] if incoming.rows and made_already[at] else row for at, row in enumerate(rows)
        ]
    again, found = read_members(gather_rows(rows, names, extra_ignored=True), shape.members, bytes_max)
    return again, found | faults


def _sorted_out(
    schema: Schema, members: Sequence[Member], arrays: list[pa.Array], faults: Faults, incoming: Incoming
) -> Validated:
    batch = pa.RecordBatch.from_arrays(arrays, schema=schema.arrow)
    if not faults:
        return Validated(batch, np.arange(incoming.count, dtype=np.int64), (), [], incoming.count)
    keep = np.ones(incoming.count, dtype=np.bool_)
    bad = sorted(faults)
    keep[bad] = False
    private = {member.name for member in members if member.privacy is not None}
    rejections = tuple(_rejection(position, faults[position], private) for position in bad)
    texts = [incoming.text(position) for position in bad]
    return Validated(batch.filter(pa.array(keep)), np.flatnonzero(keep), rejections, texts, incoming.count)


def _rejection(position: int, fault: Fault, private: set[str]) -> Rejection:
    path = fault.path.removeprefix(".")
    is_private = path.partition(".")[0].partition("[")[0] in private
    value = _PRIVATE if is_private and fault.value is not None else shown(fault.value)
    return Rejection(position, path or None, value, fault.reason)
