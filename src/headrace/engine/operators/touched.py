"""Touched: DuckDB's answer key by key, for what has no better rule but never looks beyond one key.

    Δf(R) = f(R' restricted to the keys of ΔR) − f(R restricted to the keys of ΔR)        (R' = R + ΔR)

The rows of every part lie under the number of their key. A step reads the rows of the keys that its changes
name, asks DuckDB once for all of these keys, and gives out the difference to what it gave for them before. It
costs the rows of the touched keys, never the state.

part a   key  x        change        DuckDB is asked about          answer: key, sum
         1    2        + (1, 4)      (0, 1, 2), (0, 1, 4)           0, 6
         7    5                                                     so − (1, 2), + (1, 6)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.change import Change
from headrace.contracts.schema import Column, Schema
from headrace.engine.columns import I64, group_keys, nonzero, views
from headrace.engine.duck import Duck, quote, typed_source
from headrace.engine.given import Given
from headrace.engine.hashing import hash_views
from headrace.engine.heap import expand
from headrace.engine.key_table import KeyTable
from headrace.engine.monotone import Bounds
from headrace.engine.operators.base import Operator, StepContext
from headrace.engine.runs import Arrangement
from headrace.engine.sweep import Sweep
from headrace.engine.zset import consolidate
from headrace.errors import ViewInError
from headrace.sql.plan import KEY_COLUMN, Node, Touched


class KeyedPart:
    """One input: its rows under the number of their key.

    Args:
        node: the input.
        columns: its key columns.
        keys: the numbers of all keys.
        append_only: it never takes a row back.
    """

    def __init__(self, node: Node, columns: Sequence[str], keys: KeyTable, *, append_only: bool) -> None:
        self._columns = tuple(columns)
        self._keys = keys
        self._append_only = append_only
        self.schema = Schema((Column(KEY_COLUMN, "BIGINT", pa.int64()), *node.schema.columns))
        self.rows = Arrangement(node.schema.arrow, append_only=append_only)

    def insert(self, change: Change) -> I64:
        """Add a change; return the slot of each of its rows."""
        if not self._append_only:
            change = consolidate(change)
        slots = self._slots(change)
        self.rows.insert(slots, change.rows, change.weights)
        return slots

    def _slots(self, change: Change) -> I64:
        if not self._columns:
            return np.zeros(len(change), dtype=np.int64)
        columns = views(group_keys([change.rows.column(name) for name in self._columns]), exact=False)
        return self._keys.find_or_add(columns, hash_views(columns, len(change)))[0]

    def under(self, slots: I64) -> pa.RecordBatch:
        """Return the rows under those slots, each as often as it counts, the slot in the first column."""
        positions, numbers, weights = self.rows.probe(slots)
        columns = [pa.array(slots[positions]), *self.rows.heap.gather(numbers).columns]
        change = Change(pa.RecordBatch.from_arrays(columns, schema=self.schema.arrow), weights)
        if not self._append_only:
            change = consolidate(change)
        return expand(change.rows, change.weights)


class TouchedOperator(Operator):
    """Keeps its inputs by key, and its last answer to each key."""

    name = "touched keys"
    rule = "touched groups"

    def __init__(self, node: Touched, *, append_only: bool = False) -> None:
        super().__init__(node.schema)
        self.consolidated = True
        self.reason = node.reason
        self._node = node
        first = node.parts[0].schema
        self._keys = KeyTable([first[name].arrow for name in node.keys[0]])
        self._parts = [
            KeyedPart(part, columns, self._keys, append_only=append_only)
            for part, columns in zip(node.parts, node.keys, strict=True)
        ]
        self._answer = Schema((Column(KEY_COLUMN, "BIGINT", pa.int64()), *node.schema.columns))
        self._given = Given(self.arrow)
        self._failed: set[int] = set()
        self._message: str | None = None
        self._sweep = Sweep()
        self._sql = self._statement()

    def _statement(self) -> str:
        """Return the SQL with the aliases bound to the registered parts."""
        tables = [
            f"{quote(alias)} AS (SELECT * FROM {typed_source(f'_part{at}', part.schema)})"
            for at, (alias, part) in enumerate(zip(self._node.aliases, self._parts, strict=True))
        ]
        named = ", ".join(quote(column.name) for column in self._answer)
        return f"WITH {', '.join(tables)}, _answer({named}) AS ({self._node.sql}) SELECT * FROM _answer"

    @override
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        slots = [part.insert(change) for part, change in zip(self._parts, inputs, strict=True) if len(change)]
        touched = np.unique(np.concatenate(slots))
        if len(touched) == 0:
            return Change.empty(self.arrow)
        if self._failed:
            self._failed.difference_update(touched.tolist())
        answer = self._ask(touched, context.duck)
        keys = answer.column(0).to_numpy(zero_copy_only=False)
        order = np.argsort(keys, kind="stable")
        rows = pa.RecordBatch.from_arrays(answer.columns[1:], schema=self.arrow).take(pa.array(order))
        return self._given.replace(touched, np.searchsorted(touched, keys[order]), rows)

    def _ask(self, slots: I64, duck: Duck) -> pa.RecordBatch:
        """Return DuckDB's answers to some keys; those that it refuses are left out and noted."""
        tables = {f"_part{at}": _table(part.under(slots)) for at, part in enumerate(self._parts)}
        try:
            return duck.query(self._sql, tables, self._answer)
        except ViewInError as error:
            if len(slots) == 1:
                self._message = error.problem
                self._failed.add(int(slots[0]))
                return Change.empty(self._answer.arrow).rows
        middle = len(slots) // 2
        return pa.concat_batches([self._ask(slots[:middle], duck), self._ask(slots[middle:], duck)])

    # --- time
    # -------------------------------------------------------------------------------------------------
    @override
    def forget(self, inputs: Sequence[Bounds]) -> None:
        """Give up keys without rows, and those that are below a bound in every part."""
        if not self._node.keys[0] or not self._sweep.is_due(self.state_rows + self._keys.live):
            return
        final = np.ones(self._keys.size, dtype=np.bool_)
        held = np.zeros(self._keys.size, dtype=np.bool_)
        for part, columns, bounds in zip(self._parts, self._node.keys, inputs, strict=True):
            final &= self._keys.final(columns, bounds)
            held |= part.rows.held(self._keys.size)
        slots = nonzero((final | ~held) & ~self._keys.free())
        dead = self._keys.release(slots)
        for part in self._parts:
            part.rows.release(dead)
        self._given.release(slots)
        self._failed.difference_update(slots.tolist())
        self._sweep.done(self.state_rows + self._keys.live)

    @override
    def can_free(self, inputs: Sequence[Bounds]) -> str | None:
        columns = [
            both[0]
            for both in zip(*self._node.keys, strict=True)
            if all(name in bounds for name, bounds in zip(both, inputs, strict=True))
        ]
        return f"frees state by {', '.join(columns)}" if columns else "keeps all: no key follows event time"

    @property
    @override
    def error(self) -> str | None:
        return self._message if self._failed else None

    @property
    @override
    def detail(self) -> str:
        keys = ", ".join(self._node.keys[0]) or "one key"
        return f"{keys}: {self._node.sql}"

    @property
    @override
    def state_rows(self) -> int:
        return sum(part.rows.row_count for part in self._parts) + self._given.row_count

    @property
    @override
    def state_bytes(self) -> int:
        kept = sum(part.rows.nbytes for part in self._parts) + self._given.nbytes
        return kept + self._keys.nbytes


def _table(rows: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches([rows])
