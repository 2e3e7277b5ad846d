"""The digest index against a dict, with digests that collide in their slots, and insertions taken back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from headrace.intake import index as index_module
from headrace.intake.index import DigestIndex

Digests = npt.NDArray[np.uint64]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 8, 64 and again 64 entries, so that a few hundred digests fill many."""
    monkeypatch.setattr(index_module, "FIRST_BLOCK_ENTRIES", 8)
    monkeypatch.setattr(index_module, "LAST_BLOCK_ENTRIES", 64)


def digests(random: np.random.Generator, count: int, *, colliding: bool) -> tuple[Digests, Digests]:
    """Return distinct digests; colliding ones share their low bits, and many their whole first half."""
    lo = random.permutation(10_000)[:count].astype(np.uint64)
    if colliding:
        return (random.integers(0, 4, count) << np.int64(40)).astype(np.uint64), lo
    return random.integers(0, 2**63, count).astype(np.uint64), lo


@pytest.mark.parametrize("colliding", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_the_index_agrees_with_a_dict(seed: int, colliding: bool) -> None:
    random = np.random.default_rng(seed)
    hi, lo = digests(random, 600, colliding=colliding)
    index, known = DigestIndex(("value",)), dict[tuple[int, int], int]()
    done = 0
    while done < 500:
        part = slice(done, min(done + int(random.integers(1, 60)), 500))
        entries = index.add(hi[part], lo[part])
        index.put("value", entries, np.arange(part.start, part.stop) * 7)
        known |= {
            (int(h), int(low)): entry
            for h, low, entry in zip(hi[part], lo[part], entries.tolist(), strict=True)
        }
        done = part.stop
        asked = random.permutation(600)[:100]
        found = index.find(hi[asked], lo[asked])
        expected = [known.get((int(h), int(low)), -1) for h, low in zip(hi[asked], lo[asked], strict=True)]
        assert found.tolist() == expected
    entries = index.find(hi[:500], lo[:500])
    assert index.get("value", entries[::-1].copy()).tolist() == [number * 7 for number in range(499, -1, -1)]
    every_hi, every_lo, numbers = index.all()
    assert np.array_equal(every_hi, hi[:500])
    assert np.array_equal(every_lo, lo[:500])
    assert np.array_equal(numbers, np.arange(500))


@pytest.mark.parametrize("colliding", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_insertions_are_taken_back_newest_first(seed: int, colliding: bool) -> None:
    random = np.random.default_rng(seed)
    hi, lo = digests(random, 400, colliding=colliding)
    index = DigestIndex(("value",))
    counts = [0]
    for _ in range(60):
        if random.random() < 0.4 and len(counts) > 1:
            counts.pop()
            index.cut(counts[-1])
        else:
            end = min(counts[-1] + int(random.integers(1, 40)), 400)
            if end == counts[-1]:
                continue
            index.add(hi[counts[-1] : end], lo[counts[-1] : end])
            counts.append(end)
        found = index.find(hi, lo)
        assert found[: counts[-1]].tolist() == list(range(counts[-1]))
        assert (found[counts[-1] :] == -1).all()


def test_full_blocks_of_small_values_are_dropped() -> None:
    random = np.random.default_rng(0)
    hi, lo = digests(random, 200, colliding=False)
    index = DigestIndex(("clock",))
    index.put("clock", index.add(hi, lo), np.arange(200))
    index.drop_blocks("clock", 72)  # the blocks hold 0-7, 8-71, 72-135, …
    found = index.find(hi, lo)
    assert (found[:72] == -1).all()
    assert found[72:].tolist() == list(range(72, 200))
    more = index.add(*digests(np.random.default_rng(1), 5, colliding=False))
    assert more.tolist() == [200, 201, 202, 203, 204]


def test_an_empty_index_finds_nothing() -> None:
    index = DigestIndex(())
    none = np.empty(0, dtype=np.uint64)
    assert index.find(none, none).tolist() == []
    assert index.find(np.array([1], dtype=np.uint64), np.array([1], dtype=np.uint64)).tolist() == [-1]
    assert index.nbytes == 0
    index.add(none, none)
    index.cut(0)
    assert index.count == 0
