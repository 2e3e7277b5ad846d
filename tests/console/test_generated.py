"""The chart that a view gets by its types, and what is hidden of rows that were put aside."""

from __future__ import annotations

from typing import Any, cast

import pyarrow as pa
import pytest
from tests.console.stub import schema

from headrace.charts import spec_of
from headrace.console.generated import auto_panel
from headrace.console.recent import MASK, side_json
from headrace.contracts.schema import Column, Schema
from headrace.panels import Bar, Line, Tile


@pytest.mark.parametrize(
    ("columns", "kind", "facts"),
    [
        ("gmv DECIMAL(18,2), orders BIGINT", Tile, {"value": "gmv"}),
        ("product VARCHAR, revenue DECIMAL(18,2)", Bar, {"x": "product", "y": "revenue"}),
        ("product_id BIGINT, revenue DECIMAL(18,2)", Bar, {"x": "product_id", "y": "revenue"}),
        ("window_end TIMESTAMP, window_start TIMESTAMP, n BIGINT", Line, {"x": "window_start", "y": "n"}),
        ("minute TIMESTAMP, host VARCHAR, cpu DOUBLE", Line, {"series": "host", "y": "cpu"}),
        ("minute TIMESTAMP, pv BIGINT, uv BIGINT, rate DOUBLE", Line, {"y": ["pv", "uv"]}),
        ("a VARCHAR, b VARCHAR", None, {}),
        ("at TIMESTAMP, message VARCHAR", None, {}),
        ("list INTEGER[]", None, {}),
    ],
)
def test_the_chart_follows_the_types(columns: str, kind: type | None, facts: dict[str, Any]) -> None:
    panel = auto_panel("v", schema(columns))
    if kind is None:
        assert panel is None
        return
    assert panel is not None
    assert isinstance(panel, kind)
    assert {name: getattr(panel, name) for name in facts} == facts
    assert kind is Tile or spec_of(panel, schema(columns)) is not None


class Run:
    """Answers one query with one table."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def query(self, sql: str) -> pa.Table:
        assert sql.startswith('SELECT * FROM "people__')
        return pa.Table.from_pylist(self.rows)


PARENT = Schema.of(
    [Column("id", "BIGINT", pa.int64()), Column("email", "VARCHAR", pa.string(), privacy="email")]
)


def side(label: str, columns: str, row: dict[str, Any]) -> dict[str, Any]:
    info = type("Info", (), {"name": f"people__{label}", "schema": schema(columns), "rows": 1})()
    told = side_json(cast(Any, Run([row])), label, info, PARENT)
    found: dict[str, Any] = told["recent"][0]
    return found


def test_private_columns_of_late_rows_are_hidden() -> None:
    row = side("late", "id BIGINT, email VARCHAR", {"id": 1, "email": "a@b.example"})
    assert row == {"id": 1, "email": MASK}


@pytest.mark.parametrize(
    ("field", "text", "value", "shown"),
    [
        ("id", '{"id":"x","email":"a@b.example"}', "x", ("x", f'{{"id": "x", "email": "{MASK}"}}')),
        ("email", '{"id":1,"EMAIL":"a@b.example"}', "a@b.example", (MASK, f'{{"id": 1, "EMAIL": "{MASK}"}}')),
        (None, "not json a@b.example", "not json a@b.example", (MASK, MASK)),
        (None, '["a@b.example"]', "a@b.example", (MASK, MASK)),
    ],
)
def test_private_values_of_rejected_rows_are_hidden(
    field: str | None, text: str, value: str, shown: tuple[str, str]
) -> None:
    columns = "row VARCHAR, reason VARCHAR, field VARCHAR, value VARCHAR"
    row = side("rejected", columns, {"row": text, "reason": "r", "field": field, "value": value})
    assert (row["value"], row["row"]) == shown
