"""What the second core brings: an app of several views, stepped by one thread and by two.

    make bench cores                          # eight of Nexmark's queries as views of one app
    make bench cores ARGS="--docs"

The same rows, the same views; results are compared. What counts here is seconds of the clock, so run it on a
machine that nobody else uses; CPU-seconds show what the threads cost.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from datetime import UTC, datetime
from pathlib import Path

from headrace.change import Change
from headrace.engine.engine import Engine
from headrace.sql import plan_view
from headrace.testing.nexmark import app
from report import aligned, machine, markdown, publish, work_folder
from side_by_side.rows import STREAMS, read_steps, write_rows

QUERIES = ("q3", "q4", "q7", "q9", "q16", "q17", "q18", "q20")
HEAD = ["threads", "events/s", "seconds", "CPU-seconds", "median step ms", "times"]


def run(threads: int, rows: Path) -> tuple[int, float, float, list[float], list[int]]:
    """Return events, seconds, CPU-seconds, milliseconds of each step, and the rows of each view."""
    declared = app(*QUERIES)
    schemas = {stream: declared.streams[stream].schema for stream in STREAMS}
    engine = Engine(threads=threads)
    for stream in STREAMS:
        engine.add_relation(stream, schemas[stream], append_only=True)
    for name in QUERIES:
        engine.add_view(plan_view(name, declared.view_decls[name].sql, schemas), lambda _: iter(()))
    events, steps = 0, []
    cpu, wall = time.process_time(), time.perf_counter()
    for batches in read_steps(rows):
        began = time.perf_counter()
        changes = {stream: Change.inserts(batch) for stream, batch in batches.items()}
        output = engine.step(changes, datetime.now(UTC), {})
        assert not output.errors, output.errors
        steps.append((time.perf_counter() - began) * 1e3)
        events += sum(batch.num_rows for batch in batches.values())
    cost = time.perf_counter() - wall, time.process_time() - cpu
    return events, *cost, steps, [engine.store(name).row_count for name in QUERIES]


def main() -> None:
    """Print the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--events", type=int, default=1_000_000)
    words.add_argument("--step", type=int, default=50_000)
    words.add_argument("--docs", action="store_true", help="write the table into the documentation")
    given = words.parse_args()
    rows = write_rows(work_folder() / "rows", given.events, given.step)
    print(machine(), flush=True)
    table, counts, first = [], [], 0.0
    for threads in (1, 2):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            events, wall, cpu, steps, found = pool.apply(run, (threads, rows))
        first = first or wall
        counts.append(found)
        median = sorted(steps)[len(steps) // 2]
        cells = [str(threads), f"{events / wall / 1000:,.0f} k", f"{wall:.2f}", f"{cpu:.2f}", f"{median:.0f}"]
        table.append([*cells, f"{first / wall:.2f}"])
    assert counts[0] == counts[1], counts
    print(aligned(HEAD, table))
    if given.docs:
        names = ", ".join(QUERIES)
        publish("cores", f"Views: {names}; steps of {given.step:,} events.\n\n{markdown(HEAD, table)}")


if __name__ == "__main__":
    main()
