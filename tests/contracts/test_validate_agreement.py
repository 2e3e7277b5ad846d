"""One meaning, however rows come: alone or in company, as dicts or as Arrow.

A column is read at once where it is clean and value by value where it is not, so the same value takes
different ways depending on its neighbours. Each value is therefore judged alone, among strangers of other
types, and in an Arrow column of its own type, and all three must agree. The texts are near-misses of numbers,
times and UUIDs, because that is where Arrow's parsers and ours differ: Arrow alone would read `0x10` as 16
and, as this found, `538330e-069` as the DECIMAL 0.
"""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.contracts.column_list import parse_columns
from headrace.contracts.validate import Validated, validate

TYPES = [
    "BOOLEAN",
    "TINYINT",
    "BIGINT",
    "UBIGINT",
    "HUGEINT",
    "FLOAT",
    "DOUBLE",
    "DECIMAL(4,1)",
    "DECIMAL(18,2)",
    "DECIMAL(38,10)",
    "VARCHAR",
    "BLOB",
    "DATE",
    "TIME",
    "TIME_NS",
    "TIMESTAMP",
    "TIMESTAMP_S",
    "TIMESTAMP_NS",
    "TIMESTAMPTZ",
    "INTERVAL",
    "UUID",
    "JSON",
    "ENUM('a', 'b')",
]

NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.from_regex(r"[+-]?[0-9]{0,4}\.?[0-9]{0,4}([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(
        ["0x10", "1_0", " 1", "1 ", "", "-", "+", ".", "1e400", "NaN", "inf", "-Infinity", "١٢", "1e-400"]
    ),
)
DAYS = st.sampled_from(
    ["2024-02-29", "2023-02-29", "0001-01-01", "9999-12-31", "2024-1-1", "20240101", "1677-09-21"]
)
CLOCKS = st.sampled_from(
    ["00:00", "10:30:01", "23:59:60", "24:00", "10", "10:30:01.5", "10:30:01.1234567", "1030", "10:30:01,5"]
)
ZONES = st.sampled_from(["", "Z", "z", "+02:00", "-0230", "+02", "+24:00", " Z", "+02:60", "-23:59", "UTC"])
TIMES = st.builds(
    lambda day, mark, clock, zone: f"{day}{mark}{clock}{zone}", DAYS, st.sampled_from("T t"), CLOCKS, ZONES
)
UUIDS = st.builds(
    lambda value, how: how(str(value)), st.uuids(), st.sampled_from([str, str.upper, lambda t: t[1:]])
)
TEXTS = st.one_of(
    NUMBERS,
    TIMES,
    DAYS,
    CLOCKS,
    UUIDS,
    st.sampled_from(
        ["a", "b", "true", "FALSE", "yes", "{}", '{"a": [1]}', "[", "AAAA", "P1DT2H", "-PT5S", "P", "null"]
    ),
    st.text(max_size=5),
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "texts": TEXTS,
    "integers": st.one_of(st.integers(-300, 300), st.integers(-(2**63), 2**63 - 1)),
    "floats": st.one_of(
        st.floats(),
        st.integers(-(2**55), 2**55).map(float),
        st.decimals(-(10**6), 10**6, places=2).map(float),
        st.sampled_from([1e15, 1e16, -0.0, 3.4e38, 3.5e38, 0.1 + 0.2]),
    ),
    "booleans": st.booleans(),
    "decimals": st.decimals(-(10**9), 10**9, places=3),
    "days": st.dates(),
    "naive": st.datetimes(),
    "aware": st.datetimes(timezones=st.timezones()).filter(lambda value: 1 < value.year < 9999),
    "clocks": st.times(),
    "bytes": st.binary(max_size=20),
    "spans": st.timedeltas(dt.timedelta(days=-(10**5)), dt.timedelta(days=10**5)),
}


def outcome(validated: Validated) -> dict[int, Any]:
    """Per row, the stored scalar or the reason; `repr` keeps NaN equal to itself and 0.0 apart from -0.0."""
    stored = validated.batch.column(0)
    if pa.types.is_timestamp(stored.type) or pa.types.is_time(stored.type):
        stored = stored.cast(pa.int64())
    found = {int(at): repr(value) for at, value in zip(validated.positions, stored.to_pylist(), strict=True)}
    return found | {item.index: item.reason for item in validated.rejections}


@pytest.mark.parametrize("kind", TYPES)
@given(values=st.lists(st.one_of(st.none(), *VALUES.values()), max_size=6))
def test_a_value_means_the_same_alone_and_in_company(kind: str, values: list[Any]) -> None:
    schema = parse_columns(f"x {kind}")
    together = outcome(validate(schema, [{"x": value} for value in values]))
    alone = {at: outcome(validate(schema, [{"x": value}]))[0] for at, value in enumerate(values)}
    assert together == alone


@pytest.mark.parametrize("kind", TYPES)
@given(data=st.data())
def test_arrow_means_the_same_as_dicts(kind: str, data: st.DataObject) -> None:
    schema = parse_columns(f"x {kind}")
    strategy = VALUES[data.draw(st.sampled_from(sorted(VALUES)))]
    values = data.draw(st.lists(st.one_of(st.none(), strategy), max_size=6))
    column = pa.array(values)
    as_dicts = validate(schema, [{"x": value} for value in values])
    as_arrow = validate(schema, pa.table({"x": column}))
    assert outcome(as_dicts) == outcome(as_arrow)
    assert as_dicts.batch.schema == as_arrow.batch.schema == schema.arrow


NESTED: dict[str, tuple[str, st.SearchStrategy[Any]]] = {
    "list": ("BIGINT[]", st.lists(st.one_of(st.none(), TEXTS), max_size=3)),
    "array": ("INTEGER[2]", st.lists(st.one_of(st.none(), st.integers(-(2**33), 2**33)), max_size=3)),
    "struct": (
        "STRUCT(a TINYINT, b VARCHAR)",
        st.fixed_dictionaries({"a": st.integers(-200, 200)}, optional={"b": st.text(max_size=3)}),
    ),
    "lists of structs": (
        "STRUCT(a DECIMAL(4,1))[]",
        st.lists(
            st.one_of(st.none(), st.fixed_dictionaries({"a": st.one_of(st.none(), NUMBERS)})), max_size=3
        ),
    ),
}


@pytest.mark.parametrize("name", NESTED)
@given(data=st.data())
def test_nested_values_mean_the_same_every_way(name: str, data: st.DataObject) -> None:
    kind, strategy = NESTED[name]
    schema = parse_columns(f"x {kind}")
    values = data.draw(st.lists(st.one_of(st.none(), strategy), max_size=5))
    together = outcome(validate(schema, [{"x": value} for value in values]))
    alone = {at: outcome(validate(schema, [{"x": value}]))[0] for at, value in enumerate(values)}
    assert together == alone
    # pyarrow makes one struct type of all dicts, so that a member missing here is NULL there: the same to us
    assert outcome(validate(schema, pa.table({"x": pa.array(values)}))) == together


@given(
    pairs=st.lists(
        st.one_of(st.none(), st.dictionaries(st.sampled_from(["1", "2", "01", "x"]), st.integers(0, 300))),
        max_size=5,
    )
)
def test_maps_mean_the_same_every_way(pairs: list[dict[str, int] | None]) -> None:
    schema = parse_columns("x MAP(BIGINT, UTINYINT)")
    as_dicts = outcome(validate(schema, [{"x": pair} for pair in pairs]))
    column = pa.array(
        [None if pair is None else list(pair.items()) for pair in pairs], pa.map_(pa.string(), pa.int64())
    )
    assert outcome(validate(schema, pa.table({"x": column}))) == as_dicts
    for at, pair in enumerate(pairs):
        keys = [int(key) if key != "x" else None for key in pair or {}]
        good = (
            None not in keys and len(set(keys)) == len(keys) and all(v <= 255 for v in (pair or {}).values())
        )
        assert (
            as_dicts[at] == repr(None if pair is None else list(zip(keys, pair.values(), strict=True)))
        ) == good


@settings(max_examples=10)
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {},
            optional={"id": st.one_of(st.integers(), TEXTS), "at": TIMES, "Name": TEXTS, "naem": st.none()},
        ),
        max_size=8,
    )
)
def test_rows_are_rejected_alone(rows: list[dict[str, Any]]) -> None:
    schema = parse_columns("id BIGINT NOT NULL, at TIMESTAMP, name VARCHAR")
    together = validate(schema, rows)
    assert together.total == len(rows)
    alone = [validate(schema, [row]) for row in rows]
    assert [int(at) for at in together.positions] == [
        at for at, one in enumerate(alone) if not one.rejections
    ]
    reasons = [
        (at, one.rejections[0].field, one.rejections[0].reason)
        for at, one in enumerate(alone)
        if one.rejections
    ]
    assert [(item.index, item.field, item.reason) for item in together.rejections] == reasons
    assert len(together.rejected_rows) == len(together.rejections)


def test_uuid_objects_and_text_are_one() -> None:
    schema = parse_columns("x UUID")
    value = uuid.UUID(int=2**100)
    found = validate(schema, [{"x": value}, {"x": str(value).upper()}, {"x": value.hex}, {"x": value.bytes}])
    assert found.batch.column(0).to_pylist() == [str(value)] * 4


def test_numbers_that_mean_one_value_are_stored_as_one() -> None:
    schema = parse_columns("x DECIMAL(18,2)")
    rows = [{"x": value} for value in (Decimal("12.50"), "12.5", 12.5, "1.25e1", "+12.500")]
    assert validate(schema, rows).batch.column(0).to_pylist() == [Decimal("12.50")] * 5
