"""Top-N: the first rows of each partition in order; LIMIT and OFFSET, ROW_NUMBER, RANK, DENSE_RANK.

    Δtop(R) = + top(touched partitions, after) − top(touched partitions, before)

Rows lie under their partition in order, so that reading the first N costs N, not the size of the partition.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.change import Change
from headrace.engine.columns import I64, U64, Bools, equal, group_keys, nonzero, validity, view
from headrace.engine.frontier import kept
from headrace.engine.given import Given
from headrace.engine.key_table import KeyTable
from headrace.engine.monotone import Bounds
from headrace.engine.operators.base import Operator, StepContext
from headrace.engine.order import lexsort, order_word, placed, row_numbers
from headrace.engine.ordered_rows import Front, OrderedRows
from headrace.engine.sweep import Sweep, described
from headrace.engine.zset import consolidate
from headrace.sql.plan import TopN


class TopNOperator(Operator):
    """Partitions and their rows in order."""

    name = "top n"
    rule = "ordered range"

    def __init__(self, node: TopN) -> None:
        super().__init__(node.schema)
        self.consolidated = True
        self._node = node
        self._input = node.input.schema
        self._partitions = KeyTable([self._input[name].arrow for name in node.partition])
        self._rows = OrderedRows(self._input.arrow)
        self._given = Given(self.arrow)
        self._sweep = Sweep()
        self._last = None if node.limit is None else node.limit + node.offset

    @override
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        change = consolidate(inputs[0])
        if len(change) == 0:
            return Change.empty(self.arrow)
        slots = self._assign(change)
        touched = np.unique(slots)
        self._rows.insert(slots, self._words(change.rows), change.rows, change.weights)
        return self._given.replace(touched, *self._top(touched))

    def _assign(self, change: Change) -> I64:
        if not self._node.partition:
            return np.zeros(len(change), dtype=np.int64)
        keys = group_keys([change.rows.column(name) for name in self._node.partition])
        return self._partitions.slots_of(keys)[0]

    def _words(self, rows: pa.RecordBatch) -> U64:
        if not self._node.order:
            return np.zeros(rows.num_rows, dtype=np.uint64)
        key = self._node.order[0]
        column = rows.column(key.column)
        return placed(order_word(column), validity(column), key)

    # --- the first rows
    # ----------------------------------------------------------------------------------------
    def _top(self, slots: I64) -> tuple[I64, pa.RecordBatch]:
        """Return the output rows of those partitions, and for each the position of its partition in
        `slots`.
        """
        front = self._rows.fronts(slots, None if self._last is None else self._last + 1, self._settle)
        number = row_numbers(front.slots)
        ranks = self._ranks(front, number)
        chosen = number > self._node.offset
        if self._last is not None:
            chosen &= ranks <= self._last
        rows = front.rows.take(pa.array(nonzero(chosen)))
        columns = list(rows.columns)
        if self._node.rank is not None:
            columns.append(pa.array(ranks[chosen]))
        return front.slots[chosen], pa.RecordBatch.from_arrays(columns, schema=self.arrow)

    def _sorted(self, front: Front) -> Front:
        order = lexsort(front.slots, [(front.rows.column(key.column), key) for key in self._node.order])
        return front.take(order)

    def _settle(self, front: Front) -> tuple[Front, Bools]:
        """Return rows in order, and which partitions have enough: the last one wanted, for ranks one
        beyond it.
        """
        ordered = self._sorted(front)
        settled = np.zeros(front.asked, dtype=np.bool_)
        if self._last is not None:
            ranks = self._ranks(ordered, row_numbers(ordered.slots))
            beyond = 0 if self._node.rank in (None, "row_number") else 1
            settled[ordered.slots[ordered.trusted & (ranks >= self._last + beyond)]] = True
        return ordered, settled | (self._last == 0)

    def _ranks(self, front: Front, numbers: I64) -> I64:
        if self._node.rank not in ("rank", "dense_rank"):
            return numbers
        fresh = numbers == 1
        at = np.arange(1, len(numbers), dtype=np.int64)
        for key in self._node.order[: self._node.rank_keys]:
            column = view(front.rows.column(key.column), exact=False)
            fresh[1:] |= ~equal(column, at, column, at - 1)
        if self._node.rank == "rank":
            latest = np.maximum.accumulate(np.where(fresh, np.arange(len(numbers)), 0))
            ranked: I64 = numbers[latest]
            return ranked
        steps = np.cumsum(fresh)
        starts = nonzero(numbers == 1)
        dense: I64 = steps - np.repeat(steps[starts] - 1, np.diff(np.append(starts, len(numbers))))
        return dense

    @override
    def bounds(self, inputs: Sequence[Bounds]) -> Bounds:
        return kept(inputs[0], self._node.partition)

    @override
    def forget(self, inputs: Sequence[Bounds]) -> None:
        """Give up partitions without rows, and those below a bound."""
        if not self._node.partition or not self._sweep.is_due(self.state_rows):
            return
        gone = self._partitions.final(self._node.partition, inputs[0]) & ~self._partitions.free()
        slots = nonzero(gone | ~(self._rows.held(len(gone)) | self._partitions.free()))
        dead = self._partitions.release(slots)
        self._rows.release(dead)
        self._given.release(slots)
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
        return self._rows.row_count

    @property
    @override
    def state_bytes(self) -> int:
        return self._rows.nbytes + self._partitions.nbytes + self._given.nbytes


def describe(node: TopN) -> str:
    """Return what a top-N keeps, for people."""
    order = ", ".join(f"{key.column}{' desc' if key.descending else ''}" for key in node.order)
    limit = "all" if node.limit is None else str(node.limit)
    per = f" per {', '.join(node.partition)}" if node.partition else ""
    return f"first {limit}{per} by {order}"
