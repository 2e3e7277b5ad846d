"""The row store against a list: appending, taking, killing, taking back, moving rows out of dead chunks."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from headrace.intake import rowstore as rowstore_module
from headrace.intake.rowstore import RowStore

SCHEMA = pa.schema([("x", pa.int64())])


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rowstore_module, "CHUNK_ROWS", 32)


def rows(start: int, count: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(np.arange(start, start + count))], schema=SCHEMA)


def live(store: RowStore) -> dict[int, int]:
    """Value and entry of each live row."""
    return {
        value: entry
        for batch, entries in store.live_rows()
        for value, entry in zip(batch.column(0).to_pylist(), entries.tolist(), strict=True)
    }


@pytest.mark.parametrize("seed", range(8))
def test_the_store_agrees_with_a_dict(seed: int) -> None:
    """Every row holds its own number as it was when it came, and its entry is that value plus 1000."""
    random = np.random.default_rng(seed)
    store = RowStore(SCHEMA)
    numbers: dict[int, int] = {}
    value = 0
    for _ in range(150):
        if random.random() < 0.5 or not numbers:
            count = int(random.integers(1, 20))
            new = store.append(rows(value, count), np.arange(value, value + count) + 1000)
            numbers |= dict(zip(range(value, value + count), new.tolist(), strict=True))
            value += count
        elif random.random() < 0.7:
            gone = random.permutation(list(numbers))[: int(random.integers(1, 15))].tolist()
            store.kill(np.array([numbers.pop(number) for number in gone]))
        else:
            moved = store.evacuate()
            if moved is not None:
                numbers |= dict(zip((moved[0] - 1000).tolist(), moved[1].tolist(), strict=True))
        asked = random.permutation(list(numbers))[:10].tolist()
        taken = store.take(np.array([numbers[number] for number in asked], dtype=np.int64))
        assert taken.column(0).to_pylist() == asked
        assert live(store) == {number: number + 1000 for number in numbers}
        assert store.live == len(numbers)


def test_appends_and_kills_are_taken_back() -> None:
    store = RowStore(SCHEMA)
    first = store.append(rows(0, 10), np.arange(10))
    store.kill(first[3:5])
    end = store.end
    store.kill(first[5:7])
    store.append(rows(100, 5), np.arange(5))
    store.append(rows(200, 50), np.arange(50))
    store.cut(end)
    store.revive(first[5:7])
    assert sorted(live(store)) == [0, 1, 2, 5, 6, 7, 8, 9]
    assert store.live == 8
    again = store.append(rows(300, 1), np.array([7]))
    assert store.take(again).column(0).to_pylist() == [300]


def test_many_small_appends_leave_few_chunks() -> None:
    store = RowStore(SCHEMA)
    for number in range(500):
        store.append(rows(number, 1), np.array([number]))
    assert sum(1 for _ in store.live_rows()) < 40
    assert sorted(live(store)) == list(range(500))


def test_an_empty_store_gives_no_rows() -> None:
    store = RowStore(SCHEMA)
    assert store.take(np.empty(0, dtype=np.int64)).schema == SCHEMA
    assert store.evacuate() is None
    assert live(store) == {}
