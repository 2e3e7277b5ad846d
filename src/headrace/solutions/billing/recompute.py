"""The same numbers a second time: one customer's MRR from scratch, slow and obvious.

Nothing here is shared with the views: it reads every accepted version of the customer's rows, asks at each
moment at which anything changes what each item is worth, and calls the differences by their names. `prove.py`
does so for customers drawn at random.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

Row = Mapping[str, Any]
ItemKey = tuple[str, str, str, str]
"""Currency, subscription, item and price."""
BEGINNING = datetime(1, 1, 1)  # noqa: DTZ001 - all times here are UTC without saying so
NEVER = datetime(9999, 12, 31)  # noqa: DTZ001
INTERVAL_MAX = Fraction(10**14)
PER_MONTH = {"day": Fraction(30), "week": Fraction(52, 12), "month": Fraction(1), "year": Fraction(1, 12)}
COUNTED = ("active", "past_due")
UNCOLLECTED = ("void", "mark_uncollectible")


@dataclass(frozen=True)
class Facts:
    """What is known of one customer: every accepted version of its rows, and the settings that count them.

    The rows of `subscriptions`, `items`, `prices` and `discounts` are versions, with `valid_from` and `seq`;
    of a deletion there is no row, but the version before it has an end that no later version explains.
    """

    settings: Row
    subscriptions: Sequence[Row]
    items: Sequence[Row]
    prices: Sequence[Row]
    discounts: Sequence[Row]
    invoices: Sequence[Row]
    coupons: Sequence[Row] = ()


@dataclass(frozen=True, order=True)
class Movement:
    """By how much a customer's MRR changed, in minor units of a currency, and what that is called."""

    happened_at: datetime
    currency: str
    type: str
    amount: int


@dataclass(frozen=True, order=True)
class Reported:
    """What moved a merchant's MRR on a local day, in minor units of the reporting currency."""

    day: date
    currency: str
    type: str
    amount: int


def valid_at(versions: Iterable[Row], moment: datetime) -> Row | None:
    """Return the version that holds at a moment."""
    held = [one for one in versions if one["valid_from"] <= moment < (one["valid_to"] or NEVER)]
    return max(held, key=lambda one: int(one["seq"]), default=None)


def by_id(rows: Iterable[Row], name: str) -> dict[str, list[Row]]:
    """Return the versions of each key."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row[name], []).append(row)
    return found


def interval_amount(price: Row, quantity: int | None) -> Fraction:
    """Return what a price asks per interval for a quantity, in minor units; 1e14 at most."""
    return max(-INTERVAL_MAX, min(INTERVAL_MAX, _asked(price, Fraction(0 if quantity is None else quantity))))


def _asked(price: Row, count: Fraction) -> Fraction:
    if price["usage_type"] == "metered":
        return Fraction(0)
    if price["scheme"] == "flat":
        return Fraction(price["unit_amount"] or 0)
    if price["scheme"] == "per_unit":
        if price.get("divide_by"):
            whole = count / price["divide_by"]
            count = Fraction(int(whole) if price["round"] == "down" else -int(-whole // 1))
        return Fraction(price["unit_amount"] or 0) * count
    tiers = price["tiers"] or []
    return tiered(json.loads(tiers) if isinstance(tiers, str) else tiers, price["tiers_mode"], count)


def tiered(tiers: Sequence[Row], mode: str, count: Fraction) -> Fraction:
    """Return what tiers ask for a quantity: all by the tier it falls in, or each unit by its own."""
    total, below = Fraction(0), Fraction(0)
    for number, tier in enumerate(tiers):
        upto = count if tier["up_to"] is None else Fraction(tier["up_to"])
        unit = Fraction(Decimal(str(tier.get("unit_amount") or 0)))
        flat = Fraction(Decimal(str(tier.get("flat_amount") or 0)))
        if mode == "volume" and count <= upto:
            return count * unit + flat
        if mode != "volume" and (count > below or number == 0):
            total += max(Fraction(0), min(count, upto) - below) * unit + flat
        below = upto
    return total


def rounded(amount: Fraction) -> int:
    """Round half away from zero."""
    size = int(abs(amount) + Fraction(1, 2))
    return size if amount >= 0 else -size


def with_terms(discount: Row, coupons: Sequence[Row]) -> Row:
    """Return a discount with the terms of its coupon, where it has none of its own."""
    if discount["percent_off"] is not None or discount["amount_off"] is not None:
        return discount
    coupon = next((one for one in coupons if one["coupon_id"] == discount["coupon_id"]), None)
    if coupon is None:
        return discount
    told = {name: coupon[name] for name in ("percent_off", "amount_off", "duration")}
    ends_at = discount["ends_at"]
    if ends_at is None and coupon["duration"] == "repeating" and coupon["duration_in_months"]:
        months = {"interval": "month", "interval_count": coupon["duration_in_months"]}
        ends_at = once_until(discount, months)
    currency = discount["currency"] or coupon["currency"]
    return {**discount, **told, "currency": currency, "ends_at": ends_at}


def once_until(discount: Row, price: Row) -> datetime:
    """Return when a discount on one invoice has lowered one billing interval of a price."""
    begun: datetime = discount["starts_at"]
    count = int(price["interval_count"])
    if price["interval"] in ("day", "week"):
        return begun + timedelta(days=count * (7 if price["interval"] == "week" else 1))
    months = begun.month - 1 + count * (12 if price["interval"] == "year" else 1)
    year, month = begun.year + months // 12, months % 12 + 1
    day = begun.day
    while True:
        try:
            return begun.replace(year=year, month=month, day=day)
        except ValueError:
            day -= 1


class Customer:
    """One customer, asked moment by moment."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.subscriptions = by_id(facts.subscriptions, "subscription_id")
        self.items = by_id(facts.items, "item_id")
        self.prices = by_id(facts.prices, "price_id")
        self.discounts = [with_terms(one, facts.coupons) for one in facts.discounts]
        self.paid_at = self._first_payments()

    def _first_payments(self) -> dict[str, datetime]:
        found: dict[str, datetime] = {}
        for invoice in self.facts.invoices:
            paid = invoice["status"] == "paid" and invoice["amount_paid"] > 0 and invoice["paid_at"]
            if paid and invoice["subscription_id"]:
                before = found.get(invoice["subscription_id"], NEVER)
                found[invoice["subscription_id"]] = min(before, invoice["paid_at"])
        return found

    def counts(self, subscription: Row, moment: datetime) -> bool:
        """Say whether a subscription makes MRR, as the merchant defines it."""
        settings, status = self.facts.settings, subscription["status"]
        if status not in COUNTED or subscription["pause_behavior"] in UNCOLLECTED:
            return False
        if status == "past_due" and not settings["count_past_due"]:
            return False
        leaving = subscription["cancel_at_period_end"] or subscription["cancel_at"] is not None
        if leaving and settings["churn_at"] == "cancellation":
            return False
        first_paid_at = self.paid_at.get(subscription["subscription_id"], NEVER)
        return settings["active_from"] == "start" or moment >= first_paid_at

    def price(self, price_id: str, moment: datetime) -> Row | None:
        """Return the price at a moment; before its first version it was what that one says."""
        versions = [one for one in self.prices.get(price_id, []) if one["valid_to"] != one["valid_from"]]
        if not versions:
            return None
        first = min(versions, key=lambda one: one["valid_from"])
        return first if moment < first["valid_from"] else valid_at(versions, moment)

    def mrr(self, moment: datetime) -> dict[ItemKey, int]:
        """Return each item's MRR at a moment, in minor units."""
        found: dict[ItemKey, int] = {}
        for name, versions in self.subscriptions.items():
            subscription = valid_at(versions, moment)
            if subscription is None or not self.counts(subscription, moment):
                continue
            lines = self._lines(name, moment)
            for (item_id, price), left in self._discounted(name, lines, moment):
                monthly = left * PER_MONTH[price["interval"]] / price["interval_count"]
                found[price["currency"], name, item_id, price["price_id"]] = rounded(monthly)
        return {key: amount for key, amount in found.items() if amount}

    def _lines(self, subscription_id: str, moment: datetime) -> list[tuple[str, Row, Fraction]]:
        """Return the items of a subscription with price and amount per interval."""
        lines = []
        for item_id, versions in self.items.items():
            item = valid_at(versions, moment)
            if item is None or item["subscription_id"] != subscription_id:
                continue
            price = self.price(item["price_id"], moment)
            if price is not None and price["usage_type"] == "licensed":
                lines.append((item_id, price, interval_amount(price, item["quantity"])))
        return lines

    def _discounted(
        self, subscription_id: str, lines: Sequence[tuple[str, Row, Fraction]], moment: datetime
    ) -> list[tuple[tuple[str, Row], Fraction]]:
        """Return what is left of each line when the merchant's discounts are taken off."""
        lines = [line for line in lines if line[2] > 0]
        own: dict[str, list[Row]] = {item: [] for item, _, _ in lines}
        whole: dict[str, list[Row]] = {item: [] for item, _, _ in lines}
        for discount in self.discounts:
            for item_id, price, _ in lines:
                if self._applies(discount, subscription_id, item_id, price, moment):
                    of_all = discount["subscription_id"] is None
                    (whole if of_all else own)[item_id].append(discount)
        left = []
        for item_id, price, amount in lines:
            chosen = [one for one in own[item_id] or whole[item_id] if self._subtracted(one)]
            rest = amount
            for discount in chosen:
                rest *= 1 - Fraction(discount["percent_off"] or 0) / 100
            for discount in chosen:
                kind = whole if discount["subscription_id"] is None else own
                shared = sum(cost for item, _, cost in lines if discount in kind[item])
                rest -= Fraction(discount["amount_off"] or 0) * amount / shared
            left.append(((item_id, price), max(Fraction(0), rest)))
        return left

    def _applies(
        self, discount: Row, subscription_id: str, item_id: str, price: Row, moment: datetime
    ) -> bool:
        if discount["subscription_id"] not in (None, subscription_id):
            return False
        if discount["item_id"] not in (None, item_id):
            return False
        if discount["amount_off"] is not None and discount["currency"] not in (None, price["currency"]):
            return False
        once = discount["duration"] == "once"
        until = once_until(discount, price) if once else discount["ends_at"] or NEVER
        return bool(discount["starts_at"] <= moment < until)

    def _subtracted(self, discount: Row) -> bool:
        settings = self.facts.settings
        wanted = {
            "forever": True,
            "repeating": settings["subtract_recurring_discounts"],
            "once": settings["subtract_once_discounts"],
        }
        return bool(wanted[discount["duration"]])

    def moments(self) -> list[datetime]:
        """Return every moment at which anything may change."""
        found: set[datetime] = set(self.paid_at.values())
        rows = [*self.facts.subscriptions, *self.facts.items, *self.facts.prices]
        for row in rows:
            found |= {row["valid_from"], row["valid_to"] or NEVER}
        for discount in self.discounts:
            found |= {discount["starts_at"], discount["ends_at"] or NEVER}
            if discount["duration"] == "once":
                found |= {once_until(discount, price) for price in self.facts.prices}
        return sorted(found - {NEVER})

    def movements(self) -> list[Movement]:
        """Return the customer's ledger: what changed when, per currency, and what it is called."""
        ledger: list[Movement] = []
        before: dict[str, int] = {}
        last: datetime | None = None
        held: dict[ItemKey, int] = {}
        for moment in self.moments():
            items = self.mrr(moment)
            after = total_by_currency(items)
            if items != held:
                kind = self._kind(sum(before.values()), sum(after.values()), last, moment)
                moved = {key[0] for key in (*items, *held) if items.get(key, 0) != held.get(key, 0)}
                for currency in sorted(moved):
                    amount = after.get(currency, 0) - before.get(currency, 0)
                    ledger.append(Movement(moment, currency, kind or direction(amount), amount))
                last = moment
            before, held = after, items
        return ledger

    def _kind(self, before: int, after: int, last: datetime | None, moment: datetime) -> str | None:
        """Return what the customer's whole change is called, or None where it only went up or down."""
        if before == 0 and after == 0:
            return None
        if after == 0:
            return "churn"
        if before > 0:
            return None
        days = self.facts.settings["reactivation_days"]
        if last is None or (days is not None and moment > last + timedelta(days=days)):
            return "new"
        return "reactivation"


def direction(amount: int) -> str:
    """Return what a change is called that neither begins nor ends a customer's MRR."""
    return "expansion" if amount > 0 else "contraction" if amount < 0 else "transfer"


def total_by_currency(items: Mapping[ItemKey, int]) -> dict[str, int]:
    """Return the sum per currency."""
    found: dict[str, int] = {}
    for key, amount in items.items():
        found[key[0]] = found.get(key[0], 0) + amount
    return found


WHOLE = (
    "bif",
    "clp",
    "djf",
    "gnf",
    "jpy",
    "kmf",
    "krw",
    "mga",
    "pyg",
    "rwf",
    "ugx",
    "vnd",
    "vuv",
    "xaf",
    "xof",
    "xpf",
)
"""Currencies without minor units."""
THOUSANDTHS = ("bhd", "jod", "kwd", "omr", "tnd")
MINOR_DIGITS = {**dict.fromkeys(WHOLE, 0), **dict.fromkeys(THOUSANDTHS, 3)}
"""Decimals of the minor units that are not hundredths."""


class Rates:
    """What one US dollar cost in each currency, day by day as it was told."""

    def __init__(self, told: Iterable[Row]) -> None:
        self.told: dict[str, dict[date, Fraction]] = {"usd": {date(1, 1, 1): Fraction(1)}}
        for row in told:
            if row["currency"] != "usd":
                self.told.setdefault(row["currency"], {})[row["day"]] = Fraction(row["rate"])

    def converted(self, amount: int, currency: str, into: str, day: date) -> int:
        """Return an amount at the newest rates known on a day; before the first rate, that one counts."""
        if currency == into:
            return amount
        up = self._rate(into, day) * 10 ** MINOR_DIGITS.get(into, 2)
        down = self._rate(currency, day) * 10 ** MINOR_DIGITS.get(currency, 2)
        return rounded(amount * up / down)

    def _rate(self, currency: str, day: date) -> Fraction:
        known = self.told[currency]
        return known[max((one for one in known if one <= day), default=min(known))]

    def days(self, *currencies: str) -> set[date]:
        """Return the days on which any of these changed."""
        return {day for currency in currencies for day in self.told[currency]}

    def knows(self, *currencies: str) -> bool:
        """Say whether each has any rate."""
        return all(currency in self.told for currency in currencies)


def reported(
    ledger: Iterable[Movement], rates: Rates, reporting: str, time_zone: str, rate_rule: str = "day"
) -> list[Reported]:
    """Return the ledger of all customers of a merchant in the reporting currency, with what rates did to it.

    Day by day and currency by currency: movements are summed by type and converted at the day's rate, and so
    is the balance; what it differs by from the day before, beyond the movements, is FX. Nothing can be said
    of currencies without a rate.
    """
    zone, lag = ZoneInfo(time_zone), timedelta(days=1)
    moved: dict[str, dict[date, dict[str, int]]] = {}
    for one in ledger:
        day = one.happened_at.replace(tzinfo=UTC).astimezone(zone).date()
        of_day = moved.setdefault(one.currency, {}).setdefault(day, {})
        of_day[one.type] = of_day.get(one.type, 0) + one.amount
    found: list[Reported] = []
    for currency, days in sorted(moved.items()):
        both = () if currency == reporting else (currency, reporting)
        if not rates.knows(*both):
            continue
        balance = before = 0
        for day in sorted(days.keys() | {one + n * lag for one in rates.days(*both) for n in (0, 1)}):
            rate_day = {"day": day, "previous_day": max(day, date(1, 1, 2)) - lag}.get(rate_rule, date.max)
            sums = {
                name: rates.converted(amount, currency, reporting, rate_day)
                for name, amount in days.get(day, {}).items()
            }
            balance += sum(days.get(day, {}).values())
            after = rates.converted(balance, currency, reporting, rate_day)
            sums["FX"] = after - before - sum(sums.values())
            before = after
            found += [Reported(day, currency, name, amount) for name, amount in sums.items() if amount]
    return found
