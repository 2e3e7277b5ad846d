"""Chains of versions against the definition: the smallest start among those that come after.

Few keys, places and starts, so that versions meet, come between others and go back in time. The same runs
again with no steps at all and with two, after which all versions are looked through at once: that way was
wrong where a key had been passed in part already.
"""

from __future__ import annotations

import random

import numpy as np
import pytest

from headrace.engine import chains
from headrace.engine.chains import OPEN, Chains

Version = tuple[int, int, bool, int]


def put(chain: Chains, versions: list[Version]) -> dict[int, int]:
    """Insert versions (key, order, last, start); return the old ends of those that end earlier now."""
    slots, orders, lasts, starts = (list(column) for column in zip(*versions, strict=True))
    lowered = chain.insert(
        np.array(slots, dtype=np.int64), np.array(orders, dtype=np.int64), np.array(lasts, dtype=np.bool_),
        np.array(starts, dtype=np.int64),
    )  # fmt: skip
    assert len(set(lowered.numbers.tolist())) == len(lowered.numbers)
    return dict(zip(lowered.numbers.tolist(), lowered.ends.tolist(), strict=True))


def ends(chain: Chains) -> list[int]:
    return [int(end) for end in chain.ends(np.arange(len(chain)))]


def expected(versions: list[Version]) -> list[int]:
    return [
        min(
            (start for at, *place, start in versions if at == key and tuple(place) > (order, last)),
            default=OPEN,
        )
        for key, order, last, _ in versions
    ]


@pytest.mark.parametrize("steps_max", [0, 2, 64])
@pytest.mark.parametrize("seed", range(30))
def test_ends_are_the_smallest_start_of_what_comes_after(
    seed: int, steps_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chains, "STEPS_MAX", steps_max)
    chance = random.Random(seed)
    chain, held, places = Chains(), list[Version](), set[tuple[int, int, bool]]()
    for _ in range(12):
        drawn = {(chance.randint(0, 2), chance.randint(0, 40), chance.random() < 0.2) for _ in range(6)}
        versions = [
            (*place, chance.randint(0, 20)) for place in sorted(drawn - places, key=lambda _: chance.random())
        ]
        if not versions:
            continue
        before = ends(chain)
        places |= drawn
        held += versions
        lowered = put(chain, versions)
        after = expected(held)
        assert ends(chain) == after
        assert lowered == {at: end for at, end in enumerate(before) if end != after[at]}


def test_what_comes_in_order_ends_one_version() -> None:
    chain = Chains()
    put(chain, [(0, order, False, order) for order in range(1000)])
    assert put(chain, [(0, 1000, False, 1000)]) == {999: OPEN}
    assert put(chain, [(0, 1001, False, 997)]) == {997: 998, 998: 999, 999: 1000, 1000: OPEN}
    assert put(chain, [(0, 500, True, 0)]) == {at: at + 1 for at in range(501)}
    assert put(chain, [(1, 3, False, 0)]) == {}
