"""Every number by product, price, interval, country, currency, cohort and the merchant's own dimensions.

A world of the simulator with its books. What is parted must be what is filtered, slice by slice, and add up
where amounts are shared; slices of customers must be what the books say of those customers alone, and slices
by what is sold are reckoned here in plain Python from the subscriptions' timelines.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

import headrace as hr
from headrace.solutions.billing.app import app
from headrace.solutions.billing.simulate.history import World, make_world
from headrace.solutions.billing.simulate.ledger import Course
from headrace.solutions.billing.simulate.metrics import Reckoned, plan_interval, reckon, usage_monthly
from headrace.solutions.billing.simulate.reports import (
    Span,
    asked,
    cohorts,
    involuntary_churn,
    metrics,
    payment_recovery,
    revenue_at_risk,
    trials,
    usage_revenue,
)
from headrace.solutions.billing.simulate.times import to_us

UNTIL = datetime(2026, 3, 20, tzinfo=UTC)
SINCE = date(2025, 3, 1)
REPORTS = (metrics, trials, cohorts, payment_recovery, revenue_at_risk, involuntary_churn, usage_revenue)
SLICED = (*(report.__name__ for report in REPORTS), "usage_by_meter")
LISTS = (
    "movements",
    "customers_by_mrr",
    "mrr_per_customer_month",
    "trial_turns",
    "payments_of",
    "usage_of",
    "slices",
)
BY = ("product", "price", "plan_interval", "country", "currency", "cohort", "size")
FILTERS = {"product", "price", "plan_interval", "country", "cohort", "of_currency", "dimension", "value"}
NAMES = {"slice", "part", "name", "cohort", "is_first"}
Row = dict[str, Any]


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(seed=31, merchants=1, customers=45, years=2, until=UNTIL)


@pytest.fixture(scope="module")
def run(world: World) -> Iterator[hr.Run]:
    with app.open(None) as opened:
        for name, rows in world.rows.take().items():
            (opened.append if name in app.streams else opened.upsert)(name, rows)
        for name, rows in world.rows.take_gone().items():
            opened.delete(name, rows)
        opened.advance()
        yield opened


@pytest.fixture(scope="module")
def span(world: World) -> Span:
    (merchant_id,) = world.books.merchants
    return Span(reckon(world.books, merchant_id, to_us(UNTIL)), world.books, SINCE, UNTIL.date())


def answer(run: hr.Run, name: str, span: Span, **chosen: Any) -> list[Row]:
    given = (
        span.asked | {"period": "quarter", "today": span.until, "day": span.until, "rows": 100000} | chosen
    )
    known = {one.name for one in app.named_queries[name].parameters}
    found: list[Row] = run.ask(name, {key: given[key] for key in given if key in known}).table.to_pylist()
    return found


def bare(rows: list[Row]) -> list[str]:
    """Rows without what a slice is called, in any order."""
    return sorted(str({name: value for name, value in row.items() if name not in NAMES}) for row in rows)


def test_every_question_has_every_filter() -> None:
    for name in (*SLICED, *LISTS, "roll_forward"):
        known = {one.name for one in app.named_queries[name].parameters}
        assert known >= FILTERS, name
        assert "by" in known or name in LISTS, name


@pytest.mark.parametrize("name", SLICED)
def test_a_part_is_what_a_filter_leaves(run: hr.Run, span: Span, name: str) -> None:
    for number, by in enumerate(BY, SLICED.index(name)):
        parts: dict[str, list[Row]] = defaultdict(list)
        for row in answer(run, name, span, by=by):
            parts[row["part"]].append(row)
        assert parts, by
        value = max(parts)
        if number % 2 or by == "size" or value == "(none)":  # both ways to filter are asked of every question
            value = min(parts)
            chosen = {"dimension": by, "value": value}
        else:
            chosen = {"of_currency" if by == "currency" else by: value}
        assert bare(answer(run, name, span, **chosen)) == bare(parts[value]), (by, value)


def customers_of(of: Reckoned, by: str) -> dict[str, set[str]]:
    """Customers by slice, as the books have them."""
    cohort = {move.customer_id: str(of.month(move.first_us)) for move in of.moves}
    found: dict[str, set[str]] = defaultdict(set)
    for customer_id in {
        *of.book.customers,
        *cohort,
        *(sub.customer_id for sub in of.book.subscriptions.values()),
    }:
        known = of.customer(customer_id)
        value = {"country": known.country, "cohort": cohort.get(customer_id)}.get(
            by, known.dimensions.get(by)
        )
        found[value or "(none)"].add(customer_id)
    return found


def only(span: Span, customers: set[str]) -> Span:
    """The span of a merchant that has some of its customers alone."""
    book = span.of.book
    paid = {made.payment_id for made in book.payments if made.customer_id in customers}
    own = replace(
        book,
        customers={one: known for one, known in book.customers.items() if one in customers},
        subscriptions={one: sub for one, sub in book.subscriptions.items() if sub.customer_id in customers},
        trials=[one for one in book.trials if one.customer_id in customers],
        payments=[one for one in book.payments if one.customer_id in customers],
        refunds=[one for one in book.refunds if one.payment_id in paid],
        usage=[one for one in book.usage if one.customer_id in customers],
    )
    moves = [one for one in span.of.moves if one.customer_id in customers]
    turns = [one for one in span.of.turns if one.customer_id in customers]
    return replace(span, of=replace(span.of, book=own, moves=moves, turns=turns))


@pytest.mark.parametrize("report", REPORTS, ids=lambda one: one.__name__)
def test_a_slice_of_customers_is_what_the_books_say_of_them_alone(
    run: hr.Run, span: Span, report: Callable[[Span], Iterator[Row]]
) -> None:
    seen = 0
    for by in ("country", "cohort", "size"):
        for value, customers in sorted(customers_of(span.of, by).items())[:2]:
            wanted = list(report(only(span, customers)))
            found = run.ask(report.__name__, asked(report.__name__, span) | {"dimension": by, "value": value})
            columns = wanted[0].keys() if wanted else ()
            told = [{name: row[name] for name in columns} for row in found.table.to_pylist()]
            assert len(told) == len(wanted), (by, value)
            for row in wanted:
                assert any(alike(row, one) for one in told), (by, value, row)
            seen += len(wanted)
    assert seen


def alike(row: Row, other: Row) -> bool:
    return all(
        value == other[name]
        or (
            isinstance(value, float)
            and other[name] is not None
            and math.isclose(value, other[name], rel_tol=1e-9)
        )
        for name, value in row.items()
    )


def attribute(of: Reckoned, price_id: str, by: str) -> str:
    price = of.price(price_id)
    named = {"price": price_id, "product": price.product_id, "currency": price.currency}
    return named.get(by, plan_interval(price))


@pytest.mark.parametrize("by", ["product", "price", "plan_interval", "currency"])
def test_trials_and_usage_by_what_is_sold_are_those_of_the_items(run: hr.Run, span: Span, by: str) -> None:
    of = span.of
    wanted: Counter[tuple[str, str]] = Counter()
    for sub in of.book.subscriptions.values():
        last = None
        for at_us, standing in [*sub.standing.ordered(), (None, None)]:
            status = standing.status if standing else None
            for event, holds, when in (
                ("started", status == "trialing" != last, at_us),
                ("ended", last == "trialing" != status and at_us is not None, at_us and at_us - 1),
            ):
                if holds and span.holds(of.day(at_us or 0)):
                    held = [Course(item).at(when or 0) for item in sub.items.values()]
                    values = {attribute(of, one.price_id, by) for one in held if one}
                    wanted.update((value, event) for value in values or {"(none)"})
            last = status
    found = Counter[tuple[str, str]]()
    for row in answer(run, "trials", span, by=by, period="all"):
        found.update({(row["part"], event): row[event] for event in ("started", "ended") if row[event]})
    assert found == wanted
    worth: Counter[str] = Counter()
    for row in usage_monthly(of):
        if span.since <= row["month"] <= span.until:
            worth[attribute(of, row["price_id"], by)] += row["amount"]
    told: Counter[str] = Counter()
    for row in answer(run, "usage_revenue", span, by=by):
        told[row["part"]] += row["amount"]
    assert told == worth
    assert worth
    assert wanted


@pytest.mark.parametrize("by", ["product", "price", "plan_interval", "country"])
def test_amounts_of_payments_are_shared_to_the_cent(run: hr.Run, span: Span, by: str) -> None:
    whole = {row["currency"]: row for row in answer(run, "payment_recovery", span)}
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    for row in answer(run, "payment_recovery", span, by=by):
        for name in ("net_revenue", "refunded_amount", "recovered_amount"):
            sums[row["currency"]][name] += row[name]
    for currency, row in whole.items():
        assert {name: row[name] for name in sums[currency]} == sums[currency]
    assert whole


def test_a_number_leads_to_as_much_as_it_says(run: hr.Run, span: Span) -> None:
    """What a page opens behind a number has as many rows, or as much money, as the number."""
    for by in ("product", "size"):
        for row in answer(run, "trials", span, by=by, period="all"):
            turns = answer(run, "trial_turns", span, dimension=by, value=row["part"], event="started")
            assert len({one["subscription_id"] for one in turns}) == row["started"]
        for row in answer(run, "payment_recovery", span, by=by):
            chosen = {"dimension": by, "value": row["part"], "of_currency": row["currency"]}
            lost = answer(run, "payments_of", span, kind="failed", **chosen)
            assert len({one["payment_id"] for one in lost}) == row["failed_payments"]
            back = answer(run, "payments_of", span, kind="recovered", **chosen)
            assert sum(one["amount"] for one in back) == row["recovered_amount"]
        for row in answer(run, "involuntary_churn", span, by=by):
            chosen = {"by": by, "slice": row["part"], "of_currency": row["currency"], "type": "churn"}
            moves = answer(run, "movements", span, cause="involuntary", **chosen)
            assert -sum(one["amount"] for one in moves) == row["involuntary_mrr"]
        for row in answer(run, "slices", span, by=by):
            chosen = {"by": by, "slice": row["part"], "of_currency": row["currency"]}
            held = answer(run, "customers_by_mrr", span, **chosen)
            assert sum(one["mrr"] for one in held) == row["mrr"]
    months = Counter[date]()
    for row in answer(run, "usage_of", span):
        months[row["month"]] += row["amount"]
    for row in answer(run, "usage_revenue", span):
        months[row["month"]] -= row["amount"]
    assert not +months
    assert not -months
