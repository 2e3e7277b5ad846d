"""Nexmark on the embedded engine: events per CPU-second of each query, beside DuckDB computing it once.

Every query runs alone, in a process of its own, over the same events: each step takes `--step` events of all
three streams, and the query's change is taken out of each step as a reader would. The engine's figure is the
steps alone (no HTTP, no log); DuckDB's is one computation over all rows at the end, which is what a reader
without incremental views would pay at each look. Equality of the two results is checked.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import platform
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

import duckdb
import pyarrow as pa

from headrace.change import Change
from headrace.engine.engine import Engine
from headrace.sql import plan_view
from headrace.testing import difference
from headrace.testing.nexmark import QUERIES, app, make_events

STREAMS = ("person", "auction", "bid")
COMPARED_ROWS_MAX = 200_000


@dataclass(frozen=True)
class Result:
    """What one query did."""

    name: str
    events: int
    rows: int
    engine_cpu_s: float
    engine_wall_s: float
    duckdb_cpu_s: float
    peak_mb: float
    rules: str
    agrees: str


def steps(events: int, step: int) -> Iterator[dict[str, Change]]:
    """Yield the events, a step at a time."""
    for first in range(0, events, step):
        made = make_events(first, min(step, events - first))
        batches = {stream: getattr(made, stream) for stream in STREAMS}
        yield {stream: Change.inserts(rows) for stream, rows in batches.items() if rows.num_rows}


def run(name: str, events: int, step: int) -> Result:
    """Run one query over all events."""
    declared = app(name)
    catalog = {stream: declared.streams[stream].schema for stream in STREAMS}
    plan = plan_view(name, declared.view_decls[name].sql, catalog)
    engine = Engine()
    for stream in STREAMS:
        engine.add_relation(stream, catalog[stream], append_only=True)
    engine.add_view(plan, no_history)
    kept: dict[str, list[pa.RecordBatch]] = {stream: [] for stream in STREAMS}
    cpu_s = wall_s = 0.0
    for changes in steps(events, step):
        for stream, change in changes.items():
            kept[stream].append(change.rows)
        cpu, wall = time.process_time(), time.perf_counter()
        output = engine.step(changes, datetime.now(UTC), {})
        cpu_s += time.process_time() - cpu
        wall_s += time.perf_counter() - wall
        assert not output.errors, output.errors
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rules = sorted({info.rule for info in walk(engine.explain(name)) if info.rule != "linear"})
    got = engine.snapshot(name)
    duckdb_cpu_s, expected = from_scratch(plan.reference_sql, kept)
    return Result(
        name,
        events,
        got.num_rows,
        cpu_s,
        wall_s,
        duckdb_cpu_s,
        peak_mb,
        ", ".join(rules),
        agreement(got, expected),
    )


def no_history(_: str) -> Iterator[Change]:
    """Return the empty history: the query is there before the first event."""
    return iter(())


def walk(info: object) -> Iterator[object]:
    """Yield an operator and all below it."""
    yield info
    for child in info.inputs:  # type: ignore[attr-defined]
        yield from walk(child)


def from_scratch(sql: str, kept: dict[str, list[pa.RecordBatch]]) -> tuple[float, pa.Table]:
    """Return DuckDB's CPU seconds for the query over all rows, and its answer."""
    with duckdb.connect(config={"threads": 2}) as con:
        con.execute("SET enable_progress_bar = false")
        for stream, batches in kept.items():
            con.register("rows_of", pa.Table.from_batches(batches))
            con.execute(f"CREATE TABLE {stream} AS SELECT * FROM rows_of")
        cpu = time.process_time()
        answer = con.sql(sql).to_arrow_table()
        return time.process_time() - cpu, answer


def agreement(got: pa.Table, expected: pa.Table) -> str:
    """Return whether the two agree: row by row up to a size, by count beyond it."""
    if got.num_rows != expected.num_rows:
        return "DIFFERS"
    if got.num_rows > COMPARED_ROWS_MAX:
        return "same count"
    return "equal" if difference(got, expected) is None else "DIFFERS"


def rate(events: int, seconds: float) -> str:
    """Return events per second, in thousands."""
    return f"{events / seconds / 1000:,.0f} k"


def main() -> None:
    """Print the table."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--events", type=int, default=1_000_000)
    words.add_argument("--step", type=int, default=50_000)
    words.add_argument("--queries", default=",".join(QUERIES))
    given = words.parse_args()
    parts = " ".join(f"{name} {version(name)}" for name in ("duckdb", "pyarrow", "polars", "numpy"))
    print(f"{given.events:,} events in steps of {given.step:,}; Python {platform.python_version()}, {parts}")
    head = f"{'':4} {'rows':>9} {'events/CPU-s':>13} {'events/s':>10} {'peak MB':>8} {'DuckDB once':>12}"
    print(f"{head}  {'':10} rules")
    rates = []
    context = multiprocessing.get_context("spawn")
    for name in given.queries.split(","):
        with context.Pool(1) as pool:
            result = pool.apply(run, (name, given.events, given.step))
        rates.append(result.events / result.engine_cpu_s)
        print(
            f"{name:4} {result.rows:>9,} {rate(result.events, result.engine_cpu_s):>13} "
            f"{rate(result.events, result.engine_wall_s):>10} {result.peak_mb:>8,.0f} "
            f"{result.duckdb_cpu_s:>10.2f} s  {result.agrees:10} {result.rules}",
            flush=True,
        )
    mean = math.exp(sum(math.log(value) for value in rates) / len(rates))
    print(f"geometric mean: {mean / 1000:,.0f} k events per CPU-second over {len(rates)} queries")


if __name__ == "__main__":
    main()
