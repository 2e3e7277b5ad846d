"""Compares every metric of a server with the simulator's books: the views, and what named queries answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

from headrace.solutions.billing.simulate.history import World
from headrace.solutions.billing.simulate.metrics import Reckoned, Row, expected, reckon
from headrace.solutions.billing.simulate.reports import QUERIES, Span, asked
from headrace.solutions.billing.simulate.times import to_us
from headrace.solutions.kit.compare import Compared, compare_rows

BOOKS = "the books"
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
    outcomes = []
    for view, rows in expected(merchants).items():
        columns = ", ".join(rows[0]) if rows else "*"
        found = run.query(f"SELECT {columns} FROM {view}").to_pylist()
        outcomes.append(compare_rows(view, found, rows, BOOKS))
    return outcomes + verify_reports(run, world, merchants[:ASKED_MAX], now.date())


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
