"""Ordered values against sorted lists: the ends of a range while values come and go, and everything under
a slot.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pytest

from headrace.engine import tiers
from headrace.engine.ordered import OrderedValues
from headrace.engine.ordered_rows import OrderedRows
from headrace.engine.over.apart import standing


@pytest.mark.parametrize("seed", range(4))
def test_first_and_last_are_those_of_a_sorted_list(seed: int) -> None:
    rng = random.Random(seed)
    held: dict[int, Counter[int]] = defaultdict(Counter)
    values = OrderedValues()
    for _ in range(80):
        slots, words, weights = [], [], []
        for _ in range(rng.choice([0, 1, 5, 30])):
            slot = rng.randrange(5)
            live = [word for word, count in held[slot].items() if count]
            gone = bool(live) and rng.random() < 0.5
            word = rng.choice([min(live), max(live), rng.choice(live)]) if gone else rng.randrange(40)
            held[slot][word] += -1 if gone else 1
            slots.append(slot)
            words.append(word)
            weights.append(-1 if gone else 1)
        values.insert(
            np.array(slots, dtype=np.int64),
            np.array(words, dtype=np.uint64),
            np.array(weights, dtype=np.int64),
        )
        asked = np.arange(6, dtype=np.int64)
        for last in (False, True):
            found, known = values.first(asked, last=last)
            for slot in range(6):
                live = [word for word, count in held[slot].items() if count]
                assert bool(known[slot]) == bool(live)
                if live:
                    assert int(found[slot]) == (max(live) if last else min(live))
        whole = values.all(asked)
        wanted = [
            (slot, word, count) for slot in range(6) for word, count in sorted(held[slot].items()) if count
        ]
        assert (
            list(zip(whole.slots.tolist(), whole.words.tolist(), whole.weights.tolist(), strict=True))
            == wanted
        )


@pytest.mark.parametrize("is_single", [True, False])
def test_rows_that_come_and_go_in_one_place_cancel(is_single: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In whatever order they are found: what stands is what came more often than it went."""
    monkeypatch.setattr(tiers, "_SMALL", 16)
    rng = random.Random(3)
    kept = OrderedRows(pa.schema({"slot": pa.int64(), "x": pa.int64()}), told=["slot"])
    held: dict[tuple[int, int], list[int]] = defaultdict(list)
    for _ in range(120):
        change: Counter[tuple[int, int, int]] = Counter()
        for _ in range(rng.choice([1, 4, 30])):
            place = rng.randrange(3), rng.randrange(9)
            here = held[place]
            if here and (is_single or rng.random() < 0.6):
                change[*place, gone := rng.choice(here)] -= 1
                here.remove(gone)
            if not is_single or rng.random() < 0.7:
                here.append(rng.randrange(3))
                change[*place, here[-1]] += 1
        rows = [(*row, weight) for row, weight in change.items() if weight]
        rng.shuffle(rows)
        if is_single:  # what goes is put in before what comes in its place
            rows.sort(key=lambda row: row[3])
        slots, words, values, weights = np.array(rows or np.empty((0, 4)), dtype=np.int64).T
        kept.insert(slots, words.view(np.uint64), pa.record_batch([slots, values], ["slot", "x"]), weights)
        entries = kept.bounds(np.arange(3)).placed()
        assert entries.numbers is not None
        found: Counter[tuple[int, int, int]] = Counter()
        x = kept.heap.gather(entries.numbers).column(1).to_pylist()
        for slot, word, value, weight in zip(entries.slots, entries.words, x, entries.weights, strict=True):
            found[int(slot), int(word), value] += int(weight)
        wanted = Counter((*place, value) for place, here in held.items() for value in here)
        assert {row: count for row, count in found.items() if count} == wanted
        if is_single:
            left = standing(entries)
            assert left is not None
            assert left.numbers is not None
            stand = zip(
                left.slots, left.words, kept.heap.gather(left.numbers).column(1).to_pylist(), strict=True
            )
            assert sorted(wanted) == [(int(slot), int(word), value) for slot, word, value in stand]
    assert kept.row_count < 8 * sum(len(here) for here in held.values())
