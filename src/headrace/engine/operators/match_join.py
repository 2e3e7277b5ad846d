"""Match join: joins in which it counts whether a row has a match (LEFT, FULL, SEMI, ANTI), and by a range.

    L ⟕ R = L ⋈ R + (L ▷ R) × NULLs      L ▷ R (anti) = the rows of L without a match      L ⋉ R = L − L ▷ R

    Δ(L ⋈ R) = L ⋈ ΔR + ΔL ⋈ R'        Δ(L ▷ R) = the rows of L whose count of matches leaves or reaches 0,
                                                    and the rows of ΔL whose count is 0        (R' = R + ΔR)

matches before   change   matches after   L ▷ R            L ⋉ R
0                +2       2               − row            + row
2                −1       1               nothing          nothing
1                −1       0               + row            − row
1                +1 −1    1               nothing          nothing

Where equalities are all of the condition, the count of a row is that of its key, and is kept by key. With a
range or a residual it is kept by row. The changed rows of one side ask the other side's rows of the same key,
and of those only what a range leaves; nothing else is looked at. Without equality and range every pair is
asked, and EXPLAIN says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.change import Change
from headrace.contracts.schema import Schema
from headrace.engine.columns import I64, Bools, nonzero
from headrace.engine.counts import Counts
from headrace.engine.duck import Duck
from headrace.engine.frontier import JoinFrontier, differences, kept
from headrace.engine.key_table import KeyTable
from headrace.engine.monotone import Bounds
from headrace.engine.operators.base import Operator, StepContext
from headrace.engine.operators.join import Reached
from headrace.engine.operators.residual import Residual
from headrace.engine.sides import (
    Found,
    IntervalSide,
    Keyed,
    PlainSide,
    PointSide,
    Side,
    SlotTotals,
    found_slots,
    key_slots,
    range_words,
)
from headrace.engine.sweep import Sweep, described
from headrace.engine.zset import consolidate
from headrace.sql.explain import describe_node
from headrace.sql.plan import Equality, Expr, MatchJoin


class OneSide:
    """One input, as its own changes and those of the other see it.

    Attributes:
        schema: its columns.
        shows: what becomes of its rows by themselves: `matched` (SEMI), `unmatched` (ANTI, and the kept sides
            of LEFT and FULL), or None.
        side: its rows; None where nobody ever reads them again.
        totals: how many rows lie under each slot.
        counts: how many rows of the other side match each of its own.
    """

    def __init__(
        self, node: MatchJoin, number: int, shows: str | None, *, keeps_rows: bool, append_only: bool
    ) -> None:
        self.schema = schema = node.inputs[number].schema
        self.keys = tuple(pair[number] for pair in node.equalities)
        self.range = node.range
        self.has_point = node.range is not None and node.range.point_is_right == bool(number)
        side: Side | None = None
        if node.range is not None:
            side = PointSide(schema.arrow) if self.has_point else IntervalSide(schema.arrow)
        elif keeps_rows:
            side = PlainSide(schema.arrow, append_only=append_only)
        self.shows = shows
        self.side = side
        self.append_only = append_only
        self.totals = SlotTotals()
        self.counts = Counts()

    def keyed(self, change: Change, table: KeyTable) -> Keyed:
        """Return a change added up, with the slots of its keys."""
        if not self.append_only:
            change = consolidate(change)
        slots = key_slots(change.rows, self.keys, table)
        if self.range is None:
            return Keyed(change, slots)
        return Keyed(change, *range_words(change.rows, slots, self.range, has_point=self.has_point))

    def rows_at(self, numbers: I64) -> pa.RecordBatch:
        """Return kept rows by number."""
        assert self.side is not None
        return self.side.heap.gather(numbers)

    @property
    def row_count(self) -> int:
        """Rows kept."""
        return 0 if self.side is None else self.side.row_count

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        rows = 0 if self.side is None else self.side.nbytes
        return rows + self.totals.nbytes + self.counts.nbytes


class MatchJoinOperator(Operator):
    """Both inputs by key, and counts of matches by key or by row."""

    name = "match join"
    rule = "match counts"

    def __init__(self, node: MatchJoin, *, append_only_inputs: Sequence[bool]) -> None:
        only_adds = node.kind in ("semi", "inner") and all(append_only_inputs)
        super().__init__(node.schema, append_only=only_adds)
        self._node = node
        self._shows_pairs = node.kind in ("left", "full", "inner")
        both = Schema((*node.left.schema.columns, *node.right.schema.columns))
        self._residual = None if node.residual is None else Residual(node.residual, both)
        self._is_by_key = node.residual is None and node.range is None
        self._keys = KeyTable([node.left.schema[left].arrow for left, _ in node.equalities])
        self._frontier = _frontier(node)
        self._sweep = Sweep()
        alone = {"semi": "matched", "inner": None}.get(node.kind, "unmatched")
        self._left = OneSide(node, 0, alone, keeps_rows=True, append_only=append_only_inputs[0])
        self._right = OneSide(
            node, 1, "unmatched" if node.kind == "full" else None,
            keeps_rows=self._shows_pairs or not self._is_by_key, append_only=append_only_inputs[1],
        )  # fmt: skip

    @override
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        outputs: list[Change] = []
        for me, other, change in ((self._right, self._left, inputs[1]), (self._left, self._right, inputs[0])):
            if len(change):
                batch = me.keyed(change, self._keys)
                outputs += self._moved(me, other, batch, context.duck)
        outputs = [output for output in outputs if len(output)]
        return Change.concat(outputs) if outputs else Change.empty(self.arrow)

    def _moved(self, me: OneSide, other: OneSide, batch: Keyed, duck: Duck) -> list[Change]:
        """Return what a change of one side does to the output, and keep it."""
        return self._by_key(me, other, batch) if self._is_by_key else self._by_row(me, other, batch, duck)

    # --- counts by key
    # ----------------------------------------------------------------------------------------
    def _by_key(self, me: OneSide, other: OneSide, batch: Keyed) -> list[Change]:
        outputs = []
        if self._shows_pairs and other.side is not None:
            outputs += [self._pairs(me, batch, found) for found in other.side.candidates(batch)]
        touched, before, after = me.totals.add(batch)
        if other.shows and other.side is not None:
            flips = nonzero((before > 0) != (after > 0))
            asked = Keyed(batch.change, touched[flips])
            for positions, numbers, weights in other.side.candidates(asked):
                outputs.append(self._flipped(other, numbers, weights, after[flips][positions] > 0))
        outputs.append(self._own(me, batch, other.totals.of(batch.slots) > 0))
        if me.side is not None:
            me.side.insert(batch)
        return outputs

    # --- counts by row
    # ----------------------------------------------------------------------------------------
    def _by_row(self, me: OneSide, other: OneSide, batch: Keyed, duck: Duck) -> list[Change]:
        assert me.side is not None
        found = self._matches(me, other, batch, duck)
        positions, numbers, weights = found
        outputs = [self._pairs(me, batch, found)] if self._shows_pairs else []
        if other.shows:
            outputs.append(self._recounted(other, numbers, weights, batch.change.weights[positions]))
        counts = np.zeros(len(batch), dtype=np.int64)
        np.add.at(counts, positions, weights)
        outputs.append(self._own(me, batch, counts > 0))
        stored = me.side.insert(batch)
        if me.shows:
            there = nonzero((counts != 0) & (stored >= 0))
            me.counts.add(stored[there], counts[there])
            me.counts.trim(me.side.heap)
        return outputs

    def _matches(self, me: OneSide, other: OneSide, batch: Keyed, duck: Duck) -> Found:
        """Return the pairs that match."""
        assert other.side is not None
        parts: list[Found] = []
        for found in other.side.candidates(batch):
            positions, numbers, weights = found
            if len(positions) and self._residual is not None:
                keep = self._asked(me, other, batch, found, self._residual, duck)
                positions, numbers, weights = positions[keep], numbers[keep], weights[keep]
            if len(positions):
                parts.append((positions, numbers, weights))
        if not parts:
            nothing = np.empty(0, dtype=np.int64)
            return nothing, nothing, nothing
        return (
            np.concatenate([part[0] for part in parts]),
            np.concatenate([part[1] for part in parts]),
            np.concatenate([part[2] for part in parts]),
        )

    def _asked(
        self, me: OneSide, other: OneSide, batch: Keyed, found: Found, residual: Residual, duck: Duck
    ) -> Bools:
        positions, numbers, weights = found
        assert other.side is not None
        heap = other.side.heap
        mine = frozenset(me.schema.names)
        at = pa.array(positions)

        def column(name: str) -> pa.Array:
            if name in mine:
                return batch.change.rows.column(name).take(at)
            return heap.gather(numbers, [heap.schema.get_field_index(name)]).column(0)

        return residual.holds(column, weights * batch.change.weights[positions], duck)

    def _recounted(self, side: OneSide, numbers: I64, weights: I64, moved: I64) -> Change:
        """Return what becomes of a side's kept rows, each of which gains `moved` matches."""
        assert side.side is not None
        rows, firsts, at = np.unique(numbers, return_index=True, return_inverse=True)
        gained = np.zeros(len(rows), dtype=np.int64)
        np.add.at(gained, at, moved)
        before, after = side.counts.add(rows, gained)
        flips = nonzero((before > 0) != (after > 0))
        return self._flipped(side, rows[flips], weights[firsts[flips]], after[flips] > 0)

    # --- output rows
    # ------------------------------------------------------------------------------------------
    def _flipped(self, side: OneSide, numbers: I64, weights: I64, matched: Bools) -> Change:
        """Return the change of kept rows that have a match now and had none, or the other way round."""
        appears = matched if side.shows == "matched" else ~matched
        return self._alone(side, self._at(side, numbers), np.where(appears, weights, -weights))

    def _at(self, side: OneSide, numbers: I64) -> pa.RecordBatch:
        return side.rows_at(numbers)

    def _own(self, side: OneSide, batch: Keyed, matched: Bools) -> Change:
        """Return the rows of a side's own change that show by themselves."""
        if side.shows is None:
            return Change.empty(self.arrow)
        change = batch.change.filter(matched if side.shows == "matched" else ~matched)
        return self._alone(side, change.rows, change.weights)

    def _alone(self, side: OneSide, rows: pa.RecordBatch, weights: I64) -> Change:
        """Return rows of one side as output rows: by themselves, or with NULLs for the other side."""
        columns = list(rows.columns)
        if self._shows_pairs:
            other = self._right if side is self._left else self._left
            nulls = [pa.nulls(rows.num_rows, column.arrow) for column in other.schema]
            columns = columns + nulls if side is self._left else nulls + columns
        return Change(pa.RecordBatch.from_arrays(columns, schema=self.arrow), weights)

    def _pairs(self, me: OneSide, batch: Keyed, found: Found) -> Change:
        positions, numbers, weights = found
        if len(positions) == 0:
            return Change.empty(self.arrow)
        other = self._right if me is self._left else self._left
        own = list(batch.change.rows.take(pa.array(positions)).columns)
        theirs = list(other.rows_at(numbers).columns)
        columns = own + theirs if me is self._left else theirs + own
        rows = pa.RecordBatch.from_arrays(columns, schema=self.arrow)
        return Change(rows, weights * batch.change.weights[positions])

    # --- how far a change reaches
    # ----------------------------------------------------------------------------------------
    def reach(self, inputs: Sequence[pa.RecordBatch | None], rows_max: int) -> Reached:
        """Return how many kept rows lie under the keys of changed rows of which only some columns are known,
        and the known columns of what would come out; nothing is moved. Ranges are not asked.
        """
        rows, found = 0, []
        both = (self._left, self._right, inputs[0]), (self._right, self._left, inputs[1])
        for me, other, changed in both:
            if changed is None or changed.num_rows == 0:
                continue
            side = other.side
            if not set(me.keys) <= set(changed.schema.names) or not isinstance(side, PlainSide):
                return rows, None
            slots = np.unique(found_slots(changed, me.keys, self._keys))
            rows += int(side.rows.sizes(slots).sum())
            if rows > rows_max:
                return rows, None
            found.append(changed if me is self._left else side.heap.gather(side.rows.probe(slots)[1]))
        if len(found) != 1:
            return rows, None
        known = [name for name in found[0].schema.names if name in self.arrow.names]
        return rows, found[0].select(known)

    # --- time
    # -------------------------------------------------------------------------------------------------
    @override
    def bounds(self, inputs: Sequence[Bounds]) -> Bounds:
        return kept(self._frontier.output(inputs), self.schema.names)

    @override
    def forget(self, inputs: Sequence[Bounds]) -> None:
        """Give up the rows of each side that no change of the other can reach, and keys without rows."""
        if not self._sweep.is_due(self.state_rows + self._keys.live):
            return
        for me, below in zip((self._left, self._right), self._frontier.beyond_reach(inputs), strict=True):
            if me.side is not None:
                for column, bound_us in below.items():
                    me.side.drop_below(column, bound_us)
                me.counts.trim(me.side.heap)
        self._forget_keys(inputs)
        self._sweep.done(self.state_rows + self._keys.live)

    def _forget_keys(self, inputs: Sequence[Bounds]) -> None:
        size = self._keys.size
        if not self._node.equalities or size == 0:
            return
        final = self._keys.final(self._left.keys, inputs[0]) & self._keys.final(self._right.keys, inputs[1])
        held = np.zeros(size, dtype=np.bool_)
        for one in (self._left, self._right):
            held |= one.totals.held(size) & ~final
            if one.side is not None:
                held |= one.side.held(size)
        slots = nonzero(~held & ~self._keys.free())
        for one in (self._left, self._right):
            one.totals.clear(slots)
        self._keys.release(slots)

    @override
    def can_free(self, inputs: Sequence[Bounds]) -> str | None:
        missing = "the inputs are not held together in event time"
        freed = {name: low for one in self._frontier.beyond_reach(inputs) for name, low in one.items()}
        return described(freed, (*self._left.schema.names, *self._right.schema.names), missing)

    @property
    @override
    def error(self) -> str | None:
        return None if self._residual is None else self._residual.error

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


def _frontier(node: MatchJoin) -> JoinFrontier:
    equalities = [Equality(0, left, 1, right) for left, right in node.equalities]
    lengths = differences(node.residual)
    if node.range is not None:
        found = node.range
        lengths += differences(Expr(found.sql, (), "BOOLEAN"))
        lengths += [(found.point, found.low, 0)] if found.low else []
        lengths += [(found.high, found.point, 0)] if found.high else []
    return JoinFrontier([part.schema.names for part in node.inputs], equalities, lengths)
