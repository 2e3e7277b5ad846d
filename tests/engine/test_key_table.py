"""Keys to slots against a Python dict: NULLs, both zeros, long and short text, colliding hashes, growth."""

from __future__ import annotations

import random
from typing import Any

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


def slots_of(table: KeyTable, rows: list[tuple[Any, ...]], kinds: list[str], *, add: bool) -> list[int]:
    arrays = [pa.array([row[at] for row in rows], KINDS[kind][0]) for at, kind in enumerate(kinds)]
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


def test_many_keys_survive_growth() -> None:
    table = KeyTable([pa.int64()])
    for start in range(0, 60_000, 7_000):
        rows = [(number,) for number in range(start, start + 7_000)]
        assert slots_of(table, rows, ["int"], add=True) == list(range(start, start + 7_000))
    assert slots_of(table, [(0,), (62_999,), (63_000,)], ["int"], add=False) == [0, 62_999, -1]
