"""`headrace demo billing`: the server, merchants with years of history, live activity, and the proof."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.live import Live as Screen

import headrace as hr
from headrace.errors import HeadraceError, StorageError
from headrace.solutions.billing.prove import proving
from headrace.solutions.billing.simulate.dirt import Delayed, disordered
from headrace.solutions.billing.simulate.history import World, make_world
from headrace.solutions.billing.simulate.live import Live
from headrace.solutions.billing.simulate.times import to_us
from headrace.solutions.billing.verify import verify_views
from headrace.solutions.kit.compare import comparison_table
from headrace.solutions.kit.durations import seconds_or_none
from headrace.solutions.kit.server import Server, end_calmly, serving

HERE = Path(__file__).parent
MERCHANTS = 200
CUSTOMERS = 25
"""Customers of a merchant, in the mean."""
VERIFY_EVENTS = 20_000
"""How many rows `--verify` plays live when neither their number nor a time is given."""
ROWS_PER_REQUEST = 20_000
TICK_S = 0.1
STREAMS = ("meter_events",)
LAST = "subscriptions"
"""Loaded after all others: by then everything that a subscription is worth is known."""


@dataclass(frozen=True)
class Plan:
    """What to play.

    Attributes:
        merchants, customers, years: of the history; customers for each merchant, in the mean.
        rate: rows per second of live activity.
        rows_max: end the live part after so many rows, or None.
        lasts_s: end it after so many seconds, or None.
        seed: equal seeds make equal histories.
    """

    merchants: int = MERCHANTS
    customers: int = CUSTOMERS
    years: float = 3.0
    rate: float = 200.0
    rows_max: int | None = None
    lasts_s: float | None = None
    seed: int = 1


def run_demo(
    *,
    rate: float = 200,
    seed: int = 1,
    events: int | None = None,
    for_: str | None = None,
    verify: bool = False,
    port: int = 8080,
    data: Path | None = None,
    merchants: int | None = None,
    years: float | None = None,
) -> int:
    """Run the demo until it is over, or Ctrl-C; return the exit code.

    Args:
        rate: rows per second of the live part.
        seed: equal seeds make equal histories.
        events: end the live part after so many rows.
        for_: end by itself after so much time of the live part, as in `60s`.
        verify: at the end compare every metric with the simulator's own books.
        port: the server's port; 0: any free one.
        data: where to keep the data; None: a folder that is removed at the end.
        merchants: how many; default 200.
        years: how far back their history goes; default 3.

    Returns:
        0; 1 when a metric differs from the books, or the server failed.

    Raises:
        HeadraceError: a duration that is none, or a data folder that is not empty.
    """
    console = Console(stderr=True)
    lasts_s = seconds_or_none(for_)
    if verify and events is None and lasts_s is None:
        events = VERIFY_EVENTS
    plan = Plan(merchants or MERCHANTS, CUSTOMERS, years or 3.0, rate, events, lasts_s, seed)
    if data is not None and data.is_dir() and any(data.iterdir()):
        raise StorageError(
            "the folder holds data already, of which the simulator's books know nothing",
            where=str(data),
            hint="name a new folder, or look at this one with headrace run",
        )
    end_calmly()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headrace-demo-")))
        try:
            server = stack.enter_context(serving(HERE, data or folder / "data", port, console))
            sys.stdout.write(f"{server.url}\n")
            sys.stdout.flush()
            console.print(f"the pages: {server.url}/\nCtrl-C ends the demo", highlight=False)
            if not verify:
                stack.enter_context(proving(server.url))
            world = _play(server, plan, console)
            if verify:
                return _verify(server.url, world, console)
            if lasts_s is not None:
                return 0
            console.print("the simulator is done; the pages stay until Ctrl-C")
            return server.stay()
        except KeyboardInterrupt:
            console.print("ended")
            return 0
        except HeadraceError as error:
            console.print(str(error), style="red", highlight=False)
            return 1


def _play(server: Server, plan: Plan, console: Console) -> World:
    """Load the history and go live, with a line of progress."""
    with (
        hr.connect(server.url) as run,
        Screen(console=console, refresh_per_second=4, transient=True) as screen,
    ):

        def tell(words: str) -> None:
            server.must_run()
            screen.update(words)

        began = time.monotonic()
        tell(f"{plan.merchants} merchants live through {plan.years:g} years …")
        world = make_world(plan.seed, plan.merchants, plan.customers, plan.years, datetime.now(UTC))
        rows = load(run, world, tell)
        run.advance()
        took_s = time.monotonic() - began
        console.print(
            f"history:   {rows:,} changes of {plan.merchants} merchants in {took_s:.1f} s", highlight=False
        )
        told = go_live(run, world, plan, tell)
        console.print(told, highlight=False)
        return world


def load(run: Any, world: World, tell: Callable[[str], None] = lambda _: None) -> int:
    """Send a world's rows, a little out of order as they always come; return how many."""
    tables, gone = world.rows.take(), world.rows.take_gone()
    total: int = sum(rows.num_rows for rows in (*tables.values(), *gone.values()))
    sent = 0
    for name in sorted(tables, key=lambda name: name == LAST):
        rows = disordered(name, tables[name], world.seed)
        for start in range(0, rows.num_rows, ROWS_PER_REQUEST):
            part = rows.slice(start, ROWS_PER_REQUEST)
            _put(run, name, part)
            sent += part.num_rows
            tell(f"history:   {sent:,} of {total:,} changes")
    for name, rows in gone.items():
        must_be_taken(run.delete(name, rows), name)
    return total


def _put(run: Any, name: str, rows: pa.Table) -> None:
    must_be_taken((run.append if name in STREAMS else run.upsert)(name, rows), name)


def must_be_taken(result: hr.AppendResult, name: str) -> None:
    """Refuse to go on when rows were not taken: the simulator's rows are all good.

    Raises:
        HeadraceError: naming the first one.
    """
    if result.rejected or result.late:
        first = result.rejections[0] if result.rejections else None
        raise hr.HeadraceError(f"{result.rejected} rows were rejected, first: {first}", where=name)


def go_live(run: Any, world: World, plan: Plan, tell: Callable[[str], None] = lambda _: None) -> str:
    """Let the world go on at the plan's pace, until the plan or Ctrl-C ends it; return the last words."""
    live, delayed = Live(world), Delayed(plan.seed)
    sent, told, words = 0, 0.0, ""
    for number, began in _ticks(plan):
        wanted = round((number + 1) * plan.rate * TICK_S) - sent
        if plan.rows_max is not None:
            wanted = min(wanted, plan.rows_max - sent)
        sent += live.tick(to_us(datetime.now(UTC)), max(wanted, 0))
        _send(run, world, delayed)
        passed_s = time.monotonic() - began
        words = (
            f"live:      {sent:,} changes, {sent / max(passed_s, 1e-3):,.0f} a second; "
            f"{delayed.late:,} late, {delayed.repeated:,} twice; {len(world.lives):,} customers"
        )
        if passed_s - told >= 1.0:
            told = passed_s
            tell(words)
        if plan.rows_max is not None and sent >= plan.rows_max:
            break
    for name, rows in delayed.rest().items():
        _put(run, name, rows)
    run.advance()
    return words


def _ticks(plan: Plan) -> Iterator[tuple[int, float]]:
    """Yield the number of each tick when it is due, and when the first one was."""
    began = time.monotonic()
    number = 0
    while plan.lasts_s is None or number * TICK_S < plan.lasts_s - 1e-9:
        yield number, began
        number += 1
        time.sleep(max(0.0, began + number * TICK_S - time.monotonic()))  # sleeps: the pace of the live part


def _send(run: Any, world: World, delayed: Delayed) -> None:
    """Send what has happened as one commit."""
    tables, gone = world.rows.take(), world.rows.take_gone()
    if not tables and not gone:
        return
    with run.transaction() as transaction:
        for name, rows in tables.items():
            out = delayed.pass_on(name, rows)
            if out.num_rows:
                (transaction.append if name in STREAMS else transaction.upsert)(name, out)
        for name, rows in gone.items():
            transaction.delete(name, rows)
    for result in transaction.results:
        must_be_taken(result, "live")


def _verify(url: str, world: World, console: Console) -> int:
    console.print("comparing every metric with the books …")
    with hr.connect(url) as run:
        outcomes = verify_views(run, world)
    console.print(comparison_table(outcomes))
    differing = [outcome.view for outcome in outcomes if outcome.problem]
    if differing:
        names = ", ".join(differing)
        console.print(f"{len(differing)} of {len(outcomes)} differ: {names}", style="bold red")
        return 1
    console.print(f"all {len(outcomes)} equal the books", style="bold green")
    return 0
