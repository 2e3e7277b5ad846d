"""Every other aggregate: DuckDB's answer over the rows of the touched groups.

    Δf = f(touched groups after) − f(touched groups before)

The rows are kept under their group; a step costs the size of the groups that it touches. The list of a
group's only row is that row's value, and DuckDB is not asked for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.change import Change
from headrace.contracts.schema import Column, Schema
from headrace.engine.aggregates.answers import Answers
from headrace.engine.aggregates.part import GroupBatch, Part, Result
from headrace.engine.columns import I64, Bools
from headrace.engine.duck import Duck, quote, typed_source
from headrace.engine.growable import Growable
from headrace.engine.heap import expand
from headrace.engine.runs import Arrangement
from headrace.engine.zset import consolidate
from headrace.errors import ViewInError
from headrace.sql.plan import AggCall, Aggregate

_GROUP = "__group"
_AS_LONG = frozenset({"list", "string_agg"})
"""Calls whose answers are as long as their groups: to write them down costs as much as to find them."""


class TouchedPart(Part):
    """Calls that DuckDB answers group by group."""

    rule = "touched groups"
    recycles = True

    def __init__(self, calls: Sequence[AggCall], node: Aggregate, *, append_only: bool) -> None:
        self._calls = tuple(calls)
        self.reason = _reason({call.func for call in calls})
        self._input = node.input.schema
        self._output = Schema.of(node.schema[call.name] for call in calls)
        columns = (Column(_GROUP, "BIGINT", pa.int64()), *self._input.columns)
        self._typed = Schema(columns)
        self._answer = Schema((columns[0], *self._output.columns))
        self._rows = Arrangement(self._input.arrow, append_only=append_only)
        self._kept = Answers(self._answer.arrow)
        self._failed: Growable[np.bool_] = Growable(np.bool_)
        self._message: str | None = None
        self._are_lists = all(call.func == "list" and not call.distinct and not call.filter for call in calls)

    @override
    def update(self, batch: GroupBatch) -> None:
        self._failed.resize(batch.size)
        self._rows.insert(batch.slots, batch.rows, batch.weights)
        positions, numbers, weights = self._rows.probe(batch.touched)
        rows = Change(self._rows.heap.gather(numbers), weights)
        answer, failed = self._evaluate(batch.touched, positions, rows, batch.duck)
        self._failed.data[batch.touched] = failed
        self._kept.put(batch.touched, answer, batch.size)

    def _evaluate(
        self, slots: I64, positions: I64, change: Change, duck: Duck
    ) -> tuple[pa.RecordBatch, Bools]:
        """Return the answers in the order of `slots`, and which of them DuckDB refuses."""
        groups = pa.array(slots[positions])
        named = pa.RecordBatch.from_arrays([groups, *change.rows.columns], schema=self._typed.arrow)
        whole = Change(named, change.weights)
        if not whole.is_append_only:
            whole = consolidate(whole)
        table = expand(whole.rows, whole.weights)
        known = self._lists_of_one(slots, table) if self._are_lists else None
        if known is not None:
            return known, np.zeros(len(slots), dtype=np.bool_)
        try:
            return self._ask(slots, table, duck), np.zeros(len(slots), dtype=np.bool_)
        except ViewInError as error:
            self._message = error.problem
            return self._ask_each(slots, table, duck)

    def _lists_of_one(self, slots: I64, rows: pa.RecordBatch) -> pa.RecordBatch | None:
        """Return the lists of groups that have one row, or none, whose list is NULL; None: some have more."""
        if rows.num_rows > len(slots):
            return None
        order = np.argsort(slots)
        groups = rows.column(0).to_numpy(zero_copy_only=False)
        places = order[np.searchsorted(slots[order], groups)]
        where = np.full(len(slots), -1, dtype=np.int64)
        where[places] = np.arange(len(places))
        there = where >= 0
        if there.sum() < len(places):
            return None
        taken, starts = pa.array(where[there]), np.append(0, np.cumsum(there)).astype(np.int32)
        lists = [pa.array(slots)]
        for call, output in zip(self._calls, self._output, strict=True):
            values = rows.column(call.args[0]).take(taken)
            if not pa.types.is_list(output.arrow) or values.type != output.arrow.value_type:
                return None
            lists.append(pa.ListArray.from_arrays(starts, values, output.arrow, mask=pa.array(~there)))
        return pa.RecordBatch.from_arrays(lists, schema=self._answer.arrow)

    def _ask(self, slots: I64, rows: pa.RecordBatch, duck: Duck) -> pa.RecordBatch:
        items = ", ".join(f"({call.sql}) AS r{at}" for at, call in enumerate(self._calls))
        rows_of = typed_source("_rows", self._typed)
        chosen = ", ".join(self._choice(at) for at in range(len(self._calls)))
        sql = (
            f"WITH answers AS (SELECT {_GROUP}, {items} FROM {rows_of} GROUP BY {_GROUP}), "
            f"empty AS (SELECT {items} FROM {rows_of} WHERE false) "
            f"SELECT _asked.n, {chosen} FROM _asked LEFT JOIN answers ON _asked.n = answers.{_GROUP}, empty "
            "ORDER BY _asked.at"
        )
        asked = pa.table({"n": pa.array(slots), "at": pa.array(np.arange(len(slots)))})
        return duck.query(sql, {"_rows": pa.Table.from_batches([rows]), "_asked": asked}, self._answer)

    def _choice(self, at: int) -> str:
        return (
            f"CASE WHEN answers.{_GROUP} IS NULL THEN empty.r{at} ELSE answers.r{at} END AS {quote(f'r{at}')}"
        )

    def _ask_each(self, slots: I64, rows: pa.RecordBatch, duck: Duck) -> tuple[pa.RecordBatch, Bools]:
        """Ask group by group, so that only the groups at fault fail."""
        failed = np.zeros(len(slots), dtype=np.bool_)
        groups = rows.column(0).to_numpy(zero_copy_only=False)
        parts = []
        for number, slot in enumerate(slots.tolist()):
            one = np.array([slot], dtype=np.int64)
            try:
                parts.append(self._ask(one, rows.filter(pa.array(groups == slot)), duck))
            except ViewInError:
                failed[number] = True
                nulls = [pa.array(one), *(pa.nulls(1, column.arrow) for column in self._output)]
                parts.append(pa.RecordBatch.from_arrays(nulls, schema=self._answer.arrow))
        return pa.concat_batches(parts), failed

    @override
    def results(self, batch: GroupBatch) -> list[Result]:
        self._failed.resize(batch.size)
        failed = self._failed.data[batch.touched]
        rows = self._kept.get(batch.touched, batch.size)
        if rows is None:
            rows, _ = self._evaluate(
                batch.touched, np.empty(0, dtype=np.int64), Change.empty(self._input.arrow), batch.duck
            )
        bad = failed if failed.any() else None
        return [Result(rows.column(at + 1), bad, self._message) for at in range(len(self._calls))]

    @override
    def release(self, slots: I64, dead: Bools) -> None:
        self._rows.release(dead)
        self._kept.release(slots)
        self._failed.clear(slots)

    @property
    @override
    def state_rows(self) -> int:
        return self._rows.row_count

    @property
    @override
    def nbytes(self) -> int:
        return self._rows.nbytes + self._kept.nbytes


def _reason(names: set[str]) -> str:
    long, other = (", ".join(sorted(part)) for part in (names & _AS_LONG, names - _AS_LONG))
    parts = [f"{long}: the answer holds every row of the group"] if long else []
    parts += [f"{other}: no smaller state gives the answer when rows come or go"] if other else []
    return "; ".join(parts)
