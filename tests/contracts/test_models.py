"""Models become columns; a model that cannot is told which field and what to write instead."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from ipaddress import IPv4Address
from typing import Annotated, Any, Literal, NewType, Optional

import pytest
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

import headrace as hr
from headrace.contracts.column_list import parse_columns
from headrace.contracts.models import event_time_of, model_schema, row_shape
from headrace.contracts.shape import Check, Custom

Sku = NewType("Sku", str)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Line(BaseModel):
    sku: Sku
    price: Annotated[Decimal, hr.decimal(9, 2)]


class Everything(hr.Event):
    flag: bool
    count: int
    ratio: float
    money: Annotated[Decimal, hr.decimal(18, 2)]
    digits: Decimal = Field(max_digits=5, decimal_places=1)
    name: str
    data: bytes
    day: dt.date
    clock: dt.time
    moment: dt.datetime
    span: dt.timedelta
    key: uuid.UUID
    colour: Colour
    level: Level
    size: Literal["S", "M", None]
    tags: list[str]
    more: Sequence[int] | None
    pair: tuple[int, ...]
    line: Line
    lines: list[Line | None]
    counts: dict[str, int]
    by_day: Mapping[dt.date, float]
    anything: Any
    document: dict[str, Any]
    bare: dict  # type: ignore[type-arg]
    value: JsonValue
    old_style: Optional[Annotated[int, Field(gt=0)]]  # noqa: UP045 - it must be understood
    address: IPv4Address | None = None


EXPECTED = """
flag BOOLEAN NOT NULL, count BIGINT NOT NULL, ratio DOUBLE NOT NULL, money DECIMAL(18,2) NOT NULL,
digits DECIMAL(5,1) NOT NULL, name VARCHAR NOT NULL, data BLOB NOT NULL, day DATE NOT NULL, clock
TIME NOT NULL, moment TIMESTAMP NOT NULL, span INTERVAL NOT NULL, key UUID NOT NULL, colour VARCHAR
NOT NULL, level BIGINT NOT NULL, size VARCHAR, tags VARCHAR[] NOT NULL, more BIGINT[], pair BIGINT[]
NOT NULL, line STRUCT(sku VARCHAR, price DECIMAL(9,2)) NOT NULL, lines STRUCT(sku VARCHAR, price
DECIMAL(9,2))[] NOT NULL, counts MAP(VARCHAR, BIGINT) NOT NULL, by_day MAP(DATE, DOUBLE) NOT NULL,
anything JSON, document JSON NOT NULL, bare JSON NOT NULL, value JSON NOT NULL, old_style BIGINT,
address VARCHAR
"""


def test_every_kind_of_field_has_its_sql_type() -> None:
    assert model_schema(Everything) == parse_columns(EXPECTED)


def test_privacy_and_event_time_are_read() -> None:
    class Visit(hr.Event):
        ip: Annotated[str, hr.pii("ip")]
        email: Annotated[str, hr.pii("email")] | None
        at: Annotated[dt.datetime, hr.event_time(lateness="10s", idle_after="1m", max_ahead="2h")]

    assert [column.privacy for column in model_schema(Visit)] == ["ip", "email", None]
    found = event_time_of(Visit)
    assert found is not None
    assert found[0] == "at"
    assert (found[1].lateness, found[1].idle_after) == (dt.timedelta(seconds=10), dt.timedelta(minutes=1))
    assert found[1].max_ahead == dt.timedelta(hours=2)
    assert event_time_of(Everything) is None


def test_constraints_and_choices_become_checks() -> None:
    class Shop(hr.Table):
        stars: Annotated[int, Field(ge=0, le=5)]
        name: Annotated[str, Field(min_length=1, max_length=9, pattern="^[a-z]+$")]
        ratio: float = Field(gt=0, lt=1, allow_inf_nan=False)
        colour: Colour

    checks = {member.name: set(member.shape.checks) for member in row_shape(Shop).members}
    assert checks == {
        "stars": {Check("ge", 0), Check("le", 5)},
        "name": {Check("min_length", 1), Check("max_length", 9), Check("pattern", "^[a-z]+$")},
        "ratio": {Check("gt", 0), Check("lt", 1), Check("finite")},
        "colour": {Check("one_of", ("red", "blue"))},
    }
    assert row_shape(Shop).custom is Custom.NONE


def test_what_only_pydantic_can_check_is_noticed() -> None:
    class After(hr.Event):
        a: Annotated[int, Field(multiple_of=3)]

    class Before(hr.Event):
        a: str

        @field_validator("a", mode="before")
        @classmethod
        def strip(cls, value: Any) -> Any:
            return value

    class Nested(hr.Event):
        inner: list[Before]

    class Stripping(hr.Event):
        model_config = ConfigDict(str_strip_whitespace=True)
        a: str

    assert row_shape(After).custom is Custom.AFTER
    assert row_shape(Before).custom is Custom.BEFORE
    assert row_shape(Nested).custom is Custom.BEFORE
    assert row_shape(Stripping).custom is Custom.BEFORE


def test_a_default_of_none_makes_a_column_nullable() -> None:
    class Soft(hr.Event):
        a: int = None  # type: ignore[assignment]
        b: int = 5

    assert [column.nullable for column in model_schema(Soft)] == [True, False]


def test_the_model_itself_counts_the_digits() -> None:
    with pytest.raises(ValidationError, match="no more than 2 decimal places"):
        Line(sku=Sku("a"), price=Decimal("1.234"))


def test_unknown_fields_are_refused_unless_the_model_says_otherwise() -> None:
    class Loose(hr.Event, extra="ignore"):
        a: int

    assert row_shape(Loose).extra_ignored
    assert not row_shape(Everything).extra_ignored
    assert not row_shape(Line).extra_ignored


def refused(model: type[BaseModel]) -> hr.DeclarationError:
    with pytest.raises(hr.DeclarationError) as caught:
        model_schema(model)
    assert (caught.value.where or "").startswith(f"model {model.__name__}")
    return caught.value


def test_a_decimal_without_digits_is_refused() -> None:
    class Bill(hr.Event):
        total: Decimal

    error = refused(Bill)
    assert error.where == "model Bill, field total"
    assert error.expected == "Annotated[Decimal, hr.decimal(18, 2)]"


class Tree(hr.Event):
    children: list[Tree]


def test_a_model_in_itself_is_refused() -> None:
    assert "contains itself" in refused(Tree).problem


def test_an_annotation_that_names_nothing_is_refused() -> None:
    class Lost(hr.Event):
        a: Nowhere  # type: ignore[name-defined]  # noqa: F821

    assert refused(Lost).problem == "the annotation names 'Nowhere', which is not defined"


def test_types_without_sql_are_refused_by_name() -> None:
    class Union(hr.Event):
        a: int | str

    class Set(hr.Event):
        a: set[int]

    class Fixed(hr.Event):
        a: tuple[int, str]

    class Mixed(hr.Event):
        a: Literal["a", 1]

    assert refused(Union).problem == "int | str has no SQL type"
    assert refused(Set).hint == "use list[…]"
    assert "tuple" in refused(Fixed).problem
    assert "mixes kinds" in refused(Mixed).problem


def test_models_that_make_no_sense_are_refused() -> None:
    class Empty(hr.Event):
        pass

    class Twins(hr.Event):
        a: int
        A: int

    class Open(hr.Event, extra="allow"):
        a: int

    assert "no fields" in refused(Empty).problem
    assert "differ only in case" in refused(Twins).problem
    assert 'extra="allow"' in refused(Open).problem


def test_event_time_stands_once_and_on_a_datetime() -> None:
    class Two(hr.Event):
        a: Annotated[dt.datetime, hr.event_time()]
        b: Annotated[dt.datetime, hr.event_time()]

    class Day(hr.Event):
        a: Annotated[dt.date, hr.event_time()]

    with pytest.raises(hr.DeclarationError, match="more than one event time: a, b"):
        event_time_of(Two)
    with pytest.raises(hr.DeclarationError, match="no time"):
        event_time_of(Day)


def test_annotations_refuse_nonsense() -> None:
    with pytest.raises(hr.DeclarationError, match=r"decimal\(39, 2\)"):
        hr.decimal(39, 2)
    with pytest.raises(hr.DeclarationError, match=r"decimal\(2, 3\)"):
        hr.decimal(2, 3)
    with pytest.raises(hr.DeclarationError, match="needs a tag"):
        hr.pii(" ")
    with pytest.raises(hr.DeclarationError, match="no unit") as caught:
        hr.event_time(lateness="10")
    assert caught.value.where == "event_time(lateness=…)"
