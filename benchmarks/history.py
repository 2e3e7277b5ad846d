"""What it costs to keep the past, and how long it takes to read it and to tell causes apart.

    make bench history
    make bench history ARGS="--versions 500"
    make bench history ARGS="--docs"

Orders come in steps of a thousand. Views over them: turnover per shop (10,000 shops: most of a step's rows
change a shop each), and all large orders (one row each, which stay). First the same steps with and without a
past: time of a step, time that the writing takes beside the steps, bytes per version and per changed row.
Then the time of `as_of` at versions further and further back, after a restart, and of `AT` in a join of two
moments. Then the time of `difference` from versions further and further back, beside the time to create
the view. At last versions of table rows are loaded, into the table and its `__history`: the CPU seconds of
door, log and views together, for versions in the order of time and in no order.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

import headrace as hr
from headrace.testing import ManualClock
from report import aligned, machine, markdown, publish

ROWS = 1_000
ROUNDS = 3
SHOPS = 10_000
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TURNOVER = "SELECT shop, sum(amount) AS amount, count(*) AS n FROM orders GROUP BY shop"
HEAD_KEPT = [
    "history", "step ms", "writing ms per version", "rows changed per version", "bytes per version",
    "bytes per changed row",
]  # fmt: skip
HEAD_READ = ["versions back", "turnover, 10,000 rows, ms", "large, all rows ms", "two moments joined, ms"]
HEAD_LOADED = ["versions in", "versions", "keys", "CPU s", "versions per CPU s", "rows of __history"]
LOAD_ROWS, LOAD_KEYS, LOAD_BATCH_ROWS = 1_000_000, 100_000, 50_000
PLANS = "id BIGINT, plan TEXT, seats BIGINT, price DECIMAL(18,2), valid_at TIMESTAMP, seq BIGINT"
HEAD_CAUSES = ["versions back", "rows before", "rows between", "difference ms", "creating the view ms"]


def app(history: str) -> hr.App:
    """Orders and the views over them."""
    shop = hr.App("history")
    shop.stream("orders", "id BIGINT, shop BIGINT, amount BIGINT, placed TIMESTAMP", event_time="placed")
    shop.view("turnover", TURNOVER, history=history)
    shop.view("large", "SELECT id, shop, amount FROM orders WHERE amount > 50", history=history)
    return shop


def orders(number: int, clock: datetime) -> pa.Table:
    """One step's orders; every tenth is late."""
    chance = np.random.default_rng(number)
    ids = np.arange(number * ROWS, (number + 1) * ROWS)
    placed = np.array([clock.replace(tzinfo=None)], dtype="datetime64[us]").repeat(ROWS)
    placed[::10] -= np.timedelta64(3600 * 1_000_000 * 24, "us")
    amounts = pa.array(chance.integers(0, 100, ROWS))
    columns = {"id": ids, "shop": chance.integers(0, SHOPS, ROWS), "amount": amounts}
    return pa.table({**columns, "placed": pa.array(placed)})


def filled(folder: Path, history: str, versions: int) -> list[str]:
    """Take the steps; return what they cost."""
    clock = ManualClock(NOON)
    with app(history).open(folder, clock=clock) as run:
        for number in range(versions):
            clock.advance(timedelta(seconds=1))
            run.append("orders", orders(number, clock()))
            run.advance()
        stats = run.stats()
    if history == "0":
        return ["none", f"{stats['step_busy_s'] / versions * 1e3:.2f}", "–", "–", "–", "–"]
    with app(history).open(folder, clock=clock) as run:
        kept = run.stats()["history"]
        rows = sum(table.num_rows for name in ("turnover", "large") for table in run.changes(name, since=0))
    writing_s = stats["history"]["write_s"]
    return [
        history, f"{stats['step_busy_s'] / versions * 1e3:.2f}", f"{writing_s / versions * 1e3:.2f}",
        f"{rows / versions:,.0f}", f"{kept['bytes'] / versions:,.0f}", f"{kept['bytes'] / rows:.1f}",
    ]  # fmt: skip


def quietest(folder: Path, history: str, versions: int) -> list[str]:
    """Take the steps several times, and return what the quickest cost."""
    found = [filled(folder / str(number), history, versions) for number in range(ROUNDS)]
    return min(found, key=lambda row: float(row[1]))


def timed(work: Callable[[], object], times: int = 3) -> float:
    """Return the median time in milliseconds."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append((time.perf_counter() - began) * 1e3)
    return sorted(found)[len(found) // 2]


def reads(folder: Path, versions: int) -> list[list[str]]:
    """Return the time of reads, by how far they go back."""
    found = []
    with app("30d").open(folder, clock=ManualClock(NOON + timedelta(hours=1))) as run:
        for back in sorted({0, 1, 10, 100, versions // 4, versions // 2, versions - 1}):
            version = versions - back
            joined = (
                f"SELECT sum(now.amount - turnover.amount) FROM turnover AT (VERSION => {version}), "
                "turnover now WHERE turnover.shop = now.shop"
            )
            found.append([
                f"{back:,}",
                f"{timed(lambda v=version: run.query('SELECT sum(amount) FROM turnover', as_of=v)):.1f}",
                f"{timed(lambda v=version: run.query('SELECT sum(amount) FROM large', as_of=v)):.1f}",
                f"{timed(lambda sql=joined: run.query(sql)):.1f}",
            ])  # fmt: skip
    return found


def causes(folder: Path, versions: int) -> list[list[str]]:
    """Return the time of differences, by how far they go back, beside that of creating the view."""
    found = []
    with app("30d").open(folder, clock=ManualClock(NOON + timedelta(hours=1))) as run:
        created = timed(lambda: run.create_view("again", TURNOVER), times=1)
        now = run.version.number
        for back in sorted({10, 100, versions // 2}):
            since = versions - back
            took = timed(lambda v=since: run.difference("turnover", since=v, until=now), times=1)
            found.append([
                f"{back:,}", f"{since * ROWS:,}", f"{back * ROWS:,}", f"{took:,.0f}", f"{created:,.0f}",
            ])  # fmt: skip
    return found


def loaded(folder: Path, rows: int, *, in_order: bool) -> list[str]:
    """Load versions of table rows; return what that costs."""
    chance = np.random.default_rng(7)
    declared = hr.App("loaded")
    declared.table("plans", PLANS, key="id", effective="valid_at", sequence="seq")
    seq = np.arange(rows) if in_order else chance.permutation(rows)
    at = np.datetime64("2020-01-01", "us") + seq * np.timedelta64(60_000_000, "us")
    ids = chance.integers(0, LOAD_KEYS, rows)
    prices = pa.array(chance.integers(1, 1_000, rows)).cast(pa.decimal128(20, 0)).cast(pa.decimal128(18, 2))
    kinds = np.array(["free", "team", "large"])[chance.integers(0, 3, rows)]
    columns = {"id": ids, "plan": kinds, "seats": chance.integers(1, 99, rows), "price": prices}
    table = pa.table({**columns, "valid_at": pa.array(at), "seq": seq})
    with declared.open(folder) as run:
        began = time.process_time()
        for first in range(0, rows, LOAD_BATCH_ROWS):
            run.upsert("plans", table.slice(first, LOAD_BATCH_ROWS))
            run.advance()
        took_s = time.process_time() - began
        kept = run.query("SELECT count(*) AS n FROM plans__history").column("n")[0].as_py()
    words = "order" if in_order else "no order"
    return [words, f"{rows:,}", f"{LOAD_KEYS:,}", f"{took_s:.2f}", f"{rows / took_s:,.0f}", f"{kept:,}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--versions", type=int, default=1_000)
    parser.add_argument("--rows", type=int, default=LOAD_ROWS, help="versions of table rows to load")
    parser.add_argument("--docs", action="store_true", help="write the tables into the documentation")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="headrace-history-"))
    try:
        kept = [
            quietest(folder / "none", "0", options.versions),
            quietest(folder / "kept", "30d", options.versions),
        ]  # fmt: skip
        read = reads(folder / "kept" / "0", options.versions)
        told = causes(folder / "kept" / "0", options.versions)
        load = [
            loaded(folder / words, options.rows, in_order=words == "order") for words in ("order", "none")
        ]
    finally:
        shutil.rmtree(folder)
    tables = [(HEAD_KEPT, kept), (HEAD_READ, read), (HEAD_CAUSES, told), (HEAD_LOADED, load)]
    for head, table in tables:
        print(aligned(head, table), "\n")
    print(machine())
    if options.docs:
        publish("history", "\n\n".join(markdown(head, table) for head, table in tables))


if __name__ == "__main__":
    main()
