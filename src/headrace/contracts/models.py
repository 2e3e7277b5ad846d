"""`Event` and `Table`: rows declared as pydantic models, and how a model becomes columns."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import types
import typing
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Union, get_args, get_origin
from weakref import WeakKeyDictionary

import pydantic
from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict
from pydantic.errors import PydanticUndefinedAnnotation
from pydantic.fields import FieldInfo

from headrace.contracts.annotations import DecimalDigits, EventTime
from headrace.contracts.notes import Notes
from headrace.contracts.schema import Schema
from headrace.contracts.shape import Check, Custom, Member, RowShape, Shape
from headrace.contracts.types import SqlType, sql_type
from headrace.errors import DeclarationError


class Event(BaseModel):
    """Base of the rows of a stream: one class, one kind of event.

    Unknown fields are rejected; `class Order(hr.Event, extra="ignore")` drops them instead.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Table(BaseModel):
    """Base of the rows of a table: what is known about a thing now, by its key.

    Unknown fields are rejected; `class Customer(hr.Table, extra="ignore")` drops them instead.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


_PLAIN: dict[Any, str] = {
    bool: "BOOLEAN",
    int: "BIGINT",
    float: "DOUBLE",
    str: "VARCHAR",
    bytes: "BLOB",
    bytearray: "BLOB",
    dt.date: "DATE",
    dt.time: "TIME",
    dt.datetime: "TIMESTAMP",
    dt.timedelta: "INTERVAL",
    uuid.UUID: "UUID",
    dict: "JSON",
    list: "JSON",
    Any: "JSON",
    pydantic.JsonValue: "JSON",
}
_TIGHTER = {
    pydantic.AwareDatetime: "TIMESTAMP",
    pydantic.NaiveDatetime: "TIMESTAMP",
    pydantic.PastDatetime: "TIMESTAMP",
    pydantic.FutureDatetime: "TIMESTAMP",
    pydantic.PastDate: "DATE",
    pydantic.FutureDate: "DATE",
}
_TEXT_MODULES = ("ipaddress", "pydantic.networks")
_CHANGING_CONFIG = ("str_strip_whitespace", "str_to_lower", "str_to_upper", "coerce_numbers_to_str")
Stack = tuple[type[BaseModel], ...]
"""The models that are being read, outermost first."""

_shapes: WeakKeyDictionary[type[BaseModel], RowShape] = WeakKeyDictionary()


def row_shape(model: type[BaseModel]) -> RowShape:
    """Return what rows of a model may look like.

    Raises:
        DeclarationError: a field has no SQL type; names model and field and says what to write instead.
    """
    known = _shapes.get(model)
    if known is None:
        known = _shapes[model] = _read_model(model, f"model {model.__name__}", ())
    return known


def model_schema(model: type[BaseModel]) -> Schema:
    """Return the columns of a model, in the order of its fields; errors as for `row_shape`."""
    return row_shape(model).schema()


def event_time_of(model: type[BaseModel]) -> tuple[str, EventTime] | None:
    """Return the field annotated with `hr.event_time` and its settings, or None.

    Raises:
        DeclarationError: two fields are annotated so, or one that is not a `datetime`.
    """
    found = []
    for name, info in model.model_fields.items():
        notes = Notes().add_all(info.metadata)
        _peel(info.annotation, notes)
        if notes.event_time is not None:
            found.append((name, notes.event_time))
    where = f"model {model.__name__}"
    if len(found) > 1:
        names = ", ".join(name for name, _ in found)
        raise DeclarationError(
            f"more than one event time: {names}", where=where, expected="one hr.event_time(…)"
        )
    if found and row_shape(model).schema()[found[0][0]].sql_type != "TIMESTAMP":
        raise DeclarationError(
            "hr.event_time(…) stands on a field that is no time",
            where=f"{where}, field {found[0][0]}",
            expected="a datetime",
        )
    return found[0] if found else None


def _read_model(model: type[BaseModel], where: str, stack: Stack) -> RowShape:
    if model in stack:
        raise DeclarationError(
            f"{model.__name__} contains itself",
            where=where,
            expected="a finite STRUCT",
            hint="use Any for a JSON column",
        )
    _complete(model, where)
    if not model.model_fields:
        raise DeclarationError(
            "the model has no fields", where=where, expected="at least one annotated field"
        )
    extra = model.model_config.get("extra")
    if extra == "allow":
        raise DeclarationError(
            'extra="allow" has no column to keep unknown fields in',
            where=where,
            expected='"forbid" or "ignore"',
        )
    custom = _custom_of_class(model)
    members = []
    for name, info in model.model_fields.items():
        member, needed = _read_field(model, name, info, f"{where}, field {name}", (*stack, model))
        members.append(member)
        custom = max(custom, needed)
    _refuse_twins(members, where)
    return RowShape(tuple(members), extra == "ignore", custom)


def _complete(model: type[BaseModel], where: str) -> None:
    """Resolve annotations that were names when the class was made."""
    if model.__pydantic_complete__:
        return
    try:
        model.model_rebuild()
    except PydanticUndefinedAnnotation as error:
        raise DeclarationError(
            f"the annotation names {error.name!r}, which is not defined",
            where=where,
            expected="names that the module of the model knows",
        ) from None


def _custom_of_class(model: type[BaseModel]) -> Custom:
    if any(model.model_config.get(name) for name in _CHANGING_CONFIG):
        return Custom.BEFORE
    found = model.__pydantic_decorators__
    modes = [item.info.mode for item in found.field_validators.values()]
    modes += [item.info.mode for item in found.model_validators.values()]
    if found.validators or found.root_validators or any(mode != "after" for mode in modes):
        return Custom.BEFORE
    return Custom.AFTER if modes or model.model_post_init is not BaseModel.model_post_init else Custom.NONE


def _refuse_twins(members: Iterable[Member], where: str) -> None:
    seen: dict[str, str] = {}
    for member in members:
        twin = seen.setdefault(member.name.lower(), member.name)
        if twin != member.name:
            raise DeclarationError(
                f"the fields {twin!r} and {member.name!r} differ only in case",
                where=where,
                expected="names that differ without regard to case, as in SQL",
            )


def _read_field(
    model: type[BaseModel], name: str, info: FieldInfo, where: str, stack: Stack
) -> tuple[Member, Custom]:
    notes = Notes().add_all(info.metadata)
    shape, custom = _read(info.annotation, notes, where, stack)
    default = None
    if info.default_factory is not None:
        if info.default_factory_takes_validated_data:
            custom = Custom.BEFORE
        else:
            default = typing.cast(typing.Callable[[], Any], info.default_factory)
    elif not info.is_required():
        value = info.default
        shape = replace(shape, nullable=shape.nullable or value is None)
        default = None if value is None else (lambda: value)
    member = Member(name, shape, _aliases(info), default, notes.privacy, _is_raw(model, name, notes))
    return member, custom


def _is_raw(model: type[BaseModel], name: str, notes: Notes) -> bool:
    if notes.custom is Custom.BEFORE:
        return True
    infos = [item.info for item in model.__pydantic_decorators__.field_validators.values()]
    return any(info.mode != "after" and (name in info.fields or "*" in info.fields) for info in infos)


def _aliases(info: FieldInfo) -> tuple[str, ...]:
    found: list[str] = []
    choices = info.validation_alias if info.validation_alias is not None else info.alias
    for choice in choices.choices if isinstance(choices, AliasChoices) else [choices]:
        if isinstance(choice, AliasPath):
            continue
        if choice is not None:
            found.append(choice)
    return tuple(found)


def _peel(annotation: Any, notes: Notes) -> tuple[Any, bool]:
    """Take Annotated, Optional, NewType and aliases off; returns what is left and whether None may be."""
    nullable = False
    while True:
        origin = get_origin(annotation)
        if origin is typing.Annotated:
            notes.add_all(annotation.__metadata__)
            annotation = annotation.__origin__
        elif hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType" and annotation is not pydantic.JsonValue:
            annotation = annotation.__value__
        elif origin in (Union, types.UnionType) and type(None) in get_args(annotation):
            rest = tuple(arg for arg in get_args(annotation) if arg is not type(None))
            annotation, nullable = Union[rest], True  # noqa: UP007 - built from a tuple
        else:
            return annotation, nullable


def _read(annotation: Any, notes: Notes, where: str, stack: Stack) -> tuple[Shape, Custom]:
    """Return shape and needs of one annotation."""
    annotation, nullable = _peel(annotation, notes)
    shape, custom = _read_peeled(annotation, notes, where, stack)
    checks = shape.checks + tuple(notes.checks)
    return replace(shape, nullable=nullable or shape.nullable, checks=checks), max(custom, notes.custom)


def _read_peeled(annotation: Any, notes: Notes, where: str, stack: Stack) -> tuple[Shape, Custom]:
    origin = get_origin(annotation)
    if annotation is decimal.Decimal:
        return Shape(_decimal_type(notes, where), nullable=False), Custom.NONE
    if annotation in _TIGHTER:
        return Shape(sql_type(_TIGHTER[annotation]), nullable=False), Custom.BEFORE
    if annotation in _PLAIN:
        return Shape(sql_type(_PLAIN[annotation]), nullable=annotation is Any), Custom.NONE
    if origin is typing.Literal:
        return _choice(get_args(annotation), annotation, where), Custom.NONE
    if origin in (list, Sequence) or (origin is tuple and get_args(annotation)[1:] == (...,)):
        return _list(get_args(annotation)[0], where, stack)
    if origin in (dict, Mapping):
        key, value = get_args(annotation)
        return _map(key, value, where, stack)
    if isinstance(annotation, type):
        return _read_class(annotation, where, stack)
    raise _no_type(annotation, where)


def _read_class(annotation: type, where: str, stack: Stack) -> tuple[Shape, Custom]:
    if issubclass(annotation, BaseModel):
        return _struct(annotation, where, stack)
    if issubclass(annotation, enum.Enum):
        return _choice([member.value for member in annotation], annotation, where), Custom.NONE
    if annotation.__module__ in _TEXT_MODULES:
        return Shape(sql_type("VARCHAR"), nullable=False), Custom.BEFORE
    raise _no_type(annotation, where)


def _decimal_type(notes: Notes, where: str) -> SqlType:
    digits = notes.digits
    if digits is None and notes.max_digits is not None and notes.decimal_places is not None:
        digits = DecimalDigits(notes.max_digits, notes.decimal_places)
    if digits is None:
        raise DeclarationError(
            "a Decimal needs its digits", where=where, expected="Annotated[Decimal, hr.decimal(18, 2)]"
        )
    return sql_type(f"DECIMAL({digits.precision},{digits.scale})")


def _choice(values: Iterable[Any], annotation: Any, where: str) -> Shape:
    plain = [value.value if isinstance(value, enum.Enum) else value for value in values]
    named = tuple(value for value in plain if value is not None)
    nullable = len(named) < len(plain)
    if named and all(isinstance(value, str) for value in named):
        return Shape(sql_type("VARCHAR"), nullable, (Check("one_of", tuple(map(str, named))),))
    if named and all(isinstance(value, int) and not isinstance(value, bool) for value in named):
        return Shape(sql_type("BIGINT"), nullable, (Check("one_of", tuple(map(int, named))),))
    raise DeclarationError(
        f"{_shown(annotation)} mixes kinds of values",
        where=where,
        expected="values that are all text or all integers",
    )


def _list(item: Any, where: str, stack: Stack) -> tuple[Shape, Custom]:
    inner, custom = _read(item, Notes(), f"{where}, item", stack)
    return Shape(sql_type(f"{inner.type.sql}[]"), nullable=False, members=(Member("item", inner),)), custom


def _map(key: Any, value: Any, where: str, stack: Stack) -> tuple[Shape, Custom]:
    if _peel(value, Notes())[0] is Any:
        return Shape(sql_type("JSON"), nullable=False), Custom.NONE
    keys, custom_keys = _read(key, Notes(), f"{where}, key", stack)
    values, custom_values = _read(value, Notes(), f"{where}, value", stack)
    kind = sql_type(f"MAP({keys.type.sql}, {values.type.sql})")
    members = (Member("key", replace(keys, nullable=False)), Member("value", values))
    return Shape(kind, nullable=False, members=members), max(custom_keys, custom_values)


def _struct(model: type[BaseModel], where: str, stack: Stack) -> tuple[Shape, Custom]:
    inner = _read_model(model, f"{where} ({model.__name__})", stack)
    parts = ", ".join(f'"{member.name}" {member.shape.type.sql}' for member in inner.members)
    kind = sql_type(f"STRUCT({parts})")
    return Shape(kind, nullable=False, members=inner.members, extra_ignored=inner.extra_ignored), inner.custom


def _shown(annotation: Any) -> str:
    return getattr(annotation, "__name__", None) or str(annotation)


def _no_type(annotation: Any, where: str) -> DeclarationError:
    hints = {
        set: "use list[…]",
        frozenset: "use list[…]",
        complex: "use two float fields",
        object: "use Any for a JSON column",
    }
    hint = hints.get(get_origin(annotation) or annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        hint = "use one type, or Any for a JSON column"
    return DeclarationError(
        f"{_shown(annotation)} has no SQL type",
        where=where,
        expected="bool, int, float, Decimal with hr.decimal, str, bytes, date, time, datetime, timedelta, "
        "UUID, an Enum or Literal, list[…], dict[str, …], another model, Any for JSON, or these | None",
        hint=hint,
    )
