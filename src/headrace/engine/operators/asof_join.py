"""ASOF join: each left row with the nearest right row of its key, the last one before it or the first after.

    Δ(L ⋈ R) = ΔL ⋈ R' + (T ⋈ R' − T ⋈ R)        (R' = R + ΔR; T: the rows of L between a changed row of R
                                                     and the next one of its key)

Both sides lie under their key in the order of their time. A left row looks up one right row. A right row that
comes or goes touches only the left rows from its own time to that of its neighbour; all others keep the match
they have.

prices at 3 and 9      orders at 4, 8, 9      + price at 6      touches the order at 8, not those at 4 and 9
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.change import Change
from headrace.engine.columns import I64, U64, nonzero
from headrace.engine.key_table import KeyTable
from headrace.engine.monotone import Bounds
from headrace.engine.operators.base import Operator, StepContext
from headrace.engine.order import lexsort, order_word
from headrace.engine.ordered_rows import OrderedRows, sums
from headrace.engine.sides import any_null, key_slots
from headrace.engine.sweep import Sweep, described
from headrace.engine.zset import consolidate
from headrace.sql.explain import describe_node
from headrace.sql.plan import AsofJoin, OrderKey

_ALL = np.uint64(2**64 - 1)
_ONE = np.uint64(1)


class AsofJoinOperator(Operator):
    """Both sides by key and time."""

    name = "asof join"
    rule = "ordered range"

    def __init__(self, node: AsofJoin, *, append_only_inputs: Sequence[bool]) -> None:
        super().__init__(node.schema)
        self._node = node
        self._append_only = tuple(append_only_inputs)
        self._keys = KeyTable([node.left.schema[left].arrow for left, _ in node.equalities])
        self._left = OrderedRows(node.left.schema.arrow)
        self._right = OrderedRows(node.right.schema.arrow)
        self._sweep = Sweep()
        self._order = [OrderKey(name) for name in node.right.schema.names]

    @override
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        outputs = []
        if len(inputs[1]):
            outputs += self._right_moved(self._prepared(1, inputs[1]))
        if len(inputs[0]):
            outputs.append(self._left_moved(self._prepared(0, inputs[0])))
        outputs = [output for output in outputs if len(output)]
        return Change.concat(outputs) if outputs else Change.empty(self.arrow)

    def _prepared(self, number: int, change: Change) -> Change:
        return change if self._append_only[number] else consolidate(change)

    # --- keys and words
    # ---------------------------------------------------------------------------------------
    def _words(self, rows: pa.RecordBatch, column: str) -> U64:
        """Return words in an order in which a match is always the last one that is not beyond."""
        words = order_word(rows.column(column))
        return words if self._node.op.startswith(">") else ~words

    def _limits(self, rows: pa.RecordBatch) -> tuple[U64, I64]:
        """Return, per left row, the last right word that may match, and the rows that can match none."""
        words = self._words(rows, self._node.left_column)
        if self._node.op in (">=", "<="):
            return words, nonzero(np.zeros(0))
        return words - _ONE, nonzero(words == 0)

    def _left_slots(self, rows: pa.RecordBatch) -> tuple[I64, U64]:
        """Return, per left row, its slot (−1: nothing can match) and the last right word that may match."""
        slots = key_slots(rows, [left for left, _ in self._node.equalities], self._keys)
        limits, none = self._limits(rows)
        nulls = any_null([rows.column(self._node.left_column)])
        slots = slots if nulls is None else np.where(nulls, -1, slots)
        if len(none):
            slots[none] = -1
        return slots, limits

    def _right_slots(self, rows: pa.RecordBatch) -> tuple[I64, U64]:
        slots = key_slots(rows, [right for _, right in self._node.equalities], self._keys)
        nulls = any_null([rows.column(self._node.right_column)])
        slots = slots if nulls is None else np.where(nulls, -1, slots)
        return slots, self._words(rows, self._node.right_column)

    # --- looking up
    # ------------------------------------------------------------------------------------------
    def _nearest(self, slots: I64, limits: U64) -> I64:
        """Return the number of the right row that matches, −1 where there is none."""
        here = self._right.bounds(slots)
        words, known = here.clip(None, limits).first(last=True)
        found = np.full(len(slots), -1, dtype=np.int64)
        asked = nonzero(known)
        positions, numbers, weights = here.select(asked).clip(words[asked], words[asked]).entries()
        found[asked[positions]] = numbers
        if len(positions) > len(asked) or (len(weights) and weights.min() < 0):
            at, chosen = self._settled(positions, numbers, weights)
            found[asked[at]] = chosen
        return found

    def _settled(self, positions: I64, numbers: I64, weights: I64) -> tuple[I64, I64]:
        """Return one row for each position of which several stand at one time: the first by all columns."""
        rows = self._right.heap.gather(numbers)
        firsts, total = sums(positions, rows, weights)
        there = firsts[total > 0]
        rows = rows.take(pa.array(there))
        keys = [(rows.column(key.column), key) for key in self._order]
        ordered = there[lexsort(positions[there], keys)]
        at, first = np.unique(positions[ordered], return_index=True)
        return at, numbers[ordered[first]]

    # --- changes
    # --------------------------------------------------------------------------------------------
    def _left_moved(self, change: Change) -> Change:
        slots, limits = self._left_slots(change.rows)
        output = self._joined(change, self._nearest(slots, limits))
        kept = nonzero(slots >= 0)
        kept_change = change if len(kept) == len(change) else change.take(kept)
        self._left.insert(slots[kept], limits[kept], kept_change.rows, kept_change.weights)
        return output

    def _right_moved(self, change: Change) -> list[Change]:
        slots, words = self._right_slots(change.rows)
        kept = nonzero(slots >= 0)
        if len(kept) == 0:
            return []
        change, slots, words = change.take(kept), slots[kept], words[kept]
        touched, at = self._touched(slots, words)
        limits, _ = self._limits(touched.rows)
        before = self._nearest(at, limits)
        old = self._joined(touched, before).negated()
        self._right.insert(slots, words, change.rows, change.weights)
        after = self._nearest(at, limits)
        moved = before != after
        if moved.all():
            return [old, self._joined(touched, after)]
        old = old.filter(moved[before >= 0] if self._node.kind == "inner" else moved)
        return [old, self._joined(touched.filter(moved), after[moved])]

    def _touched(self, slots: I64, words: U64) -> tuple[Change, I64]:
        """Return the left rows whose match a change of the right may move, and their slots.

        They lie from each changed right row to the next one of its key, changed or not.
        """
        order = np.lexsort([words, slots])
        slots, words = slots[order], words[order]
        fresh = np.ones(len(slots), dtype=np.bool_)
        fresh[1:] = (slots[1:] != slots[:-1]) | (words[1:] != words[:-1])
        slots, words = slots[fresh], words[fresh]
        later = self._right.bounds(slots).clip(np.where(words == _ALL, _ALL, words + _ONE), None)
        following, known = later.first(last=False)
        known &= words != _ALL
        ends = np.where(known, following - _ONE, _ALL)
        same = nonzero(slots[1:] == slots[:-1])
        ends[same] = np.minimum(ends[same], words[same + 1] - _ONE)
        positions, numbers, weights = self._left.bounds(slots).clip(words, ends).entries()
        return Change(self._left.heap.gather(numbers), weights), slots[positions]

    def _joined(self, change: Change, matches: I64) -> Change:
        """Return left rows with their right rows, by number; −1: none."""
        there = matches >= 0
        whole = bool(there.all())
        if self._node.kind == "inner" and not whole:
            change, matches = change.filter(there), matches[there]
            whole = True
        found = self._right.heap.gather(matches if whole else matches[there])
        if not whole:
            found = found.take(pa.array(np.cumsum(there) - 1, mask=~there))
        columns = [*change.rows.columns, *found.columns]
        return Change(pa.RecordBatch.from_arrays(columns, schema=self.arrow), change.weights)

    # --- time
    # -------------------------------------------------------------------------------------------------
    @override
    def bounds(self, inputs: Sequence[Bounds]) -> Bounds:
        """A right change at p touches left rows from p on, so that both bounds hold for the left time."""
        low = self._low(inputs)
        return {} if low is None else {self._node.left_column: low}

    def _low(self, inputs: Sequence[Bounds]) -> int | None:
        left, right = inputs[0].get(self._node.left_column), inputs[1].get(self._node.right_column)
        return None if left is None or right is None or not self._looks_back else min(left, right)

    @property
    def _looks_back(self) -> bool:
        return self._node.op.startswith(">")

    @override
    def forget(self, inputs: Sequence[Bounds]) -> None:
        """Give up left rows before every right row to come, and right rows that are no longer the nearest."""
        if not self._sweep.is_due(self.state_rows + self._keys.live):
            return
        right_bound = inputs[1].get(self._node.right_column)
        if right_bound is not None and self._looks_back:
            self._left.drop_below(self._node.left_column, right_bound)
        low = self._low(inputs)
        if low is not None:
            self._keep_latest(low)
        if self._node.equalities:
            size = self._keys.size
            self._keys.release(nonzero(~(self._left.held(size) | self._right.held(size) | self._keys.free())))
        self._sweep.done(self.state_rows + self._keys.live)

    def _keep_latest(self, low_us: int) -> None:
        """Drop the right rows of each key before the last one that is earlier than a time.

        Rows at that very time may still go, or be too late for a left row at it.
        """
        kind = self._node.right.schema[self._node.right_column].arrow
        time = pa.array([low_us], pa.timestamp("us", getattr(kind, "tz", None))).cast(kind, safe=False)
        slots = nonzero(self._right.held(max(self._keys.size, 1)))
        word = order_word(time)[0]
        if word == 0:
            return
        limits = np.full(len(slots), word - _ONE, dtype=np.uint64)
        latest, known = self._right.bounds(slots).clip(None, limits).first(last=True)
        first = np.zeros(max(self._keys.size, 1), dtype=np.uint64)
        first[slots[known]] = latest[known]
        self._right.drop_where(lambda run: run.words < first[run.slots])

    @override
    def can_free(self, inputs: Sequence[Bounds]) -> str | None:
        if not self._looks_back:
            return "keeps all: a later row may always be nearer to what has no match yet"
        missing = "one of the two times does not follow event time"
        return described(self.bounds(inputs), [self._node.left_column], missing)

    @property
    @override
    def detail(self) -> str:
        return describe_node(self._node)

    @property
    @override
    def state_rows(self) -> int:
        return self._left.row_count + self._right.row_count

    @property
    @override
    def state_bytes(self) -> int:
        return self._left.nbytes + self._right.nbytes + self._keys.nbytes
