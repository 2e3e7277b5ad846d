"""Commits whose content follows from their number, so that a test knows what must be there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from headrace.change import Change
from headrace.log import Commit

START = datetime(2026, 1, 1, tzinfo=UTC)
SCHEMA = pa.schema([("id", pa.int64()), ("name", pa.string()), ("amount", pa.decimal128(18, 2))])


def rows(first: int, count: int) -> pa.RecordBatch:
    """Return `count` rows that are a function of their numbers."""
    ids = np.arange(first, first + count)
    names = [None if number % 5 == 0 else f"name {number}" for number in ids]
    amounts = pa.array(ids * 3).cast(pa.decimal128(21, 2)).cast(pa.decimal128(18, 2))
    return pa.RecordBatch.from_arrays([pa.array(ids), pa.array(names, pa.string()), amounts], schema=SCHEMA)


def commit(number: int, count: int = 3, relation: str = "orders") -> Commit:
    """Return the commit of that number."""
    batch = rows(number * 1000, count)
    weights = np.where(np.arange(count) % 4 == 3, -1, 1).astype(np.int64)
    return Commit(number, START + timedelta(seconds=number), {relation: Change(batch, weights)})


def same(left: Commit, right: Commit) -> bool:
    """Compare two commits in every part."""
    if left.changes.keys() != right.changes.keys():
        return False
    parts = ("number", "clock", "watermarks", "idempotency_key", "answer", "source", "position")
    if any(getattr(left, part) != getattr(right, part) for part in parts):
        return False
    return all(
        change.rows.equals(right.changes[name].rows, check_metadata=True)
        and np.array_equal(change.weights, right.changes[name].weights)
        for name, change in left.changes.items()
    )
