"""How fast the log takes commits in: one at a time, many threads at once, small and large.

    python benchmarks/log.py [--seconds 2] [--folder FOLDER]

Three tables: the CPU of turning a commit into bytes, of appending it (bytes, checksum, write; no fsync) and
of reading it; commits and bytes per second through fsync with 1 to 16 threads (the *group* column says how
many commits shared one fsync); reading the log back. Only the ratios between the rows mean something on
another machine: the fsync of the disk sets the rest, so its own cost is printed first.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from headrace.change import Change
from headrace.log import Commit, Log
from headrace.log.codec import Decoder, Encoder

ROW_COUNTS = (1, 100, 10_000)
ENCODED_ROW_COUNTS = (*ROW_COUNTS, 50_000)
THREAD_COUNTS = (1, 2, 4, 8, 16)


def rows(count: int) -> pa.RecordBatch:
    """Return order rows as a shop sends them."""
    numbers = np.arange(count)
    return pa.RecordBatch.from_pydict(
        {
            "order_id": pa.array(numbers),
            "customer_id": pa.array(numbers * 7 % 50_021),
            "amount": pa.array(numbers % 10_000).cast(pa.decimal128(21, 2)).cast(pa.decimal128(18, 2)),
            "email": pa.array([f"buyer{number * 31 % 9_973}@example.com" for number in numbers]),
            "placed_at": pa.array(numbers * 1_000_000, pa.timestamp("us")),
        }
    )


def microseconds(work: Callable[[], object], repeats: int = 200) -> float:
    """Return the median time of one call."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


def fsync_cost(folder: Path) -> float:
    """Return the median time of writing 1 kB and an fsync, microseconds."""
    with (folder / "probe").open("wb", buffering=0) as probe:

        def once() -> None:
            probe.write(bytes(1024))
            os.fdatasync(probe.fileno())

        return microseconds(once)


def cpu_microseconds(work: Callable[[], object], repeats: int) -> float:
    """Return the mean CPU time of one call, in all threads of the process."""
    work()
    began = time.process_time()
    for _ in range(repeats):
        work()
    return (time.process_time() - began) / repeats * 1e6


def codec(parent: Path) -> None:
    """Print the CPU that a commit takes on its way to the system's file cache and back."""
    print(f"\n{'rows':>8} {'bytes':>10} {'encode us':>10} {'append us':>10} {'decode us':>10} {'MB/s':>8}")
    for count in ENCODED_ROW_COUNTS:
        repeats = max(20, 200_000 // (count + 1_000))
        encoder, decoder = Encoder(), Decoder()
        change = Change.inserts(rows(count))
        commit = Commit(1, datetime.now(UTC), {"orders": change})
        encoded = encoder.encode(commit)
        payload = encoded.payload
        encode = cpu_microseconds(lambda: encoder.encode(commit), repeats)  # noqa: B023 - called at once
        decode = cpu_microseconds(lambda: decoder.decode(encoded.kind, payload), repeats)  # noqa: B023
        taken = appended(parent / "codec", change, repeats)
        speed = change.rows.nbytes / taken
        print(f"{count:>8} {len(payload):>10,} {encode:>10.0f} {taken:>10.0f} {decode:>10.0f} {speed:>8.0f}")


def appended(folder: Path, change: Change, repeats: int) -> float:
    """Return the mean CPU time of an append without its fsync, microseconds, in the writer's thread too."""
    numbers = itertools.count(1)
    with Log.open(folder, fsync=False) as log:
        taken = cpu_microseconds(
            lambda: log.append(Commit(next(numbers), datetime.now(UTC), {"orders": change})).wait(), repeats
        )
    shutil.rmtree(folder)
    return taken


def append(
    folder: Path, threads: int, count: int, seconds: float, *, fsync: bool
) -> tuple[float, float, float]:
    """Return commits per second, megabytes of rows per second, commits per fsync."""
    change = Change.inserts(rows(count))
    turn = threading.Lock()
    with Log.open(folder, fsync=fsync) as log:
        end = time.perf_counter() + seconds
        began = time.perf_counter()
        number = 0

        def work() -> None:
            nonlocal number
            while time.perf_counter() < end:
                with turn:
                    number += 1
                    ticket = log.append(Commit(number, datetime.now(UTC), {"orders": change}))
                ticket.wait()

        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        took = time.perf_counter() - began
        groups = log.stats()["groups"]
    return number / took, number * change.rows.nbytes / took / 1e6, number / groups


def throughput(parent: Path, seconds: float) -> None:
    print(
        f"\n{'threads':>8} {'rows':>8} {'fsync':>6} {'commits/s':>10} {'rows/s':>12} {'MB/s':>8} {'group':>7}"
    )
    for count in ROW_COUNTS:
        for threads in THREAD_COUNTS:
            for fsync in (True, False):
                folder = parent / "log"
                commits, megabytes, group = append(folder, threads, count, seconds, fsync=fsync)
                shutil.rmtree(folder)
                print(
                    f"{threads:>8} {count:>8} {'yes' if fsync else 'no':>6} {commits:>10,.0f} "
                    f"{commits * count:>12,.0f} {megabytes:>8.1f} {group:>7.1f}"
                )


def reading(parent: Path) -> None:
    print(f"\n{'rows':>8} {'commits':>8} {'open ms':>8} {'read ms':>8} {'rows/s':>12} {'history rows/s':>15}")
    for count, commits in ((1, 5_000), (100, 2_000), (10_000, 100)):
        folder = parent / "log"
        change = Change.inserts(rows(count))
        with Log.open(folder, fsync=False) as log:
            for number in range(1, commits + 1):
                log.append(Commit(number, datetime.now(UTC), {"orders": change}))
        began = time.perf_counter()
        with Log.open(folder) as log:
            opened = time.perf_counter()
            read = sum(1 for _ in log.records())
            done = time.perf_counter()
            for part in log.history("orders"):
                read += len(part)
            history = time.perf_counter() - done
        shutil.rmtree(folder)
        total = count * commits
        print(
            f"{count:>8} {commits:>8} {(opened - began) * 1e3:>8.1f} {(done - opened) * 1e3:>8.1f} "
            f"{total / (done - opened):>12,.0f} {total / history:>15,.0f}"
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each combination runs")
    parser.add_argument(
        "--folder", type=Path, default=None, help="where to write; its disk is what is measured"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        parent = Path(name)
        print(f"write of 1 kB and fsync on this disk: {fsync_cost(parent):.0f} us")
        codec(parent)
        throughput(parent, given.seconds)
        reading(parent)


if __name__ == "__main__":
    main()
