"""What the door lets in, what it turns away, and what it says about it."""

from __future__ import annotations

import datetime as dt
import enum
import itertools
import json
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, Literal

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    HttpUrl,
    field_validator,
    model_validator,
)

import headrace as hr
from headrace.contracts.column_list import parse_columns
from headrace.contracts.models import model_schema
from headrace.contracts.validate import Validated, validate

SCHEMA = parse_columns("id BIGINT NOT NULL, name VARCHAR, at TIMESTAMP")
AT = dt.datetime(2024, 2, 29, 10, 30)  # noqa: DTZ001 - stored times are naive and mean UTC


class Order(hr.Event):
    order_id: int
    quantity: Annotated[int, Field(gt=0, le=100)] = 1
    state: Literal["open", "paid"] = "open"
    sku: Annotated[str, Field(min_length=2, pattern="^[a-z]+$")]
    email: Annotated[str | None, hr.pii("email")] = None


def check(model: type[hr.Event], *rows: Any) -> Validated:
    return validate(model_schema(model), list(rows), model=model)


def reasons(found: Validated) -> list[tuple[str | None, str | None, str]]:
    return [(item.field, item.value, item.reason) for item in found.rejections]


# --- forms of rows ------------------------------------------------------------


FORMS: dict[str, Any] = {
    "dicts": [{"id": 1, "name": "a", "at": AT}, {"id": 2, "name": None, "at": AT}],
    "iterator": ({"id": n, "name": name, "at": AT} for n, name in ((1, "a"), (2, None))),
    "pyarrow": pa.table({"id": [1, 2], "name": ["a", None], "at": [AT, AT]}),
    "batch": pa.record_batch({"id": [1, 2], "name": ["a", None], "at": [AT, AT]}),
    "reader": pa.table({"id": [1, 2], "name": ["a", None], "at": [AT, AT]}).to_reader(),
    "chunks": pa.concat_tables(
        [
            pa.table({"id": [n], "name": pa.array([x], pa.string()), "at": [AT]})
            for n, x in ((1, "a"), (2, None))
        ]
    ),
    "pandas": pd.DataFrame({"id": [1, 2], "name": ["a", None], "at": [AT, AT]}, index=[7, 9]),
    "polars": pl.DataFrame({"id": [1, 2], "name": ["a", None], "at": [AT, AT]}),
    "other order and case": pa.table({"AT": [AT, AT], "Name": ["a", None], "iD": [1, 2]}),
    "encoded": pa.table(
        {
            "id": pa.array([1, 2], pa.int8()),
            "name": pa.array(["a", None]).dictionary_encode(),
            "at": pa.array([AT, AT], pa.timestamp("ns", "Europe/Berlin")),
        }
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_rows_is_one(form: str) -> None:
    found = validate(SCHEMA, FORMS[form])
    assert found.rejections == ()
    assert found.batch.schema == SCHEMA.arrow
    assert found.batch.to_pylist() == [{"id": 1, "name": "a", "at": AT}, {"id": 2, "name": None, "at": AT}]
    assert found.positions.tolist() == [0, 1]
    assert found.total == 2


def test_a_duckdb_relation_is_rows() -> None:
    with duckdb.connect() as con:
        relation = con.sql("SELECT 1 AS id, 'a' AS name, TIMESTAMP '2024-02-29 10:30:00' AS at")
        assert validate(SCHEMA, relation).batch.to_pylist() == [{"id": 1, "name": "a", "at": AT}]


def test_one_dict_or_model_is_one_row() -> None:
    assert validate(SCHEMA, {"id": 1}).total == 1
    assert check(Order, Order(order_id=1, sku="ab")).total == 1


@pytest.mark.parametrize("rows", ["text", b"bytes", 5, None])
def test_what_holds_no_rows_is_an_error(rows: Any) -> None:
    with pytest.raises(hr.RowsRejected, match="expected rows") as caught:
        validate(SCHEMA, rows)
    assert "__arrow_c_stream__" in (caught.value.expected or "")


def test_no_rows_are_fine() -> None:
    nothing: list[Any] = [[], pa.table({}), pd.DataFrame(), iter(())]
    for rows in nothing:
        found = validate(SCHEMA, rows)
        assert (found.total, found.batch.num_rows, found.batch.schema) == (0, 0, SCHEMA.arrow)


def test_what_is_no_row_is_rejected_alone() -> None:
    found = validate(SCHEMA, [{"id": 1}, 5, None, "x", [], {"id": 2}])
    assert found.positions.tolist() == [0, 5]
    assert [item.reason for item in found.rejections] == [
        "expected an object, got an integer",
        "expected an object, got a NoneType",
        "expected an object, got text",
        "expected an object, got a list",
    ]
    assert found.rejected_rows == ["5", "null", '"x"', "[]"]


# --- single values ------------------------------------------------------------


GOOD: list[tuple[str, Any, Any]] = [
    ("BIGINT", "9223372036854775807", 2**63 - 1),
    ("BIGINT", 5.0, 5),
    ("BIGINT", Decimal("5.00"), 5),
    ("BIGINT", np.int32(5), 5),
    ("UTINYINT", "+0255", 255),
    ("HUGEINT", 10**38 - 1, Decimal(10**38 - 1)),
    ("DOUBLE", 2**70, float(2**70)),
    ("DOUBLE", "-Infinity", float("-inf")),
    ("FLOAT", 0.1, np.float32(0.1).item()),
    ("DECIMAL(18,2)", 19.99, Decimal("19.99")),
    ("DECIMAL(18,2)", "1e3", Decimal("1000.00")),
    ("DECIMAL(18,2)", "-0.00", Decimal("0.00")),
    ("DECIMAL(18,2)", Decimal("1.500"), Decimal("1.50")),
    ("DECIMAL(38,0)", 10**38 - 1, Decimal("9" * 38)),
    ("BOOLEAN", "True", True),
    ("BOOLEAN", np.bool_(False), False),
    ("VARCHAR", "", ""),
    ("BLOB", "AP8=", b"\x00\xff"),
    ("BLOB", bytearray(b"x"), b"x"),
    ("DATE", "2024-02-29T00:00:00Z", dt.date(2024, 2, 29)),
    ("DATE", AT.replace(hour=0, minute=0), dt.date(2024, 2, 29)),
    ("TIME", "10:30", dt.time(10, 30)),
    ("TIMESTAMP", "2024-02-29T12:30:00+02:00", AT),
    ("TIMESTAMP", "2024-02-29 10:30:00", AT),
    ("TIMESTAMP", "2024-02-29T10:30:00.000000999Z", AT),
    ("TIMESTAMP", dt.datetime(2024, 2, 29, 12, 30, tzinfo=dt.timezone(dt.timedelta(hours=2))), AT),
    ("TIMESTAMP", dt.date(2024, 2, 29), AT.replace(hour=0, minute=0)),
    ("TIMESTAMP", pd.Timestamp(AT), AT),
    ("TIMESTAMP", np.datetime64(AT), AT),
    ("TIMESTAMP", pd.NaT, None),
    ("TIMESTAMP_S", "1969-12-31T23:59:59.9Z", dt.datetime(1969, 12, 31, 23, 59, 59)),  # noqa: DTZ001
    ("INTERVAL", dt.timedelta(days=1, seconds=1), pa.MonthDayNano([0, 1, 10**9])),
    ("INTERVAL", "P1M", pa.MonthDayNano([1, 0, 0])),
    ("UUID", "00000000000000000000000000000001", str(uuid.UUID(int=1))),
    ("JSON", {"a": [Decimal("1.5"), None]}, '{"a":["1.5",null]}'),
    ("JSON", '{"a":  1}', '{"a":  1}'),
    ("JSON", 5, "5"),
    ("ENUM('x', 'y')", "y", "y"),
    ("BIGINT[]", ["1", None, 2.0], [1, None, 2]),
    ("BIGINT[]", (1, 2), [1, 2]),
    ("BIGINT[]", np.array([1, 2]), [1, 2]),
    ("INTEGER[2]", [1, 2], [1, 2]),
    ("STRUCT(a INTEGER, b VARCHAR)", {"B": "x"}, {"a": None, "b": "x"}),
    ("MAP(VARCHAR, DATE)", {"k": "2024-01-01"}, [("k", dt.date(2024, 1, 1))]),
]


@pytest.mark.parametrize(("kind", "value", "stored"), GOOD)
def test_values_that_go_in(kind: str, value: Any, stored: Any) -> None:
    found = validate(parse_columns(f"x {kind}"), [{"x": value}])
    assert found.rejections == ()
    assert found.batch.column(0).to_pylist() == [stored]


BAD: list[tuple[str, Any, str]] = [
    ("BIGINT", "abc", "is not an integer"),
    ("BIGINT", "1.0", "is not an integer"),
    ("BIGINT", " 1", "is not an integer"),
    ("BIGINT", "0x10", "is not an integer"),
    ("BIGINT", "9" * 5000, "is not an integer"),
    ("BIGINT", 1.5, "is not a whole number"),
    ("BIGINT", float("nan"), "is not a whole number"),
    ("BIGINT", 2.0**60, "is a floating-point number beyond 2^53"),
    ("BIGINT", True, "expected an integer, got true or false"),
    ("BIGINT", 2**63, "is out of the range of BIGINT"),
    ("BIGINT", [1], "expected an integer, got a list"),
    ("TINYINT", 128, "is out of the range of TINYINT, -128 to 127"),
    ("UTINYINT", -1, "is out of the range of UTINYINT"),
    ("HUGEINT", 10**38, "is out of the range of HUGEINT"),
    ("DOUBLE", True, "expected a number, got true or false"),
    ("DOUBLE", "1,5", "is not a number"),
    ("DOUBLE", "1e999", "is out of the range of DOUBLE"),
    ("DOUBLE", 10**400, "is out of the range of DOUBLE"),
    ("FLOAT", 1e39, "is out of the range of FLOAT"),
    ("DECIMAL(4,1)", "1.25", "has more than 1 digits after the point of DECIMAL(4,1)"),
    ("DECIMAL(4,1)", "1000", "has more than 3 digits before the point of DECIMAL(4,1)"),
    ("DECIMAL(38,10)", "+538330e-069", "has more than 10 digits after the point"),
    ("DECIMAL(38,10)", 5e-324, "has more than 10 digits after the point"),
    ("DECIMAL(38,10)", f"0.{'0' * 70}1", "has more than 10 digits after the point"),
    ("DECIMAL(4,1)", "1e999", "has more than 3 digits before the point"),
    ("DECIMAL(18,2)", 0.1 + 0.2, "has more than 2 digits after the point"),
    ("DECIMAL(18,2)", 12345678901234.25, "is a float of more than 15 digits, which is not exact; send text"),
    ("DECIMAL(18,2)", float("nan"), "is not a finite number"),
    ("DECIMAL(18,2)", Decimal("NaN"), "is not a finite number"),
    ("DECIMAL(18,2)", "NaN", "is not a decimal number"),
    ("DECIMAL(18,2)", True, "expected a decimal number, got true or false"),
    ("BOOLEAN", 1, "expected true or false, got an integer"),
    ("BOOLEAN", "yes", "is not true or false"),
    ("VARCHAR", 5, "expected text, got an integer"),
    ("VARCHAR", "\ud800", "is not valid UTF-8"),
    ("VARCHAR", b"x", "expected text, got bytes"),
    ("BLOB", "§", "is not base64"),
    ("DATE", "2023-02-29", "is not an ISO-8601 date"),
    ("DATE", "2024-02-29T10:30:00Z", "is a time of day, not a date"),
    ("DATE", 19000, "is a number, not a date"),
    ("TIME", "25:00", "is not a time of day"),
    ("TIME", dt.time(1, tzinfo=dt.UTC), "has a time zone"),
    ("TIMESTAMP", 1709202600, "is an epoch number, whose unit is open"),
    ("TIMESTAMP", "1709202600", "is not an ISO-8601 time"),
    ("TIMESTAMP", "0001-01-01T00:00:00+01:00", "is out of the years 0001 to 9999"),
    ("TIMESTAMP_NS", "2300-01-01", "is out of the range of nanoseconds"),
    ("INTERVAL", "1 day", "is not an ISO-8601 duration"),
    ("UUID", "x", "is not a UUID"),
    ("JSON", "{", "is not JSON text"),
    ("JSON", {1, 2}, "cannot be written as JSON"),
    ("ENUM('x', 'y')", "z", "is not one of: x, y"),
    ("BIGINT[]", "1", "expected a list, got text"),
    ("INTEGER[2]", [1], "has 1 items, not 2"),
    ("STRUCT(a INTEGER)", [1], "expected an object, got a list"),
    ("MAP(VARCHAR, DATE)", 5, "expected an object, got an integer"),
    ("MAP(BIGINT, BIGINT)", {"1": 1, "01": 2}, "holds a key twice"),
    ("MAP(BIGINT, BIGINT)", {"x": 1}, "key is not an integer"),
]


@pytest.mark.parametrize(("kind", "value", "reason"), BAD)
def test_values_that_are_turned_away(kind: str, value: Any, reason: str) -> None:
    found = validate(parse_columns(f"x {kind}"), [{"x": None}, {"x": value}, {"x": None}])
    assert found.positions.tolist() == [0, 2]
    assert [(item.index, item.field) for item in found.rejections] == [(1, "x")]
    assert found.rejections[0].reason.startswith(reason)
    assert found.batch.column(0).to_pylist() == [None, None]


@pytest.mark.parametrize(
    ("kind", "value", "field", "reason"),
    [
        ("BIGINT[]", [1, 2, "x"], "x[2]", "is not an integer"),
        ("STRUCT(a BIGINT)[]", [{"a": 1}, {"a": "x"}], "x[1].a", "is not an integer"),
        ("STRUCT(a BIGINT)", {"a": 1, "b": 2}, "x.b", "is not a known field"),
        ("MAP(VARCHAR, BIGINT[])", {"k": [1, True]}, "x['k'][1]", "expected an integer, got true or false"),
    ],
)
def test_a_fault_inside_is_found_in_its_place(kind: str, value: Any, field: str, reason: str) -> None:
    found = validate(parse_columns(f"x {kind}"), [{"x": value}])
    assert [(item.field, item.reason) for item in found.rejections] == [(field, reason)]


def test_huge_values_are_turned_away_alone() -> None:
    schema = parse_columns("a VARCHAR, b JSON[], c BLOB")
    rows = [{"a": "x" * 101}, {"b": ["[" + "1," * 60 + "1]"]}, {"c": b"x" * 101}, {"a": "é" * 50}]
    found = validate(schema, rows, value_bytes_max=100)
    assert found.positions.tolist() == [3]
    assert [item.field for item in found.rejections] == ["a", "b[0]", "c"]
    assert found.rejections[0].reason == "has 101 bytes, more than the 100 of one value"


def test_a_long_value_is_shown_in_short() -> None:
    found = validate(parse_columns("x BIGINT"), [{"x": "9" * 1000 + "x"}])
    assert found.rejections[0].value == "9" * 200 + "…"
    assert json.loads(found.rejected_rows[0]) == {"x": "9" * 1000 + "x"}


# --- fields ------------------------------------------------------------


def test_missing_and_null_are_told_apart() -> None:
    found = validate(SCHEMA, [{}, {"id": None}, {"id": 1}])
    assert reasons(found) == [("id", None, "is missing"), ("id", None, "is NULL")]
    assert found.batch.to_pylist() == [{"id": 1, "name": None, "at": None}]


def test_unknown_fields_are_turned_away_with_a_guess() -> None:
    found = validate(SCHEMA, [{"id": 1, "nmae": "x"}, {"id": 1, "zzz": 1}, {"id": 1, 5: 1}])
    assert reasons(found) == [
        ("nmae", "x", "is not a known field; did you mean 'name'?"),
        ("zzz", "1", "is not a known field"),
        ("5", "1", "is not a known field"),
    ]


def test_unknown_arrow_columns_turn_every_row_away_as_dicts_do() -> None:
    table = pa.table({"id": [1, 2], "nmae": ["x", None]})
    assert validate(SCHEMA, table).rejections == validate(SCHEMA, table.to_pylist()).rejections


def test_a_field_given_twice_is_turned_away() -> None:
    assert reasons(validate(SCHEMA, [{"id": 1, "ID": 2}])) == [("id", "2", "is given twice")]
    twice = pa.table([pa.array([1]), pa.array([2])], names=["id", "ID"])
    assert reasons(validate(SCHEMA, twice)) == [("id", None, "is given twice")]


def test_a_model_may_drop_unknown_fields() -> None:
    class Loose(hr.Event, extra="ignore"):
        a: int

    assert check(Loose, {"a": 1, "b": 2}).batch.to_pylist() == [{"a": 1}]
    table = pa.table({"a": [1], "b": [2]})
    assert validate(model_schema(Loose), table, model=Loose).batch.to_pylist() == [{"a": 1}]
    assert validate(SCHEMA, [{"id": 1, "b": 2}], extra="ignore").rejections == ()
    assert len(validate(model_schema(Loose), [{"a": 1, "b": 2}], model=Loose, extra="forbid").rejections) == 1


def test_some_columns_of_a_model_can_be_asked_for() -> None:
    found = validate(
        model_schema(Order).select(["order_id"]), [{"order_id": 1, "sku": 5}, {"sku": "x"}], model=Order
    )
    assert found.batch.to_pylist() == [{"order_id": 1}]
    assert reasons(found) == [("order_id", None, "is missing")]


def test_a_schema_may_be_stricter_than_the_model() -> None:
    schema = model_schema(Order)
    stricter = type(schema).of(
        hr_column if hr_column.name != "email" else type(hr_column)("email", "VARCHAR", pa.string(), False)
        for hr_column in schema
    )
    found = validate(stricter, [{"order_id": 1, "sku": "ab", "email": None}], model=Order)
    assert [item.reason for item in found.rejections] == ["is NULL"]


def test_aliases_and_defaults() -> None:
    numbers = itertools.count()

    class Aliased(hr.Event):
        order_id: int = Field(alias="orderId")
        tags: list[str] = Field(default_factory=lambda: ["new"])
        number: int = Field(default_factory=lambda: next(numbers))
        state: str = "open"

    found = check(Aliased, {"orderId": 1}, {"order_id": 2, "state": "paid"}, {"ORDERID": 3, "number": 9})
    assert found.batch.to_pylist() == [
        {"order_id": 1, "tags": ["new"], "number": 0, "state": "open"},
        {"order_id": 2, "tags": ["new"], "number": 1, "state": "paid"},
        {"order_id": 3, "tags": ["new"], "number": 9, "state": "open"},
    ]
    table = pa.table({"order_id": [1, 2]})
    arrow = validate(model_schema(Aliased), table, model=Aliased)
    assert arrow.batch.column("number").to_pylist() == [2, 3]


# --- models ------------------------------------------------------------


def test_constraints_turn_rows_away() -> None:
    good = {"order_id": 1, "sku": "abc"}
    found = check(
        Order,
        good,
        good | {"quantity": 0},
        good | {"quantity": 101},
        good | {"state": "lost"},
        good | {"sku": "a"},
        good | {"sku": "abc\n"},
        good | {"quantity": None},
        good,
    )
    assert found.positions.tolist() == [0, 7]
    assert reasons(found) == [
        ("quantity", "0", "is not greater than 0"),
        ("quantity", "101", "is not at most 100"),
        ("state", "lost", "is not one of: open, paid"),
        ("sku", "a", "has fewer than 2 characters"),
        ("sku", "abc\n", "does not match '^[a-z]+$'"),
        ("quantity", None, "is NULL"),
    ]


def test_bounds_of_every_type_are_exact() -> None:
    class Bounds(hr.Event):
        money: Annotated[Decimal | None, hr.decimal(9, 2), Field(gt=0.005, le=Decimal("10.00"))] = None
        big: Annotated[int | None, Field(gt=2**53 + 0.5)] = None
        ratio: Annotated[float | None, Field(ge=0.1, lt=1)] = None
        at: Annotated[dt.datetime | None, Field(ge=AT.replace(tzinfo=dt.UTC))] = None
        span: Annotated[dt.timedelta | None, Field(gt=dt.timedelta(0))] = None
        many: Annotated[list[int] | None, Field(min_length=1, max_length=2)] = None
        items: list[Annotated[int, Field(gt=0)]] | None = None

    good: list[dict[str, Any]] = [
        {"money": "0.01"},
        {"money": 10},
        {"big": 2**53 + 1},
        {"ratio": 0.1},
        {"at": AT},
        {"span": "PT1S"},
        {"many": [1, 2]},
    ]
    bad: list[dict[str, Any]] = [
        {"money": "0.00"},
        {"money": "10.01"},
        {"big": 2**53},
        {"ratio": 1.0},
        {"ratio": "NaN"},
        {"at": AT - dt.timedelta(microseconds=1)},
        {"span": "PT0S"},
        {"many": []},
        {"many": [1, 2, 3]},
        {"items": [1, 0]},
    ]
    assert check(Bounds, *good).rejections == ()
    found = check(Bounds, *bad)
    assert found.batch.num_rows == 0
    assert [item.field for item in found.rejections] == [*(next(iter(row)) for row in bad[:-1]), "items[1]"]


def test_private_values_are_not_shown() -> None:
    class Visit(hr.Event):
        email: Annotated[str, hr.pii("email"), Field(max_length=3)]

    found = check(Visit, {"email": "me@example.com"}, {"email": None})
    assert reasons(found) == [
        ("email", "(private)", "has more than 3 characters"),
        ("email", None, "is NULL"),
    ]


class Colour(enum.Enum):
    RED = "red"


def test_models_enums_and_nested_models_go_in_as_they_are() -> None:
    class Line(hr.Event):
        sku: str
        price: Annotated[Decimal, hr.decimal(9, 2)]

    class Cart(hr.Event):
        key: uuid.UUID
        colour: Colour
        lines: list[Line]
        by_name: dict[str, Line]
        at: dt.datetime

    line = Line(sku="a", price=Decimal("1.50"))
    cart = Cart(key=uuid.UUID(int=1), colour=Colour.RED, lines=[line], by_name={"x": line}, at=AT)
    as_model, as_dict = check(Cart, cart), check(Cart, cart.model_dump())
    as_json = check(Cart, json.loads(cart.model_dump_json()))
    assert as_model.rejections == as_dict.rejections == as_json.rejections == ()
    assert as_model.batch.equals(as_dict.batch)
    assert as_model.batch.equals(as_json.batch)
    assert as_model.batch.to_pylist()[0]["lines"] == [{"sku": "a", "price": Decimal("1.50")}]


def _even(value: int) -> int:
    if value % 2:
        raise ValueError("must be even")
    return value


class Checked(hr.Event):
    a: Annotated[int, AfterValidator(_even)]
    at: dt.datetime
    b: str = "x"

    @field_validator("b")
    @classmethod
    def upper(cls, value: str) -> str:
        return value.upper()

    @model_validator(mode="after")
    def together(self) -> Checked:
        if self.a == 4 and self.b == "NO":
            raise KeyError("a user's mistake")
        assert self.at.tzinfo is not None
        return self


@pytest.mark.parametrize("form", [list, pa.Table.from_pylist])
def test_validators_of_the_user_see_typed_values(form: Any) -> None:
    rows = [
        {"a": "2", "at": "2024-02-29T10:30:00Z", "b": "y"},
        {"a": "3", "at": "2024-02-29T10:30:00Z", "b": "y"},
        {"a": "4", "at": "2024-02-29T10:30:00Z", "b": "no"},
        {"a": "x", "at": "2024-02-29T10:30:00Z", "b": "y"},
        {"a": "6", "at": "2024-02-29T10:30:00Z", "b": "z"},
    ]
    found = validate(model_schema(Checked), form(rows), model=Checked)
    assert found.batch.to_pylist() == [{"a": 2, "at": AT, "b": "Y"}, {"a": 6, "at": AT, "b": "Z"}]
    assert reasons(found) == [
        ("a", "3", "must be even"),
        (None, None, "the model's validator failed: KeyError: \"a user's mistake\""),
        ("a", "x", "is not an integer"),
    ]


def test_an_instance_of_the_model_is_not_validated_twice() -> None:
    made = Checked(a=2, at=AT.replace(tzinfo=dt.UTC), b="y")
    found = check(Checked, made, {"a": 4, "at": AT, "b": "y"})
    assert found.batch.column("b").to_pylist() == ["Y", "Y"]


class Raw(hr.Event):
    amount: Annotated[Decimal, hr.decimal(9, 2), BeforeValidator(lambda value: str(value).replace(",", "."))]
    seen: Annotated[dt.datetime, BeforeValidator(lambda value: dt.datetime.fromtimestamp(value, dt.UTC))]
    at: dt.datetime | None = None
    site: HttpUrl | None = None


@pytest.mark.parametrize("form", [list, pa.Table.from_pylist])
def test_validators_of_the_user_may_read_raw_values(form: Any) -> None:
    rows = [
        {"amount": "1,50", "seen": 0, "site": "https://example.com"},
        {"amount": "1,505", "seen": 0, "site": None},
        {"amount": "1", "seen": 0, "site": "nowhere"},
    ]
    found = validate(model_schema(Raw), form(rows), model=Raw)
    assert found.batch.column("amount").to_pylist() == [Decimal("1.50")]
    assert found.batch.column("site").to_pylist() == ["https://example.com/"]
    assert [item.field for item in found.rejections] == ["amount", "site"]


def test_raw_validators_do_not_open_the_door_to_epoch_numbers() -> None:
    found = check(
        Raw, {"amount": "1", "seen": 0, "at": 1709202600}, {"seen": 0}, {"amount": "1", "seen": 0, "sit": 1}
    )
    assert reasons(found) == [
        ("at", "1709202600", "is a number, whose unit is open; send ISO-8601 text"),
        ("amount", None, "is missing"),
        ("sit", "1", "is not a known field; did you mean 'site'?"),
    ]


# --- hostile Arrow ------------------------------------------------------------


def broken_text(values: list[bytes]) -> pa.Array:
    lengths = np.cumsum([0, *map(len, values)], dtype=np.int32)
    buffers = [None, pa.py_buffer(lengths.tobytes()), pa.py_buffer(b"".join(values))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


def test_text_that_is_not_utf8_is_turned_away_alone() -> None:
    table = pa.table({"id": [1, 2, 3], "name": broken_text([b"a", b"\xff", b"c"])})
    found = validate(SCHEMA, table)
    assert found.batch.column("name").to_pylist() == ["a", "c"]
    assert reasons(found) == [("name", None, "is not valid UTF-8")]
    assert json.loads(found.rejected_rows[0]) == {"id": 2, "name": "(not valid Arrow data)"}


def test_text_that_is_whole_only_beside_its_neighbours_is_turned_away() -> None:
    parts = [b"a", "é".encode()[:1], "é".encode()[1:], "日本".encode(), b"", "é".encode()]
    found = validate(parse_columns("name VARCHAR"), pa.table({"name": broken_text(parts)}))
    assert found.batch.column(0).to_pylist() == ["a", "日本", "", "é"]
    assert found.positions.tolist() == [0, 3, 4, 5]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_what_lies_beside_a_slice_or_under_a_null_is_no_matter(kind: pa.DataType) -> None:
    whole = [b"\xff", "é".encode(), b"\xfe", b"", "日本".encode(), b"\xff"]
    offsets = np.array([0, 1, 3, 4, 4, 10, 11], np.int64 if kind == pa.large_string() else np.int32)
    buffers = [pa.py_buffer(b"\x3b"), pa.py_buffer(offsets.tobytes()), pa.py_buffer(b"".join(whole))]
    text = pa.Array.from_buffers(kind, 6, buffers).slice(1, 4)
    found = validate(parse_columns("name VARCHAR"), pa.table({"name": text}))
    assert found.batch.column(0).to_pylist() == ["é", None, "", "日本"]
    assert not found.rejections


def test_broken_text_inside_of_lists_is_turned_away_alone() -> None:
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), broken_text([b"a", b"\xff", b"c"]))
    found = validate(parse_columns("x VARCHAR[]"), pa.table({"x": lists}))
    assert found.batch.column(0).to_pylist() == [["a"], ["c"]]
    assert found.positions.tolist() == [0, 2]


def test_offsets_that_point_outside_are_turned_away() -> None:
    buffers = [None, pa.py_buffer(np.array([0, 1, 10**6, 2], np.int32).tobytes()), pa.py_buffer(b"abcd")]
    found = validate(
        parse_columns("x VARCHAR"), pa.table({"x": pa.Array.from_buffers(pa.string(), 3, buffers)})
    )
    assert found.batch.column(0).to_pylist() == ["a"]
    assert all("not valid Arrow data" in item.reason for item in found.rejections)


def test_times_that_python_cannot_hold_are_turned_away() -> None:
    schema = parse_columns("t TIMESTAMP, d DATE")
    for name, column in (
        ("t", pa.array([2**62, 0], pa.timestamp("us"))),
        ("t", pa.array([2**62, 0], pa.timestamp("s"))),
        ("t", pa.array([-(2**63), 0], pa.timestamp("us", "UTC"))),
        ("d", pa.array([2**31 - 1, 0], pa.date32())),
    ):
        found = validate(schema, pa.table({name: column}))
        assert found.positions.tolist() == [1]
        assert found.rejections[0].field == name


def test_slices_and_offsets_are_read_from_their_start() -> None:
    kinds = "a BIGINT, b VARCHAR, c BIGINT[], d STRUCT(x INTERVAL), e INTEGER[2], f TIMESTAMP"
    rows = [
        {"a": n, "b": str(n), "c": [n], "d": {"x": pa.MonthDayNano([n, 0, 0])}, "e": [n, n], "f": AT}
        for n in range(5)
    ]
    table = pa.Table.from_pylist(rows, schema=parse_columns(kinds).arrow)
    assert validate(parse_columns(kinds), table.slice(2, 2)).batch.to_pylist() == rows[2:4]


def test_an_endless_stream_of_bad_rows_keeps_its_count() -> None:
    def rows() -> Iterator[dict[str, Any]]:
        for n in range(2_000):
            yield {"id": "x" if n % 2 else n}

    found = validate(SCHEMA, rows())
    assert (found.total, found.batch.num_rows, len(found.rejections)) == (2_000, 1_000, 1_000)
    assert [item.index for item in found.rejections[:2]] == [1, 3]
