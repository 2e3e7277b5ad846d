"""Keys that are found by the ids of rows: the same slots as by hash, whatever the ids say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from headrace.engine.columns import I64
from headrace.engine.hints import Hints
from headrace.engine.key_table import KeyTable

KINDS = [pa.string(), pa.int64()]
Rng = np.random.Generator


@pytest.fixture(autouse=True)
def from_few_rows_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.engine.hints.ROWS_MIN", 2)


def keys(numbers: I64) -> list[pa.Array]:
    texts = [
        None if number % 7 == 0 else f"customer {number} of some merchant" for number in numbers.tolist()
    ]
    return [pa.array(texts, pa.string()), pa.array(numbers // 3)]


def same_ids(numbers: I64, rng: Rng) -> I64:
    return numbers


def other_ids(numbers: I64, rng: Rng) -> I64:
    return rng.permutation(len(numbers))


def some_other_ids(numbers: I64, rng: Rng) -> I64:
    return np.where(rng.random(len(numbers)) < 0.2, rng.integers(0, 50, len(numbers)), numbers)


def far_ids(numbers: I64, rng: Rng) -> I64:
    return numbers * 10_000_000


@pytest.mark.parametrize("ids_of", [same_ids, other_ids, some_other_ids, far_ids])
def test_ids_change_no_slot(ids_of: Callable[[I64, Rng], I64]) -> None:
    """Keys come, go and come back; slots that were given back are taken by other keys."""
    rng = np.random.default_rng(3)
    table = KeyTable(KINDS)
    held: dict[int, int] = {}
    for _ in range(200):
        numbers = rng.integers(0, 300, rng.integers(2, 120))
        slots, added = table.place(keys(numbers), ids_of(numbers, rng))
        assert {*numbers[added].tolist()} == {*numbers.tolist()} - held.keys()
        assert len(added) == len({*numbers[added].tolist()})
        for number, slot in zip(numbers.tolist(), slots.tolist(), strict=True):
            assert held.setdefault(number, slot) == slot
        assert len(set(held.values())) == len(held) == table.live
        if rng.random() < 0.2:
            gone = set(rng.choice(numbers, 10).tolist())
            table.release(np.array([held.pop(number) for number in gone]))


def test_what_is_mostly_wrong_is_not_asked_for_a_while() -> None:
    hints = Hints()
    ids = np.arange(10)
    assert hints.guesses(ids, 10) is not None
    hints.learn(ids, ids)
    hints.judge(10, 6)
    assert [hints.guesses(ids, 10) is None for _ in range(9)] == [True] * 8 + [False]
    hints.judge(10, 6)
    assert [hints.guesses(ids, 10) is None for _ in range(17)] == [True] * 16 + [False]
    hints.judge(10, 5)
    assert hints.guesses(ids, 10) is not None
