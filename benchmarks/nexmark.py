"""Nexmark side by side: Headrace, Flink, DuckDB and Bytewax over the same rows, on the same cores.

    make bench nexmark                                  # Headrace, Flink and DuckDB, state in memory
    make bench nexmark ARGS="--durable"                 # Headrace on a data folder, Flink with RocksDB
    make bench nexmark ARGS="--engines headrace,bytewax --queries q0,q1,q2,q17,q18,q22"
    make bench nexmark ARGS="--engines headrace --events 5000000 --queries q4,q16"
    make bench nexmark ARGS="--docs"                    # writes the table into docs/reference/benchmarks.md

The rows are written once, one Arrow file per stream, and every engine reads these files. Each query runs
alone, in a process of its own. Headrace takes steps of at most `--step` events, its view stays readable, and
every byte of each step's output change is read; DuckDB computes the query once over all rows, as a reader
without kept views would at each look. What Flink does is told in `side_by_side/flink_side.py`.

What is compared is events per CPU-second. Results are checked to be equal: Headrace's with DuckDB's over all
rows, Flink's with Headrace's over the rows of the warm-up. Rows of the table are kept between runs, by number
of events and size of step, so that it can be measured in parts: the last table printed holds all of them.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from headrace.sql import plan_view
from headrace.testing import difference
from headrace.testing.nexmark import QUERIES, app, side_input
from report import aligned, machine, markdown, publish, work_folder
from side_by_side import bytewax_side, flink_side, headrace_side
from side_by_side.cost import Cost
from side_by_side.equality import NOT_COMPARED, differences
from side_by_side.rows import read_tables, write_rows

COMPARED_ROWS_MAX = 100_000
WARM_EVENTS = 300_000
TELLABLE_S = 0.02
"""Less than this is the noise of taking one job's cost off another's."""
HEAD = [
    "",
    "Headrace",
    "Flink",
    "times",
    "DuckDB once",
    "Bytewax",
    "Headrace/s",
    "Flink/s",
    "MB",
    "Flink MB",
    "equal",
]


@dataclass
class Row:
    """One query: costs by engine, and what the checks said."""

    name: str
    costs: dict[str, Cost] = field(default_factory=dict)
    checks: list[str] = field(default_factory=list)

    def ratio(self) -> float | None:
        """Return how many times as many events per CPU-second as Flink, or None where nothing can be told."""
        if "flink" not in self.costs or self.costs["flink"].cpu_s < TELLABLE_S:
            return None
        return self.costs["headrace"].per_cpu_s / self.costs["flink"].per_cpu_s

    def cells(self) -> list[str]:
        """Return the row of the table."""
        ratio, ours, flink = self.ratio(), self.costs["headrace"], self.costs.get("flink")
        return [
            self.name, _rate(ours), _difference(flink, lambda cost: (cost.cpu_s, cost.per_cpu_s)),
            "" if ratio is None else f"{ratio:.1f}",
            *(_rate(self.costs.get(engine)) for engine in ("duckdb", "bytewax")),
            f"{ours.per_s / 1000:,.0f} k", _difference(flink, lambda cost: (cost.wall_s, cost.per_s)),
            f"{ours.peak_mb:,.0f}", f"{flink.peak_mb:,.0f}" if flink else "", "; ".join(self.checks),
        ]  # fmt: skip


def _difference(cost: Cost | None, read: Callable[[Cost], tuple[float, float]]) -> str:
    """Return a rate that is the difference of two jobs, where it is more than their noise."""
    if cost is None:
        return ""
    seconds, rate = read(cost)
    return "too cheap to tell" if seconds < TELLABLE_S else f"{rate / 1000:,.0f} k"


def _rate(cost: Cost | None) -> str:
    return "" if cost is None else f"{cost.per_cpu_s / 1000:,.0f} k"


def apart(work: Callable[..., Any], *arguments: object) -> Any:
    """Call a function in a process of its own, so that peak memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


@dataclass
class Ours:
    """What one process of Headrace did: its cost, DuckDB's, whether they agree, its answer to other rows."""

    cost: Cost
    duckdb: Cost | None = None
    said: str = ""
    view: pa.Table | None = None


def run_headrace(name: str, rows: Path, warm: Path | None, durable: bool) -> Ours:
    """Answer over the rows `warm`, as Flink does before it is measured; then measure, and ask DuckDB."""
    answered = headrace_side.in_memory(name, warm or _rows(1_000, 1_000))[1]
    if durable:
        with tempfile.TemporaryDirectory(dir=work_folder()) as data:
            ours = Ours(headrace_side.durable(name, rows, Path(data) / "data"))
    else:
        runs = [headrace_side.in_memory(name, rows) for _ in range(flink_side.runs_of(name))]
        cost, view = min(runs, key=lambda run: run[0].cpu_s)
        ours = Ours(cost)
        if name != "q12":
            ours.duckdb, expected = run_duckdb(name, rows)
            ours.said = _agreement(view, expected)
    ours.view = answered if warm is not None else None
    return ours


def run_duckdb(name: str, rows: Path) -> tuple[Cost, pa.Table]:
    """Compute a query once over all rows, loaded into tables before."""
    with duckdb.connect(config={"threads": 2}) as con:
        con.execute("SET enable_progress_bar = false")
        events = 0
        for stream, table in (
            *read_tables(rows).items(),
            ("side_input", pa.Table.from_batches([side_input()])),
        ):
            events += table.num_rows if stream != "side_input" else 0
            con.register("rows_of", table)
            con.execute(f"CREATE TABLE {stream} AS SELECT * FROM rows_of")
        declared = app(name)
        catalog = {one: declared.streams[one].schema for one in declared.streams}
        catalog |= {one: declared.tables[one].schema for one in declared.tables}
        sql = plan_view(name, declared.view_decls[name].sql, catalog).reference_sql
        cpu, wall = time.process_time(), time.perf_counter()
        answer = con.sql(sql).to_arrow_table()
        return Cost(events, time.process_time() - cpu, time.perf_counter() - wall, 0.0), answer


def _agreement(got: pa.Table, expected: pa.Table) -> str:
    """Return whether the two agree: row by row up to a size, by count beyond it."""
    if got.num_rows != expected.num_rows:
        return "DUCKDB DIFFERS"
    if got.num_rows > COMPARED_ROWS_MAX:
        return "DuckDB in count"
    return "DuckDB" if difference(got, expected) is None else "DUCKDB DIFFERS"


def run_flink(
    flink: flink_side.Flink, row: Row, given: argparse.Namespace, rows: Path, view: pa.Table
) -> None:
    """Measure Flink and compare its answer over the rows of the warm-up with ours."""
    warm, tiny = _rows(WARM_EVENTS, given.step), _rows(1_000, 1_000)
    row.costs["flink"], changes = flink_side.measure(flink, row.name, warm, tiny, rows, durable=given.durable)
    if row.name in NOT_COMPARED:
        return
    wrong = differences(row.name, view, changes)
    row.checks.append("Flink" if wrong is None else "FLINK DIFFERS")
    if wrong is not None:
        print(f"{row.name}: {wrong[:1000]}")


def _rows(events: int, step: int) -> Path:
    return write_rows(work_folder() / "rows", events, step)


def measured(given: argparse.Namespace, engines: list[str]) -> Iterator[Row]:
    """Yield a row per query."""
    rows = _rows(given.events, given.step)
    flink = flink_side.install(work_folder()) if "flink" in engines else None
    peer = bytewax_side.install(work_folder()) if "bytewax" in engines else None
    for name in given.queries.split(","):
        row = Row(name)
        runs_on_flink = flink is not None and name not in flink_side.NOT_RUNNABLE
        warm = _rows(WARM_EVENTS, given.step) if runs_on_flink else None
        ours = apart(run_headrace, name, rows, warm, given.durable)
        row.costs["headrace"] = ours.cost
        row.checks += [ours.said] if ours.said else []
        if ours.duckdb is not None:
            row.costs["duckdb"] = ours.duckdb
        if flink is not None and runs_on_flink:
            run_flink(flink, row, given, rows, ours.view)
        elif flink is not None:
            row.checks.append("not runnable on Flink")
        if peer is not None and name in bytewax_side.QUERIES:
            row.costs["bytewax"] = peer.run(name, _rows(WARM_EVENTS, given.step), WARM_EVENTS)
        yield row


class Results:
    """Rows of a table, kept in a file, so that it can be measured in parts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def put(self, row: Row) -> None:
        """Keep a row; engines that were not measured now keep their older figures."""
        older = self._rows.get(row.name, {"costs": {}})
        costs = older["costs"] | {engine: asdict(cost) for engine, cost in row.costs.items()}
        if "flink" not in row.costs and "flink" in older["costs"]:
            row.checks = older["checks"]
        self._rows[row.name] = {"costs": costs, "checks": row.checks}
        self._path.write_text(json.dumps(self._rows), encoding="utf-8")

    def table(self) -> list[Row]:
        """Return all rows, in the order of the queries."""
        return [
            Row(name, {engine: Cost(**cost) for engine, cost in found["costs"].items()}, found["checks"])
            for name in QUERIES
            if (found := self._rows.get(name)) is not None
        ]


def summary(table: list[Row]) -> str:
    """Return the geometric means."""
    ratios = [ratio for row in table if (ratio := row.ratio()) is not None]
    said = f"Geometric mean of Headrace over {len(table)} queries: {_mean(_rates(table)) / 1000:,.0f} k"
    if not ratios:
        return said + " events per CPU-second."
    least = min((row for row in table if row.ratio() is not None), key=lambda row: row.ratio() or 0.0)
    return (
        f"{said} events per CPU-second; over the {len(ratios)} that Flink runs, {_mean(ratios):.1f} times "
        f"Flink's; the least is {least.name} with {least.ratio():.1f} times. Below Flink: "
        f"{', '.join(row.name for row in table if (row.ratio() or 1.0) < 1.0) or 'none'}."
    )


def _rates(table: list[Row]) -> list[float]:
    return [row.costs["headrace"].per_cpu_s for row in table]


def _mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def main() -> None:
    """Print the table, row by row."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--events", type=int, default=1_000_000)
    words.add_argument("--step", type=int, default=50_000)
    words.add_argument("--queries", default=",".join(QUERIES))
    words.add_argument("--engines", default="headrace,flink")
    words.add_argument("--durable", action="store_true", help="data folder, fsync; RocksDB, checkpoints")
    words.add_argument("--docs", action="store_true", help="write the table into the documentation")
    given = words.parse_args()
    engines = given.engines.split(",")
    state = "durable" if given.durable else "state in memory"
    title = f"{given.events:,} events in steps of {given.step:,}, {state}; events per CPU-second"
    print(f"{title}; {machine()}", flush=True)
    kind = "-durable" if given.durable else ""
    results = Results(work_folder() / f"nexmark-{given.events}-by-{given.step}{kind}.json")
    print("  ".join(f"{word:>11}" for word in HEAD))
    for row in measured(given, engines):
        results.put(row)
        print("  ".join(f"{cell:>11}" for cell in row.cells()), flush=True)
    table = results.table()
    print(f"\n{aligned(HEAD, [row.cells() for row in table])}\n\n{summary(table)}")
    if given.docs:
        text = f"{title}.\n\n{markdown(HEAD, [row.cells() for row in table])}\n\n{summary(table)}"
        publish("nexmark durable" if given.durable else "nexmark", text)


if __name__ == "__main__":
    main()
