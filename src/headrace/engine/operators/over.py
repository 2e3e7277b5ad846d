"""Over: window functions, answered anew from the first changed row on, or around each changed row.

    Δover(R) = + (rows that ΔR reaches, new answers) − (the same rows as they stood, old answers)

running    sum(x) OVER (ORDER BY t)        rows t, x, sum       change       output
           begins with the partition       1, 5, 5              + (3, 1)     + (3, 1, 8)
                                           2, 2, 7              − (1, 5)     − (1, 5, 5)
                                                                             − (2, 2, 7)  + (2, 2, 2)  …

neighbourhood    lag(x) OVER (ORDER BY t), frames of a bounded number of rows or a bounded stretch of values:
                 a change reaches as far as the frames do, whatever the size of the partition

Rows lie under their partition in order, each with its answers. What is stored beside the row before the first
changed one (its sum, its number) stands for the whole of the partition up to it: a row that comes at the end
costs itself. Sums of floating-point numbers are kept as pairs of doubles, and everything behind a changed row
is made from these again, so nothing drifts.

Other calls over bounded frames are DuckDB's, over the rows within reach (`over.asked`); the rest is DuckDB's
over whole partitions (`operators.touched`). Where DuckDB answers with an error, the view is in error until
the partition at fault has an answer again; till then that is asked for as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.change import Change
from headrace.contracts.schema import Schema
from headrace.engine.columns import I64, U64, Bools, group_keys, nonzero, take, validity, values
from headrace.engine.duck import Duck, quote
from headrace.engine.frontier import kept
from headrace.engine.heap import expand
from headrace.engine.key_table import KeyTable
from headrace.engine.monotone import Bounds
from headrace.engine.normal import is_one_pattern
from headrace.engine.operators.base import Operator, StepContext
from headrace.engine.operators.touched import TouchedOperator
from headrace.engine.order import lexsort, order_word, placed
from headrace.engine.ordered_rows import OrderedRows
from headrace.engine.over.apart import Places, matched, moved_rows, standing
from headrace.engine.over.asked import AskedCalls
from headrace.engine.over.calls import NUMBER, distance_unit, positions, reach_of, rule_for
from headrace.engine.over.edges import Edges
from headrace.engine.over.reach import Reach, Segments, needed_from, segments, whole
from headrace.engine.over.sequence import RowsInOrder
from headrace.engine.sweep import Sweep, described
from headrace.engine.zset import consolidate
from headrace.errors import ViewInError
from headrace.sql.plan import KEY_COLUMN, Expr, Node, OrderKey, Over, OverCall, Project, Touched

_AT = "_segment"
APART_ROWS_MIN = 512
"""In a change of so many rows it is seen to whether no two stand in one place (`over.apart`)."""


def over_operator(node: Over, *, append_only: bool) -> Operator:
    """Return the operator of some window functions: by rules where every call has one."""
    if not all(_has_rule(node, call) for call in node.calls):
        return TouchedOperator(as_touched(node), append_only=append_only)
    return OverOperator(node)


def _has_rule(node: Over, call: OverCall) -> bool:
    return rule_for(node, call) is not None or reach_of(node, call) is not None


def split_over(node: Over) -> Node:
    """Return the node, or where only some of its calls have rules, these below the others."""
    ruled = tuple(call for call in node.calls if _has_rule(node, call))
    rest = tuple(call for call in node.calls if call not in ruled)
    if not ruled or not rest:
        return node
    below: Node = node.input
    for calls in (ruled, rest):
        columns = (*below.schema.columns, *(node.schema[call.name] for call in calls))
        below = replace(node, schema=Schema(columns), input=below, calls=calls)
    exprs = tuple(Expr(quote(c.name), (c.name,), c.sql_type) for c in node.schema)
    return Project(node.schema, below, exprs)


def as_touched(node: Over) -> Touched:
    """Return DuckDB's answer partition by partition."""
    items = [KEY_COLUMN, *(quote(name) for name in node.input.schema.names)]
    items += [f"{call.sql} AS {quote(call.name)}" for call in node.calls]
    reason = ", ".join(dict.fromkeys(f"{call.func}() OVER" for call in node.calls))
    sql = f'SELECT {", ".join(items)} FROM "__in0"'
    return Touched(node.schema, (node.input,), (node.partition,), ("__in0",), sql, reason)


class OverOperator(Operator):
    """Rows by partition and order, each with what was answered for it."""

    name = "over"

    def __init__(self, node: Over) -> None:
        super().__init__(node.schema)
        self.consolidated = True
        self._node = node
        rules = [rule_for(node, call) for call in node.calls]
        self._calls = calls = [rule for rule in rules if rule is not None]
        asked = [call for call, rule in zip(node.calls, rules, strict=True) if rule is None]
        reaches = [reach_of(node, call) for call in asked]
        self._asked = AskedCalls(node, asked, [reach for reach in reaches if reach is not None])
        frames = [call.call.frame for call in calls]
        self._edges = Edges(node.input.schema[node.order[0].column].arrow, frames)
        self._reach = Reach.of([*(call.reach for call in calls), self._asked.reach])
        self.reason = self._asked.reason
        self._failed: set[int] = set()
        self._message: str | None = None
        self.rule = "running" if self._reach.running else "neighbourhood"
        self._counts = any(call.counts for call in calls) or any(
            call.reach.running and call.call.frame is not None and call.call.frame.unit == "rows"
            for call in calls
        )
        hidden = {name: kind for call in calls for name, kind in call.hidden.items()}
        if self._counts:
            hidden[NUMBER] = pa.int64()
        self._input = node.input.schema.arrow
        own = [pa.field(f"{at} {name}", kind) for at, (name, kind) in enumerate(hidden.items())]
        self._hidden = list(hidden)
        self._stored = pa.schema([*self.arrow, *own])
        self._partitions = KeyTable([self._input.field(name).type for name in node.partition])
        told = [name for name in node.partition if is_one_pattern(self._input.field(name).type)]
        self._rows = OrderedRows(self._stored, told=told)
        self._sweep = Sweep()

    @override
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        change = inputs[0]
        slots, words = self._assign(change), self._words(change.rows)
        if len(change) >= APART_ROWS_MIN:
            found = self._moved_apart(change, slots, words, context.duck)
            if found is not None:
                return found
        change = consolidate(change)
        if len(change) == 0:
            return Change.empty(self.arrow)
        if len(change) != len(slots):
            slots, words = self._assign(change), self._words(change.rows)
        return self._moved_alike(change, slots, words, context.duck)

    def _moved_alike(self, change: Change, slots: I64, words: U64, duck: Duck) -> Change:
        """Take in a change of partitions in which rows may stand in one place."""
        parts, middle, fresh = self._answers(change, slots, words, duck)
        moved = consolidate(Change.concat([_named(middle, -1), _named(fresh, 1)]))
        at = values(moved.rows.column(0)).astype(np.int64)
        stored = pa.RecordBatch.from_arrays(moved.rows.columns[1:], schema=self._stored)
        self._rows.insert(parts.slots[at], self._words(stored), stored, moved.weights)
        shown = Change(stored.select(self.arrow.names), moved.weights)
        return consolidate(shown) if self._hidden else shown

    def _moved_apart(self, change: Change, slots: I64, words: U64, duck: Duck) -> Change | None:
        """Take in a change of partitions in which no two rows stand in one place; None: some may."""
        if self._failed.intersection(slots.tolist()):
            return None
        parts = segments(self._rows, slots, words, self._reach)
        held = standing(self._rows.bounds(parts.slots).clip(parts.read_from, parts.read_to).placed())
        places = None if held is None else matched(held, parts.owners, words, change.weights)
        if held is None or held.numbers is None or places is None:
            return None
        old = self._rows.heap.gather(held.numbers)
        try:
            new = self._in_places(places, parts, old, change, duck)
        except ViewInError:
            return None
        moved = moved_rows(places, parts, old, new, len(self._input), len(self.arrow))
        at = moved.places
        self._rows.insert(parts.slots[places.at[at]], places.words[at], moved.rows, moved.weights)
        shown = Change(moved.rows.select(self.arrow.names), moved.weights)
        return shown if moved.shown is None else shown.filter(moved.shown)

    def _in_places(
        self, places: Places, parts: Segments, old: pa.RecordBatch, change: Change, duck: Duck
    ) -> pa.RecordBatch:
        """Return the rows after a change in order, with their answers; `old` are those that stood.

        Raises:
            ViewInError: DuckDB answers with an error.
        """
        here = nonzero(places.there)
        came = places.came[here]
        source = np.where(came >= 0, came + old.num_rows, places.held[here])
        names = self._input.names
        rows = take(pa.concat_batches([old.select(names), change.rows.select(names)]), source)
        self._edges.check(rows.column(self._node.order[0].column))
        at = places.at[here]
        view = RowsInOrder(rows, at, places.words[here] >= parts.first[at], self._node.order)
        view.stored = self._states(old.take(pa.array(source[view.carriers])))
        return self._with_answers(view, duck)

    def _answers(self, change: Change, slots: I64, words: U64, duck: Duck) -> tuple[Segments, _Rows, _Rows]:
        """Return the segments, their rows as they stood, and as they are with the change."""
        touched = self._failed.intersection(slots.tolist()) if self._failed else set()
        if not touched:
            parts = segments(self._rows, slots, words, self._reach)
            before, middle, after = self._read(parts)
            try:
                fresh = self._answered(before, self._moved(middle, change, parts.owners), after, duck)
            except ViewInError:
                pass
            else:
                return parts, middle, fresh
        parts = whole(slots)
        _, middle, _ = self._read(parts)
        self._failed -= touched
        return parts, middle, self._answered_apart(parts, self._moved(middle, change, parts.owners), duck)

    def _answered_apart(self, parts: Segments, rows: _Rows, duck: Duck) -> _Rows:
        """Return the rows of whole partitions with answers, NULLs where DuckDB answers with an error."""
        nothing = _Rows(np.empty(0, dtype=np.int64), Change.empty(self._stored).rows)
        done = []
        for number, slot in enumerate(parts.slots.tolist()):
            one = rows.take(rows.at == number)
            try:
                done.append(self._answered(nothing, one, nothing, duck))
            except ViewInError as error:
                self._failed.add(slot)
                self._message = error.problem
                fields = list(self._stored)[len(self._input) :]
                nulls = [pa.nulls(len(one), field.type) for field in fields]
                columns = [*one.rows.columns, *nulls]
                done.append(_Rows(one.at, pa.RecordBatch.from_arrays(columns, schema=self._stored)))
        return _Rows(
            np.concatenate([part.at for part in done]), pa.concat_batches([part.rows for part in done])
        )

    def _assign(self, change: Change) -> I64:
        """Return the slots of the rows' partitions."""
        if not self._node.partition:
            return np.zeros(len(change), dtype=np.int64)
        keys = group_keys([change.rows.column(name) for name in self._node.partition])
        return self._partitions.place(keys, change.ids)[0]

    def _words(self, rows: pa.RecordBatch) -> U64:
        key = self._node.order[0]
        column = rows.column(key.column)
        return placed(order_word(column), validity(column), key)

    def _read(self, parts: Segments) -> tuple[_Rows, _Rows, _Rows]:
        """Return the rows before those to be answered anew, these, and those after; segment by segment."""
        found = self._rows.bounds(parts.slots).clip(parts.read_from, parts.read_to)
        at, numbers, weights = found.entries()
        whole = _Rows(at, self._rows.heap.gather(numbers))
        if len(weights) and (weights != 1).any():
            summed = consolidate(Change(_named(whole, 1).rows, weights))
            rows = expand(summed.rows, summed.weights)
            at = values(rows.column(0)).astype(np.int64)
            whole = _Rows(at, pa.RecordBatch.from_arrays(rows.columns[1:], schema=self._stored))
        words = self._words(whole.rows)
        early, late = words < parts.first[whole.at], words > parts.last[whole.at]
        return whole.take(early), whole.take(~early & ~late), whole.take(late)

    def _moved(self, middle: _Rows, change: Change, owners: I64) -> _Rows:
        """Return the rows to be answered as they are after the change, with the input's columns alone."""
        inputs = middle.rows.select(self._input.names)
        came = _Rows(owners, change.rows.select(self._input.names))
        if change.is_append_only:
            came = came.take(np.repeat(np.arange(len(change)), change.weights))
            return _Rows(np.append(middle.at, came.at), pa.concat_batches([inputs, came.rows]))
        held = _named(_Rows(middle.at, inputs), 1)
        both = consolidate(Change.concat([held, Change(_named(came, 1).rows, change.weights)]))
        rows = expand(both.rows, both.weights)
        at = values(rows.column(0)).astype(np.int64)
        return _Rows(at, pa.RecordBatch.from_arrays(rows.columns[1:], schema=self._input))

    def _answered(self, before: _Rows, middle: _Rows, after: _Rows, duck: Duck) -> _Rows:
        """Return the rows in the middle with their answers.

        Raises:
            ViewInError: DuckDB answers with an error.
        """
        names = self._input.names
        self._edges.check(middle.rows.column(self._node.order[0].column))
        counts = [len(before), len(middle), len(after)]
        rows = pa.concat_batches([part.rows.select(names) for part in (before, middle, after)])
        at = np.concatenate([before.at, middle.at, after.at])
        order = self._order(rows, at, before)
        rows = rows.take(pa.array(order))
        view = RowsInOrder(rows, at[order], order >= counts[0], self._node.order)
        carriers = order[view.carriers]
        view.stored = self._states(before.rows.take(pa.array(carriers)))
        fresh = nonzero((order >= counts[0]) & (order < counts[0] + counts[1]))
        return _Rows(view.segments[fresh], self._with_answers(view, duck).take(pa.array(fresh)))

    def _with_answers(self, view: RowsInOrder, duck: Duck) -> pa.RecordBatch:
        """Return rows in order as they are stored, with what is answered for each."""
        answers = self._asked.answer(view, duck)
        for call in self._calls:
            answers |= call.answer(view)
        if self._counts:
            answers[NUMBER] = pa.array(positions(view))
        wanted = [call.name for call in self._node.calls] + self._hidden
        columns = [*view.rows.columns, *(answers[name] for name in wanted)]
        fields = zip(columns, self._stored, strict=True)
        cast = [column if column.type == field.type else column.cast(field.type) for column, field in fields]
        return pa.RecordBatch.from_arrays(cast, schema=self._stored)

    def _order(self, rows: pa.RecordBatch, at: I64, before: _Rows) -> I64:
        """Return the order of rows in their segments; equal rows that were numbered keep their order."""
        keys = [(rows.column(key.column), key) for key in self._node.order]
        if self._counts:
            numbers = np.zeros(rows.num_rows, dtype=np.int64)
            numbers[: len(before)] = values(self._states(before.rows).column(NUMBER))
            keys.append((pa.array(numbers), OrderKey(NUMBER)))
        return lexsort(at, keys)

    def _states(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return stored rows with the hidden columns under their own names."""
        return rows.rename_columns([*self.arrow.names, *self._hidden])

    # --- time
    # --------------------------------------------------------------------------------------------------
    def _time(self, bounds: Bounds) -> tuple[str, int, int] | None:
        """Return the order column where it follows time forwards, its bound, and the unit of its words."""
        key = self._node.order[0]
        if key.descending or key.nulls_first or key.column not in bounds:
            return None
        unit = distance_unit(self._input.field(key.column).type)
        return None if unit is None else (key.column, bounds[key.column], unit)

    @override
    def bounds(self, inputs: Sequence[Bounds]) -> Bounds:
        found = dict(kept(inputs[0], self._node.partition))
        time = self._time(inputs[0])
        if time is not None and not self._reach.ahead_rows:
            found[time[0]] = time[1] - self._reach.ahead * time[2]
        return found

    @override
    def forget(self, inputs: Sequence[Bounds]) -> None:
        """Give up rows behind every frame that can still move, and partitions that are final."""
        if not self._sweep.is_due(self.state_rows):
            return
        count = self._partitions.size if self._node.partition else 1
        if self._node.partition:
            gone = self._partitions.final(self._node.partition, inputs[0])
            gone |= ~self._rows.held(count)
            left = nonzero(gone & ~self._partitions.free())
            self._failed.difference_update(left.tolist())
            dead = self._partitions.release(left)
            self._rows.release(dead)
        time = self._time(inputs[0])
        if time is not None:
            word = (time[1] // time[2]) + 2**63
            cuts = needed_from(self._rows, np.arange(count), word, self._reach)
            self._rows.drop_where(lambda run: run.words < cuts[run.slots])
        self._sweep.done(self.state_rows)

    @override
    def can_free(self, inputs: Sequence[Bounds]) -> str | None:
        time = self._time(inputs[0])
        columns = [*self._node.partition, *([time[0]] if time else [])]
        return described(inputs[0], columns, "neither order nor partitions follow event time")

    @property
    @override
    def detail(self) -> str:
        return ", ".join(call.sql for call in self._node.calls)

    @property
    @override
    def error(self) -> str | None:
        return self._message if self._failed else None

    @property
    @override
    def state_rows(self) -> int:
        return self._rows.row_count

    @property
    @override
    def state_bytes(self) -> int:
        return self._rows.nbytes + self._partitions.nbytes


class _Rows:
    """Rows, and for each its segment."""

    __slots__ = ("at", "rows")

    def __init__(self, at: I64, rows: pa.RecordBatch) -> None:
        self.at = at
        self.rows = rows

    def __len__(self) -> int:
        return len(self.at)

    def take(self, which: I64 | Bools) -> _Rows:
        """Return some of them, by position or by a mask."""
        at = nonzero(which) if which.dtype == np.bool_ else which
        return _Rows(self.at[at], self.rows.take(pa.array(at)))


def _named(part: _Rows, weight: int) -> Change:
    """Return rows as a change, with their segment as the first column."""
    fields = [pa.field(_AT, pa.int64()), *part.rows.schema]
    rows = pa.RecordBatch.from_arrays([pa.array(part.at), *part.rows.columns], schema=pa.schema(fields))
    return Change(rows, np.full(len(part), weight, dtype=np.int64))
