"""Text keys that repeat against a Python dict: numbered from some slots on, given back, and laid out anew."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pyarrow as pa
import pytest

import headrace.engine.text_keys as text_keys
from headrace.engine.columns import ONE_ROWS_MIN, Text, equal_rows, views
from headrace.engine.hashing import hash_columns, hash_views, truncated_hashes
from headrace.engine.key_table import KeyTable
from headrace.engine.text_keys import TextKeys, Texts

WORDS = [None, "", "a", "eightlen", "eightlenx", "a text longer than two words", "a text longer, another"]


def slots_of(table: KeyTable, rows: list[tuple[str | None, int]], *, add: bool) -> list[int]:
    arrays = [pa.array([row[0] for row in rows], pa.string()), pa.array([row[1] for row in rows], pa.int64())]
    columns = views(arrays, exact=False)
    hashes = hash_views(columns, len(rows))
    found = table.find_or_add(columns, hashes)[0] if add else table.find(columns, hashes)
    return [int(slot) for slot in found]


def texts_of(table: KeyTable) -> TextKeys:
    keys = table._stores[0]
    assert isinstance(keys, TextKeys)
    return keys


@pytest.mark.parametrize("bits", [64, 2])
def test_repeated_texts_are_numbered_and_given_back(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_keys, "_ASKED_AT", (40, 200))
    rng = random.Random(bits)
    known: dict[tuple[str | None, int], int] = {}
    with truncated_hashes(bits):
        table = KeyTable([pa.string(), pa.int64()])
        for turn in range(60):
            words = [*WORDS, f"of turn {turn // 4} alone, and rather long", f"t{turn // 4}"]
            rows = [(rng.choice(words), rng.randrange(turn + 9)) for _ in range(40)]
            for row, slot in zip(rows, slots_of(table, rows, add=True), strict=True):
                assert known.setdefault(row, slot) == slot
            gone = rng.sample(sorted(known, key=repr), rng.randrange(min(len(known), 45)))
            table.release(np.array([known.pop(row) for row in gone], dtype=np.int64))
            left = list(known)
            assert slots_of(table, left, add=False) == [known[row] for row in left]
            assert set(slots_of(table, gone, add=False)) <= {-1}
            if turn == 30:
                table = pickle.loads(pickle.dumps(table))
    numbered = texts_of(table)._numbered
    assert numbered is not None
    assert numbered._texts.size < 40


@pytest.mark.parametrize("ahead", [False, True], ids=["first column", "with another before it"])
@pytest.mark.parametrize("word", ["", "a", "eightlen", "eightlenx", "a text longer than two words"])
def test_a_batch_in_which_all_rows_have_one_text(
    ahead: bool, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told by its bytes, and hashed and found as in any other batch."""
    monkeypatch.setattr(text_keys, "_ASKED_AT", (40, 5_000))
    monkeypatch.setattr(text_keys, "_NUMBERED_FROM", 1)
    count = ONE_ROWS_MIN
    kinds = [pa.int64(), pa.string(), pa.string()] if ahead else [pa.string(), pa.string(), pa.int64()]
    numbers = pa.array(range(count))

    def keys(first: str) -> list[pa.Array]:
        columns = [pa.array([first] * count, pa.string()), pa.array([f"b{first}"] * count), numbers]
        return [columns[2], *columns[:2]] if ahead else columns

    table = KeyTable(kinds)
    known: dict[str, list[int]] = {}
    for text in [*filter(None, WORDS), word + "s", word, "new", word]:
        columns = views(keys(text), exact=False)
        assert [isinstance(column, Text) and column.is_one for column in columns].count(True) == 2
        hashes = hash_views(columns, count)
        more = [pa.array([None, *array.to_pylist()[:9]], array.type) for array in keys(text)]
        mixed = [pa.concat_arrays(both) for both in zip(keys(text), more, strict=True)]
        assert hash_columns(mixed, count + 10)[:count].tolist() == hashes.tolist()
        before = table.find(columns, hashes).tolist()
        assert before == known.get(text, [-1] * count)
        known[text] = table.find_or_add(columns, hashes)[0].tolist()
        whole = views(mixed, exact=False)
        rows = np.arange(count)
        assert equal_rows(columns, rows, whole, rows).all()
        assert not equal_rows(columns, rows, columns, rows[::-1]).any()
        assert table.find(whole, hash_views(whole, count + 10))[:count].tolist() == known[text]
    assert len({slot for slots in known.values() for slot in slots}) == count * len(known)
    stores = [store for store in table._stores if isinstance(store, TextKeys)]
    assert all(store._numbered is not None for store in stores)


def test_texts_of_their_own_are_not_numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_keys, "_ASKED_AT", (256, 1_024))
    table = KeyTable([pa.string(), pa.int64()])
    rows: list[tuple[str | None, int]] = [(f"text {number}", 0) for number in range(3_000)]
    assert slots_of(table, rows, add=True) == list(range(3_000))
    assert texts_of(table)._numbered is None


def test_repeated_texts_take_little() -> None:
    table = KeyTable([pa.string(), pa.int64()])
    rows: list[tuple[str | None, int]] = [
        (f"customer number {number % 500}", number) for number in range(20_000)
    ]
    assert slots_of(table, rows, add=True) == list(range(20_000))
    assert slots_of(table, rows, add=False) == list(range(20_000))
    assert texts_of(table).nbytes < 8 * 32_768


def test_texts_as_a_column() -> None:
    words = ["", "abcdefgh", "abcdefghi", "x", "a text that is longer than any words kept beside it", ""]
    (column,) = views([pa.array(words)], exact=False)
    texts = Texts()
    texts.put(column, np.arange(6), np.arange(6), 6)  # type: ignore[arg-type]
    found = texts.column(np.array([4, 0, 2, 3, 1, 4]))
    made = [
        bytes(found.heap[start : start + length])
        for start, length in zip(found.starts, found.lengths, strict=True)
    ]
    assert made == [words[at].encode() for at in (4, 0, 2, 3, 1, 4)]
