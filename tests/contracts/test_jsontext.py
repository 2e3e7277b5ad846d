"""JSON text of any Python value: exact for JSON columns, and never an exception for rejected rows."""

from __future__ import annotations

import datetime as dt
import enum
import json
import math
import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.contracts.jsontext import json_text, row_text

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


class Size(enum.Enum):
    SMALL = "s"


@given(JSON)
def test_json_values_are_themselves(value: Any) -> None:
    assert orjson.loads(json_text(value)) == value
    assert orjson.loads(row_text({"x": value}, 10**6)) == {"x": value}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1.50"), '"1.50"'),
        (Decimal("1E+3"), '"1000"'),
        (2**80, '"1208925819614629174706176"'),
        (math.nan, '"NaN"'),
        ([-math.inf], '["-Infinity"]'),
        (b"\x00\xff", '"AP8="'),
        (dt.datetime(2024, 1, 1, tzinfo=dt.UTC), '"2024-01-01T00:00:00Z"'),
        (dt.date(2024, 1, 1), '"2024-01-01"'),
        (dt.timedelta(days=-1, seconds=5), '"P-1DT5S"'),
        (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        ({1: None, "a": Size.SMALL}, '{"1":null,"a":"s"}'),
        ((1, np.int64(2)), "[1,2]"),
        (np.array([1.5]), "[1.5]"),
    ],
)
def test_python_values_have_one_json_form(value: Any, text: str) -> None:
    assert json_text(value) == text


@pytest.mark.parametrize("value", [object(), "\ud800", {"a": {1, 2}}])
def test_what_has_no_json_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        json_text(value)


def test_endless_nesting_is_refused_and_cut() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises((ValueError, TypeError)):
        json_text(deep)
    assert "…" in row_text({"x": deep}, 10**6)


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_any_row_has_a_text() -> None:
    row = {
        "a": "\ud800",
        "b": Hostile(),
        3: {4, 5},
        "d": 10**5000,
        "e": Decimal("NaN"),
        "f": Decimal("1E+999999"),
    }
    assert set(json.loads(row_text(row, 10**6))) == {"a", "b", "3", "d", "e", "f"}
    assert json.loads(row_text(Hostile(), 10**6)) == "(cannot be shown)"


def test_a_row_that_is_too_long_keeps_its_short_values() -> None:
    text = row_text({"id": 7, "story": "x" * 10_000}, 5_000)
    found = json.loads(text)
    assert found["id"] == 7
    assert found["story"].endswith("… (10002 characters)")
    assert len(text) < 5_000
