"""Arrangements against a dict of Counters: what a probe adds up to, after every insertion, with merges
that cancel.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pytest

from headrace.engine.columns import nonzero
from headrace.engine.hashing import truncated_hashes
from headrace.engine.runs import Arrangement, holds, ranges

SCHEMA = pa.schema([("a", pa.int64()), ("b", pa.string())])


def probed(arrangement: Arrangement, slots: list[int]) -> dict[int, dict[tuple[object, ...], int]]:
    positions, numbers, weights = arrangement.probe(np.array(slots, dtype=np.int64))
    found: dict[int, Counter[tuple[object, ...]]] = defaultdict(Counter)
    rows = arrangement.heap.gather(numbers).to_pylist()
    for position, row, weight in zip(positions.tolist(), rows, weights.tolist(), strict=True):
        found[position][tuple(row.values())] += weight
    return {
        position: {row: n for row, n in rows.items() if n}
        for position, rows in found.items()
        if any(rows.values())
    }


@pytest.mark.parametrize("append_only", [False, True])
@pytest.mark.parametrize("bits", [64, 0])
def test_probes_find_what_was_inserted(append_only: bool, bits: int) -> None:
    rng = random.Random(1)
    held: dict[int, Counter[tuple[object, ...]]] = defaultdict(Counter)
    with truncated_hashes(bits):
        arrangement = Arrangement(SCHEMA, append_only=append_only)
        for _ in range(60):
            size = rng.choice([0, 1, 3, 20])
            slots = [rng.randrange(12) for _ in range(size)]
            rows = [{"a": rng.choice([None, 1, 2]), "b": rng.choice(["x", "y", None])} for _ in range(size)]
            weights = [rng.choice([1, 2] if append_only else [-1, 1, 1]) for _ in range(size)]
            arrangement.insert(
                np.array(slots, dtype=np.int64),
                pa.RecordBatch.from_pylist(rows, schema=SCHEMA),
                np.array(weights, dtype=np.int64),
            )
            for slot, row, weight in zip(slots, rows, weights, strict=True):
                held[slot][tuple(row.values())] += weight
            asked = [rng.choice([-1, *range(14)]) for _ in range(6)]
            wanted = {
                at: {row: n for row, n in held[slot].items() if n}
                for at, slot in enumerate(asked)
                if slot >= 0
            }
            assert probed(arrangement, asked) == {at: rows for at, rows in wanted.items() if rows}


def test_what_waits_unsorted_is_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A side that only grows waits unsorted while nobody asks; probes find it all, sort a slice each, and
    what is dropped meanwhile is gone from both.
    """
    monkeypatch.setattr("headrace.engine.runs._SORTED_AT_ONCE", 700)
    rng = np.random.default_rng(3)
    arrangement = Arrangement(SCHEMA, append_only=True)
    slots = rng.integers(0, 300, 6_000)
    for first in range(0, 6_000, 500):
        count = np.arange(first, first + 500)
        rows = pa.record_batch({"a": pa.array(count), "b": pa.array(["x"] * 500)})
        arrangement.insert(slots[first : first + 500], rows, np.ones(500, dtype=np.int64))
    dead = np.zeros(300, dtype=np.bool_)
    for turn in range(12):
        asked = rng.integers(-1, 320, 40)
        positions, numbers, weights = arrangement.probe(asked)
        found = sorted(zip(positions.tolist(), numbers.tolist(), strict=True))
        under = [[] if slot < 0 else nonzero(slots == slot).tolist() for slot in asked.tolist()]
        live = [
            [] if 0 <= slot < 300 and dead[slot] else some for slot, some in zip(asked, under, strict=True)
        ]
        assert found == [(at, number) for at, some in enumerate(live) for number in some]
        assert weights.tolist() == [1] * len(numbers)
        assert arrangement.sizes(asked).tolist() == [len(some) for some in live]
        if turn in (1, 3):
            gone = np.zeros(300, dtype=np.bool_)
            gone[turn::7] = True
            arrangement.release(gone)
            dead |= gone
            assert not arrangement.held(300)[dead].any()
    assert arrangement.row_count == int((~dead[slots]).sum())


def test_runs_stay_few_and_what_cancels_vanishes() -> None:
    arrangement = Arrangement(SCHEMA, append_only=False)
    rows = pa.record_batch({"a": pa.array(range(500)), "b": pa.array(["x"] * 500)})
    for start in range(0, 64_000, 500):
        arrangement.insert(np.arange(start, start + 500), rows, np.ones(500, dtype=np.int64))
    assert arrangement.run_count < 8
    assert arrangement.row_count == 64_000
    for start in range(0, 64_000, 500):
        arrangement.insert(np.arange(start, start + 500), rows, -np.ones(500, dtype=np.int64))
    assert arrangement.probe(np.arange(64_000))[2].sum() == 0
    assert arrangement.row_count < 40_000


def test_ranges_follow_each_other() -> None:
    assert ranges(np.array([5, 0, 9]), np.array([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]


@pytest.mark.parametrize("spread", [1, 3, 1_000])
def test_numbers_are_told_from_others_wherever_they_lie(spread: int) -> None:
    numbers = np.arange(50, 90, dtype=np.int64)[::2] * spread
    asked = np.random.default_rng(3).permutation(np.arange(-5, 100 * spread, dtype=np.int64))
    asked = np.concatenate([asked, [np.iinfo(np.int64).max, np.iinfo(np.int64).min]])
    assert holds(numbers, asked).tolist() == np.isin(asked, numbers).tolist()
