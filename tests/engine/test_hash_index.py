"""Hash indexes against a dict of lists: equal hashes, removal, growth while entries are still being moved."""

from __future__ import annotations

import random

import numpy as np
import pytest

import headrace.engine.hash_index as hash_index
from headrace.engine.hash_index import HashIndex


def lookup(index: HashIndex, key: int, wanted: int) -> int:
    found = index.find(np.array([key], dtype=np.uint64), lambda _, ids: ids == wanted)
    return int(found[0])


@pytest.mark.parametrize("keys_max", [3, 1_000, 2**63])
def test_entries_come_and_go(keys_max: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hash_index, "_SLICE_MIN", 16)
    rng = random.Random(keys_max)
    index, held, next_id = HashIndex(), dict[int, int](), 0
    for _ in range(150):
        keys = np.array([rng.randrange(keys_max) for _ in range(rng.choice([1, 5, 40]))], dtype=np.uint64)
        ids = np.arange(next_id, next_id + len(keys), dtype=np.int64)
        next_id += len(keys)
        index.add(keys, ids)
        held.update(zip(ids.tolist(), keys.tolist(), strict=True))
        gone = rng.sample(sorted(held), min(len(held), rng.choice([0, 3, 30])))
        index.remove(np.array([held[one] for one in gone], dtype=np.uint64), np.array(gone, dtype=np.int64))
        dropped = {one: held.pop(one) for one in gone}
        for one, key in rng.sample(sorted(held.items()), min(len(held), 10)):
            assert lookup(index, key, one) == one
        for one, key in list(dropped.items())[:5]:
            assert lookup(index, key, one) == -1
    assert lookup(index, 5, next_id + 1) == -1


def test_new_keys_while_the_table_is_being_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hash_index, "_SLICE_MIN", 8)
    rng = random.Random(2)
    index, known = HashIndex(), dict[int, int]()
    stored: list[int] = []
    for _ in range(200):
        keys = [rng.randrange(2_000) for _ in range(7)]
        hashes = np.array([key % 500 for key in keys], dtype=np.uint64)
        values = np.array(keys)
        ids, added = index.find_or_add(
            hashes,
            lambda rows, found, values=values: np.array(stored)[found] == values[rows],  # type: ignore[misc]
            lambda one, other, values=values: values[one] == values[other],  # type: ignore[misc]
            lambda count: np.arange(len(stored), len(stored) + count, dtype=np.int64),
        )
        stored.extend(keys[at] for at in added.tolist())
        for key, found in zip(keys, ids.tolist(), strict=True):
            assert known.setdefault(key, found) == found
            assert stored[found] == key


def test_ids_beyond_four_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hash_index, "_SLICE_MIN", 16)
    index, first = HashIndex(), 2**31 - 3
    keys = np.arange(900, dtype=np.uint64) % np.uint64(7) * np.uint64(2**32 + 1)
    for start in range(0, 900, 100):
        index.add(keys[start : start + 100], np.arange(first + start, first + start + 100))
    for number in (0, 2, 3, 4, 899):
        assert lookup(index, int(keys[number]), first + number) == first + number
    index.remove(keys[3:5], np.array([first + 3, first + 4]))
    assert lookup(index, int(keys[3]), first + 3) == lookup(index, int(keys[4]), first + 4) == -1
    assert lookup(index, int(keys[2]), first + 2) == first + 2
