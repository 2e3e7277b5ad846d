"""Writes what a customer does, twice: as rows of the tables, and into the books."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random
from typing import Any

from headrace.solutions.billing.simulate.books import (
    Books,
    CustomerBook,
    Holding,
    MerchantBook,
    Payment,
    Price,
    Reduction,
    Standing,
    SubscriptionBook,
    Timeline,
    TrialBook,
)
from headrace.solutions.billing.simulate.layout import Rows
from headrace.solutions.billing.simulate.shop import Coupon, Shop
from headrace.solutions.billing.simulate.times import from_us

COUNTRIES = ("US", "DE", "GB", "JP", "FR", "IN", "BR", "KW")
CHANNELS = ("search", "friend", "partner", "sales")
FAILURES = ("card_declined", "insufficient_funds", "expired_card")


@dataclass
class Item:
    """A line of a subscription."""

    item_id: str
    price: Price
    quantity: int


@dataclass(eq=False)
class Subscription:
    """A subscription as it stands."""

    subscription_id: str
    currency: str
    term: str
    start_us: int
    book: SubscriptionBook
    items: list[Item] = field(default_factory=list)
    status: str = "active"
    anchor_us: int = 0
    nth: int = 0
    period_start_us: int = 0
    period_end_us: int = 0
    trial_start_us: int | None = None
    trial_end_us: int | None = None
    trial: TrialBook | None = None
    leaving: bool = False
    canceled_us: int | None = None
    ended_us: int | None = None
    pause_behavior: str | None = None
    has_method: bool = True
    reason: str | None = None
    open_invoice: tuple[Any, ...] | None = None
    paid: list[Payment] = field(default_factory=list)
    discount: Reduction | None = None


class Scribe:
    """A customer with his facts, and the hand that writes about him.

    Args:
        shop: where he buys.
        number: of the customer at this merchant.
        seed: equal seeds lead equal lives.
        at_us: when he appears.
        rows, books: where his deeds are written.
    """

    def __init__(self, shop: Shop, number: int, seed: int, at_us: int, rows: Rows, books: Books) -> None:
        self.shop = shop
        self.draw = Random(f"{seed}/{shop.merchant_id}/{number}")
        self.customer_id = f"cus_{shop.merchant_id[5:]}_{number}"
        self._rows, self._gone = rows.rows, rows.gone
        self._book: MerchantBook = books.of(shop.merchant_id)
        self._created_us = at_us
        self._deleted = False
        self._last_seq = 0
        self._known_since: dict[str, int] = {}
        self._coupon_of: dict[str, Coupon] = {}
        dimensions = {"channel": self.draw.choice(CHANNELS), "size": self.draw.choice("SML")}
        dimensions = {"channel": self.draw.choice(CHANNELS), "size": self.draw.choice("SML")}
        self._dimensions = json.dumps(dimensions)
        self._country = self.draw.choice(COUNTRIES)
        self._told = dimensions
        self._card = (self.draw.randrange(1, 13), from_us(at_us).year + self.draw.randrange(4))

    def _seq(self, recorded_us: int) -> int:
        """Return a sequence for something recorded at a moment, larger than any before of this customer."""
        self._last_seq = max(recorded_us, self._last_seq + 1)
        return self._last_seq

    def _write_customer(self, at_us: int) -> None:
        if self._deleted:
            key = (self.shop.merchant_id, self.customer_id, from_us(at_us), self._seq(at_us))
            self._gone["customers"].append(key)
            del self._book.customers[self.customer_id]
            return
        self._book.customers[self.customer_id] = CustomerBook(self._country, self._told, self._card)
        name, shop = f"Customer {self.customer_id[4:]}", self.shop
        self._rows["customers"].append(
            (
                shop.merchant_id,
                self.customer_id,
                name,
                f"{self.customer_id}@example.com",
                self._country,
                from_us(self._created_us),
                self._dimensions,
                *self._card,
                from_us(at_us),
                self._seq(at_us),
            )
        )

    def _write(self, sub: Subscription, valid_us: int, recorded_us: int | None = None) -> None:
        resting = sub.pause_behavior is not None and sub.status in ("active", "past_due")
        sub.book.standing.note(
            valid_us,
            Standing("paused" if resting else sub.status, sub.leaving, sub.reason == "payment_failed"),
        )
        self._rows["subscriptions"].append(
            (
                self.shop.merchant_id,
                sub.subscription_id,
                self.customer_id,
                sub.status,
                sub.currency,
                from_us(sub.start_us),
                _moment(sub.trial_start_us),
                _moment(sub.trial_end_us),
                from_us(sub.period_start_us),
                from_us(sub.period_end_us),
                sub.leaving,
                from_us(sub.period_end_us) if sub.leaving else None,
                _moment(sub.canceled_us),
                _moment(sub.ended_us),
                sub.pause_behavior,
                None,
                sub.reason,
                from_us(valid_us),
                self._seq(valid_us if recorded_us is None else recorded_us),
            )
        )

    def _write_item(
        self,
        sub: Subscription,
        item: Item,
        valid_us: int,
        *,
        recorded_us: int | None = None,
        deleted: bool = False,
    ) -> None:
        timeline = sub.book.items.get(item.item_id)
        if timeline is None:
            timeline = sub.book.items[item.item_id] = Timeline()
            self._known_since[item.item_id] = valid_us
        timeline.note(valid_us, None if deleted else Holding(item.price.price_id, item.quantity))
        when = (from_us(valid_us), self._seq(valid_us if recorded_us is None else recorded_us))
        if deleted:
            self._gone["subscription_items"].append((self.shop.merchant_id, item.item_id, *when))
            return
        facts = (item.item_id, sub.subscription_id, item.price.price_id, item.quantity)
        self._rows["subscription_items"].append((self.shop.merchant_id, *facts, *when))

    def _write_discount(self, held: Reduction, coupon: Coupon, at_us: int) -> None:
        self._book.discounts[held.discount_id] = held
        self._rows["discounts"].append(
            (
                self.shop.merchant_id,
                held.discount_id,
                held.customer_id,
                held.subscription_id,
                held.item_id,
                coupon.coupon_id,
                held.percent_off,
                held.amount_off,
                coupon.currency,
                held.duration,
                from_us(held.starts_us),
                _moment(held.ends_us),
                from_us(at_us),
                self._seq(at_us),
            )
        )

    def _write_invoice(
        self, sub: Subscription, invoice: tuple[Any, ...], at_us: int, status: str, attempts: int
    ) -> None:
        invoice_id, subtotal, tax, reason, created_us = invoice
        total, created = subtotal + tax, from_us(created_us)
        self._rows["invoices"].append(
            (
                self.shop.merchant_id,
                invoice_id,
                self.customer_id,
                sub.subscription_id,
                status,
                sub.currency,
                subtotal,
                tax,
                total,
                total,
                total if status == "paid" else 0,
                attempts,
                reason,
                created,
                created,
                from_us(at_us) if status == "paid" else None,
                self._seq(at_us),
            )
        )

    def _write_payment(
        self, sub: Subscription, invoice: tuple[Any, ...], at_us: int, attempt: int, *, succeeded: bool
    ) -> Payment:
        amount = invoice[1] + invoice[2]
        made = Payment(
            self.shop.fresh("pi"),
            invoice[0],
            self.customer_id,
            succeeded,
            amount,
            sub.currency,
            attempt,
            at_us,
        )
        self._book.payments.append(made)
        self._rows["payments"].append(
            (
                self.shop.merchant_id,
                made.payment_id,
                self.customer_id,
                made.invoice_id,
                "succeeded" if succeeded else "failed",
                amount,
                sub.currency,
                None if succeeded else self.draw.choice(FAILURES),
                from_us(at_us),
            )
        )
        return made


def _moment(at_us: int | None) -> Any:
    return None if at_us is None else from_us(at_us)
