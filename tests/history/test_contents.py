"""A content after a change, against counting rows one by one; in both ways in which it is computed.

Rows repeat, are NULL, differ only in their last column, and stand in several batches; changes are few beside
the content (they are looked up) or many (all is added up), and name rows that are not there.
"""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from headrace.change import Change
from headrace.engine.hashing import truncated_hashes
from headrace.errors import StorageError
from headrace.history.contents import apart, shifted

SCHEMA = pa.schema([("a", pa.string()), ("b", pa.int64()), ("c", pa.float64())])
Row = tuple[str | None, int | None, float | None]


def row(chance: random.Random) -> Row:
    return (
        chance.choice(["x", "y", "", None]), chance.choice([0, 1, 2, None]), chance.choice([0.0, 1.5, None])
    )  # fmt: skip


def batch(rows: list[Row]) -> pa.RecordBatch:
    arrays = [pa.array([one[at] for one in rows], field.type) for at, field in enumerate(SCHEMA)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def table(rows: list[Row], cut: int) -> pa.Table:
    parts = [batch(rows[at : at + cut]) for at in range(0, len(rows), cut)]
    return pa.Table.from_batches(parts, schema=SCHEMA)


def counted(found: pa.Table) -> Counter[Row]:
    return Counter(tuple(item.values()) for item in found.to_pylist())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("rows", [0, 5, 400])
@pytest.mark.parametrize("changed", [0, 1, 8, 300])
def test_a_content_after_a_change(seed: int, rows: int, changed: int) -> None:
    chance = random.Random(seed)
    content = [row(chance) for _ in range(rows)]
    counts = Counter(content)
    changes: list[tuple[Row, int]] = []
    for _ in range(changed):
        one = row(chance)
        weight = chance.choice([-1, 1, 2])
        if counts[one] + weight < 0:
            weight = 1
        counts[one] += weight
        changes.append((one, weight))
    change = Change(batch([one for one, _ in changes]), np.array([w for _, w in changes], dtype=np.int64))
    before = table(content, 37)
    with truncated_hashes(64 if seed % 2 else 4):
        after = shifted(before, change, where="view")
        back = shifted(after, change.negated(), where="view")
        between = apart(before, after)
    assert counted(after) == +counts
    assert counted(back) == Counter(content)
    assert counted(shifted(before, between, where="view")) == +counts


def test_a_row_that_is_not_there_cannot_go() -> None:
    content = table([("x", 1, 1.5)] * 50, 10)
    change = Change(batch([("x", 1, 0.0)]), np.array([-1], dtype=np.int64))
    with pytest.raises(StorageError, match="does not add up"):
        shifted(content, change, where="view")
