"""Succession: each version of a key with the time from which it holds, and until when.

Δsuccession(R): + the new versions, each until the smallest start among those that come after it
                − versions that now end earlier, as they were, + as they are

key   order   start        change          output
1     1       Jan          + (1, 1, Jan)   + (1, 1, Jan, open)
1     2       Mar          + (1, 2, Mar)   − (1, 1, Jan, open)   + (1, 1, Jan, Mar)   + (1, 2, Mar, open)
1     3       Feb          + (1, 3, Feb)   − (1, 1, Jan, Mar)    + (1, 1, Jan, Feb)
                                           − (1, 2, Mar, open)   + (1, 2, Mar, Mar)   + (1, 3, Feb, open)

A deletion ends what holds and is no row. A version that would start after its end never holds: it ends where
it starts. Versions come in any order (see `engine.chains`), and none is ever taken back.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.change import Change
from headrace.engine.chains import OPEN, Chains
from headrace.engine.columns import I64, group_keys, values, views
from headrace.engine.hashing import hash_views
from headrace.engine.heap import Heap
from headrace.engine.key_table import KeyTable
from headrace.engine.operators.base import Operator, StepContext
from headrace.engine.runs import CHUNK_ROWS_MAX
from headrace.sql.plan import Succession

_MICROS = pa.timestamp("us")


class SuccessionOperator(Operator):
    """Keeps every version, and which one comes after which."""

    name = "succession"
    rule = "chains"

    def __init__(self, node: Succession) -> None:
        super().__init__(node.schema)
        self.consolidated = node.is_strict
        self._node = node
        given = node.input.schema.arrow
        own = (node.deleted, node.order, node.start)
        self._shown = [name for name in given.names if name not in own]
        self._keys = KeyTable([given.field(name).type for name in node.keys])
        self._chains = Chains()
        self._heap = Heap(pa.schema([given.field(name) for name in self._shown]), CHUNK_ROWS_MAX)

    @override
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        change = inputs[0]
        assert change.is_append_only, "a version is never taken back"
        count = len(change)
        if count == 0:
            return Change.empty(self.arrow)
        rows, node = change.rows, self._node
        keys = views(group_keys([rows.column(name) for name in node.keys]), exact=False)
        slots, _ = self._keys.find_or_add(keys, hash_views(keys, count))
        numbers = self._heap.append(rows.select(self._shown), np.ones(count, dtype=np.int64))
        lowered = self._chains.insert(
            slots, values(rows.column(node.order)), _flags(rows.column(node.deleted)),
            values(rows.column(node.start).cast(_MICROS).view(pa.int64())),
        )  # fmt: skip
        return self._told(numbers, lowered.numbers, lowered.ends)

    def _told(self, new: I64, lowered: I64, ends_us: I64) -> Change:
        """Return the change of some versions that are new and some that ended at those times so far."""
        chains = self._chains
        new, there = new[~chains.lasts(new)], ~chains.lasts(lowered)
        starts_us = chains.starts(lowered)
        there &= np.maximum(ends_us, starts_us) != np.maximum(chains.ends(lowered), starts_us)
        lowered, ends_us = lowered[there], ends_us[there]
        numbers = np.concatenate([lowered, lowered, new])
        ends = np.concatenate([ends_us, chains.ends(lowered), chains.ends(new)])
        weights = np.ones(len(numbers), dtype=np.int64)
        weights[: len(lowered)] = -1
        return Change(self._rows(numbers, ends), weights, numbers)

    def _rows(self, numbers: I64, ends_us: I64) -> pa.RecordBatch:
        starts_us = self._chains.starts(numbers)
        columns = list(self._heap.gather(numbers).columns)
        if len(columns) + 2 == len(self.arrow):
            columns.append(pa.array(starts_us).view(_MICROS))
        ends = pa.array(np.maximum(starts_us, ends_us), mask=ends_us == OPEN)
        return pa.RecordBatch.from_arrays([*columns, ends.view(_MICROS)], schema=self.arrow)

    @property
    @override
    def detail(self) -> str:
        return f"by {', '.join(self._node.keys)}, in the order of {self._node.order}"

    @property
    @override
    def state_rows(self) -> int:
        return len(self._chains)

    @property
    @override
    def state_bytes(self) -> int:
        return self._keys.nbytes + self._chains.nbytes + self._heap.nbytes


def _flags(column: pa.Array) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.bool_)
