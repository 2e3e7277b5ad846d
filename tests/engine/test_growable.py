"""Counts by slot against a list of Python integers, around the point where four bytes no longer hold them."""

from __future__ import annotations

import random

import numpy as np
import pytest

from headrace.engine.growable import Tally


@pytest.mark.parametrize("largest", [3, 2**30, 2**40])
def test_counts_are_those_of_a_list(largest: int) -> None:
    rng = random.Random(largest)
    tally, wanted = Tally(), [0] * 200
    tally.resize(200)
    for turn in range(40):
        slots = [rng.randrange(200) for _ in range(rng.choice([0, 1, 30]))]
        weights = [rng.randint(-largest, largest) for _ in slots]
        tally.add(np.array(slots, dtype=np.int64), np.array(weights, dtype=np.int64))
        for slot, weight in zip(slots, weights, strict=True):
            wanted[slot] += weight
        if turn % 9 == 0:
            tally.clear(np.array([turn]))
            tally.merge(np.array([turn + 1]), np.array([turn + 2]))
            wanted[turn] = 0
            wanted[turn + 1] += wanted[turn + 2]
        assert tally.at(np.arange(200)).tolist() == wanted


def test_four_bytes_are_enough_for_counts_that_go_up_and_down() -> None:
    tally = Tally()
    tally.resize(4)
    slots, weights = np.array([1, 3]), np.array([2**28, -(2**28)])
    for _ in range(10):
        tally.add(slots, weights)
        tally.add(slots, -weights)
    assert tally.at(np.arange(4)).tolist() == [0, 0, 0, 0]
    assert tally.nbytes == 64 * 4
