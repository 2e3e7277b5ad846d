"""What a step costs, per operator and size of change: median milliseconds of CPU, over a state that has
grown.

Run it with `make bench operators`, or `python benchmarks/operators.py --rows 1000000` for a larger state.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from headrace.change import Change
from headrace.contracts.schema import Column, Schema
from headrace.engine.engine import Engine
from headrace.sql.planner import plan_view

SIZES = (100, 1_000, 10_000, 50_000)
ORDERS = Schema.of(
    [
        Column("id", "BIGINT", pa.int64()),
        Column("customer", "BIGINT", pa.int64()),
        Column("product", "VARCHAR", pa.string()),
        Column("amount", "DECIMAL(18,2)", pa.decimal128(18, 2)),
        Column("weight", "DOUBLE", pa.float64()),
        Column("placed", "TIMESTAMP", pa.timestamp("us")),
    ]
)
CUSTOMERS = Schema.of([Column("customer", "BIGINT", pa.int64()), Column("city", "VARCHAR", pa.string())])
CITIES = ("Delft", "Graz", "Lviv", "Porto", "Turku")

TOP_3 = """SELECT *, row_number() OVER (PARTITION BY customer ORDER BY amount DESC) AS r
    FROM orders QUALIFY r <= 3"""


@dataclass(frozen=True)
class Shape:
    """A view to measure, and whether its input may take rows back (then a third of each change does)."""

    name: str
    sql: str
    retracts: bool = False


SHAPES = (
    Shape("filter", "SELECT id, amount FROM orders WHERE amount > 50 AND customer % 3 = 0"),
    Shape("project", "SELECT id, amount * 2 AS double, upper(product) AS p FROM orders"),
    Shape("project in DuckDB", "SELECT id, md5(product) AS p FROM orders"),
    Shape(
        "sum, count, avg",
        "SELECT customer, sum(amount) AS s, count(*) AS n, avg(id) AS a FROM orders GROUP BY 1",
    ),
    Shape("sum of doubles", "SELECT product, sum(weight) AS s FROM orders GROUP BY 1", retracts=True),
    Shape(
        "count distinct",
        "SELECT product, count(DISTINCT customer) AS n FROM orders GROUP BY 1",
        retracts=True,
    ),
    Shape(
        "min, max append-only", "SELECT customer, min(amount) AS a, max(placed) AS b FROM orders GROUP BY 1"
    ),
    Shape(
        "min, max",
        "SELECT customer, min(amount) AS a, max(placed) AS b FROM orders GROUP BY 1",
        retracts=True,
    ),
    Shape(
        "quantile", "SELECT customer, quantile_cont(weight, 0.75) AS q FROM orders GROUP BY 1", retracts=True
    ),
    Shape(
        "touched groups", "SELECT customer, list(id ORDER BY id) AS l FROM orders GROUP BY 1", retracts=True
    ),
    Shape(
        "window",
        "SELECT window_start, count(*) AS n FROM TUMBLE(orders, placed, INTERVAL 1 MINUTE) GROUP BY 1",
    ),
    Shape("distinct", "SELECT DISTINCT customer, product FROM orders", retracts=True),
    Shape("join", "SELECT id, amount, city FROM orders JOIN customers USING (customer)"),
    Shape(
        "join of a table",
        "SELECT id, amount, city FROM orders JOIN customers USING (customer)",
        retracts=True,
    ),
    Shape(
        "top 3 per key append-only",
        TOP_3,
    ),
    Shape(
        "top 3 per key",
        TOP_3,
        retracts=True,
    ),
    Shape("top 10", "SELECT id, amount FROM orders ORDER BY amount DESC LIMIT 10", retracts=True),
)


def orders(first: int, count: int, seed: int) -> pa.RecordBatch:
    """Return orders numbered from `first`; a tenth as many customers as orders so far, 500 products."""
    rng = np.random.default_rng([seed, first])
    customers = rng.integers(0, max(first // 10, 1_000), count)
    products = pa.array([f"product number {n}" for n in range(500)]).take(
        pa.array(rng.integers(0, 500, count))
    )
    cents = pa.array(rng.integers(1, 100_000, count)).cast(pa.decimal128(20, 0)).cast(pa.decimal128(22, 2))
    return pa.record_batch(
        [
            pa.array(np.arange(first, first + count)),
            pa.array(customers),
            products,
            cents.cast(pa.decimal128(18, 2)),
            pa.array(rng.random(count)),
            pa.array(np.arange(first, first + count) * 1_000).cast(pa.timestamp("us")),
        ],
        schema=ORDERS.arrow,
    )


def changes(start: int, size: int, *, retracts: bool) -> Iterator[Change]:
    """Yield changes of `size` rows; where rows go, a third of each takes back rows that came before."""
    first, oldest = start, 0
    while True:
        come = size - size // 3 if retracts else size
        new = Change.inserts(orders(first, come, seed=1))
        if retracts:
            old = Change.inserts(orders(0, start, seed=1).slice(oldest, size // 3)).negated()
            oldest += size // 3
            new = Change.concat([new, old])
        yield new
        first += come


def measure(shape: Shape, state_rows: int, size: int, steps: int) -> float:
    """Return the median CPU milliseconds of a step of `size` rows over a state of `state_rows`."""
    engine = Engine()
    engine.add_relation("orders", ORDERS, append_only=not shape.retracts)
    engine.add_relation("customers", CUSTOMERS)
    catalog = {"orders": ORDERS, "customers": CUSTOMERS}
    engine.add_view(plan_view("v", shape.sql, catalog), lambda _: iter(()))
    clock = datetime(2024, 1, 1, tzinfo=UTC)
    people = max(state_rows // 10, 1_000)
    cities = pa.array([CITIES[n % len(CITIES)] for n in range(people)])
    table = pa.record_batch([pa.array(np.arange(people)), cities], schema=CUSTOMERS.arrow)
    engine.step({"customers": Change.inserts(table)}, clock, {})
    engine.step({"orders": Change.inserts(orders(0, state_rows, seed=1))}, clock, {})
    spent = []
    for _, change in zip(range(steps), changes(state_rows, size, retracts=shape.retracts), strict=False):
        started = time.process_time()
        engine.step({"orders": change}, clock, {})
        spent.append((time.process_time() - started) * 1_000)
    engine.close()
    return statistics.median(spent[1:])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000, help="rows of state before measuring")
    parser.add_argument("--steps", type=int, default=7, help="steps per number")
    parser.add_argument("--only", default="", help="operators whose name holds this")
    chosen = parser.parse_args()
    print(f"median CPU ms per step, over a state of {chosen.rows:,} rows\n")
    print(f"{'operator':28}" + "".join(f"{size:>10,}" for size in SIZES))
    for shape in SHAPES:
        if chosen.only in shape.name:
            costs = [measure(shape, chosen.rows, size, chosen.steps) for size in SIZES]
            print(f"{shape.name:28}" + "".join(f"{cost:10.2f}" for cost in costs), flush=True)


if __name__ == "__main__":
    main()
