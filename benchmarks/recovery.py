"""How long a start takes, from a checkpoint and from the log alone, and what a checkpoint costs.

    make bench recovery
    make bench recovery ARGS="--rows 10000000"
    make bench recovery ARGS="--docs"

A shop with one row of state per order (its last change by key), a join, and a turnover per customer is filled
to each size. Then checkpoints are taken after changes of several sizes, scattered at random: bytes of state,
bytes that had to be written, how long the steps stood still, how long it took in all. At last the folder is
opened in a process of its own: until the first answer is there, from the checkpoint and with the folder
`state` taken away.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

import headrace as hr
from report import aligned, machine, markdown, publish

SIZES = (1_000_000, 3_000_000, 10_000_000)
CHANGES = (1_000, 10_000, 100_000)
LOAD_ROWS = 250_000
CUSTOMERS = 1_000_000
HEAD_TAKEN = ["rows", "changed since", "state MB", "written MB", "steps stood still s", "took s"]
HEAD_OPENED = ["rows", "from", "first answer s", "CPU s"]


def app() -> hr.App:
    """The shop: orders by key, customers, and views over both."""
    shop = hr.App("recovery")
    shop.table("orders", "id BIGINT, customer BIGINT, amount BIGINT", key="id")
    shop.view("open_orders", "SELECT id, customer, amount FROM orders WHERE amount > 0")
    shop.view(
        "turnover", "SELECT customer, sum(amount) AS amount, count(*) AS n FROM orders GROUP BY customer"
    )
    return shop


def rows(numbers: npt.NDArray[np.int64], shift: int = 0) -> pa.Table:
    """Orders by number."""
    return pa.table({"id": numbers, "customer": numbers % CUSTOMERS, "amount": numbers % 97 + shift})


def filled(folder: Path, size: int) -> list[list[str]]:
    """Fill a folder, take checkpoints, and return what they cost."""
    found = []
    with app().open(folder) as run:
        for first in range(0, size, LOAD_ROWS):
            run.upsert("orders", rows(np.arange(first, min(first + LOAD_ROWS, size))))
            run.advance()
        for shift in (1, 2):  # the first row that goes makes the index of a view
            run.upsert("orders", rows(np.arange(100), shift))
            run.advance()
            run.checkpoint()
        chance = np.random.default_rng(1)
        for number, changes in enumerate(CHANGES):
            run.upsert("orders", rows(chance.choice(size, changes, replace=False), number + 3))
            run.advance()
            written = run.checkpoint()
            cost = run.stats()["checkpoint"]
            found.append(
                [f"{size:,}", f"{changes:,}", f"{written.state_bytes / 1e6:,.0f}",
                 f"{written.new_bytes / 1e6:,.1f}", f"{cost['stall_s']:.2f}", f"{cost['took_s']:.2f}"]
            )  # fmt: skip
    return found


def opened(folder: Path) -> list[str]:
    """Open the folder in a process of its own; return the seconds to its end after the first answer, imports
    included, and the CPU seconds of it.
    """
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, __file__, "--answer", str(folder)], check=True, stdout=subprocess.PIPE)
    took_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return [f"{took_s:.2f}", f"{cpu_s:.2f}"]


def answer(folder: Path) -> None:
    """Open the folder, answer one question, and end without ceremony."""
    run = app().open(folder)
    print(run.query("SELECT count(*) AS n, sum(amount) AS amount FROM turnover").to_pylist())
    run.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=None, help="one size instead of three")
    parser.add_argument("--docs", action="store_true", help="write the tables into the documentation")
    parser.add_argument("--answer", type=Path, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answer is not None:
        answer(options.answer)
        return
    taken, starts = [], []
    for size in SIZES if options.rows is None else (options.rows,):
        folder = Path(tempfile.mkdtemp(prefix="headrace-recovery-"))
        try:
            taken += filled(folder, size)
            starts.append([f"{size:,}", "checkpoint", *opened(folder)])
            shutil.rmtree(folder / "state")
            starts.append([f"{size:,}", "log alone", *opened(folder)])
        finally:
            shutil.rmtree(folder)
    for head, table in ((HEAD_TAKEN, taken), (HEAD_OPENED, starts)):
        print(aligned(head, table), "\n")
    print(machine())
    if options.docs:
        publish("recovery", "\n\n".join([markdown(HEAD_TAKEN, taken), markdown(HEAD_OPENED, starts)]))


if __name__ == "__main__":
    main()
