"""What sealing does to the log: size on disk and speed of reading, segments against Parquet.

    make bench sealed
    make bench sealed ARGS="--rows 5000000"
    make bench sealed ARGS="--docs"

One stream of orders (six columns, about 100 bytes a row) and one of clicks go into a log, in commits of one
size; half of the rows are orders. The log is measured as segments, sealed, and measured again: bytes, and CPU
seconds to read every record (what a start without a checkpoint does), to read the orders alone (what building
a view does), and for a sum by DuckDB over the orders' files. The best of three readings counts.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from headrace.change import Change
from headrace.log import Commit, Log
from report import aligned, machine, markdown, publish

COMMIT_ROWS = (10, 1_000, 50_000)
SMALL_ROWS_MAX = 500_000
"""Rows where a commit has ten of them."""
START = datetime(2026, 1, 1, tzinfo=UTC)
HEAD = ["rows, rows a commit", "kept as", "MB", "sealing", "all records", "orders", "DuckDB"]
TRIES = 3


def orders(first: int, count: int, chance: np.random.Generator) -> pa.RecordBatch:
    """Return orders as a shop sends them."""
    numbers = np.arange(first, first + count)
    customers = chance.integers(0, 50_000, count)
    return pa.RecordBatch.from_pydict(
        {
            "order_id": pa.array(numbers),
            "customer_id": pa.array(customers),
            "amount": pa.array(chance.integers(100, 50_000, count)).cast(pa.decimal128(21, 2)),
            "email": pa.array([f"buyer{customer}@example.com" for customer in customers]),
            "channel": pa.array(np.array(["web", "app", "shop", "partner"])[chance.integers(0, 4, count)]),
            "placed_at": pa.array(numbers * 1_000_000 + chance.integers(0, 10**6, count), pa.timestamp("us")),
        }
    )


def clicks(first: int, count: int, chance: np.random.Generator) -> pa.RecordBatch:
    """Return clicks."""
    return pa.RecordBatch.from_pydict(
        {
            "visitor": pa.array(chance.integers(0, 2**62, count)),
            "url": pa.array([f"/products/{number}" for number in chance.integers(0, 20_000, count)]),
            "seen_at": pa.array(
                np.arange(first, first + count) * 100_000 + chance.integers(0, 10**5, count),
                pa.timestamp("us"),
            ),
        }
    )


def fill(log: Log, rows: int, commit_rows: int) -> None:
    """Write commits that hold orders and clicks in turn."""
    chance = np.random.default_rng(1)
    tickets = []
    for number, first in enumerate(range(0, rows, commit_rows), 1):
        name, make = (("orders", orders), ("clicks", clicks))[number % 2]
        change = Change.inserts(make(first, commit_rows, chance))
        tickets.append(log.append(Commit(number, START + timedelta(milliseconds=number), {name: change})))
        if number % 100 == 0:
            tickets.pop().wait()
    tickets[-1].wait()


def best(work: Callable[[], object]) -> float:
    """Return the CPU seconds of the quickest of a few calls."""
    times = []
    for _ in range(TRIES):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


def read(log: Log) -> list[str]:
    """Return seconds to read all records, and the orders alone."""
    everything = best(lambda: sum(1 for _ in log.records()))
    alone = best(lambda: sum(len(change) for change in log.history("orders")))
    return [f"{everything:.2f}", f"{alone:.2f}"]


def measured(folder: Path, rows: int, commit_rows: int) -> list[list[str]]:
    """Return one row for segments and one for Parquet."""
    name = f"{rows:,}, {commit_rows:,}"
    with Log.open(folder, seal_bytes=1 << 50) as log:
        fill(log, rows, commit_rows)
        plain = [name, "segments", f"{log.stats()['bytes'] / 1e6:,.1f}", "", *read(log), ""]
        began = time.process_time()
        log.seal()
        took_s = time.process_time() - began
        size = log.stats()["sealed_bytes"]
        sealed = [name, "Parquet", f"{size / 1e6:,.1f}", f"{took_s:.2f}", *read(log)]
    files = folder / "log" / "parquet" / "orders" / "*.parquet"
    with duckdb.connect(config={"threads": 1}) as connection:
        query = f"SELECT channel, sum(amount) FROM '{files}' GROUP BY channel"
        asked = best(lambda: connection.execute(query).fetchall())
    return [plain, [*sealed, f"{asked:.3f}"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--docs", action="store_true", help="write the table into the documentation")
    options = parser.parse_args()
    table = []
    for commit_rows in COMMIT_ROWS:
        rows = min(options.rows, SMALL_ROWS_MAX) if commit_rows <= 10 else options.rows
        folder = Path(tempfile.mkdtemp(prefix="headrace-sealed-"))
        try:
            table += measured(folder, rows, commit_rows)
        finally:
            shutil.rmtree(folder)
    print(aligned(HEAD, table), "\n")
    print(machine())
    if options.docs:
        publish("sealed", markdown(HEAD, table))


if __name__ == "__main__":
    main()
