"""Comparison of bags of rows: what counts as equal, and what must not.

Decimals went through arithmetic once, which rounds to 28 digits: a wrong last digit of a DECIMAL(38) went by.
"""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from headrace.testing.compare import difference


def column(values: list[object], kind: pa.DataType | None = None) -> pa.Table:
    return pa.table({"x": pa.array(values, kind)})


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (column([Decimal("1.50")], pa.decimal128(38, 2)), column([Decimal("1.5")], pa.decimal128(10, 1))),
        (column([float("nan"), -0.0]), column([0.0, float("nan")])),
        (column([1.0]), column([1.0 + 1e-12])),
        (column([{"a": [1, None]}]), column([{"a": [1, None]}])),
    ],
)
def test_alike(left: pa.Table, right: pa.Table) -> None:
    assert difference(left, right) is None


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (Decimal(10**37 + 1), Decimal(10**37)),
        (Decimal("0." + "0" * 37 + "1"), Decimal(0)),
    ],
)
def test_decimals_differ_in_their_last_digit(left: Decimal, right: Decimal) -> None:
    kind = pa.decimal256(76, 38)
    told = difference(column([left], kind), column([right], kind))
    assert told is not None
    assert "only left" in told


def test_copies_count() -> None:
    assert difference(column([1, 1, 2]), column([1, 2, 2])) is not None
