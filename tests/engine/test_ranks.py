"""Words at ranks, compared with sorting everything.

Runs of very different sizes, slots that are missing in some of them, weights above one, ranks at both ends
and beyond: each is where a bound that is one off shows. `READ_MAX` is set to nothing, so that bounds are
narrowed down to a handful of values; runs with negative weights, which are never narrowed, are among them.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from headrace.engine import ranks
from headrace.engine.ordered import OrderedRun, bounds_in
from headrace.engine.ranks import words_at


def run_of(entries: Counter[tuple[int, int]]) -> OrderedRun:
    ordered = sorted(entry for entry in entries.items() if entry[1])
    return OrderedRun(
        np.array([slot for (slot, _), _ in ordered], dtype=np.int64),
        np.array([word for (_, word), _ in ordered], dtype=np.uint64),
        np.array([weight for _, weight in ordered], dtype=np.int64),
        None,
    )


@pytest.mark.parametrize("seed", range(40))
def test_as_if_everything_were_sorted(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "READ_MAX", 0)
    random = np.random.default_rng(seed)
    total: Counter[tuple[int, int]] = Counter()
    runs: list[OrderedRun] = []
    for size in (400, 90, 20, 3, 1):
        drawn: Counter[tuple[int, int]] = Counter()
        for _ in range(size):
            drawn[int(random.integers(0, 4)), int(random.integers(0, 60)) << 58] += int(random.integers(1, 3))
        if seed % 4 == 0 and runs:
            taken = [entry for entry in list(total)[: size // 2] if total[entry] > 0]
            drawn.subtract({entry: drawn[entry] + 1 for entry in taken})
        total.update(drawn)
        runs.append(run_of(drawn))
    slots = random.permutation(6).astype(np.int64)
    values = [sorted(np.repeat([w for (s, w), n in total.items() if s == slot for _ in range(n)], 1).tolist())
              for slot in slots]  # fmt: skip
    low = np.array([random.integers(0, len(found) + 2) for found in values], dtype=np.int64)
    high = low + random.integers(0, 3, len(low))
    expected = [
        [found[rank] if rank < len(found) else 0 for found, rank in zip(values, asked.tolist(), strict=True)]
        for asked in (low, high)
    ]
    answered = words_at(bounds_in(runs, slots), [low, high])
    assert [words.tolist() for words in answered] == expected


@pytest.mark.parametrize("shift", [0, 30, 1_000, 100_000])
def test_runs_alike_and_runs_apart(shift: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the largest run does not tell where a rank stands among all, nobody goes by it."""
    monkeypatch.setattr(ranks, "READ_MAX", 0)
    random = np.random.default_rng(shift)
    drawn = [
        random.integers(0, 20_000, size) + number * shift for number, size in enumerate((3_000, 2_500, 900))
    ]
    runs = [run_of(Counter((int(word) % 2, int(word)) for word in words)) for words in drawn]
    together = np.sort(np.concatenate(drawn))
    values = [together[together % 2 == slot] for slot in (0, 1)]
    for share in (0.0, 0.1, 0.5, 0.9, 1.0):
        at = np.array([int(share * (len(found) - 1)) for found in values])
        answered = words_at(bounds_in(runs, np.arange(2)), [at])[0].tolist()
        assert answered == [int(found[rank]) for found, rank in zip(values, at, strict=True)]


def test_no_runs_and_no_slots() -> None:
    nothing = np.empty(0, dtype=np.int64)
    assert words_at(bounds_in([], nothing), [nothing])[0].tolist() == []
    assert words_at(bounds_in([], np.array([3])), [np.array([0])])[0].tolist() == [0]
