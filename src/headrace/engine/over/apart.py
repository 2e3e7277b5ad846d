"""Partitions in which no two rows stand in one place: what a change of them leaves is found by place alone.

    stands   (a, 1) (a, 3)      change   − (a, 3)   + (a, 2)   + (a, 4)      after   (a, 1) (a, 2) (a, 4)

The place of a row is its partition and the word of its first order value. Where times are distinct within
each partition, as they are after GROUP BY, a row that goes is the one that stands in its place, and rows come
out in order: none need be hashed or compared to find out which of them cancel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from headrace.engine.columns import I64, U64, Bools, nonzero, take
from headrace.engine.ordered import OrderedRun, in_order_of_numbers, sort_order
from headrace.engine.over.reach import Segments
from headrace.engine.pairs import equal_pairs


@dataclass(frozen=True, slots=True)
class Places:
    """The places of some segments that held a row, hold one now, or both; in order.

    Attributes:
        at: the segment of each.
        words: of the first order column.
        held: the position of the row that stood there among those that stood, −1: none.
        came: the position of the row that came there in the change, −1: none.
        gone: whether a row that stood there went.
    """

    at: I64
    words: U64
    held: I64
    came: I64
    gone: Bools

    @property
    def there(self) -> Bools:
        """Which places hold a row after the change."""
        there: Bools = (self.came >= 0) | ((self.held >= 0) & ~self.gone)
        return there


def standing(entries: OrderedRun) -> OrderedRun | None:
    """Return the entries that stand, in order, of all that came and went; None where some place held two rows
    at a time.

    In the order of their numbers, which is that of time, a place's rows come and go in turns, so that the
    last one stands if it came.
    """
    if len(entries) == 0 or np.abs(entries.weights).max() > 1:
        return entries if len(entries) == 0 else None
    run = entries.take(sort_order(entries.slots, entries.words))
    fresh = run.fresh()
    if fresh.all():
        return run if run.weights.min() > 0 else None
    run = run.take(in_order_of_numbers(run, fresh))
    sums = np.cumsum(run.weights)
    starts = nonzero(fresh)
    begun = sums[starts] - run.weights[starts]
    sums -= np.repeat(begun, np.diff(np.append(starts, len(run))))
    if sums.min() < 0 or sums.max() > 1:
        return None
    ends = np.append(starts[1:], len(run)) - 1
    return run.take(ends[sums[ends] == 1])


def matched(held: OrderedRun, at: I64, words: U64, weights: I64) -> Places | None:
    """Return the places of rows that stand and of a change; None where two rows stand, come or go in one, or
    one goes where none stands.
    """
    if len(weights) and (np.abs(weights) != 1).any():
        return None
    slots, all_words = np.concatenate([held.slots, at]), np.concatenate([held.words, words])
    order = sort_order(slots, all_words)
    slots, all_words = slots[order], all_words[order]
    fresh = np.ones(len(order), dtype=np.bool_)
    np.logical_or(slots[1:] != slots[:-1], all_words[1:] != all_words[:-1], out=fresh[1:])
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.cumsum(fresh) - 1
    count = int(fresh.sum())
    mine, theirs = place[: len(held)], place[len(held) :]
    stood, came, went = (np.full(count, -1, dtype=np.int64) for _ in range(3))
    stood[mine] = np.arange(len(held))
    for found, rows in ((came, nonzero(weights > 0)), (went, nonzero(weights < 0))):
        found[theirs[rows]] = rows
        if (found[theirs[rows]] != rows).any():
            return None
    gone = went >= 0
    if (gone & (stood < 0)).any() or ((came >= 0) & (stood >= 0) & ~gone).any():
        return None
    return Places(slots[fresh], all_words[fresh], stood, came, gone)


@dataclass(frozen=True, slots=True)
class Moved:
    """Rows as they stood, and as they stand now.

    Attributes:
        places: of each row.
        rows: those that go, then those that come.
        weights: −1 and +1.
        shown: which of them differ in more than hidden columns; None: all.
    """

    places: I64
    rows: pa.RecordBatch
    weights: I64
    shown: Bools | None


def moved_rows(
    places: Places, parts: Segments, old: pa.RecordBatch, new: pa.RecordBatch, given: int, shown: int
) -> Moved:
    """Return the rows that differ before and after a change.

    Args:
        places: of all rows that were read or came.
        parts: the segments: rows outside of what they answer anew stay.
        old: the rows that stood.
        new: the rows that stand now, in the order of their places.
        given: so many columns are those of the input.
        shown: so many are seen outside, the rest is stored beside them.
    """
    at_new = np.cumsum(places.there) - 1
    within = (places.words >= parts.first[places.at]) & (places.words <= parts.last[places.at])
    goes, comes = within & (places.held >= 0), within & places.there
    both = nonzero(goes & comes)
    pairs = _Pairs(old, new, places.held[both], at_new[both])
    same = ~places.gone[both]
    replaced = nonzero(~same)
    if len(replaced):
        same[replaced] = pairs.of(replaced).equal(0, given)
    same &= pairs.equal(given, shown)
    seen = both[same]
    same &= pairs.equal(shown, old.num_columns)
    goes[both[same]] = comes[both[same]] = False
    gone, come = nonzero(goes), nonzero(comes)
    rows = [take(old, places.held[gone]), take(new, at_new[come])]
    at = np.concatenate([gone, come])
    weights = np.repeat(np.array([-1, 1], dtype=np.int64), [len(gone), len(come)])
    hidden = np.zeros(len(places.at), dtype=np.bool_)
    hidden[seen] = True
    return Moved(at, pa.concat_batches(rows), weights, ~hidden[at] if old.num_columns > shown else None)


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Rows of two batches side by side."""

    left: pa.RecordBatch
    right: pa.RecordBatch
    left_at: I64
    right_at: I64

    def of(self, which: I64) -> _Pairs:
        """Return some of the pairs."""
        return _Pairs(self.left, self.right, self.left_at[which], self.right_at[which])

    def equal(self, first: int, last: int) -> Bools:
        """Return, pair by pair, whether the columns from `first` to before `last` are equal; only those are
        read.
        """
        columns = list(range(first, last))
        left, right = (
            take(self.left.select(columns), self.left_at),
            take(self.right.select(columns), self.right_at),
        )
        return equal_pairs(left.columns, right.columns, len(self.left_at), exact=True)
