"""TPC-H's 22 queries kept fresh: the time of a refresh in Headrace beside DuckDB computing from scratch.

    make bench tpch
    make bench tpch ARGS="--orders 150000 --rounds 10 --queries q3,q17"
    make bench tpch ARGS="--orders 150000 --docs"       # writes the table into docs/reference/benchmarks.md

A round is three refreshes: new orders with their lines (RF1), as many old ones gone (RF2), and customers and
parts changed. Headrace steps its view; DuckDB runs the query over all rows. Both on one thread; the median of
the CPU time is printed, and the answers are compared at the end. At 1,500,000 orders the tables are about as
large as at scale factor 1 of TPC-H, but the rows are our own, so that these are no TPC-H results.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import duckdb
import pyarrow as pa

from headrace.change import Change
from headrace.engine.engine import Engine
from headrace.sql.planner import plan_view
from headrace.testing import difference
from headrace.testing.tpch import QUERIES, TABLES, Refresh, make_tables, query
from report import aligned, machine, markdown, publish

CLOCK = datetime(2024, 1, 1, tzinfo=UTC)
STREAMS = ("insert", "delete", "update")
HEAD = ["", "build", *STREAMS, "DuckDB", "times"]


@dataclass
class Times:
    """Milliseconds of CPU per refresh of each stream, and of each recomputation."""

    build_ms: float = 0.0
    steps_ms: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in STREAMS})
    scratch_ms: list[float] = field(default_factory=list)

    @property
    def step_ms(self) -> float:
        """Median over all refreshes."""
        return statistics.median(value for values in self.steps_ms.values() for value in values)

    @property
    def ratio(self) -> float:
        """How many times longer DuckDB takes."""
        return statistics.median(self.scratch_ms) / self.step_ms

    def cells(self, name: str) -> list[str]:
        """Return the row of the table."""
        steps = [f"{statistics.median(self.steps_ms[stream]):.2f}" for stream in STREAMS]
        scratch = statistics.median(self.scratch_ms)
        return [name, f"{self.build_ms:,.0f}", *steps, f"{scratch:.2f}", f"{self.ratio:.1f}"]


def timed(call: Callable[[], Any]) -> float:
    """Return the milliseconds of CPU that a call takes, on all threads."""
    started = time.process_time()
    call()
    return 1000 * (time.process_time() - started)


def measure(name: str, orders: int, rounds: int, share: float) -> Times:
    """Run one query through its refreshes."""
    tables = make_tables(orders)
    refresh = Refresh(tables)
    times, count = Times(), max(1, int(orders * share))

    def history(table: str) -> Iterator[Change]:
        yield Change.inserts(tables[table])

    engine = Engine()
    for table, schema in TABLES.items():
        engine.add_relation(table, schema)
    plan = plan_view(name, query(name), TABLES)
    times.build_ms = timed(lambda: engine.add_view(plan, history))
    makers = (refresh.insert_orders, refresh.delete_orders, refresh.update)
    connection = duckdb.connect(config={"threads": 1})
    for _ in range(rounds):
        for stream, make in zip(STREAMS, makers, strict=True):
            times.steps_ms[stream].append(timed(partial(engine.step, make(count), CLOCK, {})))
        load(connection, refresh.tables)
        times.scratch_ms.append(timed(lambda: connection.sql(plan.reference_sql).to_arrow_table()))
    wanted = connection.sql(plan.reference_sql).to_arrow_table()
    found = difference(engine.snapshot(name), wanted)
    if found:
        raise SystemExit(f"{name} differs from DuckDB: {found}")
    connection.close()
    return times


def load(connection: duckdb.DuckDBPyConnection, tables: dict[str, pa.RecordBatch]) -> None:
    """Give DuckDB the rows as tables of its own."""
    for name, rows in tables.items():
        connection.register("_rows", pa.Table.from_batches([rows]))
        connection.execute(f"CREATE OR REPLACE TABLE {name} AS FROM _rows")
        connection.unregister("_rows")


def main() -> None:
    """Print a line for each query."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--orders", type=int, default=30_000, help="orders; lines are four times as many")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--share", type=float, default=0.001, help="part of the orders in one refresh")
    parser.add_argument("--queries", default=",".join(QUERIES))
    parser.add_argument("--docs", action="store_true", help="write the table into the documentation")
    args = parser.parse_args()
    count = max(1, int(args.orders * args.share))
    title = f"{args.orders:,} orders, {count:,} in a refresh; milliseconds of CPU"
    print(f"{title}; {machine()}\n{'  '.join(f'{word:>9}' for word in HEAD)}")
    rows, ratios = [], []
    for name in args.queries.split(","):
        times = measure(name, args.orders, args.rounds, args.share)
        ratios.append(times.ratio)
        rows.append(times.cells(name))
        print("  ".join(f"{cell:>9}" for cell in rows[-1]), flush=True)
    slower = [name for name, ratio in zip(args.queries.split(","), ratios, strict=True) if ratio < 1]
    said = (
        f"Geometric mean: a refresh is {statistics.geometric_mean(ratios):.1f} times cheaper than the query "
        f"from scratch. Dearer: {', '.join(slower) or 'none'}."
    )
    print(f"\n{aligned(HEAD, rows)}\n\n{said}")
    if args.docs:
        publish("tpch", f"{title}.\n\n{markdown(HEAD, rows)}\n\n{said}")


if __name__ == "__main__":
    main()
