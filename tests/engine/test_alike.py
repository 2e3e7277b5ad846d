"""Rows that are put together, against a dict of their values: also where hashes say nothing, where nearly all
rows are distinct, and where a sample is wrong about that.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from headrace.engine import alike
from headrace.engine.columns import I64, views
from headrace.engine.hashing import hash_views, truncated_hashes
from headrace.engine.key_table import KeyTable


def grouped(numbers: I64, found: alike.Alike | None = None) -> tuple[I64, I64] | None:
    columns = views([pa.array(numbers), pa.array([f"text {number}" for number in numbers])], exact=False)
    return (found or alike.Alike()).groups(columns, hash_views(columns, len(numbers)))


def test_rows_are_grouped_by_their_values() -> None:
    numbers = np.random.default_rng(1).integers(0, 500, 5_000)
    result = grouped(numbers)
    assert result is not None
    groups, firsts = result
    assert (numbers[firsts][groups] == numbers).all()
    wanted: dict[int, int] = {}
    for row, number in enumerate(numbers.tolist()):
        wanted.setdefault(number, row)
    assert firsts.tolist() == list(wanted.values())


def test_few_rows_distinct_rows_and_equal_hashes_are_left() -> None:
    numbers = np.random.default_rng(2).integers(0, 500, 5_000)
    assert grouped(numbers[:2_000]) is None
    assert grouped(np.arange(5_000)) is None
    with truncated_hashes(3):
        assert grouped(numbers) is None


def test_where_the_sample_is_wrong_some_batches_are_passed_over() -> None:
    """One row in two is of one value, the others are all distinct."""
    numbers, fine = np.arange(10, 5_010), np.random.default_rng(3).integers(0, 500, 5_000)
    numbers[1::2] = 7
    found = alike.Alike()
    assert grouped(numbers, found) is None
    answers = [grouped(fine, found) is None for _ in range(10)]
    assert answers == [True] * 8 + [False] * 2


def test_keys_that_repeat_have_one_slot_each() -> None:
    rng = np.random.default_rng(4)
    keys = KeyTable([pa.int64(), pa.string()])
    known: dict[tuple[int, str | None], int] = {}
    for _ in range(4):
        numbers = rng.integers(0, 3_000, 9_000)
        texts = [None if number % 9 == 0 else f"a rather long text {number}" for number in numbers]
        columns = views([pa.array(numbers), pa.array(texts)], exact=False)
        hashes = hash_views(columns, len(numbers))
        before = keys.size
        slots, added = keys.find_or_add(columns, hashes)
        pairs = list(zip(numbers.tolist(), texts, strict=True))
        for pair, slot in zip(pairs, slots.tolist(), strict=True):
            assert known.setdefault(pair, slot) == slot
        assert slots[added].tolist() == list(range(before, keys.size)), "new slots, in order"
        assert keys.find(columns, hashes).tolist() == slots.tolist()
    assert sorted(known.values()) == list(range(keys.size))
