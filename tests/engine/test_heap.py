"""Rows by number: found in whatever chunk they lie after merges and rewrites.

Chunks are made small, so that there are many, with gaps where rows went; look-ups are few and many, of a few
chunks and of all, because each is located in another way.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from headrace.engine.heap import Heap

SCHEMA = pa.schema([("x", pa.int64()), ("t", pa.string())])


def filled(random: np.random.Generator, chunk_rows_max: int) -> tuple[Heap, np.ndarray]:
    """Return a heap in which row x has number x, and the numbers that are left."""
    heap = Heap(SCHEMA, chunk_rows_max)
    left = np.empty(0, dtype=np.int64)
    for step in range(40):
        first = int(left[-1]) + 1 if len(left) else 0
        count = int(random.integers(1, 900))
        numbers = np.arange(first, first + count)
        rows = pa.record_batch({"x": numbers, "t": [f"row {number}" for number in numbers]})
        assert heap.append(rows, np.ones(count, dtype=np.int64)).tolist() == numbers.tolist()
        left = np.concatenate([left, numbers])
        if step % 6 == 5:
            gone = random.random(len(left)) < 0.4
            gone[-1] = False
            heap.lower(left[gone], np.ones(int(gone.sum()), dtype=np.int64))
            heap.compact()
            left = left[~gone]
    return heap, left


@pytest.mark.parametrize("chunk_rows_max", [64, 1_000, 100_000])
@pytest.mark.parametrize("count", [1, 300, 5_000])
def test_rows_are_found_by_their_numbers(chunk_rows_max: int, count: int) -> None:
    random = np.random.default_rng(chunk_rows_max + count)
    heap, left = filled(random, chunk_rows_max)
    for among in (left, left[-30:], left[:200], left[::97]):
        asked = random.choice(among, count)
        found = heap.gather(asked)
        assert found.column("x").to_pylist() == asked.tolist()
        assert found.column("t").to_pylist() == [f"row {number}" for number in asked]


def test_weights_go_down_once_and_never_below_zero() -> None:
    heap = Heap(SCHEMA, 4)
    rows = pa.record_batch({"x": [0, 1, 2], "t": ["a", "b", "c"]})
    heap.append(rows, np.array([1, 2, 3]))
    taken, empty = heap.lower(np.array([2, 0]), np.array([2, 5]))
    assert taken.tolist() == [2, 1]
    assert empty.tolist() == [False, True]
