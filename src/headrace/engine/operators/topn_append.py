"""Top-N over rows that only come: nothing is kept but the rows that are among the first now.

    top(R + ΔR) = top(top(R) + ΔR)        when nothing of R ever goes

Each partition has a row of N places. A new row whose first order column is beyond the last place taken is
dropped at once; where first columns are equal, the whole rows are compared.

Where the output shows no rank, a row that only moves to another place is no change. Each row then has a
*seat* in its partition, which it keeps while it stays; one that comes takes the seat of one that goes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.change import Change
from headrace.engine.columns import I64, U64, Bools, group_keys, nonzero, validity
from headrace.engine.frontier import kept
from headrace.engine.growable import Growable
from headrace.engine.heap import Heap
from headrace.engine.key_table import KeyTable
from headrace.engine.monotone import Bounds
from headrace.engine.operators.base import Operator, StepContext
from headrace.engine.operators.topn import describe
from headrace.engine.order import is_apart, lexsort, order_word, placed, row_numbers
from headrace.engine.ordered import sort_order
from headrace.engine.runs import ranges
from headrace.engine.sweep import Sweep, described
from headrace.sql.plan import TopN

PLACES_MAX, PLACES_PER_PARTITION_MAX = 256, 16
"""More places than this, in all or in each of many partitions, and the general operator needs less memory."""
_ALL = np.uint64(2**64 - 1)


def is_for(node: TopN) -> bool:
    """Whether this operator serves a plan over append-only input."""
    plain = node.rank in (None, "row_number") and node.offset == 0 and bool(node.order)
    most = PLACES_PER_PARTITION_MAX if node.partition else PLACES_MAX
    return plain and node.limit is not None and 0 < node.limit <= most


class TopNAppendOperator(Operator):
    """The winners of each partition."""

    name = "top n"
    rule = "ordered range"

    def __init__(self, node: TopN) -> None:
        super().__init__(node.schema)
        assert node.limit is not None
        self.consolidated = True
        self._node = node
        self._limit = node.limit
        first = node.input.schema[node.order[0].column].arrow
        self._word_is_all = len(node.order) == 1 and is_apart(first)
        self._partitions = KeyTable([node.input.schema[name].arrow for name in node.partition])
        self._heap = Heap(node.input.schema.arrow)
        self._numbers: Growable[np.int64] = Growable(np.int64)
        self._words: Growable[np.uint64] = Growable(np.uint64)
        self._counts: Growable[np.int64] = Growable(np.int64)
        self._best: Growable[np.uint64] = Growable(np.uint64)
        self._seats: Growable[np.int64] | None = None
        if node.rank is None and node.limit > 1:
            self._seats = Growable(np.int64)
        self._sweep = Sweep()

    @override
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        rows = _repeated(inputs[0])
        slots = self._assign(rows)
        words = self._order_words(rows)
        candidates = self._candidates(slots, words)
        if len(candidates) == 0:
            return Change.empty(self.arrow)
        return self._merge(slots[candidates], words[candidates], candidates, rows)

    def _assign(self, rows: pa.RecordBatch) -> I64:
        """Return the partition of each row; places of new partitions are empty."""
        if self._node.partition:
            keys = group_keys([rows.column(name) for name in self._node.partition])
            slots, _ = self._partitions.slots_of(keys)
        else:
            slots = np.zeros(rows.num_rows, dtype=np.int64)
        size = self._partitions.size if self._node.partition else 1
        first = self._words.size
        self._counts.resize(size)
        self._numbers.resize(size * self._limit)
        self._words.resize(size * self._limit)
        if self._seats is not None:
            self._seats.resize(size * self._limit)
        self._words.data[first : self._words.size] = _ALL
        return slots

    def _order_words(self, rows: pa.RecordBatch) -> U64:
        key = self._node.order[0]
        column = rows.column(key.column)
        return placed(order_word(column), validity(column), key)

    def _candidates(self, slots: I64, words: U64) -> I64:
        """Return the rows that may come among the first: not beyond the last place taken, now or in this
        batch.
        """
        last = slots * self._limit + self._limit - 1
        chosen = nonzero((words <= self._words.data[last]) | (self._counts.data[slots] < self._limit))
        if self._limit > 1 or len(chosen) < 2:
            return chosen
        self._best.resize(self._counts.size)
        best = self._best.data
        best[slots[chosen]] = _ALL
        np.minimum.at(best, slots[chosen], words[chosen])
        winners: I64 = chosen[words[chosen] == best[slots[chosen]]]
        return winners

    # --- the places of the touched partitions, anew
    # --------------------------------------------------------------
    def _merge(self, slots: I64, words: U64, candidates: I64, rows: pa.RecordBatch) -> Change:
        """Put the candidates, rows of the batch, among the rows kept; return what changes.

        Where a row comes from is told by its number in the heap, or by −2 less its place in the batch.
        """
        touched = _ascending(slots, self._counts.size)
        counts = self._counts.data[touched]
        kept_slots = np.repeat(touched, counts)
        kept_places = kept_slots * self._limit + row_numbers(kept_slots) - 1
        all_slots = np.concatenate([kept_slots, slots])
        all_words = np.concatenate([self._words.data[kept_places], words])
        sources = np.concatenate([self._numbers.data[kept_places], -2 - candidates])
        order = sort_order(all_slots, all_words)
        all_slots, all_words, sources = all_slots[order], all_words[order], sources[order]
        self._break_ties(all_slots, all_words, sources, rows)
        ranks = row_numbers(all_slots)
        first = ranks <= self._limit
        winners, losers = sources[first], sources[~first]
        places = all_slots[first] * self._limit + ranks[first] - 1
        if self._seats is not None:
            return self._reseat(self._seats, kept_places, places, winners, losers, all_words[first], rows)
        return self._replace(kept_places, places, winners, losers, all_words[first], rows)

    def _break_ties(self, slots: I64, words: U64, sources: I64, rows: pa.RecordBatch) -> None:
        """Order entries of one partition with equal words by the whole order, in place.

        Of rows that are wholly equal those come first that are there: equal rows do not take turns.
        """
        alike = np.zeros(len(slots), dtype=np.bool_)
        np.logical_and(slots[1:] == slots[:-1], words[1:] == words[:-1], out=alike[1:])
        if not alike.any():
            return
        tied = alike.copy()
        tied[:-1] |= alike[1:]
        at = nonzero(tied)
        groups = np.cumsum(~alike[at]).astype(np.int64)
        sources[at] = sources[at[np.lexsort((sources[at] < 0, groups))]]
        if self._word_is_all:
            return
        chosen = self._rows_of(sources[at], rows)
        order = lexsort(groups, [(chosen.column(key.column), key) for key in self._node.order])
        sources[at] = sources[at[order]]

    def _rows_of(self, sources: I64, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows of numbers in the heap, or, where negative, of the batch."""
        new = sources < 0
        if not new.any():
            return self._heap.gather(sources)
        taken = rows.take(pa.array(-2 - sources[new]))
        return self._mixed(sources, new, taken)

    def _mixed(self, sources: I64, new: Bools, taken: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows of `sources`, of which those of the batch are there already, in order."""
        if new.all():
            return taken
        both = pa.concat_batches([self._heap.gather(sources[~new]), taken])
        back = np.empty(len(sources), dtype=np.int64)
        back[~new] = np.arange(len(sources) - taken.num_rows)
        back[new] = np.arange(len(sources) - taken.num_rows, len(sources))
        return both.take(pa.array(back))

    def _replace(
        self, old_places: I64, places: I64, winners: I64, losers: I64, words: U64, rows: pa.RecordBatch
    ) -> Change:
        """Write the new places; return old rows with −1 and new rows with +1 where a place changes."""
        old = np.full(len(places), -1, dtype=np.int64)
        if len(old_places):
            at = np.minimum(np.searchsorted(old_places, places), len(old_places) - 1)
            taken = nonzero(old_places[at] == places)
            old[taken] = self._numbers.data[places[taken]]
        moved = nonzero(old != winners)
        left = moved[old[moved] >= 0]
        new = winners < 0  # each of them has moved
        stay, come = moved[~new[moved]], nonzero(new)
        taken = rows.take(pa.array(-2 - winners[new]))
        parts, order = self._heap.by_chunk(np.concatenate([old[left], winners[stay]]))
        self._store(places, winners, losers, words, taken)
        ids = np.concatenate([places[left], places[stay]])[order]
        weights = np.where(order < len(left), -1, 1)
        return self._change(
            [*parts, taken], [ids, places[come]], [weights, np.ones(len(come), dtype=np.int64)]
        )

    def _change(self, parts: list[pa.RecordBatch], ids: list[I64], weights: list[I64]) -> Change:
        """Return rows with their ids and weights, and with their ranks where these are shown."""
        both = np.concatenate(ids)
        arrays = zip(*(part.columns for part in parts), strict=True)
        columns = [pa.concat_arrays(array) for array in arrays]
        if self._node.rank is not None:
            columns.append(pa.array(both % self._limit + 1))
        return Change(pa.RecordBatch.from_arrays(columns, schema=self.arrow), np.concatenate(weights), both)

    def _reseat(
        self,
        seats: Growable[np.int64],
        old_places: I64,
        places: I64,
        winners: I64,
        losers: I64,
        words: U64,
        rows: pa.RecordBatch,
    ) -> Change:
        """Write the new places; return rows that drop out with −1 and rows that come with +1."""
        numbers = self._numbers.data[old_places]
        order = np.argsort(numbers)

        def sat(kept: I64) -> I64:
            """Return where in the table of seats rows sit that were kept before."""
            at = old_places[order[np.searchsorted(numbers, kept, sorter=order)]]
            seated: I64 = at - at % self._limit + seats.data[at]
            return seated

        stays = winners >= 0
        new = nonzero(~stays)
        dropped = losers[losers >= 0]
        gone = sat(dropped)
        taken = np.empty(len(places), dtype=np.int64)
        taken[stays] = sat(winners[stays])
        taken[new] = _free_seats(places // self._limit, taken[stays], new, self._limit)
        left, order = self._heap.by_chunk(dropped)
        come = rows.take(pa.array(-2 - winners[new]))
        seats.data[places] = taken % self._limit
        self._store(places, winners, losers, words, come)
        weights = [np.full(len(dropped), -1, dtype=np.int64), np.ones(len(new), dtype=np.int64)]
        return self._change([*left, come], [gone[order], taken[new]], weights)

    def _store(self, places: I64, winners: I64, losers: I64, words: U64, taken: pa.RecordBatch) -> None:
        """Write the places; `taken` holds the new winners in order."""
        new = nonzero(winners < 0)
        winners = winners.copy()
        if len(new):
            winners[new] = self._heap.append(taken, np.ones(len(new), dtype=np.int64))
        self._numbers.data[places] = winners
        self._words.data[places] = words
        np.maximum.at(self._counts.data, places // self._limit, places % self._limit + 1)
        dropped = losers[losers >= 0]
        if len(dropped):
            self._heap.lower(dropped, np.ones(len(dropped), dtype=np.int64))
            self._heap.compact()

    @override
    def bounds(self, inputs: Sequence[Bounds]) -> Bounds:
        return kept(inputs[0], self._node.partition)

    @override
    def forget(self, inputs: Sequence[Bounds]) -> None:
        """Give up partitions below a bound: their places are empty again."""
        if not self._node.partition or not self._sweep.is_due(self.state_rows):
            return
        gone = self._partitions.final(self._node.partition, inputs[0]) & ~self._partitions.free()
        slots = nonzero(gone)
        self._partitions.release(slots)
        counts = self._counts.data[slots]
        numbers = np.sort(self._numbers.data[ranges(slots * self._limit, counts)])
        if len(numbers):
            self._heap.lower(numbers, np.ones(len(numbers), dtype=np.int64))
            self._heap.compact()
        self._words.data[ranges(slots * self._limit, np.full(len(slots), self._limit))] = _ALL
        self._counts.clear(slots)
        self._sweep.done(self.state_rows)

    @override
    def can_free(self, inputs: Sequence[Bounds]) -> str | None:
        return described(inputs[0], self._node.partition, "no partition column follows event time")

    @property
    @override
    def detail(self) -> str:
        return describe(self._node)

    @property
    @override
    def state_rows(self) -> int:
        return int(self._counts.view().sum())

    @property
    @override
    def state_bytes(self) -> int:
        arrays = self._numbers.nbytes + self._words.nbytes + self._counts.nbytes
        arrays += 0 if self._seats is None else self._seats.nbytes
        return self._heap.nbytes + self._partitions.nbytes + arrays


def _repeated(change: Change) -> pa.RecordBatch:
    """Return the rows, each as often as it counts."""
    if (change.weights == 1).all():
        return change.rows
    return change.rows.take(pa.array(np.repeat(np.arange(len(change)), change.weights)))


def _ascending(slots: I64, size: int) -> I64:
    """Return every slot once, in order."""
    if size > 16 * len(slots):
        return np.unique(slots)
    there = np.zeros(size, dtype=np.bool_)
    there[slots] = True
    return nonzero(there)


def _free_seats(slots: I64, taken: I64, new: I64, limit: int) -> I64:
    """Return a free seat for each new winner, as a place in the table of seats.

    Args:
        slots: the partition of each winner, ascending.
        taken: seats of the winners that stay.
        new: positions of the winners that come.
        limit: seats of a partition.
    """
    partitions = np.unique(slots)
    is_free = np.ones((len(partitions), limit), dtype=np.bool_)
    is_free[np.searchsorted(partitions, taken // limit), taken % limit] = False
    owner, seat = is_free.nonzero()
    wanting = np.searchsorted(partitions, slots[new])
    at = np.searchsorted(owner, wanting) + row_numbers(wanting) - 1
    found: I64 = slots[new] * limit + seat[at]
    return found
