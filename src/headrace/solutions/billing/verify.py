"""Compares every metric of a server with the simulator's books: the views, and what named queries answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

from headrace.solutions.billing.simulate.history import World
from headrace.solutions.billing.simulate.metrics import Reckoned, Row, customer_mrr, expected, reckon
from headrace.solutions.billing.simulate.reports import QUERIES, Span, asked, mrr_reported
from headrace.solutions.billing.simulate.times import to_us
from headrace.solutions.kit.compare import Compared, compare_rows

BOOKS = "the books"
PRESENT = "customer_mrr"
TRIES_MAX, PAUSE_S = 10, 0.4
ASKED_MAX = 60
"""Merchants and scenarios of which reports are asked for; the views are compared of all."""


def verify_views(run: Any, world: World) -> list[Compared]:
    """Compare a run, or a connection, with a world's books: every view, then reports of the first merchants.

    Views are compared in the columns that the books have.
    """
    run.advance()
    now = datetime.now(UTC)
    merchants = [
        reckon(world.books, merchant_id, to_us(now), scenario, rules)
        for merchant_id in world.books.merchants
        for scenario, rules in world.scenarios_of(merchant_id)
    ]
    outcomes = [
        _compare_present(run, merchants) if view == PRESENT else _compare(run, view, rows)
        for view, rows in expected(merchants).items()
    ]
    rows = [row for of in merchants for row in mrr_reported(of, world.books)]
    outcomes.append(_compare(run, mrr_reported.__name__, rows))
    return outcomes + verify_reports(run, world, merchants[:ASKED_MAX], now.date())


def _compare(run: Any, view: str, rows: Sequence[Row]) -> Compared:
    columns = ", ".join(rows[0]) if rows else "*"
    found = run.query(f"SELECT {columns} FROM {view}").to_pylist()
    return compare_rows(view, found, rows, BOOKS)


def _compare_present(run: Any, merchants: Sequence[Reckoned]) -> Compared:
    """Compare the view of the present, which the clock moves: both sides must be asked at one moment.

    The two clocks are read one after the other; where something falls between, it is asked again.
    """
    outcome = None
    for _ in range(TRIES_MAX):
        run.advance()
        for of in merchants:
            of.now_us = to_us(datetime.now(UTC))
        rows = [row for of in merchants for row in customer_mrr(of)]
        outcome = _compare(run, PRESENT, rows)
        if outcome.problem is None:
            break
        time.sleep(PAUSE_S)  # sleeps: what is due in the next second happens
    assert outcome is not None
    return outcome


def verify_reports(run: Any, world: World, merchants: Sequence[Reckoned], today: date) -> list[Compared]:
    """Compare the named queries over the last year with the books."""
    since = date(today.year - 1, today.month, 1)
    outcomes = []
    for report in QUERIES:
        name = report.__name__
        found: list[Row] = []
        rows: list[Row] = []
        for of in merchants:
            span = Span(of, world.books, since, today)
            own = of.of_scenario
            told = [own | row for row in report(span)]
            rows += told
            answered = run.ask(name, asked(name, span)).table.to_pylist()
            columns = told[0].keys() - own.keys() if told else ()
            found += [own | {column: row[column] for column in columns} for row in answered]
        outcomes.append(compare_rows(f"{name} (asked)", found, rows, BOOKS))
    return outcomes
