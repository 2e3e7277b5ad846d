"""Digests tell rows apart as SQL does (keys) or bit by bit (contents), for every type of column."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from headrace.intake.digest import Hasher, repeats

COLUMNS: dict[str, list[Any]] = {
    "numbers": [1, None, 0, -1],
    "words": ["", None, "a", "A", "a "],
    "bytes": [b"", None, b"\x00", b"\x00\x00"],
    "flags": [True, None, False],
    "money": [Decimal("1.1"), None, Decimal("1.2"), Decimal("-1.1")],
    "spans": [pa.MonthDayNano([0, 1, 0]), None, pa.MonthDayNano([0, 0, 86_400_000_000_000])],
    "lists": [[1], None, [], [1, None], [None]],
    "structs": [{"a": 1, "b": None}, None, {"a": None, "b": None}, {"a": 1, "b": 1}],
}


def batch(**columns: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns)


@pytest.mark.parametrize("column", COLUMNS)
def test_equal_values_have_equal_digests_and_others_differ(column: str) -> None:
    values = COLUMNS[column]
    rows = Hasher().rows(batch(x=pa.array(values + values), y=[7] * (2 * len(values))))
    for digests in (rows.contents(), rows.keys(["x"])[0], rows.keys(["x"])[1], rows.content_pairs()[0]):
        assert np.array_equal(digests[: len(values)], digests[len(values) :])
        assert len(set(digests.tolist())) == len(values)


def test_choices_digest_as_their_words() -> None:
    words = pa.array(["red", None, "blue", "red"])
    hasher = Hasher()
    plain, coded = hasher.rows(batch(x=words)), hasher.rows(batch(x=words.dictionary_encode()))
    assert plain.contents().tolist() == coded.contents().tolist()


def test_zeros_are_one_key_but_two_contents() -> None:
    rows = Hasher().rows(batch(x=pa.array([0.0, -0.0, float("nan"), float("nan")]), y=[1, 1, 1, 1]))
    hi, _ = rows.keys(["x"])
    contents = rows.contents()
    assert hi[0] == hi[1]
    assert hi[2] == hi[3]
    assert contents[0] != contents[1]
    assert contents[2] == contents[3]


def test_values_do_not_slide_from_one_column_into_the_next() -> None:
    rows = Hasher().rows(batch(x=["a", "ab"], y=["bc", "c"]))
    assert len(set(rows.contents().tolist())) == 2
    assert len(set(rows.keys(["x", "y"])[0].tolist())) == 2


def test_a_slice_digests_as_its_rows_alone() -> None:
    whole = batch(x=pa.array([1.5, None, 2.5, 3.5]), y=["a", "b", None, "d"], z=[[1], None, [2], []])
    hasher = Hasher()
    assert hasher.rows(whole.slice(1, 2)).contents().tolist() == hasher.rows(whole).contents()[1:3].tolist()


def test_secrets_differ_between_hashers() -> None:
    one = batch(x=[1])
    assert Hasher().rows(one).contents()[0] != Hasher().rows(one).contents()[0]


def test_repeats_names_the_first_of_equal_rows() -> None:
    hi = np.array([5, 1, 5, 5, 1, 9], dtype=np.uint64)
    lo = np.array([0, 0, 0, 1, 0, 0], dtype=np.uint64)
    found = repeats(hi, lo)
    assert found is not None
    assert found.tolist() == [0, 1, 0, 3, 1, 5]
    assert repeats(hi[:2], lo[:2]) is None
    assert repeats(hi[:0], lo[:0]) is None
