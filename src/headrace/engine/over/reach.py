"""How far a changed row reaches in its partition, and what must be read to answer there.

A call whose frame looks back n rows changes its answer for the n rows after a changed one; to answer for
those, the n rows before the first of them must be read. A running call, whose frame begins with the
partition, changes from the changed row to the end, and needs of what lies before no more than its last
answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headrace.engine.columns import I64, U64, Bools, nonzero
from headrace.engine.ordered import Bounds, OrderedRun, sort_order
from headrace.engine.ordered_rows import OrderedRows
from headrace.engine.runs import ranges

_ALL = np.uint64(2**64 - 1)
_ONE = np.uint64(1)
_MANY, _WHOLE, _LOOKED = 1_000, 2, 8
"""So many changed rows, at least one for every two that their partitions hold, have whole partitions answered
anew: that costs less than to find out how far each of them reaches. Rows are counted where there are at most
eight entries for a changed row.
"""


@dataclass(frozen=True, slots=True)
class Reach:
    """How far frames look.

    Attributes:
        back_rows: so many rows before their own.
        ahead_rows: so many rows after it.
        back: so far in the words of the first order column.
        ahead: the same, forwards.
        running: from the beginning of the partition to the row or its peers.
    """

    back_rows: int = 0
    ahead_rows: int = 0
    back: int = 0
    ahead: int = 0
    running: bool = False

    @staticmethod
    def of(parts: Sequence[Reach]) -> Reach:
        """Return how far any of several frames looks."""
        return Reach(
            max(part.back_rows for part in parts),
            max(part.ahead_rows for part in parts),
            max(part.back for part in parts),
            max(part.ahead for part in parts),
            any(part.running for part in parts),
        )


@dataclass(frozen=True, slots=True)
class Segments:
    """Stretches of partitions that are answered anew, apart from each other.

    Attributes:
        slots: of their partitions.
        read_from: rows from this word on are read.
        first: rows from this word on get new answers.
        last: up to this one.
        read_to: rows up to this word are read.
        owners: per changed row its segment.
    """

    slots: I64
    read_from: U64
    first: U64
    last: U64
    read_to: U64
    owners: I64


def segments(rows: OrderedRows, slots: I64, words: U64, reach: Reach) -> Segments:
    """Return what a change of rows at these places makes necessary; `rows` as they were before it."""
    order = sort_order(slots, words)
    fresh = np.ones(len(slots), dtype=np.bool_)
    fresh[1:] = slots[order[1:]] != slots[order[:-1]]
    distinct = slots[order[fresh]]
    if len(slots) >= _MANY and _is_most(rows.bounds(distinct), len(slots)):
        return whole(slots)
    if not reach.running:
        fresh[1:] |= words[order[1:]] != words[order[:-1]]
    sites = order[fresh]
    begin = nonzero(_parted(rows, slots[sites], words[sites]))
    end = np.append(begin[1:], len(sites)) - 1
    at, lowest, highest = slots[sites[begin]], words[sites[begin]], words[sites[end]]
    held = rows.bounds(at)
    first = _earlier(held, lowest, reach.ahead_rows, reach.ahead)
    back_rows = max(reach.back_rows, int(reach.running))
    read_from = _earlier(held, first, back_rows, reach.back)
    if reach.running:
        last = read_to = np.full(len(begin), _ALL)
    else:
        last = _later(held, highest, reach.back_rows, reach.back)
        read_to = _later(held, last, reach.ahead_rows, reach.ahead)
    apart = np.ones(len(begin), dtype=np.bool_)
    apart[1:] = (at[1:] != at[:-1]) | (read_from[1:] > read_to[:-1])
    heads = nonzero(apart)
    tails = np.append(heads[1:], len(begin)) - 1
    places = np.repeat(np.cumsum(apart) - 1, end - begin + 1)
    owners = np.empty(len(slots), dtype=np.int64)
    owners[order] = places[np.cumsum(fresh) - 1]
    return Segments(at[heads], read_from[heads], first[heads], last[tails], read_to[tails], owners)


def whole(slots: I64) -> Segments:
    """Return all of the partitions of some changed rows."""
    distinct = np.unique(slots)
    nothing = np.zeros(len(distinct), dtype=np.uint64)
    everything = np.full(len(distinct), _ALL)
    return Segments(distinct, nothing, nothing, everything, everything, np.searchsorted(distinct, slots))


def _is_most(held: Bounds, changed: int) -> bool:
    """Whether so many changed rows are a good part of what some slots hold."""
    if held.sizes().sum() > _LOOKED * changed:
        return False
    live = sum(int(run.weights[ranges(starts, ends - starts)].sum()) for run, starts, ends in held.parts)
    return _WHOLE * changed >= live


def _parted(rows: OrderedRows, slots: I64, words: U64) -> Bools:
    """Return which of some places in order have rows, or another slot, between themselves and the last."""
    parted = np.ones(len(slots), dtype=np.bool_)
    parted[1:] = slots[1:] != slots[:-1]
    for _, _, ends in rows.bounds(slots).clip(None, words).parts:
        parted[1:] |= ends[1:] != ends[:-1]
    return parted


def needed_from(rows: OrderedRows, slots: I64, word: int, reach: Reach) -> U64:
    """Return per slot the first word that a change at or after some word can make necessary to read."""
    held = rows.bounds(slots)
    words = np.full(len(slots), word, dtype=np.uint64)
    first = _earlier(held, words, reach.ahead_rows, reach.ahead)
    return _earlier(held, first, max(reach.back_rows, int(reach.running)), reach.back)


def _earlier(held: Bounds, words: U64, rows: int, distance: int) -> U64:
    """Return the words some rows, and some distance, before others; whichever is earlier."""
    found = words
    if rows:
        found = np.minimum(found, _nth_word(held.clip(None, words - _ONE), rows, words > 0, last=True))
    if distance:
        far = np.uint64(distance)
        found = np.minimum(found, np.where(words < far, np.uint64(0), words - far))
    return found


def _later(held: Bounds, words: U64, rows: int, distance: int) -> U64:
    """Return the words some rows, and some distance, after others; whichever is later."""
    found = words
    if rows:
        found = np.maximum(found, _nth_word(held.clip(words + _ONE, None), rows, words < _ALL, last=False))
    if distance:
        far = np.uint64(distance)
        found = np.maximum(found, np.where(words > _ALL - far, _ALL, words + far))
    return found


def _nth_word(held: Bounds, number: int, there: Bools, *, last: bool) -> U64:
    """Return the word of the n-th row of each range (`last`: from its end), the edge where it has fewer."""
    words = np.full(held.asked, np.uint64(0) if last else _ALL)
    pending = nonzero(there)
    here = held.select(pending)
    count = number + 2
    while len(pending):
        part, trusted = here.ends(count, last=last)
        good = nonzero(trusted & ~_cut_off(part, trusted, here.more(count)) & (part.weights > 0))
        totals = np.cumsum(part.weights[good])
        owners = part.slots[good]
        begin = np.searchsorted(owners, np.arange(len(pending)))
        before = np.append(0, totals)[begin]
        at = np.searchsorted(totals, before + number)
        end = np.searchsorted(owners, np.arange(len(pending)), side="right")
        found = nonzero(at < end)
        chosen = part.words[good[at[found]]]
        words[pending[found]] = ~chosen if last else chosen
        unsettled = here.more(count)
        unsettled[found] = False
        left = nonzero(unsettled)
        pending, here = pending[left], here.select(left)
        count *= 4
    return words


def _cut_off(part: OrderedRun, trusted: Bools, more: Bools) -> Bools:
    """Return the last trusted entry of each slot that has more: rows of its word may not have been read."""
    found = np.zeros(len(part), dtype=np.bool_)
    at = nonzero(trusted)
    owners = part.slots[at]
    ends = np.append(owners[1:] != owners[:-1], True)[: len(at)]
    found[at[ends & more[owners]]] = True
    return found
