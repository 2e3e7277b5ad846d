"""What a changed setting of one tenant costs: the time to the new answer, and what others feel of it.

    make bench settings
    make bench settings ARGS="--rows 200000"
    make bench settings ARGS="--docs"

One tenant has a million events and 99 others share a tenth as many. A table of settings holds one row per
tenant. Views join it in four ways:

- `weighs days`: rows are derived without settings, one per day and kind; the settings filter and weigh those;
- `weighs movements`: the same over one row per customer, month and kind;
- `weighs events`: the same over every single event, so that a million rows are weighed again;
- `re-derives`: the setting goes into a window over the rows of each customer, so that everything of the
  tenant is derived again.

One row of settings is changed; measured are the CPU seconds of the process while nothing else happens, which
others on the machine do not disturb; the seconds until the new answer can be read (median and longest of
several changes); and meanwhile, of another tenant, how long its reads take and how long its new events take
to be in the answer. Both are measured without any change first. Where the change reaches more rows than a
step should take, all is measured twice: computed in a step, and computed aside, which is how it is by
default. Each kind runs in a process of its own, and in the end its answer is compared with DuckDB's over the
same rows.
"""

from __future__ import annotations

import argparse
import multiprocessing
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

import headrace as hr
from headrace.declarations import REACH_ROWS_MAX
from headrace.runtime import Run
from report import aligned, machine, markdown, publish

ROWS = 1_000_000
OTHERS = 99
CHANGES = 3
CALM_S = 4.0
APPEND_EVERY_S = 0.02
READ_EVERY_S = 0.005
EVENTS = "tenant BIGINT, customer BIGINT, kind TEXT, amount DECIMAL(18,2), sold_at TIMESTAMP"
SETTINGS = "tenant BIGINT, weight DECIMAL(9,4), refunds BOOLEAN, gap_days INTEGER"
HEAD = [
    "", "computed", "events", "CPU s", "s to the answer", "longest", "reads p50 ms", "during", "longest",
    "fresh p50 ms", "during", "longest", "MB",
]  # fmt: skip
IN_A_STEP = 1 << 40
"""Rows that no change reaches."""

WEIGHED = """
SELECT d.tenant, d.day,
       sum(CASE WHEN d.kind = 'refund' AND NOT s.refunds THEN 0 ELSE d.amount * s.weight END) AS v
FROM {derived} d JOIN settings s ON s.tenant = d.tenant GROUP BY d.tenant, d.day
"""
MOVEMENTS = """
SELECT tenant, customer, kind, date_trunc('month', sold_at) AS day, sum(amount) AS amount
FROM events GROUP BY tenant, customer, kind, date_trunc('month', sold_at)
"""
DAYS = """
SELECT tenant, kind, date_trunc('day', sold_at) AS day, sum(amount) AS amount
FROM events GROUP BY tenant, kind, date_trunc('day', sold_at)
"""
RUNNING = """
SELECT e.tenant, e.sold_at, e.amount, s.gap_days,
       lag(e.sold_at) OVER (PARTITION BY e.tenant, e.customer ORDER BY e.sold_at, e.kind, e.amount) AS before
FROM events e JOIN settings s ON s.tenant = e.tenant
"""
RETURNS = """
SELECT tenant, date_trunc('month', sold_at) AS day, count(*) AS v, sum(amount) AS amount
FROM gaps WHERE before IS NULL OR sold_at > before + to_days(gap_days)
GROUP BY tenant, date_trunc('month', sold_at)
"""
VIEWS: dict[str, dict[str, str]] = {
    "weighs days": {"days": DAYS, "report": WEIGHED.format(derived="days")},
    "weighs movements": {"movements": MOVEMENTS, "report": WEIGHED.format(derived="movements")},
    "weighs events": {
        "movements": "SELECT tenant, kind, date_trunc('day', sold_at) AS day, amount FROM events",
        "report": WEIGHED.format(derived="movements"),
    },
    "re-derives": {"gaps": RUNNING, "report": RETURNS},
}


def app_of(name: str) -> hr.App:
    """Return the app with the views of one kind."""
    app = hr.App("settings")
    app.stream("events", EVENTS)
    app.table("settings", SETTINGS, key="tenant")
    for view, sql in VIEWS[name].items():
        app.view(view, sql)
    return app


def events(tenants: np.ndarray[Any, Any], seed: int, customers: int) -> pa.Table:
    """Return random events of some tenants, over two years."""
    random = np.random.default_rng(seed)
    count = len(tenants)
    start = np.datetime64("2024-01-01", "us")
    at = start + random.integers(0, 730 * 86_400_000_000, count).astype("timedelta64[us]")
    kinds = np.array(["sale", "fee", "refund"])[random.integers(0, 3, count)]
    cents = random.integers(1, 100_000, count)
    amount = pa.array(cents, pa.int64()).cast(pa.decimal128(20, 0)).cast(pa.decimal128(22, 2))
    amount = amount.cast(pa.decimal128(18, 2))
    return pa.table(
        {
            "tenant": pa.array(tenants), "customer": random.integers(0, customers, count), "kind": kinds,
            "amount": amount, "sold_at": pa.array(at, pa.timestamp("us")),
        }
    )  # fmt: skip


def setting(tenant: int, number: int) -> dict[str, Any]:
    """Return the row of settings of a tenant, another one for every number."""
    return {
        "tenant": tenant, "weight": f"{1 + number / 10:.4f}", "refunds": bool(number % 2),
        "gap_days": 7 + number,
    }  # fmt: skip


class Watch:
    """Reads another tenant's rows and appends events of it, again and again; keeps how long each takes."""

    def __init__(self, run: Run, tenant: int) -> None:
        self._run = run
        self._tenant = tenant
        self._end = threading.Event()
        self.reads_s: list[float] = []
        self.waits_s: list[float] = []
        self.was_held = False
        self._threads = [threading.Thread(target=work) for work in (self._read, self._append)]

    def __enter__(self) -> Watch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _read(self) -> None:
        sql = f"SELECT * FROM report WHERE tenant = {self._tenant}"
        while not self._end.wait(READ_EVERY_S):
            began = time.perf_counter()
            self._run.query(sql)
            self.reads_s.append(time.perf_counter() - began)

    def _append(self) -> None:
        row = {"tenant": self._tenant, "customer": 1, "kind": "sale", "amount": "1.00"}
        while not self._end.wait(APPEND_EVERY_S):
            began = time.perf_counter()
            commit = self._run.append("events", [{**row, "sold_at": datetime.now(UTC)}]).commit
            assert commit is not None
            version = self._run.wait_for(commit, 600)
            self.waits_s.append(time.perf_counter() - began)
            self.was_held |= bool(version.held)


def measured(name: str, rows: int, reach_rows_max: int) -> list[str]:
    """Return the row of one kind of views."""
    with app_of(name).open(None, auto=True, reach_rows_max=reach_rows_max) as run:
        tenants = [setting(tenant, 0) for tenant in range(OTHERS + 1)]
        run.upsert("settings", tenants)
        big = np.zeros(rows, dtype=np.int64)
        small = np.random.default_rng(1).integers(1, OTHERS + 1, rows // 10)
        for part in np.array_split(np.concatenate([big, small]), max(1, rows // 50_000)):
            run.append("events", events(part, len(part) + int(part[-1]), rows // 20))
        run.advance()
        cpu_s = [changed(run, number, time.process_time) for number in range(1, CHANGES + 1)]
        with Watch(run, 7) as calm:
            time.sleep(CALM_S)
        with Watch(run, 7) as busy:
            took_s = [
                changed(run, number, time.perf_counter) for number in range(CHANGES + 1, 2 * CHANGES + 1)
            ]
        check(run, name)
        how = "aside" if busy.was_held else "in a step"
        return [name, how, *line(rows, cpu_s, took_s, calm, busy)]


def changed(run: Run, number: int, clock: Callable[[], float]) -> float:
    """Change the setting of the big tenant and read the new answer; return how long it took."""
    began = clock()
    commit = run.upsert("settings", [setting(0, number)]).commit
    assert commit is not None
    run.wait_for(commit, 600)
    run.query("SELECT count(*) FROM report WHERE tenant = 0")
    return clock() - began


def line(rows: int, cpu_s: list[float], took_s: list[float], calm: Watch, busy: Watch) -> list[str]:
    """Return what has been measured as cells."""

    def ms(values_s: list[float], share: float) -> str:
        return f"{np.quantile(values_s, share) * 1000:,.1f}" if values_s else "none"

    return [
        f"{rows:,}", f"{np.median(cpu_s):.2f}", f"{np.median(took_s):.2f}", f"{max(took_s):.2f}",
        ms(calm.reads_s, 0.5), ms(busy.reads_s, 0.5), ms(busy.reads_s, 1.0),
        ms(calm.waits_s, 0.5), ms(busy.waits_s, 0.5), ms(busy.waits_s, 1.0), memory_mb(),
    ]  # fmt: skip


def memory_mb() -> str:
    """Return how much the process holds."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    found = next(line for line in lines if line.startswith("VmRSS"))
    return f"{int(found.split()[1]) / 1024:,.0f}"


def check(run: Run, name: str) -> None:
    """Compare the answer with DuckDB's over the same rows."""
    run.advance()
    with duckdb.connect() as con:
        for table in ("events", "settings"):
            con.register(table, run.read(table).table)
        for view, sql in VIEWS[name].items():
            con.execute(f"CREATE VIEW {view} AS {sql}")
        con.register("kept", run.read("report").table)
        gone, come = "(FROM report EXCEPT ALL FROM kept)", "(FROM kept EXCEPT ALL FROM report)"
        found = con.execute(f"SELECT count(*) FROM ({gone} UNION ALL {come})").fetchone()
    assert found == (0,), f"{name}: {found} rows differ from DuckDB's"


def apart(name: str, rows: int, reach_rows_max: int) -> list[str]:
    """Run in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measured, (name, rows, reach_rows_max))


def main() -> None:
    """Measure, print, and write the table into the documentation where that is asked for."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--rows", type=int, default=ROWS)
    options.add_argument("--views", nargs="*", choices=list(VIEWS), default=list(VIEWS))
    options.add_argument("--docs", action="store_true", help="write the table into the documentation")
    given = options.parse_args()
    print(machine())
    rows = []
    for name in given.views:
        aside = apart(name, given.rows, REACH_ROWS_MAX)
        rows += [apart(name, given.rows, IN_A_STEP), aside] if aside[1] == "aside" else [aside]
    print(aligned(HEAD, rows))
    if given.docs:
        publish("settings", markdown(HEAD, rows))


if __name__ == "__main__":
    main()
