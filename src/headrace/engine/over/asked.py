"""Window functions that DuckDB answers around a changed row: any aggregate over a bounded frame.

    median(x) OVER (ORDER BY t RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW)

A row that comes changes the answers of the hour after it; the rows of that hour, and of the hour before it,
are all that DuckDB is asked about, whatever the partition holds. Each stretch is a partition of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from headrace.contracts.schema import Column, Schema
from headrace.engine.duck import Duck, quote, typed_source
from headrace.engine.over.reach import Reach
from headrace.engine.over.sequence import RowsInOrder
from headrace.sql.plan import PLACE_COLUMN, SEGMENT_COLUMN, Over, OverCall


class AskedCalls:
    """Some calls of a node whose frames are bounded.

    Attributes:
        calls: the calls.
        reach: how far the furthest looks.
        reason: why they have no rule of their own.
    """

    def __init__(self, node: Over, calls: Sequence[OverCall], reaches: Sequence[Reach]) -> None:
        self.calls = tuple(calls)
        self.reach = Reach.of(reaches) if calls else Reach()
        named = ", ".join(dict.fromkeys(f"{call.func}() OVER" for call in calls))
        self.reason = f"{named}: DuckDB answers, over the rows within reach" if calls else None
        numbers = (Column(SEGMENT_COLUMN, "BIGINT", pa.int64()), Column(PLACE_COLUMN, "BIGINT", pa.int64()))
        self._rows = Schema((*numbers, *node.input.schema.columns))
        self._answer = Schema((numbers[1], *(node.schema[call.name] for call in calls)))
        items = ", ".join(
            [quote(PLACE_COLUMN), *(f"{call.near_sql} AS {quote(call.name)}" for call in calls)]
        )
        self._sql = f"SELECT {items} FROM {typed_source('_near', self._rows)}"

    def answer(self, view: RowsInOrder, duck: Duck) -> dict[str, pa.Array]:
        """Return the columns of the calls, for all rows; near the ends of a stretch they mean nothing.

        Raises:
            ViewInError: DuckDB answers with an error for some row.
        """
        if not self.calls:
            return {}
        places = pa.array(np.arange(len(view), dtype=np.int64))
        columns = [pa.array(view.segments), places, *view.rows.columns]
        rows = pa.RecordBatch.from_arrays(columns, schema=self._rows.arrow)
        answer = duck.query(self._sql, {"_near": pa.Table.from_batches([rows])}, self._answer)
        order = np.argsort(answer.column(0).to_numpy(zero_copy_only=False), kind="stable")
        answer = answer.take(pa.array(order))
        return {call.name: answer.column(at + 1) for at, call in enumerate(self.calls)}
