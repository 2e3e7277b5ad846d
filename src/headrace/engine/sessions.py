"""Sessions per key: where they start and end, merged as rows come, built again where rows go.

A session is a number with a key's slot, the time of its first row and that of its last. Rows that come are
cut into *fragments*, stretches of one key without a silence longer than the gap. A fragment meets the
sessions that begin or end within a gap of it; all that meet each other become one. So a row at the end of a
session costs a look at that session, whatever number of rows it has.

A session that loses a row may fall into several. Its rows are read and cut again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from headrace.engine.columns import I64, U64, Bools, nonzero
from headrace.engine.growable import Growable
from headrace.engine.ordered import OrderedRun, bounds_in, concat, sort_order
from headrace.engine.runs import ranges
from headrace.engine.tiers import Tiers

_SIGN = np.uint64(1 << 63)
_EDGE = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Spans:
    """Sessions, or stretches of time: numbers, the slots of their keys, first and last time."""

    ids: I64
    slots: I64
    starts: I64
    lasts: I64

    def take(self, at: I64 | Bools) -> Spans:
        """Return some of them."""
        return Spans(self.ids[at], self.slots[at], self.starts[at], self.lasts[at])

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Moves:
    """What a change did to the sessions.

    Attributes:
        gone: the sessions that the change met, as they were before.
        made: the sessions that stand in their place.
        into: per session of `gone` the number of the one that it is in now, −1 where it was built again.
        owners: per changed row the number of its session, −1 where that was built again.
        rebuilt: positions in `made` of the sessions built again from their rows.
    """

    gone: Spans
    made: Spans
    into: I64
    owners: I64
    rebuilt: I64


Read = Callable[[Spans], tuple[I64, I64]]
"""Of stretches of time: the rows that lie in them, as slots and times."""


def word_of(micros: I64) -> U64:
    """Return times as words that sort like them."""
    return micros.view(np.uint64) ^ _SIGN


def fresh_starts(slots: I64, micros: I64, gap_us: int) -> Bools:
    """Return which rows, in order of slot and time, begin a fragment."""
    fresh = np.ones(len(slots), dtype=np.bool_)
    silence = micros[1:].view(np.uint64) - micros[:-1].view(np.uint64)
    np.logical_or(slots[1:] != slots[:-1], silence > np.uint64(gap_us), out=fresh[1:])
    return fresh


def time_order(slots: I64, micros: I64) -> I64:
    """Return the order of rows by slot and time."""
    if len(slots) > 1 and (micros[1:] < micros[:-1]).any():
        first = np.argsort(micros, kind="stable")
        return first[np.argsort(slots[first], kind="stable")]
    return np.argsort(slots, kind="stable")


def spans_of(slots: I64, micros: I64, gap_us: int) -> tuple[Spans, Bools]:
    """Return the fragments of rows in order of slot and time, and which rows begin them."""
    fresh = fresh_starts(slots, micros, gap_us)
    firsts = nonzero(fresh)
    ends = np.append(firsts[1:], len(slots)) - 1
    return Spans(np.full(len(firsts), -1), slots[firsts], micros[firsts], micros[ends]), fresh


class Sessions:
    """All sessions of all keys.

    Args:
        gap_us: a longer silence ends a session.
    """

    def __init__(self, gap_us: int) -> None:
        self._gap = gap_us
        self._slots = Growable(np.int64)
        self._starts = Growable(np.int64)
        self._lasts = Growable(np.int64)
        self._alive = Growable(np.bool_)
        self._latest = Growable(np.int64)  # per slot, one more than the number of its last session
        self._index: Tiers[OrderedRun] = Tiers(self._merged, concat, _nothing)
        self._free: list[I64] = []
        self.count = 0

    @property
    def size(self) -> int:
        """One more than the largest number given out."""
        return self._slots.size

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        columns = (self._slots, self._starts, self._lasts, self._alive, self._latest)
        return sum(column.nbytes for column in columns) + sum(run.nbytes for run in self._index.runs)

    def apply(self, slots: I64, micros: I64, weights: I64, read: Read | None) -> Moves:
        """Take in rows under the slots of their keys; `read` is needed where weights may be negative."""
        order = time_order(slots, micros)
        fragments, fresh = spans_of(slots[order], micros[order], self._gap)
        self._latest.resize(max(self._latest.size, int(slots.max()) + 1))
        found = self._meeting(fragments)
        gone = Spans(found, self._slots.data[found], self._starts.data[found], self._lasts.data[found])
        clusters, numbers = self._clusters(fragments, gone)
        of_fragment, of_gone = numbers[: len(fragments)], numbers[len(fragments) :]
        broken = np.zeros(len(clusters), dtype=np.bool_)
        if read is not None and weights.min() < 0:
            loses = np.logical_or.reduceat(weights[order] < 0, nonzero(fresh))
            broken[of_fragment[loses]] = True
        kept = self._kept(len(clusters), gone, of_gone, broken)
        owners = np.empty(len(slots), dtype=np.int64)
        made = self._changed(clusters, kept, broken)
        owners[order] = made.ids[of_fragment[np.cumsum(fresh) - 1]]
        into = made.ids[of_gone]
        self._kill(gone.ids[into != gone.ids])
        rebuilt = np.empty(0, dtype=np.int64)
        if broken.any():
            assert read is not None
            again = self._rebuilt(clusters.take(broken), gone.take(into < 0), read)
            whole = made.take(~broken)
            rebuilt = np.arange(len(whole), len(whole) + len(again))
            made = _joined(whole, again)
        self._note_latest(np.unique(fragments.slots), made, searched=bool(broken.any()))
        self._free.append(gone.ids[~self._alive.data[gone.ids]])
        return Moves(gone, made, into, owners, rebuilt)

    # --- which sessions meet
    # ---------------------------------------------------------------------------------
    def _meeting(self, fragments: Spans) -> I64:
        """Return the numbers of all sessions within a gap of a fragment."""
        latest = self._latest.data[fragments.slots] - 1
        known = latest >= 0
        at_end = known & (fragments.starts >= self._starts.data[latest])
        near = at_end & (self._lasts.data[latest] >= _less(fragments.starts, self._gap))
        inside = nonzero(known & ~at_end)
        if len(inside) == 0:
            return np.unique(latest[near])
        return np.unique(np.concatenate([latest[near], self._searched(fragments.take(inside))]))

    def _searched(self, fragments: Spans) -> I64:
        """Look sessions up in the index: those that start in reach, and the last one that starts before."""
        low = _less(fragments.starts, self._gap)
        high = np.minimum(fragments.lasts, _EDGE - self._gap) + self._gap
        found = [self.before(fragments.slots, low)]
        reaches = found[0] >= 0
        reaches &= self._lasts.data[found[0]] >= low
        found[0] = found[0][reaches]
        inside = bounds_in(self._index.runs, fragments.slots).clip(word_of(low), word_of(high))
        for run, begin, end in inside.parts:
            at = ranges(begin, end - begin)
            found.append(_ids(run)[at[self._is_valid(run, at)]])
        return np.concatenate(found)

    def before(self, slots: I64, micros: I64) -> I64:
        """Return the last session of each slot that starts before a time, −1 where there is none."""
        best = np.full(len(slots), -1, dtype=np.int64)
        earlier = bounds_in(self._index.runs, slots).clip(None, word_of(micros) - np.uint64(1))
        for run, first, end in earlier.parts:
            at = end - 1
            while True:
                wrong = nonzero(at >= first)
                wrong = wrong[~self._is_valid(run, at[wrong])]
                if len(wrong) == 0:
                    break
                at[wrong] -= 1
            there = nonzero(at >= first)
            ids = _ids(run)[at[there]]
            later = (best[there] < 0) | (self._starts.data[ids] > self._starts.data[best[there]])
            best[there[later]] = ids[later]
        return best

    def _is_valid(self, run: OrderedRun, at: I64) -> Bools:
        """Whether entries of the index still tell where a session starts."""
        ids = _ids(run)[at]
        valid: Bools = self._alive.data[ids] & (self._slots.data[ids] == run.slots[at])
        valid &= word_of(self._starts.data[ids]) == run.words[at]
        return valid

    def _merged(self, older: OrderedRun, newer: OrderedRun) -> tuple[OrderedRun | None, I64]:
        both = concat([older, newer])
        both = both.take(nonzero(self._is_valid(both, np.arange(len(both)))))
        both = both.take(sort_order(both.slots, both.words))
        return (both if len(both) else None), both.slots[:0]

    # --- what becomes of them
    # --------------------------------------------------------------------------------
    def _clusters(self, fragments: Spans, sessions: Spans) -> tuple[Spans, I64]:
        """Return all that meet each other as one, and the number of each fragment's and session's cluster."""
        both = _joined(fragments, sessions)
        if len(sessions) == 0:
            return fragments, np.arange(len(fragments))
        order = np.lexsort((both.starts, both.slots))
        ordered = both.take(order)
        ranks = np.empty(len(both), dtype=np.int64)
        by_last = np.argsort(ordered.lasts, kind="stable")
        ranks[by_last] = np.arange(len(both))
        changes = np.append(True, ordered.slots[1:] != ordered.slots[:-1])
        furthest = np.maximum.accumulate((np.cumsum(changes) - 1) * len(both) + ranks) % len(both)
        lasts = ordered.lasts[by_last[furthest]]
        silence = _less(ordered.starts[1:], self._gap) > lasts[:-1]
        changes[1:] |= silence
        firsts = nonzero(changes)
        ends = np.append(firsts[1:], len(both)) - 1
        numbers = np.empty(len(both), dtype=np.int64)
        numbers[order] = np.cumsum(changes) - 1
        spans = Spans(np.full(len(firsts), -1), ordered.slots[firsts], ordered.starts[firsts], lasts[ends])
        return spans, numbers

    def _kept(self, clusters: int, gone: Spans, of_gone: I64, broken: Bools) -> I64:
        """Return the number under which each cluster goes on: that of its first session; −1 for a new one."""
        kept = np.full(clusters, -1, dtype=np.int64)
        backwards = np.argsort(gone.starts, kind="stable")[::-1]
        kept[of_gone[backwards]] = gone.ids[backwards]
        kept[broken] = -1
        return kept

    def _changed(self, clusters: Spans, kept: I64, broken: Bools) -> Spans:
        """Write the clusters that are not broken; return all, those that are under number −1."""
        ids = kept.copy()
        new = nonzero((kept < 0) & ~broken)
        ids[new] = self._new_ids(len(new))
        there = nonzero(~broken)
        spans = Spans(ids, clusters.slots, clusters.starts, clusters.lasts)
        moved = there[(kept[there] < 0) | (clusters.starts[there] != self._starts.data[ids[there]])]
        self._write(spans.take(there))
        self._enter(spans.take(moved))
        return spans

    def _rebuilt(self, hulls: Spans, gone: Spans, read: Read) -> Spans:
        """Return the sessions that the rows in some stretches of time form now.

        One that starts where one of those before did goes on under its number.
        """
        slots, micros = read(hulls)
        if len(slots) == 0:
            return hulls.take(np.empty(0, dtype=np.int64))
        order = time_order(slots, micros)
        spans, _ = spans_of(slots[order], micros[order], self._gap)
        ids = _same_start(spans, gone)
        new = nonzero(ids < 0)
        self.count += len(spans) - len(new)
        ids[new] = self._new_ids(len(new))
        made = Spans(ids, spans.slots, spans.starts, spans.lasts)
        self._write(made)
        self._enter(made.take(new))
        return made

    def _new_ids(self, count: int) -> I64:
        free = np.concatenate([*self._free, np.empty(0, dtype=np.int64)])
        used, left = free[:count], free[count:]
        self._free = [left] if len(left) else []
        start, more = self.size, count - len(used)
        for column in (self._slots, self._starts, self._lasts, self._alive):
            column.resize(start + more)
        self.count += count
        return np.concatenate([used, np.arange(start, start + more)])

    def _write(self, spans: Spans) -> None:
        self._slots.data[spans.ids] = spans.slots
        self._starts.data[spans.ids] = spans.starts
        self._lasts.data[spans.ids] = spans.lasts
        self._alive.data[spans.ids] = True

    def _enter(self, spans: Spans) -> None:
        """Add sessions to the index."""
        if len(spans) == 0:
            return
        run = OrderedRun(spans.slots, word_of(spans.starts), np.ones(len(spans), dtype=np.int64), spans.ids)
        self._index.push(run.take(sort_order(run.slots, run.words)))

    def _kill(self, ids: I64) -> None:
        self._alive.data[ids] = False
        self.count -= len(ids)

    def _note_latest(self, slots: I64, made: Spans, *, searched: bool) -> None:
        """Remember the last session of each slot that was touched."""
        if searched:
            self._latest.data[slots] = self.before(slots, np.full(len(slots), _EDGE)) + 1
            return
        order = np.lexsort((made.starts, made.slots))
        ends = np.append(made.slots[order[1:]] != made.slots[order[:-1]], True)
        last = order[ends]
        old = self._latest.data[made.slots[last]] - 1
        stays = (old >= 0) & self._alive.data[old] & (self._starts.data[old] > made.starts[last])
        self._latest.data[made.slots[last[~stays]]] = made.ids[last[~stays]] + 1

    # --- time
    # --------------------------------------------------------------------------------------------------
    def final(self, bound_us: int) -> Spans:
        """Return the sessions that no row at or after a time can meet."""
        size = self.size
        ids = nonzero(self._alive.data[:size] & (self._lasts.data[:size] < bound_us - self._gap))
        return Spans(ids, self._slots.data[ids], self._starts.data[ids], self._lasts.data[ids])

    def release(self, final: Spans) -> None:
        """Give sessions up."""
        self._kill(final.ids)
        self._free.append(final.ids)
        self._index.rewrite(self._still_valid)

    def _still_valid(self, run: OrderedRun) -> OrderedRun:
        return run.take(nonzero(self._is_valid(run, np.arange(len(run)))))

    def earliest(self, slots: int) -> tuple[I64, Bools]:
        """Return where the first session of each slot starts, and which slots have one; a slot without is
        forgotten.
        """
        starts = np.full(slots, _EDGE)
        there = np.zeros(slots, dtype=np.bool_)
        ids = nonzero(self._alive.data[: self.size])
        np.minimum.at(starts, self._slots.data[ids], self._starts.data[ids])
        there[self._slots.data[ids]] = True
        self._latest.resize(max(slots, self._latest.size))
        self._latest.data[nonzero(~there)] = 0
        return starts, there


def _less(micros: I64, gap_us: int) -> I64:
    """Return times less the gap, not beyond the smallest time."""
    return np.maximum(micros, gap_us - _EDGE) - gap_us


def _ids(run: OrderedRun) -> I64:
    assert run.numbers is not None
    return run.numbers


def _same_start(spans: Spans, gone: Spans) -> I64:
    """Return per stretch the number of the session that started with it, −1 where none did."""
    count = len(spans)
    both = _joined(spans, gone)
    order = np.lexsort((both.starts, both.slots))
    pairs = (both.slots[order[1:]] == both.slots[order[:-1]]) & (
        both.starts[order[1:]] == both.starts[order[:-1]]
    )
    one, other = order[:-1][pairs], order[1:][pairs]
    found = np.full(len(both), -1, dtype=np.int64)
    found[one], found[other] = both.ids[other], both.ids[one]
    return found[:count]


def _joined(one: Spans, other: Spans) -> Spans:
    return Spans(
        np.concatenate([one.ids, other.ids]),
        np.concatenate([one.slots, other.slots]),
        np.concatenate([one.starts, other.starts]),
        np.concatenate([one.lasts, other.lasts]),
    )


def _nothing(_: I64) -> None:
    """Rows that are dropped leave nothing behind."""
