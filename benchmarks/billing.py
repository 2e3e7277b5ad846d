"""A year of a billing system: loading it, seeing a change, asking pages, changing settings.

    make bench billing
    make bench billing ARGS="--changes 10000000 --large 1000000"
    make bench billing ARGS="--docs"

Made-up merchants live through a year (`solutions/billing/simulate`); their rows are laid out again and again
under other merchants' names until there are as many changes as asked for, a tenth of them of one. All
views of the solution are kept, as `headrace run` keeps them, in a folder on disk.

- *load*: changes per second, from the first until the last is in every view, in requests of 50,000; and
  how many per CPU second the slowest and the last million took, as what is held grows;
- *acts* of customers, a row or a few and one commit each, from when an act was due until it is in the views.
  *Alone*, the next one when the one before is long done, is what somebody sees who clicks; with the CPU time
  that it takes. Then at fixed rates, at times fixed beforehand, whatever waits; and as fast as they can be
  sent, which tells how many a second can be kept up. Beside it, how many acts a version has: those that come
  during a step are in the next one together;
- *pages*: the named queries that the pages ask, of merchants in turn, the large one among them;
- *settings* of the large merchant, changed forth and back: those that choose parts of the ledger (discounts
  that are subtracted, past-due subscriptions, the first payment, when churn counts), one that derives
  movements again (after how long a customer who returns is new), and its time zone, which moves every
  movement to another day: from the call until the new MRR of every day has been read, and beside it until the
  new sums of all movements have. With `--changes 1100000 --large 1000000` the merchant has a million changes;
- *memory*: of the process at the end. Above two million changes, state of the views beyond a third of the
  machine's memory lies in files (`--state-mb` sets another bound); pages of those are in memory as long as
  there is room.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.solutions.billing.app import app
from headrace.solutions.billing.demo import LAST, STREAMS
from headrace.solutions.billing.models import Setting
from headrace.solutions.billing.simulate.history import World, make_world
from headrace.solutions.billing.simulate.live import Live
from headrace.solutions.billing.simulate.times import to_us
from report import aligned, machine, markdown, publish

CHANGES = 1_000_000
BOUNDED_ABOVE = 2_000_000
"""With more changes than that, state has a bound in memory."""
SYNCED_EVERY = 1_000_000
"""After so many changes it is waited until all of them are in the views, so that the rate can be told."""
LARGE = "large"
LARGE_CHANGES = 1_000_000
TEMPLATES, CUSTOMERS = 40, 60
ROWS_PER_REQUEST = 50_000
ACTS_ALONE, ALONE_EVERY_S = 100, 0.2
ACTS_S, ACTS_PER_S = 20, (5, 20)
"""How long customers act at each of these rates."""
ACTS_AT_ONCE = 400
WAITERS = 64
BETWEEN_S = 1.0
"""Before settings are changed, and before they are changed back."""
ASKED = 25
"""How often each query is asked."""
SHARED = ("product_id", "price_id", "coupon_id")
"""Ids that stay when a merchant's customers are laid out again within it."""
SETTINGS: dict[str, dict[str, Any]] = {
    "chooses: recurring discounts": {"subtract_recurring_discounts": False},
    "chooses: single discounts": {"subtract_once_discounts": True},
    "chooses: past due": {"count_past_due": False},
    "chooses: churn": {"churn_at": "cancellation"},
    "chooses: first payment": {"active_from": "first_payment"},
    "derives again: reactivation": {"reactivation_days": 30},
    "derives again: time zone": {"time_zone": "Asia/Tokyo"},
}
"""What is changed of the large merchant's settings, and back."""
Tables = dict[str, pa.Table]


def renamed(table: pa.Table, column: str, name: Callable[[pa.ChunkedArray], Any]) -> pa.Table:
    """Return the table with another column in place of one."""
    return table.set_column(table.column_names.index(column), column, name(table.column(column)))


def of_copy(tables: Tables, number: int) -> Tables:
    """Return the rows of all merchants under other merchants' names."""
    suffix = f"~{number}"
    found = {}
    for name, table in tables.items():
        if "merchant_id" not in table.column_names:
            continue
        for column in ("merchant_id", *(("event_id",) if name in STREAMS else ())):
            table = renamed(table, column, lambda ids: pc.binary_join_element_wise(ids, suffix, ""))
        found[name] = table
    return found


def of_large(tables: Tables, number: int) -> Tables:
    """Return one merchant's rows as customers of the large one."""
    suffix = f"~large{number}"
    found = {}
    for name, table in tables.items():
        if "merchant_id" not in table.column_names or (
            number and name in ("merchants", "products", "prices", "coupons")
        ):
            continue
        table = renamed(table, "merchant_id", lambda ids: pa.chunked_array([pa.array([LARGE] * len(ids))]))
        ids = [c for c in table.column_names if c.endswith("_id") and c not in ("merchant_id", *SHARED)]
        for column in ids:
            table = renamed(table, column, lambda held: pc.binary_join_element_wise(held, suffix, ""))
        found[name] = table
    return found


def rows_of(tables: Tables) -> int:
    return sum(table.num_rows for table in tables.values())


def portions(changes: int, large_changes: int) -> tuple[World, Iterator[Tables]]:
    """Return a world to go on living in, and the rows to load, its own first."""
    world = make_world(1, TEMPLATES, CUSTOMERS, 1.0, datetime.now(UTC))
    world.rows.take_gone()
    own = world.rows.take()
    first = world.shops[0].merchant_id
    one = {
        name: table.filter(pc.equal(table.column("merchant_id"), first))
        for name, table in own.items()
        if "merchant_id" in table.column_names
    }
    one.pop("settings", None)
    copied = {name: table for name, table in own.items() if name != "settings"}
    large = max(1, round(large_changes / max(rows_of(one), 1)))
    copies = max(0, round((changes - rows_of(own) - large * rows_of(one)) / rows_of(copied)))

    def every() -> Iterator[Tables]:
        yield own
        for number in range(large):
            yield of_large(one, number)
        for number in range(copies):
            yield of_copy(copied, number)

    return world, every()


def gathered(parts: Iterator[Tables], rows: int) -> Iterator[Tables]:
    """Yield the parts put together to about so many rows."""
    held: list[Tables] = []
    for part in parts:
        held.append(part)
        if sum(map(rows_of, held)) >= rows:
            yield joined(held)
            held = []
    if held:
        yield joined(held)


def joined(parts: list[Tables]) -> Tables:
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: pa.concat_tables([part[name] for part in parts if name in part]) for name in names}


def load(run: Any, parts: Iterator[Tables]) -> tuple[int, float, list[float]]:
    """Load everything; return how many rows, the seconds, and by the million how many per CPU second."""
    began, used = time.perf_counter(), time.process_time()
    rows = synced = 0
    rates: list[float] = []
    for tables in gathered(parts, 500_000):
        rows += sent_all(run, tables)
        if rows - synced >= SYNCED_EVERY:
            run.advance()
            rates.append((rows - synced) / (time.process_time() - used))
            synced, used = rows, time.process_time()
            told_load(rows, began, rates[-1])
    if rows > synced:
        run.advance()
        rates.append((rows - synced) / (time.process_time() - used))
        told_load(rows, began, rates[-1])
    return rows, time.perf_counter() - began, rates


def sent_all(run: Any, tables: Tables) -> int:
    """Send rows in requests; return how many."""
    rows = 0
    for name in sorted(tables, key=lambda name: name == LAST):
        put = run.append if name in STREAMS else run.upsert
        for start in range(0, tables[name].num_rows, ROWS_PER_REQUEST):
            part = tables[name].slice(start, ROWS_PER_REQUEST)
            result = patiently(put, name, part)
            assert result.rejected == 0, result.rejections[:3]
            rows += part.num_rows
    return rows


def told_load(rows: int, began: float, rate: float) -> None:
    took_s = time.perf_counter() - began
    told(
        f"{rows:,} changes in the views after {took_s:,.0f} s, {rows / took_s:,.0f} a second; the last "
        f"{rate:,.0f} per CPU second; {memory_words()}"
    )


def told(what: str) -> None:
    """Say how far it is."""
    print(f"  {what}", flush=True)


def patiently(put: Callable[..., Any], name: str, rows: pa.Table) -> Any:
    """Send rows; where the run asks to come later, come later."""
    from headrace.errors import Busy

    while True:
        try:
            return put(name, rows)
        except Busy as busy:
            time.sleep(busy.retry_after_s)


def acts(run: Any, world: World) -> Iterator[list[str]]:
    """Let customers act; yield the rows of the table: alone, at fixed rates, and as many as go in."""
    live = Live(world)
    run.wait_for(acted(run, live), 600)  # what was due since the history was made
    times, used = alone_ms(run, live)
    p50, p99 = np.percentile(times, [50, 99])
    of = f"{len(times)} acts, {np.mean(used):.0f} CPU ms each"
    yield ["act to visible, alone", of, f"p50 {p50:.0f} ms", f"p99 {p99:.0f} ms"]
    for rate in ACTS_PER_S:
        before = run.version.number
        times = visible_ms(run, live, rate, rate * ACTS_S)
        p50, p99 = np.percentile(times, [50, 99])
        of = f"{len(times)} acts, {shared(run, before, len(times))}"
        yield [f"act to visible, {rate} a second", of, f"p50 {p50:.0f} ms", f"p99 {p99:.0f} ms"]
    before, began = run.version.number, time.perf_counter()
    run.wait_for([acted(run, live) for _ in range(ACTS_AT_ONCE)][-1], 600)
    kept_up = ACTS_AT_ONCE / (time.perf_counter() - began)
    yield ["acts at once", f"{ACTS_AT_ONCE} acts", f"{kept_up:.0f}/s", shared(run, before, ACTS_AT_ONCE)]


def shared(run: Any, before: int, count: int) -> str:
    """Return in words how many acts one version has."""
    return f"{count / max(run.version.number - before, 1):.1f} in a version"


def acted(run: Any, live: Live) -> int:
    """Let a customer act, and what is due by now; return the commit."""
    live.tick(to_us(datetime.now(UTC)), 1)
    return sent(run, live.world)


def alone_ms(run: Any, live: Live) -> tuple[list[float], list[float]]:
    """Let customers act one after the other; return how long each took to be seen, and the process's CPU."""
    times, used = [], []
    for _ in range(ACTS_ALONE):
        live.tick(to_us(datetime.now(UTC)), 1)
        began, cpu = time.perf_counter(), time.process_time()
        run.wait_for(sent(run, live.world), 600)
        times.append((time.perf_counter() - began) * 1e3)
        time.sleep(ALONE_EVERY_S)
        used.append((time.process_time() - cpu) * 1e3)
    return times, used


def visible_ms(run: Any, live: Live, rate: int, count: int) -> list[float]:
    """Let so many customers act a second, one commit each; return how long each was on its way from when it
    was due.
    """
    began = time.perf_counter() + 0.1

    def waited_ms(commit: int, due: float) -> float:
        run.wait_for(commit, 600)
        return (time.perf_counter() - due) * 1e3

    with ThreadPoolExecutor(WAITERS) as waiters:
        found = []
        for number in range(count):
            due = began + number / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            found.append(waiters.submit(waited_ms, acted(run, live), due))
        return [one.result() for one in found]


def sent(run: Any, world: World) -> int:
    """Send what has happened as one commit; return it."""
    with run.transaction() as transaction:
        for name, rows in world.rows.take().items():
            (transaction.append if name in STREAMS else transaction.upsert)(name, rows)
        for name, rows in world.rows.take_gone().items():
            transaction.delete(name, rows)
    return max(result.commit or 0 for result in transaction.results)


def pages_ms(run: Any, merchants: list[str]) -> dict[str, list[float]]:
    """Ask what the pages ask; return how long each answer took, by query."""
    today = datetime.now(UTC).date()
    since = today - timedelta(days=365)
    span: dict[str, Any] = {"since": since, "until": today}
    asked: dict[str, dict[str, Any]] = {
        "metrics": span,
        "slices": span | {"by": "product"},
        "movements": {"since": today - timedelta(days=7), "until": today},
        "customers_by_mrr": {"day": today},
        "cohorts": {"until": today},
        "trials": span,
        "payment_recovery": span,
    }
    found: dict[str, list[float]] = {}
    for name, params in asked.items():
        for number in range(ASKED):
            whose = LARGE if number % 5 == 0 else merchants[number % len(merchants)]
            began = time.perf_counter()
            run.ask(name, {"merchant": whose, **params})
            found.setdefault(name, []).append((time.perf_counter() - began) * 1e3)
    return found


def settings_s(run: Any, changed: dict[str, Any], number: int) -> tuple[float, float, float]:
    """Change settings of the large merchant, and a moment later back; return of the longer one the seconds
    until the new daily numbers were read, until the new movements were, and the CPU seconds until the former.
    """
    took: list[tuple[float, float, float]] = []
    for values in (changed, {}):
        time.sleep(BETWEEN_S)
        row = Setting(merchant_id=LARGE, valid_at=datetime.now(UTC), seq=time.time_ns() + number, **values)
        began, cpu = time.perf_counter(), time.process_time()
        commit = run.upsert("settings", [row]).commit
        run.wait_for(commit, 3_600)
        run.query(f"SELECT day, sum(amount) FROM mrr_daily WHERE merchant_id = '{LARGE}' GROUP BY day")
        daily_s, busy_s = time.perf_counter() - began, time.process_time() - cpu
        run.query(f"SELECT type, sum(amount) FROM mrr_movements WHERE merchant_id = '{LARGE}' GROUP BY type")
        took.append((daily_s, time.perf_counter() - began, busy_s))
    return max(took)


def measured(changes: int, large_changes: int, state_bytes_max: int | None, folder: Path) -> list[list[str]]:
    """Measure everything; return the table's rows."""
    world, parts = portions(changes, large_changes)
    with app.open(folder, auto=True, state_bytes_max=state_bytes_max) as run:
        began = time.process_time()
        rows, took_s, rates = load(run, parts)
        cpu_s = time.process_time() - began
        large = run.query(
            f"SELECT count(*) AS n FROM mrr_movements WHERE merchant_id = '{LARGE}'"
        ).to_pylist()[0]["n"]
        table = [
            ["load", f"{rows:,} changes", f"{rows / took_s:,.0f}/s", f"{rows / cpu_s:,.0f} per CPU second"],
            [
                "load, by the million",
                f"{len(rates)} parts",
                f"slowest {min(rates):,.0f} per CPU second",
                f"last {rates[-1]:,.0f} per CPU second",
            ],
            ["large merchant", f"about {large_changes:,} changes", f"{large:,} movements", ""],
        ]
        told("customers act")
        table += acts(run, world)
        merchants = [shop.merchant_id for shop in world.shops]
        every: list[float] = []
        told("pages are asked")
        for name, times in pages_ms(run, merchants).items():
            every += times
            p50, p99 = np.percentile(times, [50, 99])
            table.append([f"page: {name}", f"{len(times)} asked", f"p50 {p50:.0f} ms", f"p99 {p99:.0f} ms"])
        table.append(["all pages", f"{len(every)} asked", "", f"p99 {np.percentile(every, 99):.0f} ms"])
        for number, (name, changed) in enumerate(SETTINGS.items()):
            told(name)
            daily_s, whole_s, busy_s = settings_s(run, changed, number)
            rest = f"{whole_s:.2f} s for all movements, {busy_s:.2f} CPU s"
            table.append([name, "forth and back", f"{daily_s:.2f} s", rest])
        bound = (
            "no bound on state" if state_bytes_max is None else f"{state_bytes_max / 2**20:,.0f} MB of state"
        )
        table.append(["memory", bound, memory_words(), f"{peak_mb():,.0f} MB at most"])
    return table


def memory_words() -> str:
    """Return what the process has in memory, and how much of that are pages of files, in words."""
    kept = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    resident, of_files = (int(kept[name].split()[0]) / 2**10 for name in ("VmRSS", "RssFile"))
    return f"{resident:,.0f} MB, {of_files:,.0f} of them files"


def state_bound(changes: int, state_mb: int | None) -> int | None:
    """Return how many bytes of state may lie in memory; None: no bound."""
    if state_mb is not None:
        return state_mb * 2**20
    if changes <= BOUNDED_ABOVE:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 3


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=CHANGES)
    parser.add_argument("--large", type=int, help="changes of the large merchant; default: a tenth")
    parser.add_argument("--state-mb", type=int, help="state of the views that may lie in memory")
    parser.add_argument("--docs", action="store_true", help="write the table into the documentation")
    given = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        large = given.large or min(LARGE_CHANGES, given.changes // 10)
        state = state_bound(given.changes, given.state_mb)
        table = measured(given.changes, large, state, Path(folder) / "data")
    head = ["", "of", "", ""]
    print(aligned(head, table))
    if given.docs:
        section = "billing" if state is None else "billing bounded"
        publish(section, markdown(["", "of", "measured", "and"], table))


if __name__ == "__main__":
    main()
