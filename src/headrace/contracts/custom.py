"""What only pydantic can check: a model's own validators, row by row."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
from pydantic import BaseModel, ValidationError

from headrace.contracts.faults import Fault, Faults
from headrace.contracts.gather import Names, Row
from headrace.contracts.leaves import to_python
from headrace.contracts.shape import Member, RowShape, Shape

_TEMPORAL = {"timestamp", "date", "time", "interval"}


def run_before(
    model: type[BaseModel], shape: RowShape, rows: Sequence[Row], originals: Sequence[Any], faults: Faults
) -> list[Row]:
    """Return the rows as the model's validators made them from raw values; faults are added.

    Instances of the model itself have been validated when they were made. A number in a field of time is
    refused first, because pydantic would guess its unit, unless a validator of the user reads the raw field.
    """
    names = Names(shape.members)
    found: list[Row] = []
    for position, row in enumerate(rows):
        if row is None or position in faults:
            found.append(None)
        elif originals and isinstance(originals[position], model):
            found.append(row)
        else:
            fault = _guessed_unit(row, shape.members)
            made = fault or validate_one(model, row, names, forbid=not shape.extra_ignored)
            if isinstance(made, Fault):
                faults[position] = made
            found.append(None if isinstance(made, Fault) else made)
    return found


def _guessed_unit(row: dict[Any, Any], members: Iterable[Member]) -> Fault | None:
    for member in members:
        if member.shape.type.kind not in _TEMPORAL or member.is_raw:
            continue
        for name in (member.name, *member.aliases):
            value = row.get(name)
            if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
                return Fault("is a number, whose unit is open; send ISO-8601 text", value, f".{member.name}")
    return None


def validate_one(
    model: type[BaseModel], row: dict[Any, Any], names: Names, *, forbid: bool
) -> dict[str, Any] | Fault:
    """Return one row as the model makes it, or the first thing that is wrong."""
    try:
        made = model.model_validate(row, by_alias=True, by_name=True, extra="forbid" if forbid else None)
        return made.__dict__
    except ValidationError as error:
        return _fault(error, names)
    except Exception as error:  # noqa: BLE001 - a user's validator may raise anything; it rejects its own row only
        return Fault(f"the model's validator failed: {type(error).__name__}: {error}"[:300])


def _fault(error: ValidationError, names: Names) -> Fault:
    first = error.errors(include_url=False, include_context=False)[0]
    kind, steps, value = first["type"], first["loc"], first["input"]
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    if kind == "extra_forbidden" and len(steps) == 1:
        return names.unknown(steps[0], value)
    if kind == "missing":
        return Fault("is missing", None, path)
    return Fault(first["msg"].removeprefix("Value error, "), value if steps else None, path)


def run_after(
    model: type[BaseModel], shape: RowShape, arrays: Sequence[pa.Array], rows: Iterable[int], faults: Faults
) -> dict[int, dict[str, Any]]:
    """Return, per position, the row as the model's validators made it from typed values."""
    names = Names(shape.members)
    columns = [to_python(array) for array in arrays]
    found: dict[int, dict[str, Any]] = {}
    for position in rows:
        row = {
            member.name: typed(column[position], member.shape)
            for member, column in zip(shape.members, columns, strict=True)
        }
        made = validate_one(model, row, names, forbid=False)
        if isinstance(made, Fault):
            faults[position] = made
        else:
            found[position] = made
    return found


def typed(value: Any, shape: Shape) -> Any:
    """Return a stored value as the Python type that a model's validator expects."""
    if value is None:
        return None
    match shape.type.kind:
        case "timestamp" if isinstance(value, dt.datetime) and value.tzinfo is None:
            return value.replace(tzinfo=dt.UTC)
        case "interval" if isinstance(value, pa.MonthDayNano):
            days = value.months * 30 + value.days
            return dt.timedelta(days=days, microseconds=value.nanoseconds // 1000)
        case "uuid":
            return uuid.UUID(value)
        case "json":
            return orjson.loads(value)
        case "struct":
            return {member.name: typed(value[member.name], member.shape) for member in shape.members}
        case "list" | "array":
            return [typed(item, shape.members[0].shape) for item in value]
        case "map":
            key, item = shape.members
            return {typed(k, key.shape): typed(v, item.shape) for k, v in value}
    return value
