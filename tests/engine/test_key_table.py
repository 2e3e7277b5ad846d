"""Keys to slots against a Python dict: NULLs, both zeros, long and short text, colliding hashes, growth."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from headrace.engine.columns import views
from headrace.engine.hashing import hash_views, truncated_hashes
from headrace.engine.key_table import KeyTable

KINDS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "int": (pa.int64(), [None, 0, 1, -1, 2**63 - 1, *range(50)]),
    "double": (pa.float64(), [None, 0.0, 1.5, float("inf"), *map(float, range(20))]),
    "text": (
        pa.string(),
        [None, "", "a", "eightlen", "eightlenx", "a longer text than two words", "a longer text, other"],
    ),
    "bool": (pa.bool_(), [None, True, False]),
}


def slots_of(
    table: KeyTable, rows: list[tuple[Any, ...]], kinds: list[str], *, add: bool, by_value: bool = False
) -> list[int]:
    arrays = [pa.array([row[at] for row in rows], KINDS[kind][0]) for at, kind in enumerate(kinds)]
    if by_value:
        return [int(slot) for slot in table.slots_of(arrays)[0]]
    columns = views(arrays, exact=False)
    hashes = hash_views(columns, len(rows))
    found = table.find_or_add(columns, hashes)[0] if add else table.find(columns, hashes)
    return [int(slot) for slot in found]


@pytest.mark.parametrize("kinds", [["int"], ["text"], ["double"], ["int", "text"], ["text", "bool", "text"]])
@pytest.mark.parametrize("bits", [64, 3, 0])
def test_slots_are_those_of_a_dict(kinds: list[str], bits: int) -> None:
    rng = random.Random(len(kinds))
    known: dict[tuple[Any, ...], int] = {}
    with truncated_hashes(bits):
        table = KeyTable([KINDS[kind][0] for kind in kinds])
        for size in (1, 7, 60, 0, 400):
            rows = [tuple(rng.choice(KINDS[kind][1]) for kind in kinds) for _ in range(size)]
            missing = [row not in known for row in rows]
            found = slots_of(table, rows, kinds, add=False)
            assert [slot == -1 for slot in found] == missing
            for row, slot in zip(rows, slots_of(table, rows, kinds, add=True), strict=True):
                assert known.setdefault(row, slot) == slot
            assert sorted(known.values()) == list(range(len(known))) == list(range(table.size))


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("kinds", [["int"], ["text"], ["int", "text"]])
def test_slots_given_back_are_taken_again(kinds: list[str], long: bool) -> None:
    rng = random.Random(3)
    more = " that has more than two words, and then some" if long else ""
    known: dict[tuple[Any, ...], int] = {}
    table = KeyTable([KINDS[kind][0] for kind in kinds])
    most = 0
    for turn in range(120):
        words = [
            None if turn % 3 and rng.random() < 0.05 else f"{turn + rng.randrange(30)}{more[: turn - 40]}"
            for _ in range(40)
        ]
        values = {"int": [None if word is None else len(word) + turn for word in words], "text": words}
        rows = list(zip(*[values[kind] for kind in kinds], strict=True))
        by_value = rng.random() < 0.7
        for row, slot in zip(rows, slots_of(table, rows, kinds, add=True, by_value=by_value), strict=True):
            assert known.setdefault(row, slot) == slot
        assert len(set(known.values())) == len(known) == table.live
        most = max(most, table.live)
        gone = rng.sample(sorted(known, key=repr), rng.randrange(len(known)))
        mask = table.release(np.array([known.pop(row) for row in gone], dtype=np.int64))
        assert mask.sum() == len(gone) == len(mask) - table.live - (table.free() & ~mask).sum()
        left = list(known)
        assert slots_of(table, left, kinds, add=False) == [known[row] for row in left]
        assert set(slots_of(table, gone, kinds, add=False)) <= {-1}
    assert table.size <= most + 40
    assert table.nbytes < 60_000


def test_slots_below_a_bound() -> None:
    table = KeyTable([pa.timestamp("us"), pa.date32(), pa.timestamp("ms")])
    day = 86_400_000_000
    arrays = [
        pa.array([5, None, 9], pa.timestamp("us")),
        pa.array([0, 1, None], pa.date32()),
        pa.array([2**62, 3, -(2**62)], pa.timestamp("ms")),
    ]
    columns = views(arrays, exact=False)
    table.find_or_add(columns, hash_views(columns, 3))
    assert table.below(0, 9).tolist() == [True, False, False]
    assert table.below(1, day).tolist() == [True, False, False]
    assert table.below(1, day + 1).tolist() == [True, True, False]
    assert table.below(2, 3_001).tolist() == [False, True, True]


def test_many_keys_survive_growth() -> None:
    table = KeyTable([pa.int64()])
    for start in range(0, 60_000, 7_000):
        rows = [(number,) for number in range(start, start + 7_000)]
        assert slots_of(table, rows, ["int"], add=True) == list(range(start, start + 7_000))
    assert slots_of(table, [(0,), (62_999,), (63_000,)], ["int"], add=False) == [0, 62_999, -1]


def test_nothing_is_given_back_of_a_table_that_never_held_a_key() -> None:
    table = KeyTable([pa.string()])
    assert table.release(np.empty(0, dtype=np.int64)).tolist() == []
