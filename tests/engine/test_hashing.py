"""Hashes: equal values have equal hashes whatever their neighbours, and are the same in every process."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from headrace.engine.columns import equal_rows, views
from headrace.engine.hashing import hash_columns

NAN = float("nan")
COLUMNS: list[tuple[pa.DataType, list[Any]]] = [
    (pa.int8(), [None, -1, 0, 5]),
    (pa.uint64(), [None, 0, 2**64 - 1]),
    (pa.float32(), [None, 0.0, 1.5]),
    (pa.float64(), [None, 0.0, 1.5, NAN]),
    (pa.decimal128(38, 2), [None, Decimal("0.00"), Decimal("-1.25"), Decimal("123456789012345678901234.56")]),
    (pa.string(), [None, "", "a", "exactly8", "exactly 9", "a much longer text, of many words", "é"]),
    (pa.binary(), [None, b"", b"\x00", b"\x00\x00"]),
    (pa.bool_(), [None, True, False]),
    (pa.date32(), [None, date(2024, 1, 1), date(1960, 1, 1)]),
    (pa.timestamp("us"), [None, datetime.fromisoformat("2024-01-01T00:00:00.000001")]),
    (pa.list_(pa.int32()), [None, [], [1], [1, None], [[1][0], 2]]),
    (pa.struct([("a", pa.int32()), ("b", pa.string())]), [None, {"a": 1, "b": None}, {"a": None, "b": "x"}]),
    (pa.month_day_nano_interval(), [None, pa.MonthDayNano([0, 1, 0]), pa.MonthDayNano([1, 0, 5])]),
    (pa.dictionary(pa.int8(), pa.string()), [None, "a", "b"]),
]


@pytest.mark.parametrize(("kind", "values"), COLUMNS, ids=[str(kind) for kind, _ in COLUMNS])
def test_hashes_follow_values(kind: pa.DataType, values: list[Any]) -> None:
    array = pa.array([*values, *reversed(values)], pa.string() if pa.types.is_dictionary(kind) else kind)
    array = array.dictionary_encode() if pa.types.is_dictionary(kind) else array
    hashes = hash_columns([array], len(array)).tolist()
    assert hashes[: len(values)] == hashes[len(values) :][::-1]
    assert len(set(hashes)) == len(values)
    for at in range(len(array)):
        assert hash_columns([array.slice(at, 1)], 1).tolist() == [hashes[at]]
    rows = np.arange(len(values), dtype=np.int64)
    columns = views([array], exact=False)
    assert equal_rows(columns, rows, columns, 2 * len(values) - 1 - rows).all()
    assert not equal_rows(columns, rows[:-1], columns, rows[1:]).any()


def test_sql_groups_zeros_nans_and_equal_intervals_together_but_rows_keep_their_bits() -> None:
    floats = pa.array([0.0, -0.0, NAN, -NAN])
    one, other = np.array([0, 2]), np.array([1, 3])
    assert hash_columns([floats], 4).tolist()[0::2] == hash_columns([floats], 4).tolist()[1::2]
    assert equal_rows(views([floats], exact=False), one, views([floats], exact=False), other).tolist() == [
        True,
        True,
    ]
    assert equal_rows(views([floats], exact=True), one, views([floats], exact=True), other).tolist() == [
        False,
        True,
    ]
    months = pa.array([pa.MonthDayNano([1, 0, 0]), pa.MonthDayNano([0, 30, 0])])
    assert len(set(hash_columns([months], 2).tolist())) == 1


def test_hashes_are_stable() -> None:
    columns = [pa.array([1, None]), pa.array(["abc", "a text of more than eight bytes"])]
    assert hash_columns(columns, 2).tolist() == [3446292379008920011, 12267739194218012755]


def test_a_few_rows_have_the_hashes_that_they_have_among_many() -> None:
    columns = [
        pa.array((values * 40)[:40], kind) for kind, values in COLUMNS if not pa.types.is_dictionary(kind)
    ]
    for width in (1, 2, len(columns)):
        for first in range(len(columns) - width + 1):
            chosen = columns[first : first + width]
            whole = hash_columns(chosen, 40).tolist()
            parts = [[column.slice(at, 8) for column in chosen] for at in range(0, 40, 8)]
            assert [one for part in parts for one in hash_columns(part, 8).tolist()] == whole
    assert hash_columns([], 3).tolist() == hash_columns([], 30).tolist()[:3]
