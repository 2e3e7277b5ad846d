"""Every metric from the books: the rows that each view must hold, reckoned without SQL.

Days and months are those of the merchant's time zone. A view is compared in the columns that stand here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from headrace.solutions.billing.simulate.books import Books, CustomerBook, MerchantBook, Payment, Price
from headrace.solutions.billing.simulate.ledger import Course, Hand, Move, Turn
from headrace.solutions.billing.simulate.times import from_us, local_day
from headrace.solutions.billing.simulate.worth import Rules

Row = dict[str, Any]
NOBODY = CustomerBook(None, {})
LIVE = "live"


@dataclass
class Reckoned:
    """One merchant, reckoned under one scenario.

    Attributes:
        merchant_id, scenario: which.
        zone, currency: its time zone, and what it reports in.
        book: what happened.
        moves, turns: the ledger of all its customers.
        now_us: the present; what lies ahead does not count in what is said of now.
        rules: how it counts.
    """

    merchant_id: str
    scenario: str
    zone: str
    currency: str
    book: MerchantBook
    now_us: int
    rules: Rules = field(default_factory=Rules)
    moves: list[Move] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)

    @property
    def of_scenario(self) -> Row:
        """The columns that nearly every row has."""
        return {"merchant_id": self.merchant_id, "scenario": self.scenario}

    def day(self, at_us: int) -> date:
        """Return the merchant's day."""
        return local_day(at_us, self.zone)

    def month(self, at_us: int) -> date:
        """Return the first day of the merchant's month."""
        return self.day(at_us).replace(day=1)

    def customer(self, customer_id: str) -> CustomerBook:
        """Return what a customer is now; nothing is known of one who is deleted."""
        return self.book.customers.get(customer_id, NOBODY)

    def price(self, price_id: str) -> Price:
        """Return what a price is now."""
        return self.book.prices[price_id].ordered()[-1][1]


def reckon(
    books: Books, merchant_id: str, now_us: int, scenario: str = LIVE, rules: Rules | None = None
) -> Reckoned:
    """Reckon a merchant's ledger under some rules."""
    zone, currency = books.merchants[merchant_id]
    book, rules = books.of(merchant_id), rules or Rules()
    zone, currency = rules.time_zone or zone, rules.reporting_currency or currency
    found = Reckoned(merchant_id, scenario, zone, currency, book, now_us, rules)
    hand = Hand(book, rules)
    for customer_id in hand.customers():
        moves, turns = hand.ledger(customer_id)
        found.moves += moves
        found.turns += turns
    return found


def moment(at_us: int) -> datetime:
    """Return a moment as views hold it: UTC without saying so."""
    return from_us(at_us).replace(tzinfo=None)


def plan_interval(price: Price) -> str:
    """Return how often a price asks, in words."""
    return price.interval if price.count == 1 else f"{price.count} {price.interval}s"


def mrr_movements(of: Reckoned) -> Iterable[Row]:
    """Every movement of every item."""
    for move in of.moves:
        currency, subscription_id, item_id, price_id = move.key
        price = of.price(price_id)
        yield of.of_scenario | {
            "happened_at": moment(move.at_us),
            "day": of.day(move.at_us),
            "customer_id": move.customer_id,
            "subscription_id": subscription_id,
            "item_id": item_id,
            "price_id": price_id,
            "product_id": price.product_id,
            "plan_interval": plan_interval(price),
            "country": of.customer(move.customer_id).country,
            "currency": currency,
            "type": move.kind,
            "amount": move.amount,
            "cohort_month": of.month(move.first_us),
        }


def mrr_daily(of: Reckoned) -> Iterable[Row]:
    """Movements per day and everything that a report groups by."""
    names = ("day", "currency", "product_id", "price_id", "plan_interval", "country", "cohort_month", "type")
    return _summed(of, mrr_movements(of), names)


def mrr_daily_by_dimension(of: Reckoned) -> Iterable[Row]:
    """Movements per day and dimension of the customers."""
    told = (
        row | {"dimension": dimension, "value": value}
        for row in mrr_movements(of)
        for dimension, value in of.customer(row["customer_id"]).dimensions.items()
    )
    return _summed(of, told, ("day", "currency", "dimension", "value", "type"))


def _summed(of: Reckoned, rows: Iterable[Row], names: tuple[str, ...]) -> Iterable[Row]:
    sums: Counter[tuple[Any, ...]] = Counter()
    counts: Counter[tuple[Any, ...]] = Counter()
    for row in rows:
        key = tuple(row[name] for name in names)
        sums[key] += row["amount"]
        counts[key] += 1
    for key, count in counts.items():
        yield of.of_scenario | dict(zip(names, key, strict=True)) | {"amount": sums[key], "movements": count}


def customer_mrr(of: Reckoned) -> Iterable[Row]:
    """What each customer pays a month now."""
    sums: Counter[tuple[str, str]] = Counter()
    for move in of.moves:
        if move.at_us <= of.now_us:
            sums[move.customer_id, move.key[0]] += move.amount
    for (customer_id, currency), mrr in sums.items():
        if mrr:
            yield of.of_scenario | {"customer_id": customer_id, "currency": currency, "mrr": mrr}


def subscribers_daily(of: Reckoned) -> Iterable[Row]:
    """Customers who began or ceased to have MRR, per day."""
    counts = Counter(
        (
            of.day(turn.at_us),
            of.customer(turn.customer_id).country,
            of.month(turn.first_us),
            turn.kind,
            turn.involuntary,
        )
        for turn in of.turns
    )
    names = ("day", "country", "cohort_month", "type", "involuntary")
    for key, customers in counts.items():
        yield of.of_scenario | dict(zip(names, key, strict=True)) | {"customers": customers}


def trials_daily(of: Reckoned) -> Iterable[Row]:
    """Trials that started and ended, per day."""
    counts: Counter[tuple[Any, ...]] = Counter()
    for trial in of.book.trials:
        country = of.customer(trial.customer_id).country
        counts[of.day(trial.started_us), country, "started", ""] += 1
        if trial.outcome is not None:
            assert trial.ended_us is not None
            counts[of.day(trial.ended_us), country, "ended", trial.outcome] += 1
    for (day, country, event, outcome), trials in counts.items():
        facts = {"day": day, "country": country, "event": event}
        yield of.of_scenario | facts | {"outcome": outcome, "trials": trials}


def cash_daily(of: Reckoned) -> Iterable[Row]:
    """Money that came, failed to come and went back, per day."""
    flows: list[tuple[date, str, str, int]] = [
        (of.day(made.at_us), made.currency, "paid" if made.succeeded else "failed", made.amount)
        for made in of.book.payments
    ]
    flows += [(of.day(back.at_us), back.currency, "refunded", back.amount) for back in of.book.refunds]
    amounts: Counter[tuple[Any, ...]] = Counter()
    for flow in flows:
        amounts[flow[:3]] += flow[3]
    for key, payments in Counter(flow[:3] for flow in flows).items():
        facts = dict(zip(("day", "currency", "kind"), key, strict=True))
        yield of.of_scenario | facts | {"amount": amounts[key], "payments": payments}


def payment_failures(of: Reckoned) -> Iterable[Row]:
    """Invoices of which a payment failed, and when the money came after all; no setting matters."""
    for invoice_id, tries in _tries(of.book).items():
        failed = [made.at_us for made in tries if not made.succeeded]
        if failed and of.scenario == LIVE:
            came = [made.at_us for made in tries if made.succeeded]
            yield {
                "merchant_id": of.merchant_id,
                "invoice_id": invoice_id,
                "customer_id": tries[0].customer_id,
                "currency": tries[0].currency,
                "failed_at": moment(min(failed)),
                "recovered_at": moment(min(came)) if came else None,
                "amount": max(made.amount for made in tries),
                "failures": len(failed),
            }


def recovery_daily(of: Reckoned) -> Iterable[Row]:
    """Failed invoices per day of their first failure, and what was recovered of them."""
    days: dict[tuple[date, str], list[Row]] = defaultdict(list)
    for tries in _tries(of.book).values():
        failed = [made.at_us for made in tries if not made.succeeded]
        if failed:
            came = any(made.succeeded for made in tries)
            amount = max(made.amount for made in tries)
            days[of.day(min(failed)), tries[0].currency].append({"came": came, "amount": amount})
    for (day, currency), found in days.items():
        came_back = [one["amount"] for one in found if one["came"]]
        yield of.of_scenario | {
            "day": day,
            "currency": currency,
            "failed_invoices": len(found),
            "failed_amount": sum(one["amount"] for one in found),
            "recovered_invoices": len(came_back),
            "recovered_amount": sum(came_back),
        }


def _tries(book: MerchantBook) -> dict[str, list[Payment]]:
    tries: dict[str, list[Payment]] = defaultdict(list)
    for made in book.payments:
        tries[made.invoice_id].append(made)
    return tries


def usage_daily(of: Reckoned) -> Iterable[Row]:
    """Usage per meter and day."""
    units: dict[tuple[date, str], Decimal] = defaultdict(Decimal)
    events: Counter[tuple[date, str]] = Counter()
    for used in of.book.usage:
        units[of.day(used.at_us), used.meter] += used.value
        events[of.day(used.at_us), used.meter] += 1
    for (day, meter), count in events.items():
        facts = {"day": day, "meter": meter, "units": units[day, meter]}
        yield of.of_scenario | facts | {"events": count}


STANDING_USED = ("trialing", "active", "past_due", "unpaid")
"""How a subscription must stand for its usage to be charged."""
QUARTER_US = 15 * 60 * 1_000_000


def usage_monthly(of: Reckoned) -> Iterable[Row]:
    """Usage and what it is worth per customer, metered item and month: price times usage."""
    items: dict[str, list[tuple[str, Any, Any]]] = defaultdict(list)
    for sub in of.book.subscriptions.values():
        for item_id, timeline in sub.items.items():
            held = [holding for holding in timeline.entries.values() if holding]
            if any(of.price(holding.price_id).meter for holding in held):
                items[sub.customer_id].append((item_id, Course(timeline), Course(sub.standing)))
    units: dict[tuple[Any, ...], Decimal] = defaultdict(Decimal)
    for used in of.book.usage:
        at_us = used.at_us // QUARTER_US * QUARTER_US
        for item_id, course, standings in items[used.customer_id]:
            holding, standing = course.at(at_us), standings.at(at_us)
            charged = holding and standing and standing.status in STANDING_USED
            if charged and of.price(holding.price_id).meter == used.meter:
                key = (of.month(at_us), used.customer_id, used.meter, item_id, holding.price_id)
                units[key] += used.value
    names = ("month", "customer_id", "meter", "item_id", "price_id")
    for key, amount in units.items():
        price = of.price(key[-1])
        worth = ((price.unit_amount or Decimal(0)) * amount).quantize(Decimal(1), ROUND_HALF_UP)
        facts = {"product_id": price.product_id, "currency": price.currency, "units": amount}
        yield of.of_scenario | dict(zip(names, key, strict=True)) | facts | {"amount": int(worth)}


VIEWS: tuple[Callable[[Reckoned], Iterable[Row]], ...] = (
    mrr_movements,
    mrr_daily,
    mrr_daily_by_dimension,
    customer_mrr,
    subscribers_daily,
    trials_daily,
    cash_daily,
    payment_failures,
    recovery_daily,
    usage_daily,
    usage_monthly,
)
"""One function for each view, of the same name."""


def expected(reckoned: Iterable[Reckoned]) -> dict[str, list[Row]]:
    """Return the rows of every view, over all merchants, in no order."""
    every = list(reckoned)
    return {view.__name__: [row for of in every for row in view(of)] for view in VIEWS}
