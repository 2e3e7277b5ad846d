"""Aggregate: GROUP BY with any mixture of calls.

    Δγ(R) = + γ(groups touched by ΔR, after) − γ(groups touched by ΔR, before)

Every group has a slot. The rows of a change are assigned to slots, each part of the aggregate takes in the
change by slot, and the values of the touched groups before and after give the change of the output. Without
calls, over rows that only come, a group never changes once it is there: only new ones are given out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.change import Change
from headrace.engine.aggregates.choose import choose_parts
from headrace.engine.aggregates.part import GroupBatch, Result
from headrace.engine.columns import I64, Bools, equal, group_keys, nonzero, view, views
from headrace.engine.frontier import kept
from headrace.engine.growable import Growable, Tally
from headrace.engine.hashing import hash_views
from headrace.engine.key_rows import KeyRows
from headrace.engine.key_table import KeyTable
from headrace.engine.monotone import Bounds
from headrace.engine.operators.base import Operator, StepContext
from headrace.engine.sweep import Sweep, described
from headrace.sql.plan import Aggregate


class AggregateOperator(Operator):
    """Groups and their parts."""

    name = "aggregate"

    def __init__(self, node: Aggregate, *, append_only_input: bool) -> None:
        only_come = append_only_input and bool(node.keys) and not node.calls
        super().__init__(node.schema, append_only=only_come)
        self.consolidated = True
        self._node = node
        self._global = not node.keys
        self._keys = KeyTable([node.input.schema[key].arrow for key in node.keys])
        self._key_rows = KeyRows.where_needed(
            pa.schema([node.input.schema.arrow.field(k) for k in node.keys])
        )
        self._rows = Tally()
        self._failed: Growable[np.bool_] = Growable(np.bool_)
        self._failures = 0
        self._sweep = Sweep()
        self._message: str | None = None
        self._parts, self._places = choose_parts(node, append_only=append_only_input)
        self.rule = _weakest([part.rule for part in self._parts])
        self.reason = next((part.reason for part in self._parts if part.rule == self.rule), None)

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns of the input that make a group."""
        return self._node.keys

    def start(self, context: StepContext) -> Change:
        """Return the one row of a global aggregate over no input."""
        if not self._global:
            return super().start(context)
        self._rows.resize(1)
        self._failed.resize(1)
        rows = pa.RecordBatch.from_pylist([], schema=self._node.input.schema.arrow)
        nothing = np.empty(0, dtype=np.int64)
        batch = GroupBatch(rows, nothing, nothing, np.zeros(1, dtype=np.int64), 1, context.duck)
        columns, _, _ = self._results(batch)
        rows = pa.RecordBatch.from_arrays(columns, schema=self.arrow)
        one = np.ones(1, dtype=np.int64)
        return Change(rows, one, one - 1)

    @override
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        change = inputs[0]
        keys, slots, added = self._assign(change)
        self._rows.resize(self._size)
        self._failed.resize(self._size)
        if self.append_only and self._key_rows is None:
            self._rows.mark(slots)
            rows = pa.RecordBatch.from_arrays(keys, schema=self.arrow).take(pa.array(added))
            return Change(rows, np.ones(len(added), dtype=np.int64), slots[added])
        touched, firsts = _distinct_slots(slots, self._size)
        batch = GroupBatch(change.rows, change.weights, slots, touched, self._size, context.duck)
        before_rows, before_failed = self._rows.at(touched), self._failed.data[touched]
        before, _, _ = self._results(batch)
        self._rows.add(slots, change.weights)
        for part in self._parts:
            part.update(batch)
        after, failed, message = self._results(batch)
        self._note_failures(touched, failed, message)
        had = ~before_failed & (self._global | (before_rows > 0))
        has = ~failed & (self._global | (self._rows.at(touched) > 0))
        taken = [key.take(pa.array(firsts)) for key in keys]
        if self._key_rows is not None:
            taken = self._key_rows.settled(touched, taken, before_rows <= 0, self._size)
        return self._difference(touched, taken, before, after, had, has)

    @override
    def forget(self, inputs: Sequence[Bounds]) -> None:
        """Give up groups without rows, and those whose keys lie below a bound; failing ones stay."""
        if not self._sweep.is_due(self.state_rows) or not all(part.recycles for part in self._parts):
            return
        self._rows.resize(self._size)
        self._failed.resize(self._size)
        gone = self._rows.empty() & ~self._failed.view()
        if not self._global:
            gone |= self._keys.final(self._node.keys, inputs[0]) & ~self._failed.view()
        slots = nonzero(gone & ~self._keys.free()) if not self._global else np.empty(0, dtype=np.int64)
        dead = np.zeros(self._size, dtype=np.bool_)
        if len(slots):
            dead = self._keys.release(slots)
            self._rows.clear(slots)
        for part in self._parts:
            part.release(slots, dead)
        self._sweep.done(self.state_rows)

    @property
    def _size(self) -> int:
        return 1 if self._global else self._keys.size

    def _assign(self, change: Change) -> tuple[list[pa.Array], I64, I64]:
        """Return the key columns, the slot of each row, and the rows that brought new groups."""
        if self._global:
            nothing = np.zeros(len(change), dtype=np.int64)
            return [], nothing, nothing[:0]
        keys = group_keys([change.rows.column(name) for name in self._node.keys])
        columns = views(keys, exact=False)
        return keys, *self._keys.find_or_add(columns, hash_views(columns, len(change)))

    def _results(self, batch: GroupBatch) -> tuple[list[pa.Array], Bools, str | None]:
        """Return the values of all calls for the touched groups, which of them fail, and why."""
        by_part: list[list[Result]] = [part.results(batch) for part in self._parts]
        results = [by_part[part][at] for part, at in self._places]
        failed = np.zeros(len(batch.touched), dtype=np.bool_)
        message = None
        for result in results:
            if result.failed is not None:
                failed |= result.failed
                message = message or result.message
        fields = list(self.arrow)[len(self._node.keys) :]
        columns = [
            result.values if result.values.type == field.type else result.values.cast(field.type)
            for result, field in zip(results, fields, strict=True)
        ]
        return columns, failed, message

    def _note_failures(self, touched: I64, failed: Bools, message: str | None) -> None:
        self._failures += int(failed.sum()) - int(self._failed.data[touched].sum())
        self._failed.data[touched] = failed
        self._message = message or self._message

    def _difference(
        self,
        touched: I64,
        keys: list[pa.Array],
        before: list[pa.Array],
        after: list[pa.Array],
        had: Bools,
        has: Bools,
    ) -> Change:
        """Return old rows with −1 and new rows with +1 where the two differ."""
        same = had & has
        candidates = nonzero(same)
        for old, new in zip(before, after, strict=True):
            if len(candidates) == 0:
                break
            alike = equal(view(old, exact=True), candidates, view(new, exact=True), candidates)
            candidates = candidates[alike]
        moved = np.ones(len(had), dtype=np.bool_)
        moved[candidates] = False
        gone, come = nonzero(had & moved), nonzero(has & moved)
        weights = np.ones(len(gone) + len(come), dtype=np.int64)
        weights[: len(gone)] = -1
        old_rows = pa.RecordBatch.from_arrays([*keys, *before], schema=self.arrow).take(pa.array(gone))
        new_rows = pa.RecordBatch.from_arrays([*keys, *after], schema=self.arrow).take(pa.array(come))
        ids = np.concatenate([touched[gone], touched[come]])
        return Change(pa.concat_batches([old_rows, new_rows]), weights, ids)

    @override
    def bounds(self, inputs: Sequence[Bounds]) -> Bounds:
        return kept(inputs[0], self._node.keys)

    @override
    def can_free(self, inputs: Sequence[Bounds]) -> str | None:
        kept_by = next((part for part in self._parts if not part.recycles), None)
        if kept_by is not None:
            return f"keeps all: {type(kept_by).__name__} does not give groups up"
        return described(inputs[0], self._node.keys, "no key follows event time")

    @property
    def error(self) -> str | None:
        """Set while a group has no answer, such as a sum that overflows."""
        return self._message if self._failures else None

    @property
    def detail(self) -> str:
        """The keys and calls."""
        calls = ", ".join(call.sql for call in self._node.calls)
        return f"{calls} by {', '.join(self._node.keys)}" if self._node.keys else calls

    @property
    def state_rows(self) -> int:
        """Groups, and what parts keep beside them."""
        groups = 1 if self._global else self._keys.live
        return groups + sum(part.state_rows for part in self._parts)

    @property
    def state_bytes(self) -> int:
        """Bytes of keys and parts."""
        return self._keys.nbytes + self._rows.nbytes + sum(part.nbytes for part in self._parts)


def _distinct_slots(slots: I64, size: int) -> tuple[I64, I64]:
    """Return every slot once, and the first row of each."""
    if size == 1:
        return np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    if size > 8 * len(slots):
        touched, firsts = np.unique(slots, return_index=True)
        return touched, firsts
    place = np.empty(size, dtype=np.int64)
    backwards = np.arange(len(slots) - 1, -1, -1)
    place[slots[::-1]] = backwards
    firsts = nonzero(place[slots] == np.arange(len(slots)))
    return slots[firsts], firsts


_ORDER = ("accumulators", "distinct set", "ordered range", "touched groups")


def _weakest(rules: Sequence[str]) -> str:
    """Return the costliest of some rules."""
    return max(rules, key=_ORDER.index, default="accumulators")
