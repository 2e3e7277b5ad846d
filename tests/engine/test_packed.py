"""Chunks whose texts are kept once: rows read as ever, through merges, gaps, files, pickles and readers.

Texts repeat in some columns and not in others, and begin or cease to repeat midway, since whether a column is
packed is decided when a chunk becomes large.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import headrace.engine.heap as heaps
import headrace.engine.packed as packing
from headrace.engine.heap import Heap, Snapshot
from headrace.engine.memory import Memory
from headrace.engine.packed import is_packed, packed, plain

SCHEMA = pa.schema([("x", pa.int64()), ("few", pa.string()), ("own", pa.string()), ("raw", pa.binary())])


def rows_from(first: int, count: int, *, distinct: int) -> pa.RecordBatch:
    numbers = np.arange(first, first + count)
    few = [None if n % 11 == 0 else f"text {n % distinct}" for n in numbers.tolist()]
    raw = [None if n % 7 == 0 else bytes([n % 5]) for n in numbers.tolist()]
    return pa.record_batch([numbers, few, [f"row {n}" for n in numbers], raw], schema=SCHEMA)


@pytest.mark.parametrize("in_files", [False, True])
@pytest.mark.parametrize("chunk_rows_max", [300, 100_000])
def test_rows_are_read_as_they_came(
    chunk_rows_max: int, in_files: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heaps, "PACKED_FROM_ROWS", 0)
    monkeypatch.setattr(heaps, "ROWS_MIN", 100)
    monkeypatch.setattr(packing, "ROWS_MIN", 100)
    random, memory = np.random.default_rng(chunk_rows_max), Memory(1, tmp_path)
    heap, left = Heap(SCHEMA, chunk_rows_max), np.empty(0, dtype=np.int64)
    wanted: dict[int, dict[str, object]] = {}
    was_packed = False
    for step in range(50):
        first, count = len(wanted), int(random.integers(1, 250))
        rows = rows_from(first, count, distinct=10_000 if 20 <= step < 30 else 9)
        wanted.update({row["x"]: row for row in rows.to_pylist()})
        heap.append(rows, np.ones(count, dtype=np.int64))
        left = np.concatenate([left, np.arange(first, first + count)])
        if step % 6 == 5:
            snapshot = Snapshot(SCHEMA, heap.freeze(), len(left))
            before = [wanted[int(n)] for n in left]
            gone = random.random(len(left)) < 0.4
            heap.lower(left[gone], np.ones(int(gone.sum()), dtype=np.int64))
            heap.compact()
            left = left[~gone]
            assert snapshot.table().schema == SCHEMA
            assert snapshot.table().to_pylist() == before
        if step % 10 == 7:
            heap = pickle.loads(pickle.dumps(heap, protocol=5))
        for chunk in heap.chunks if in_files and step % 3 == 0 else ():
            chunk.put_aside(memory)
        was_packed |= any(is_packed(chunk.rows, SCHEMA) for chunk in heap.chunks)
        asked = random.choice(left, 40)
        found = heap.gather(asked)
        assert found.schema == SCHEMA
        assert found.to_pylist() == [wanted[int(n)] for n in asked]
        assert heap.gather(asked, [1]).column(0).to_pylist() == [wanted[int(n)]["few"] for n in asked]
    assert was_packed


def test_texts_that_stand_once_stay_as_they_are() -> None:
    one = rows_from(0, 5_000, distinct=9)
    rows = packed([one, rows_from(5_000, 5_000, distinct=9)], SCHEMA)
    assert [pa.types.is_dictionary(field.type) for field in rows.schema] == [False, True, False, True]
    assert plain(rows, SCHEMA).equals(pa.concat_batches([one, rows_from(5_000, 5_000, distinct=9)]))
    assert 2 * rows.column(1).nbytes < plain(rows, SCHEMA).column(1).nbytes
    assert packed([one], SCHEMA) == one, "few rows stay as they are"


def test_texts_that_no_longer_repeat_are_written_out() -> None:
    rows = packed([rows_from(0, 10_000, distinct=9), rows_from(10_000, 60_000, distinct=10**9)], SCHEMA)
    assert not pa.types.is_dictionary(rows.column(1).type)


def test_texts_of_rows_that_went_are_forgotten() -> None:
    rows = packed([rows_from(0, 40_000, distinct=900)], SCHEMA)
    fewer = packed([rows.take(pa.array(np.arange(9_900, 40_000, 4_500)))], SCHEMA)
    assert len(fewer.column(1).dictionary) <= 7
    assert fewer.column(1).to_pylist() == plain(rows, SCHEMA).column(1).to_pylist()[9_900::4_500]
