"""Merging in slices: whatever is under way, every entry is found once, and no push merges more than its
share.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.engine.test_runs import SCHEMA

import headrace.engine.tiers as tiers
from headrace.engine.ordered import OrderedValues
from headrace.engine.runs import Arrangement


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiers, "_SMALL", 8)
    monkeypatch.setattr(tiers, "_AT_ONCE_MIN", 40)
    monkeypatch.setattr(tiers, "_AT_ONCE_MAX", 40)
    monkeypatch.setattr(tiers, "_SLICE_MIN", 10)


def test_values_are_all_there_while_merges_are_under_way() -> None:
    rng = random.Random(1)
    values, held = OrderedValues(), Counter[tuple[int, int]]()
    pending = 0
    for step in range(150):
        entries = [(rng.randrange(6), rng.randrange(50)) for _ in range(rng.choice([2, 9, 30]))]
        gone = [entry for entry in set(entries) if held[entry] and rng.random() < 0.6]
        weights = [1] * len(entries) + [-held[entry] for entry in gone]
        held.update(entries)
        held.subtract({entry: -weight for entry, weight in zip(gone, weights[len(entries) :], strict=True)})
        both = [*entries, *gone]
        values.insert(
            np.array([slot for slot, _ in both], dtype=np.int64),
            np.array([word for _, word in both], dtype=np.uint64),
            np.array(weights, dtype=np.int64),
        )
        pending += values._tiers._pending is not None
        if step % 5 == 0:
            whole = values.all(np.arange(6, dtype=np.int64))
            wanted = sorted((slot, word, count) for (slot, word), count in held.items() if count)
            assert (
                list(zip(whole.slots.tolist(), whole.words.tolist(), whole.weights.tolist(), strict=True))
                == wanted
            )
    assert pending > 20


@pytest.mark.parametrize("append_only", [False, True])
def test_rows_are_all_there_while_merges_are_under_way(append_only: bool) -> None:
    rng = random.Random(2)
    arrangement = Arrangement(SCHEMA, append_only=append_only)
    held: list[dict[str, Any]] = []
    pending = 0
    for step in range(120):
        rows: list[dict[str, Any]] = [
            {"a": rng.randrange(30), "b": rng.choice(["x", None])} for _ in range(rng.choice([3, 20]))
        ]
        gone = [] if append_only else rng.sample(held, min(len(held), len(rows) // 2))
        for row in gone:
            held.remove(row)
        held += rows
        both = [*rows, *gone]
        slots = np.array([row["a"] for row in both], dtype=np.int64)
        weights = np.array([1] * len(rows) + [-1] * len(gone), dtype=np.int64)
        arrangement.insert(slots, pa.RecordBatch.from_pylist(both, schema=SCHEMA), weights)
        pending += arrangement._tiers._pending is not None
        if step % 6 == 0:
            _, numbers, found = arrangement.probe(np.arange(31, dtype=np.int64))
            sums: Counter[tuple[object, ...]] = Counter()
            for row, weight in zip(arrangement.heap.gather(numbers).to_pylist(), found.tolist(), strict=True):
                sums[tuple(row.values())] += weight
            wanted = Counter(tuple(row.values()) for row in held)
            assert {row: count for row, count in sums.items() if count} == dict(wanted)
    assert pending > 10
    assert arrangement.run_count < 16
