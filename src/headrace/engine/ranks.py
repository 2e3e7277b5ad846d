"""The value at a rank of each slot, without reading all values: quantiles of groups that have many.

The largest run tells where to look. Of a slot with rank r, let the other runs hold p values: then the word
wanted is not below the one at rank r − p of the largest run, and not beyond the one at its rank r. What lies
between the two is read, from every run, and counted from what lies below; where that is still much, the same
is done once more within it. Before that it is tried whether values are spread alike over all runs, as they
mostly are: then they are read around the place in the largest run that is the rank's share of it.

    largest  1 3 4 6 7 9 9 12       r = 5, p = 2: between rank 3 (6) and rank 5 (9)
    others   2 8                    below 6: 1 3 4 and 2, so rank 5 − 4 = 1 of 6 7 8 9 9, which is 7
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headrace.engine.columns import I64, U64, nonzero
from headrace.engine.ordered import Bounds, OrderedRun

READ_MAX = 4_096
"""So many entries of all slots together are read without looking where the ranks lie."""
ROUNDS_MAX = 3
_ALL = np.uint64(2**64 - 1)


def words_at(bounds: Bounds, ranks: Sequence[I64]) -> list[U64]:
    """Return the word at each of some ranks under each slot, zero where there are fewer values.

    Args:
        bounds: where the slots' entries stand.
        ranks: int64 arrays, one rank (from 0) a slot in each; the first holds the lowest ranks, the last the
            highest.
    """
    below = np.zeros(bounds.asked, dtype=np.int64)
    for number in range(ROUNDS_MAX):
        size = int(bounds.sizes().sum())
        if size <= READ_MAX or any(int(run.weights.min()) < 0 for run, _, _ in bounds.parts):
            break
        narrow = _guessed if number == 0 and len(bounds.parts) > 1 else _narrowed
        bounds, skipped = narrow(bounds, ranks[0] - below, ranks[-1] - below)
        below += skipped
        if narrow is _narrowed and int(bounds.sizes().sum()) * 2 > size:
            break
    whole = bounds.all()
    return [_read(whole, rank - below) for rank in ranks]


def _narrowed(bounds: Bounds, lowest: I64, highest: I64) -> tuple[Bounds, I64]:
    """Return bounds around all ranks from `lowest` to `highest`, and how many values lie below."""
    held = [run.sums()[ends] - run.sums()[starts] for run, starts, ends in bounds.parts]
    main = max(range(len(held)), key=lambda at: int(held[at].sum()))
    run, starts, _ = bounds.parts[main]
    others = np.sum(held, axis=0) - held[main]
    lows = np.zeros(bounds.asked, dtype=np.uint64)
    highs = np.full(bounds.asked, _ALL, dtype=np.uint64)
    under = nonzero((lowest - others >= 0) & (lowest - others < held[main]))
    lows[under] = run.words[_entry(run, starts[under], (lowest - others)[under])]
    over = nonzero((highest >= 0) & (highest < held[main]))
    highs[over] = run.words[_entry(run, starts[over], highest[over])]
    parts: list[tuple[OrderedRun, I64, I64]] = []
    skipped = np.zeros(bounds.asked, dtype=np.int64)
    for part, begins, ends in bounds.parts:
        first, last = _clipped(part, begins, ends, lows, highs)
        skipped += part.sums()[first] - part.sums()[begins]
        parts.append((part, first, last))
    return Bounds(bounds.asked, parts), skipped


def _guessed(bounds: Bounds, lowest: I64, highest: I64) -> tuple[Bounds, I64]:
    """Return bounds around all ranks from `lowest` to `highest`, and how many values lie below, where the
    values of a slot are spread alike over its runs: then a rank stands in the largest run about where it
    stands among all. Where it does not, a slot's bounds stay what they are.
    """
    held = [run.sums()[ends] - run.sums()[starts] for run, starts, ends in bounds.parts]
    main = max(range(len(held)), key=lambda at: int(held[at].sum()))
    run, starts, _ = bounds.parts[main]
    whole, mine = np.maximum(np.sum(held, axis=0), 1), held[main]
    margin = 2 * np.sqrt(mine) + 8
    share = mine / whole
    first = np.floor(lowest * share - margin).astype(np.int64)
    last = np.ceil(highest * share + margin).astype(np.int64)
    lows = np.zeros(bounds.asked, dtype=np.uint64)
    highs = np.full(bounds.asked, _ALL, dtype=np.uint64)
    under, over = nonzero((first >= 0) & (first < mine)), nonzero((last >= 0) & (last < mine))
    lows[under] = run.words[_entry(run, starts[under], first[under])]
    highs[over] = run.words[_entry(run, starts[over], last[over])]
    cut = [_clipped(part, begins, ends, lows, highs) for part, begins, ends in bounds.parts]
    skipped, inside = np.zeros(bounds.asked, dtype=np.int64), np.zeros(bounds.asked, dtype=np.int64)
    for (part, begins, _), (one, end) in zip(bounds.parts, cut, strict=True):
        sums = part.sums()
        skipped += sums[one] - sums[begins]
        inside += sums[end] - sums[one]
    good = (skipped <= lowest) & (highest < skipped + inside)
    parts = [
        (part, np.where(good, one, begins), np.where(good, end, ends))
        for (part, begins, ends), (one, end) in zip(bounds.parts, cut, strict=True)
    ]
    return Bounds(bounds.asked, parts), np.where(good, skipped, 0)


def _entry(run: OrderedRun, starts: I64, ranks: I64) -> I64:
    """Return the entries of a run without negative weights that hold those ranks, counted from `starts`."""
    sums = run.sums()
    found: I64 = np.searchsorted(sums, sums[starts] + ranks, side="right") - 1
    return found


def _clipped(run: OrderedRun, starts: I64, ends: I64, lows: U64, highs: U64) -> tuple[I64, I64]:
    """Return where, in each stretch, the first word from `lows` on and the first beyond `highs` stand."""
    first, last = starts.copy(), ends.copy()
    beyond = highs + np.uint64(1)  # the greatest word wraps round to 0, and nothing is beyond it
    edges = np.stack([lows, beyond], axis=1)
    for at in nonzero(ends > starts).tolist():
        begin, end = starts[at], ends[at]
        low, high = run.words[begin:end].searchsorted(edges[at])
        first[at] = begin + low
        last[at] = begin + high if beyond[at] else end
    return first, last


def _read(whole: OrderedRun, ranks: I64) -> U64:
    """Return the word at a rank of each slot, given every entry that may hold it."""
    if len(whole) == 0:
        return np.zeros(len(ranks), dtype=np.uint64)
    sums = whole.sums()
    slots = np.arange(len(ranks))
    begins = sums[np.searchsorted(whole.slots, slots)]
    ends = sums[np.searchsorted(whole.slots, slots, side="right")]
    found = np.searchsorted(sums, begins + ranks, side="right") - 1
    there = (ranks >= 0) & (begins + ranks < ends)
    return np.where(there, whole.words[np.where(there, found, 0)], np.uint64(0))
