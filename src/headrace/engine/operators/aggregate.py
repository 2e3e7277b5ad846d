"""Aggregate: GROUP BY with any mixture of calls.

    Δγ(R) = + γ(groups touched by ΔR, after) − γ(groups touched by ΔR, before)

Every group has a slot. The rows of a change are assigned to slots, each part of the aggregate takes in the
change by slot, and the values of the touched groups before and after give the change of the output. Without
calls, over rows that only come, a group never changes once it is there: only new ones are given out.

Where a change touches the same groups as the last one, as it mostly does where there are few, what they were
before is what was given out then, and is not worked out again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.change import Change, empty_rows
from headrace.engine.aggregates.choose import choose_parts
from headrace.engine.aggregates.part import GroupBatch, Result
from headrace.engine.columns import I64, Bools, View, equal, group_keys, nonzero, views
from headrace.engine.frontier import kept
from headrace.engine.growable import Growable, Tally
from headrace.engine.key_rows import KeyRows
from headrace.engine.key_table import KeyTable
from headrace.engine.monotone import Bounds
from headrace.engine.operators.base import Operator, StepContext
from headrace.engine.sweep import Sweep, described
from headrace.sql.plan import Aggregate

KNOWN_GROUPS_MAX = 4_096
"""So many groups, those of the last change, are remembered as they were given out."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Some groups as they stand.

    Attributes:
        slots: of the groups, ascending.
        keys: one array per key column.
        values: one array per call.
        there: which of them have a row in the output.
        read: the values as they are compared.
    """

    slots: I64
    keys: list[pa.Array]
    values: list[pa.Array]
    there: Bools
    read: tuple[View, ...]


class AggregateOperator(Operator):
    """Groups and their parts."""

    name = "aggregate"
    _last: Standing | None = None

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

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is worked out again."""
        return {name: value for name, value in self.__dict__.items() if name != "_last"}

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
        before = self._before(batch, keys, firsts)
        self._rows.add(slots, change.weights)
        for part in self._parts:
            part.update(batch)
        values, failed, message = self._results(batch)
        self._note_failures(touched, failed, message)
        after = Standing(touched, before.keys, values, self._there(touched), views(values, exact=True))
        if len(touched) <= KNOWN_GROUPS_MAX and self._key_rows is None:
            self._last = after
        return self._difference(before, after)

    def _before(self, batch: GroupBatch, keys: list[pa.Array], firsts: I64) -> Standing:
        """Return the touched groups as they were given out; `firsts` are rows that hold their keys."""
        last, self._last = self._last, None
        touched = batch.touched
        if last is not None and len(last.slots) == len(touched) and (last.slots == touched).all():
            return last
        at = pa.array(firsts)
        taken = [key.take(at) for key in keys]
        if self._key_rows is not None:
            taken = self._key_rows.settled(touched, taken, self._rows.at(touched) <= 0, self._size)
        values = self._results(batch)[0]
        return Standing(touched, taken, values, self._there(touched), views(values, exact=True))

    def _there(self, touched: I64) -> Bools:
        """Return which groups have a row in the output."""
        there = np.ones(1, dtype=np.bool_) if self._global else self._rows.at(touched) > 0
        return there & ~self._failed.data[touched] if self._failures else there

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
            self._last = None
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
        return keys, *self._keys.slots_of(keys, change.ids)

    def _results(self, batch: GroupBatch) -> tuple[list[pa.Array], Bools | None, str | None]:
        """Return the values of all calls for the touched groups, which of them fail, and why."""
        by_part: list[list[Result]] = [part.results(batch) for part in self._parts]
        results = [by_part[part][at] for part, at in self._places]
        failed: Bools | None = None
        message = None
        for result in results:
            if result.failed is not None:
                failed = result.failed if failed is None else failed | result.failed
                message = message or result.message
        columns = [
            result.values if result.values.type == kind else result.values.cast(kind)
            for result, kind in zip(results, self.arrow.types[len(self._node.keys) :], strict=True)
        ]
        return columns, failed, message

    def _note_failures(self, touched: I64, failed: Bools | None, message: str | None) -> None:
        if self._failures:
            self._failures -= int(self._failed.data[touched].sum())
            self._failed.data[touched] = False
        if failed is not None:
            self._failures += int(failed.sum())
            self._failed.data[touched] = failed
        self._message = message or self._message

    def _difference(self, before: Standing, after: Standing) -> Change:
        """Return old rows with −1 and new rows with +1 where the two differ."""
        moved = _moved(before, after)
        parts, slots, weights = [], [], []
        for one, weight in ((before, -1), (after, 1)):
            chosen = one.there & moved
            rows = nonzero(chosen)
            if len(rows) == 0:
                continue
            whole = pa.RecordBatch.from_arrays([*one.keys, *one.values], schema=self.arrow)
            parts.append(whole if len(rows) == len(chosen) else whole.take(pa.array(rows)))
            slots.append(one.slots[rows])
            weights.append(np.full(len(rows), weight, dtype=np.int64))
        if not parts:
            return Change(empty_rows(self.arrow), before.slots[:0], before.slots[:0])
        if len(parts) == 1:
            return Change(parts[0], weights[0], slots[0])
        return Change(pa.concat_batches(parts), np.concatenate(weights), np.concatenate(slots))

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


def _moved(before: Standing, after: Standing) -> Bools:
    """Return which groups do not stand as they stood."""
    moved = np.ones(len(before.slots), dtype=np.bool_)
    candidates = nonzero(before.there & after.there)
    for old, new in zip(before.read, after.read, strict=True):
        if len(candidates) == 0:
            return moved
        alike = equal(old, candidates, new, candidates)
        candidates = candidates[alike]
    moved[candidates] = False
    return moved


def _distinct_slots(slots: I64, size: int) -> tuple[I64, I64]:
    """Return every slot once, ascending, and the first row of each."""
    if size == 1:
        return np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    if size > 8 * len(slots):
        touched, firsts = np.unique(slots, return_index=True)
        return touched, firsts
    place = np.full(size, -1, dtype=np.int64)
    place[slots[::-1]] = np.arange(len(slots) - 1, -1, -1)  # the first row is written last
    touched = nonzero(place >= 0)
    return touched, place[touched]


_ORDER = ("accumulators", "distinct set", "ordered range", "touched groups")


def _weakest(rules: Sequence[str]) -> str:
    """Return the costliest of some rules."""
    return max(rules, key=_ORDER.index, default="accumulators")
