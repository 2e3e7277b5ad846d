"""A scan lets nothing through of a change that other columns alone make.

What is above must then have nothing to do; and a row that changes in a column that is read, or comes back
with other bits (-0.0), must come through.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.engine.world import schema

from headrace.change import Change
from headrace.engine.duck import Duck
from headrace.engine.operators.base import StepContext
from headrace.engine.operators.scan import ScanOperator
from headrace.sql.plan import Scan

WHOLE = schema(id="BIGINT", name="VARCHAR", rate="DOUBLE", note="VARCHAR")
Row = tuple[int, str | None, float | None, str]


def scanned(columns: tuple[str, ...], rows: list[Row], weights: list[int]) -> list[Any]:
    names = WHOLE.arrow.names
    batch = pa.RecordBatch.from_pylist(
        [dict(zip(names, row, strict=True)) for row in rows], schema=WHOLE.arrow
    )
    scan = ScanOperator(Scan(WHOLE.select(columns), "r", columns), append_only=False)
    found = scan.step([Change(batch, np.array(weights, dtype=np.int64))], StepContext(Duck()))
    assert found.rows.schema == scan.arrow
    values = [tuple(row.values()) for row in found.rows.to_pylist()]
    return list(zip(values, found.weights.tolist(), strict=True))


@pytest.mark.parametrize(
    ("columns", "rows", "weights", "left"),
    [
        (("id", "name"), [(1, "a", 0.5, "old"), (1, "a", 0.5, "new")], [-1, 1], []),
        (("id", "name"), [(1, None, 0.5, "old"), (1, None, 0.5, "new")], [-1, 1], []),
        (("id", "rate"), [(1, "a", 0.5, "old"), (1, "a", 0.5, "new")], [-1, 1], []),
        (
            ("id", "rate"),
            [(1, "a", 0.0, "x"), (1, "a", -0.0, "x")],
            [-1, 1],
            [((1, 0.0), -1), ((1, -0.0), 1)],
        ),
        (("id", "name"), [(1, "a", 0.5, "x"), (1, "b", 0.5, "x")], [-1, 1], [((1, "a"), -1), ((1, "b"), 1)]),
        (("id", "name"), [(1, "a", 0.5, "x"), (1, "a", 0.5, "y")], [2, -1], [((1, "a"), 2), ((1, "a"), -1)]),
        (("id", "name"), [(1, "a", 0.5, "x"), (1, "a", 0.5, "y")], [1, 1], [((1, "a"), 1), ((1, "a"), 1)]),
        (("id",), [(1, "a", 0.5, "x"), (2, "a", 0.5, "x"), (1, "b", 0.5, "y")], [-1, 1, 1], [((2,), 1)]),
        (
            ("id", "name", "rate", "note"),
            [(1, "a", 0.5, "x"), (1, "a", 0.5, "x")],
            [-1, 1],
            [((1, "a", 0.5, "x"), -1), ((1, "a", 0.5, "x"), 1)],
        ),
    ],
)
def test_what_other_columns_alone_change_is_nothing(
    columns: tuple[str, ...], rows: list[Row], weights: list[int], left: list[Any]
) -> None:
    assert repr(scanned(columns, rows, weights)) == repr(left)
