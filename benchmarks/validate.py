"""Rows per CPU-second through the door: dicts as they come from JSON, models, and Arrow.

python benchmarks/validate.py [rows]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

import pyarrow as pa
from pydantic import Field

import headrace as hr
from headrace.contracts.encode import rows_json
from headrace.contracts.models import model_schema
from headrace.contracts.validate import validate


class Order(hr.Event):
    """A row of six columns, as an order may be."""

    order_id: int
    customer_id: Annotated[int, Field(gt=0)]
    product: str
    amount: Annotated[Decimal, hr.decimal(18, 2)]
    rating: float | None
    placed_at: datetime


SCHEMA = model_schema(Order)
START = datetime(2026, 1, 1, tzinfo=UTC)


def json_rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "order_id": i,
            "customer_id": i % 9973 + 1,
            "product": f"product-{i % 500}",
            "amount": f"{i % 10_000}.{i % 100:02d}",
            "rating": i / 7,
            "placed_at": (START + timedelta(seconds=i)).isoformat(),
        }
        for i in range(count)
    ]


def best(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    rows = json_rows(count)
    good = validate(SCHEMA, rows, model=Order)
    assert not good.rejections
    table = pa.Table.from_batches([good.batch])
    python_rows = table.to_pylist()
    text_table = pa.Table.from_pylist(rows)
    one_bad = [*rows[:-1], rows[-1] | {"customer_id": "x"}]
    models = [Order.model_construct(**row) for row in python_rows[: count // 4]]
    cases: list[tuple[str, int, Callable[[], Any]]] = [
        ("dicts from JSON", count, lambda: validate(SCHEMA, rows, model=Order)),
        ("dicts of Python values", count, lambda: validate(SCHEMA, python_rows, model=Order)),
        ("dicts from JSON, one bad", count, lambda: validate(SCHEMA, one_bad, model=Order)),
        ("models", len(models), lambda: validate(SCHEMA, models, model=Order)),
        ("Arrow, declared types", count, lambda: validate(SCHEMA, table, model=Order)),
        ("Arrow, times and money as text", count, lambda: validate(SCHEMA, text_table, model=Order)),
        ("rows to JSON", count, lambda: rows_json(table, SCHEMA)),
    ]
    print(f"{'case':34} {'rows':>9} {'rows/CPU-s':>12}")
    for name, size, work in cases:
        print(f"{name:34} {size:9,} {size / best(work):12,.0f}")


if __name__ == "__main__":
    main()
