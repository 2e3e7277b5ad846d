"""Consolidation against a Counter, and `settle`, which lets ids speak."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from headrace.change import Change
from headrace.engine.columns import views
from headrace.engine.hashing import hash_views, truncated_hashes
from headrace.engine.zset import consolidate, settle


def change(rows: Sequence[tuple[object, object]], weights: list[int], ids: list[int] | None = None) -> Change:
    batch = pa.record_batch(
        {
            "a": pa.array([row[0] for row in rows], pa.int64()),
            "b": pa.array([row[1] for row in rows], pa.string()),
        }
    )
    return Change(
        batch, np.array(weights, dtype=np.int64), None if ids is None else np.array(ids, dtype=np.int64)
    )


@pytest.mark.parametrize("bits", [64, 2, 0])
@pytest.mark.parametrize("size", [0, 1, 2, 40, 300])
def test_identical_rows_add_up(bits: int, size: int) -> None:
    rng = random.Random(size)
    rows = [(rng.choice([None, 1, 2, 3]), rng.choice([None, "", "x", "a longer text"])) for _ in range(size)]
    weights = [rng.choice([-2, -1, 0, 1, 1, 2]) for _ in rows]
    wanted: Counter[tuple[object, object]] = Counter()
    for row, weight in zip(rows, weights, strict=True):
        wanted[row] += weight
    with truncated_hashes(bits):
        found = consolidate(change(rows, weights))
    pairs = list(
        zip((tuple(row.values()) for row in found.rows.to_pylist()), found.weights.tolist(), strict=True)
    )
    assert len(pairs) == len(found)
    assert dict(pairs) == {row: weight for row, weight in wanted.items() if weight}


def test_rows_without_columns_are_counted() -> None:
    nothing = pa.record_batch({"a": pa.array([1, 2, 3])}).select([])
    found = consolidate(Change(nothing, np.array([1, 1, -1])))
    assert found.weights.tolist() == [1]


def test_settle_drops_what_goes_and_comes_back_under_the_same_id() -> None:
    rows: list[tuple[object, object]] = [(1, "x"), (2, "y"), (1, "x"), (2, "z"), (1, "x")]
    found = settle(change(rows, [-1, -1, 1, 1, 1], ids=[7, 8, 7, 8, 9]))
    assert found.rows.to_pylist() == [{"a": 2, "b": "y"}, {"a": 2, "b": "z"}, {"a": 1, "b": "x"}]
    assert found.ids is not None
    assert found.ids.tolist() == [8, 8, 9]


def test_hashes_that_were_worked_out_stay_with_their_rows() -> None:
    rows = [(n % 7, "text" * (n % 5)) for n in range(60)]
    found = consolidate(change(rows, [1, -1, 1] * 20))

    def of_rows(some: Change) -> list[int]:
        hashes: list[int] = hash_views(views(some.rows.columns, exact=True), len(some)).tolist()
        return hashes

    some = found.filter(np.arange(len(found)) % 3 != 1)
    stretch = found.filter((np.arange(len(found)) > 1) & (np.arange(len(found)) < 9))
    for one in (found, some, stretch, found.negated(), found.take(np.array([4, 0, 2])), consolidate(some)):
        assert one.hashes is not None
        assert one.hashes.tolist() == of_rows(one)
