"""What each promise costs: latency and throughput of appends, one thread and four.

    make bench delivery
    make bench delivery ARGS="--seconds 5 --folder /var/tmp"
    make bench delivery ARGS="--docs"

A stream of each kind is appended to on a real disk, in calls of 1 and of 100 rows, for a few seconds each; no
view reads it, so that the door and the disk are all that is measured. The cost of the disk's own fsync is
printed first: it sets everything but at-most-once.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

import headrace as hr
from report import aligned, machine, markdown, publish

KINDS: dict[str, dict[str, str]] = {
    "exactly once, by event id": {"event_id": "id"},
    "exactly once, by idempotency key": {},
    "exactly once, neither": {},
    "at least once, by event id": {"event_id": "id", "delivery": "at_least_once"},
    "at most once": {"delivery": "at_most_once"},
}
HEAD = ["promise", "threads", "rows a call", "median ms", "p99 ms", "rows/s"]
COLUMNS = "id BIGINT, customer BIGINT, amount DECIMAL(18, 2), note VARCHAR"


def rows(first: int, count: int) -> pa.Table:
    """Return rows of a shop."""
    numbers = np.arange(first, first + count)
    amounts = pa.array(numbers % 10_000).cast(pa.decimal128(21, 2)).cast(pa.decimal128(18, 2))
    return pa.table(
        {"id": numbers, "customer": numbers % 977, "amount": amounts, "note": ["as it was ordered"] * count}
    )


def measured(folder: Path, name: str, threads: int, count: int, seconds: float) -> list[str]:
    """Append for some seconds; return a row of the table."""
    app = hr.App("delivery")
    app.stream("orders", COLUMNS, **KINDS[name])  # type: ignore[arg-type]
    took: list[list[float]] = [[] for _ in range(threads)]
    with app.open(folder) as run:

        def work(worker: int) -> None:
            first, end = worker * 10**12, time.perf_counter() + seconds
            while time.perf_counter() < end:
                table = rows(first, count)
                key = f"{worker} {first}" if "key" in name else None
                began = time.perf_counter()
                run.append("orders", table, idempotency_key=key)
                took[worker].append(time.perf_counter() - began)
                first += count
                if len(took[worker]) % 2000 == 0:
                    run.advance()

        began = time.perf_counter()
        workers = [threading.Thread(target=work, args=(worker,)) for worker in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        run._log.flush()
        spent = time.perf_counter() - began
    times = sorted(one * 1000 for part in took for one in part)
    p99 = times[min(len(times) - 1, int(len(times) * 0.99))]
    return [
        name, str(threads), str(count), f"{statistics.median(times):.2f}", f"{p99:.2f}",
        f"{len(times) * count / spent:,.0f}",
    ]  # fmt: skip


def fsync_ms(folder: Path) -> float:
    """Return the median time of writing 1 kB and an fsync."""
    times = []
    with (folder / "probe").open("wb", buffering=0) as probe:
        for _ in range(200):
            began = time.perf_counter()
            probe.write(bytes(1024))
            os.fdatasync(probe.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to be measured")
    parser.add_argument("--docs", action="store_true", help="write the table into the documentation")
    options = parser.parse_args()
    table = []
    place = Path(tempfile.mkdtemp(prefix="headrace-delivery-", dir=options.folder))
    try:
        disk = f"An fsync of 1 kB on this disk takes {fsync_ms(place):.2f} ms."
        for threads in (1, 4):
            for count in (1, 100):
                for at, name in enumerate(KINDS):
                    folder = place / f"{threads} {count} {at}"
                    table.append(measured(folder, name, threads, count, options.seconds))
    finally:
        shutil.rmtree(place)
    print(disk, "\n")
    print(aligned(HEAD, table), "\n")
    print(machine())
    if options.docs:
        publish("delivery", markdown(HEAD, table) + "\n\n" + disk)


if __name__ == "__main__":
    main()
