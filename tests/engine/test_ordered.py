"""Ordered values against sorted lists: the ends of a range while values come and go, and everything under
a slot.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import numpy as np
import pytest

from headrace.engine.ordered import OrderedValues


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
