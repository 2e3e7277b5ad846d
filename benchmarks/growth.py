"""What a step costs as state grows: aggregate, join, top-N and session, with keys local in time and uniform.

    make bench growth                                        # to 50 million rows; about 7 minutes
    make bench growth ARGS="--rows 10000000 --shapes join"
    make bench growth ARGS="--docs"
    make bench growth ARGS="--limit 1 --rows 20000000"       # at most 1 GB of state in memory

Each shape and kind of keys runs in a process of its own. The state is grown in large steps to each size;
there steps of 1,000 and of 10,000 changes are measured: the median in milliseconds of CPU, which others on
the machine do not disturb, with its ratio to that at the first size, and p99 and longest in milliseconds of
the clock. A growing state is stopped when the process holds more than `--memory` gigabytes, and the table
says at which size that was.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.change import Change
from headrace.contracts.schema import Column, Schema
from headrace.engine.engine import Engine
from headrace.engine.memory import Memory
from headrace.sql.planner import plan_view
from report import aligned, machine, markdown, publish

I64 = npt.NDArray[np.int64]
SIZES = (1_000_000, 5_000_000, 20_000_000, 50_000_000)
CHANGES = (1_000, 10_000)
REPEATS = {1_000: 150, 10_000: 40}
LOAD_ROWS = 250_000
LOCAL_KEYS = 50_000
"""Local keys lie among the last so many."""
HEAD = ["", "rows", "changes", "median CPU ms", "p99 ms", "max ms", "ratio", "bytes per row", "MB"]
LIMITED = [*HEAD[:-2], "MB in memory", "MB in files"]

EVENTS = Schema.of(
    [
        Column("k", "BIGINT", pa.int64()),
        Column("v", "BIGINT", pa.int64()),
        Column("happened", "TIMESTAMP", pa.timestamp("us")),
    ]
)
NAMES = Schema.of([Column("k", "BIGINT", pa.int64()), Column("name", "BIGINT", pa.int64())])


@dataclass(frozen=True)
class Shape:
    """A view, whether its input may take rows back, and how many rows a key has."""

    sql: str
    append_only: bool = True
    rows_per_key: int = 1


SHAPES = {
    "aggregate": Shape("SELECT k, count(*) AS n, sum(v) AS s FROM e GROUP BY k"),
    "join": Shape("SELECT e.k, e.v, n.name FROM e JOIN n ON e.k = n.k", rows_per_key=2),
    "top-N": Shape(
        "SELECT k, v, row_number() OVER (PARTITION BY k ORDER BY v DESC) AS r FROM e QUALIFY r <= 3",
        append_only=False,
        rows_per_key=5,
    ),
    "session": Shape(
        "SELECT k, count(*) AS n, window_start, window_end "
        "FROM SESSION(e, happened, INTERVAL '30 seconds', k) GROUP BY k, window_start, window_end",
        rows_per_key=2,
    ),
}


@dataclass(frozen=True)
class Point:
    """Steps of one size of change at one size of state."""

    rows: int
    changes: int
    median_ms: float
    p99_ms: float
    max_ms: float
    bytes_per_row: float
    resident_mb: float
    own_mb: float
    file_mb: float


class Feed:
    """Rows in order of time: row i is of key i / rows per key while loading, and drawn while measuring."""

    def __init__(self, shape: Shape, *, uniform: bool) -> None:
        self._shape = shape
        self._uniform = uniform
        self._random = np.random.default_rng(7)
        self.rows = 0

    def load(self, count: int) -> dict[str, Change]:
        """Return the next rows, their keys new ones."""
        numbers = np.arange(self.rows, self.rows + count, dtype=np.int64)
        return self._changes(numbers // self._shape.rows_per_key)

    def draw(self, count: int) -> dict[str, Change]:
        """Return rows of keys that are there: any of them, or one of the last; every tenth key is new."""
        last = self.rows // self._shape.rows_per_key
        least = 0 if self._uniform else max(last - LOCAL_KEYS, 0)
        keys = self._random.integers(least, last, count)
        keys[::10] = np.arange(last, last + len(keys[::10]))
        return self._changes(keys)

    def _changes(self, keys: I64) -> dict[str, Change]:
        count = len(keys)
        numbers = np.arange(self.rows, self.rows + count, dtype=np.int64)
        first = 0 if self.rows == 0 else int(self.rows // self._shape.rows_per_key)
        self.rows += count
        values = self._random.integers(0, 1_000_000, count)
        times = pa.array(numbers * 1_000).cast(pa.timestamp("us"))
        found = {"e": Change.inserts(_batch(EVENTS, [pa.array(keys), pa.array(values), times]))}
        if " n " in self._shape.sql:
            new = np.unique(keys[keys >= first])
            found["n"] = Change.inserts(_batch(NAMES, [pa.array(new), pa.array(new * 3)]))
        return found


def _batch(schema: Schema, columns: list[pa.Array]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(columns, schema=schema.arrow)


def grow(name: str, keys: str, rows_max: int, memory_max_gb: float, limit_gb: float | None) -> list[Point]:
    """Return the costs at each size, up to one or to a bound on memory; state beyond a limit is in files."""
    shape = SHAPES[name]
    memory = Memory(None if limit_gb is None else int(limit_gb * 2**30))
    engine = Engine(memory=memory)
    engine.add_relation("e", EVENTS, append_only=shape.append_only)
    engine.add_relation("n", NAMES, append_only=shape.append_only)
    engine.add_view(plan_view("v", shape.sql, {"e": EVENTS, "n": NAMES}), lambda _: iter(()))
    feed = Feed(shape, uniform=keys == "uniform")
    resident_before = resident_mb()
    points: list[Point] = []
    for size in [size for size in SIZES if size <= rows_max]:
        while feed.rows < size:
            _step(engine, feed.load(min(LOAD_ROWS, size - feed.rows)))
            if own_mb() > memory_max_gb * 1024:
                return points
        for changes in CHANGES:
            _step(engine, feed.draw(changes))
            samples = [_timed(engine, lambda: feed.draw(changes)) for _ in range(REPEATS[changes])]  # noqa: B023
            cpu, wall = np.array(samples).T
            median, (p99, most) = np.median(cpu), np.percentile(wall, [99, 100])
            held = resident_mb() - resident_before
            bytes_per_row, in_files_mb = held * 2**20 / feed.rows, memory.file_bytes / 2**20
            points.append(
                Point(size, changes, median, p99, most, bytes_per_row, resident_mb(), own_mb(), in_files_mb)
            )
    return points


def _step(engine: Engine, changes: dict[str, Change]) -> None:
    output = engine.step(changes, datetime.now(UTC), {})
    assert not output.errors, output.errors


def _timed(engine: Engine, draw: Callable[[], dict[str, Change]]) -> tuple[float, float]:
    """Return milliseconds of CPU and of the clock."""
    changes = draw()
    cpu, wall = time.process_time(), time.perf_counter()
    _step(engine, changes)
    return (time.process_time() - cpu) * 1e3, (time.perf_counter() - wall) * 1e3


def resident_mb() -> float:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * 4096 / 2**20


def own_mb() -> float:
    """Return the memory of this process that no file stands behind: the system cannot take it back."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def table(name: str, keys: str, points: list[Point], *, limited: bool) -> Iterator[list[str]]:
    """Yield the rows of the table."""
    first = {point.changes: point.median_ms for point in reversed(points)}
    for point in points:
        held = (point.own_mb, point.file_mb) if limited else (point.bytes_per_row, point.resident_mb)
        yield [
            f"{name}, {keys}", f"{point.rows:,}", f"{point.changes:,}", f"{point.median_ms:.2f}",
            f"{point.p99_ms:.2f}", f"{point.max_ms:.1f}", f"{point.median_ms / first[point.changes]:.2f}",
            *(f"{figure:,.0f}" for figure in held),
        ]  # fmt: skip


def main() -> None:
    """Print the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--rows", type=int, default=SIZES[-1])
    words.add_argument("--shapes", default=",".join(SHAPES))
    words.add_argument("--keys", default="local,uniform")
    words.add_argument("--memory", type=float, default=16.0, help="gigabytes at which growing stops")
    words.add_argument("--limit", type=float, help="gigabytes of state in memory; the rest lies in files")
    words.add_argument("--docs", action="store_true", help="write the table into the documentation")
    given = words.parse_args()
    print(machine(), flush=True)
    head = HEAD if given.limit is None else LIMITED
    rows: list[list[str]] = []
    for name in given.shapes.split(","):
        for keys in given.keys.split(","):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                points = pool.apply(grow, (name, keys, given.rows, given.memory, given.limit))
            found = list(table(name, keys, points, limited=given.limit is not None))
            rows += found
            print(aligned(head, found), flush=True)
            if points and points[-1].rows < min(given.rows, SIZES[-1]):
                print(f"stopped beyond {points[-1].rows:,} rows: {given.memory:g} GB", flush=True)
    if given.docs:
        note = "" if given.limit is None else f"At most {given.limit:g} GB of state in memory.\n\n"
        publish("growth" if given.limit is None else "growth limited", note + markdown(head, rows))


if __name__ == "__main__":
    main()
