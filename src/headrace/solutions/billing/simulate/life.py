"""One customer's life: trials, plans, seats, coupons, payments, failures, goodbyes and returns.

A life is an agenda of what is due when. What calendars ask for (renewals, ends of trials, retries) is put
there when it is known; between, the customer has whims.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from typing import Any

from headrace.solutions.billing.simulate.books import (
    Books,
    Price,
    Reduction,
    Refund,
    SubscriptionBook,
    TrialBook,
    Usage,
)
from headrace.solutions.billing.simulate.layout import Rows
from headrace.solutions.billing.simulate.scribe import Item, Scribe, Subscription
from headrace.solutions.billing.simulate.shop import Shop
from headrace.solutions.billing.simulate.times import (
    DAY_US,
    SECOND_US,
    add_months,
    from_us,
    local_day,
    local_midnight,
    nth_period,
)

WHIM_EVERY_DAYS = 24.0
RETRIES_AFTER_DAYS = (3, 5, 7)
ALIVE = ("active", "past_due")
OVER = ("canceled", "incomplete_expired")
Action = Callable[[int], None]


class Life(Scribe):
    """A customer and everything that happens to him.

    Args:
        shop, number, seed, at_us, rows, books: as for a scribe.
        eager: how many whims he has in the time in which others have one.
    """

    def __init__(
        self, shop: Shop, number: int, seed: int, at_us: int, rows: Rows, books: Books, eager: float = 1.0
    ) -> None:
        super().__init__(shop, number, seed, at_us, rows, books)
        self.subscriptions: list[Subscription] = []
        self._agenda: list[tuple[int, int, Action]] = []
        self._counted = 0
        self._eager = eager
        self._write_customer(at_us)
        self._at(at_us, self.subscribe)

    # --- the agenda ----

    def run(self, until_us: int) -> None:
        """Let everything happen that is due up to a moment."""
        agenda = self._agenda
        while agenda and agenda[0][0] <= until_us:
            at_us, _, action = heapq.heappop(agenda)
            action(at_us)

    @property
    def due_us(self) -> int | None:
        """When something happens next, or None."""
        return self._agenda[0][0] if self._agenda else None

    def _at(self, at_us: int, action: Action) -> None:
        self._counted += 1
        heapq.heappush(self._agenda, (at_us, self._counted, action))

    def _soon(self, at_us: int, days: float) -> int:
        return at_us + max(1, round(days * 86_400)) * SECOND_US

    # --- beginnings ----

    def subscribe(self, at_us: int) -> None:
        """Start a subscription: with or without a trial, at once, in the past, or later."""
        draw, shop = self.draw, self.shop
        currency = draw.choice(shop.currencies)
        if self.subscriptions and draw.random() < 0.9:
            currency = self.subscriptions[0].currency
        terms = sorted(term for money, term in shop.ladders if money == currency)
        term = (
            terms[0]
            if len(terms) == 1
            else draw.choices(terms, [8 if t == "1 month" else 2 for t in terms])[0]
        )
        book = SubscriptionBook(self.customer_id, currency)
        sub = Subscription(shop.fresh("sub"), currency, term, at_us, book)
        self._book.subscriptions[sub.subscription_id] = book
        self.subscriptions.append(sub)
        lot = draw.random()
        if lot < 0.04:
            self._schedule(sub, at_us)
        elif lot < 0.09 and len(self.subscriptions) > 1:
            self._begin(sub, at_us, since_us=max(self._created_us, self._soon(at_us, -draw.randrange(1, 40))))
        elif lot < 0.12:
            self._begin(sub, at_us, status="incomplete")
        elif lot < 0.5:
            self._try_out(sub, at_us)
        else:
            self._begin(sub, at_us)
        self._at(self._next_whim(sub.start_us), lambda now: self._moods(now, sub))

    def _schedule(self, sub: Subscription, at_us: int) -> None:
        """Agree now on a start to come."""
        sub.start_us = self._soon(at_us, self.draw.randrange(2, 45))
        self._periods_from(sub, sub.start_us, sub.start_us)
        self._choose_items(sub, sub.start_us, at_us)
        self._write(sub, sub.start_us, at_us)
        self._at(sub.start_us, lambda now: self._bill(sub, now, "subscription_create"))

    def _begin(
        self, sub: Subscription, at_us: int, since_us: int | None = None, status: str = "active"
    ) -> None:
        """Become active, possibly since a moment in the past, or incomplete until the first payment."""
        if sub.status in OVER:
            return
        valid_us = at_us if since_us is None else since_us
        sub.status, sub.start_us = status, valid_us
        self._periods_from(sub, valid_us, at_us)
        if not sub.items:
            self._choose_items(sub, valid_us, at_us)
        self._write(sub, valid_us, at_us)
        if status == "incomplete":
            self._at(self._soon(at_us, 0.5), lambda now: self._complete(sub, now))
        else:
            self._bill(sub, at_us, "subscription_create")

    def _complete(self, sub: Subscription, at_us: int) -> None:
        if sub.status != "incomplete":
            return
        if self.draw.random() < 0.5:
            sub.status = "active"
            self._write(sub, at_us)
            self._bill(sub, at_us, "subscription_create")
        else:
            self._end(sub, at_us, "payment_failed", status="incomplete_expired")

    def _try_out(self, sub: Subscription, at_us: int) -> None:
        ends_us = at_us + self.draw.choice((7, 14, 30)) * DAY_US
        if self.draw.random() < 0.3:
            ends_us = local_midnight(local_day(ends_us, self.shop.zone), self.shop.zone) - SECOND_US
        sub.status, sub.trial_start_us, sub.trial_end_us = "trialing", at_us, ends_us
        sub.period_start_us, sub.period_end_us = at_us, ends_us
        sub.has_method = self.draw.random() < 0.7
        sub.trial = TrialBook(self.customer_id, at_us)
        self._book.trials.append(sub.trial)
        self._choose_items(sub, at_us)
        self._write(sub, at_us)
        self._at(ends_us, lambda now: self._trial_over(sub, now))

    def _trial_over(self, sub: Subscription, at_us: int) -> None:
        if sub.status != "trialing":
            return
        lot = self.draw.random()
        outcome = "cancelled"
        if sub.leaving or (sub.has_method and lot > 0.8):
            self._end(sub, at_us, "cancellation_requested")
        elif sub.has_method:
            outcome = "converted"
            self._convert(sub, at_us)
        elif lot < 0.6:
            outcome = sub.status = "paused"
            self._write(sub, at_us)
            self._at(self._soon(at_us, self.draw.randrange(3, 40)), lambda now: self._wake(sub, now))
        else:
            self._end(sub, at_us, "cancellation_requested")
        if sub.trial:
            sub.trial.ended_us, sub.trial.outcome = at_us, outcome

    def _convert(self, sub: Subscription, at_us: int) -> None:
        sub.status, sub.has_method = "active", True
        self._periods_from(sub, at_us, at_us)
        self._write(sub, at_us)
        self._bill(sub, at_us, "subscription_cycle")

    def _wake(self, sub: Subscription, at_us: int) -> None:
        if sub.status != "paused":
            return
        if self.draw.random() < 0.5:
            self._convert(sub, at_us)
        else:
            self._end(sub, at_us, "cancellation_requested")

    # --- periods and money ----

    def _periods_from(self, sub: Subscription, anchor_us: int, now_us: int) -> None:
        """Let periods begin at an anchor; the one that holds `now` is the present one."""
        sub.anchor_us, sub.nth = anchor_us, 0
        self._set_period(sub)
        while sub.period_end_us <= now_us:
            sub.nth += 1
            self._set_period(sub)
        self._at(sub.period_end_us, lambda now: self._renew(sub, now))

    def _set_period(self, sub: Subscription) -> None:
        count, interval = sub.term.split()
        sub.period_start_us = nth_period(sub.anchor_us, interval, int(count), sub.nth)
        sub.period_end_us = nth_period(sub.anchor_us, interval, int(count), sub.nth + 1)

    def _renew(self, sub: Subscription, at_us: int) -> None:
        if sub.status in OVER or at_us != sub.period_end_us or sub.status in ("trialing", "paused"):
            return
        if sub.leaving:
            self._end(sub, at_us, "cancellation_requested")
            return
        sub.nth += 1
        self._set_period(sub)
        self._at(sub.period_end_us, lambda now: self._renew(sub, now))
        self._write(sub, at_us)
        if sub.status == "active":
            self._bill(sub, at_us, "subscription_cycle")

    def _bill(self, sub: Subscription, at_us: int, reason: str) -> None:
        """Send an invoice and try to be paid."""
        invoice_id = self.shop.fresh("in")
        total = 0
        start, end = from_us(sub.period_start_us), from_us(sub.period_end_us)
        for item in sub.items:
            amount = 0 if item.price.meter else _plain_amount(item.price, item.quantity)
            total += amount
            self._rows["invoice_lines"].append(
                (
                    self.shop.merchant_id,
                    self.shop.fresh("il"),
                    invoice_id,
                    item.item_id,
                    item.price.price_id,
                    item.quantity,
                    amount,
                    sub.currency,
                    False,
                    start,
                    end,
                )
            )
        tax = total * 19 // 100 if self._country == "DE" else 0
        invoice = (invoice_id, total, tax, reason, at_us)
        self._write_invoice(sub, invoice, at_us, "open", 0)
        self._use(sub)
        if sub.pause_behavior:
            self._write_invoice(sub, invoice, at_us + SECOND_US, "void", 0)
        else:
            self._collect(sub, invoice, at_us + SECOND_US, 1)

    def _collect(self, sub: Subscription, invoice: tuple[Any, ...], at_us: int, attempt: int) -> None:
        """Try to be paid; after the last attempt the subscription is unpaid, or ends."""
        if sub.status in OVER:
            return
        due = invoice[1] + invoice[2]
        if due == 0 or self.draw.random() < (0.94 if attempt == 1 else 0.4):
            self._paid(sub, invoice, at_us, attempt)
            return
        self._write_payment(sub, invoice, at_us, attempt, succeeded=False)
        if attempt == 1 and sub.status == "active":
            sub.status = "past_due"
            self._write(sub, at_us)
        if attempt <= len(RETRIES_AFTER_DAYS):
            later_us = at_us + RETRIES_AFTER_DAYS[attempt - 1] * DAY_US
            self._at(later_us, lambda now: self._collect(sub, invoice, now, attempt + 1))
        elif self.draw.random() < 0.35 and sub.status == "past_due":
            sub.status = "unpaid"
            self._write(sub, at_us)
            self._at(
                self._soon(at_us, self.draw.randrange(5, 40)), lambda now: self._settle(sub, invoice, now)
            )
        else:
            self._write_invoice(sub, invoice, at_us, "uncollectible", attempt)
            self._end(sub, at_us, "payment_failed")

    def _paid(self, sub: Subscription, invoice: tuple[Any, ...], at_us: int, attempt: int) -> None:
        if invoice[1] + invoice[2]:
            sub.paid.append(self._write_payment(sub, invoice, at_us, attempt, succeeded=True))
        if sub.book.first_paid_us is None and invoice[1] + invoice[2]:
            sub.book.first_paid_us = at_us
        self._write_invoice(sub, invoice, at_us, "paid", attempt)
        if sub.status in ("past_due", "unpaid"):
            sub.status = "active"
            self._write(sub, at_us)

    def _settle(self, sub: Subscription, invoice: tuple[Any, ...], at_us: int) -> None:
        if sub.status != "unpaid":
            return
        if self.draw.random() < 0.4:
            self._paid(sub, invoice, at_us, len(RETRIES_AFTER_DAYS) + 2)
        else:
            self._end(sub, at_us, "payment_failed")

    def _use(self, sub: Subscription) -> None:
        """Plan what will be metered in the present period."""
        for item in sub.items:
            if item.price.meter:
                span = max(1, (sub.period_end_us - sub.period_start_us) // SECOND_US)
                for _ in range(2):
                    at_us = sub.period_start_us + self.draw.randrange(span) * SECOND_US
                    self._at(at_us, partial(self.meter, item.price.meter))

    def meter(self, meter: str, at_us: int) -> None:
        """Use something that is metered."""
        if self._deleted:
            return
        value = Decimal(self.draw.choice(("1", "250", "1000.5", "0.25")))
        number = self.shop.fresh("mev")
        self._rows["meter_events"].append(
            (number, self.shop.merchant_id, self.customer_id, meter, value, from_us(at_us))
        )
        self._book.usage.append(Usage(meter, self.customer_id, value, at_us))

    # --- whims ----

    def _next_whim(self, at_us: int) -> int:
        return self._soon(at_us, self.draw.expovariate(self._eager / WHIM_EVERY_DAYS))

    def _moods(self, at_us: int, sub: Subscription) -> None:
        if sub.status not in OVER:
            self.whim(at_us, sub)
            self._at(self._next_whim(at_us), lambda now: self._moods(now, sub))

    def whim(self, at_us: int, sub: Subscription) -> None:
        """Do one of the things that customers do between renewals."""
        if sub.status == "trialing" and self.draw.random() < 0.2:
            sub.leaving = True
            sub.canceled_us = at_us
            self._write(sub, at_us)
            return
        if sub.status not in ALIVE:
            return
        actions, weights = zip(*_WHIMS, strict=True)
        self.draw.choices(actions, weights)[0](self, sub, at_us)

    def _switch(self, sub: Subscription, at_us: int) -> None:
        """Go up or down the ladder of plans."""
        item, ladder = sub.items[0], self.shop.ladders[sub.currency, sub.term]
        others = [price for price in ladder if price is not item.price]
        if others:
            item.price = self.draw.choice(others)
            self._write_item(sub, item, at_us)

    def _change_seats(self, sub: Subscription, at_us: int) -> None:
        item = self.draw.choice(sub.items)
        if not item.price.meter:
            item.quantity = max(1, item.quantity + self.draw.choice((-3, -1, 1, 2, 5)))
            self._write_item(sub, item, at_us)

    def _add_item(self, sub: Subscription, at_us: int) -> None:
        extra = self.draw.choice(self.shop.extras[sub.currency, sub.term])
        if all(item.price is not extra for item in sub.items):
            item = Item(self.shop.fresh("si"), extra, self.draw.randrange(1, 4))
            sub.items.append(item)
            self._write_item(sub, item, at_us)

    def _drop_item(self, sub: Subscription, at_us: int) -> None:
        if len(sub.items) > 1:
            self._write_item(sub, sub.items.pop(), at_us, deleted=True)

    def _take_coupon(self, sub: Subscription, at_us: int) -> None:
        """Get a discount on the subscription, an item or everything; or lose the one that runs."""
        now = sub.discount
        if now and now.duration != "once" and (now.ends_us is None or now.ends_us > at_us):
            if self.draw.random() < 0.6:
                sub.discount = now._replace(ends_us=at_us)
                self._write_discount(sub.discount, self._coupon_of[now.discount_id], at_us)
            return
        coupons = [c for c in self.shop.coupons if c.currency in (None, sub.currency)]
        coupon = self.draw.choice(coupons)
        lot = self.draw.random()
        item_id = sub.items[0].item_id if coupon.percent_off and lot < 0.15 else None
        for_all = lot > 0.9
        ends_us = add_months(at_us, coupon.months) if coupon.months else None
        sub.discount = Reduction(
            self.shop.fresh("di"),
            self.customer_id if for_all else None,
            None if for_all else sub.subscription_id,
            item_id,
            coupon.percent_off,
            coupon.amount_off,
            coupon.currency,
            coupon.duration,
            at_us,
            ends_us,
        )
        self._coupon_of[sub.discount.discount_id] = coupon
        self._write_discount(sub.discount, coupon, at_us)

    def _ask_to_leave(self, sub: Subscription, at_us: int) -> None:
        sub.leaving = not sub.leaving
        sub.canceled_us = at_us if sub.leaving else None
        self._write(sub, at_us)

    def _leave(self, sub: Subscription, at_us: int) -> None:
        self._end(sub, at_us, "cancellation_requested")

    def _pause(self, sub: Subscription, at_us: int) -> None:
        """Stop paying for a while, or go on."""
        if sub.pause_behavior is None and sub.status == "active":
            sub.pause_behavior = self.draw.choice(("void", "mark_uncollectible"))
            self._write(sub, at_us)
            self._at(self._soon(at_us, self.draw.randrange(5, 60)), lambda now: self._resume(sub, now))

    def _resume(self, sub: Subscription, at_us: int) -> None:
        if sub.status not in OVER:
            sub.pause_behavior = None
            self._write(sub, at_us)

    def _correct(self, sub: Subscription, at_us: int) -> None:
        """Learn that an item's quantity was another one since some days ago."""
        item = self.draw.choice(sub.items)
        since_us = self._soon(at_us, -self.draw.randrange(1, 25))
        if not item.price.meter and since_us > self._known_since[item.item_id]:
            item.quantity += self.draw.choice((1, 2, 3))
            self._write_item(sub, item, since_us, recorded_us=at_us)

    def _refund(self, sub: Subscription, at_us: int) -> None:
        if sub.paid:
            payment = sub.paid.pop(self.draw.randrange(len(sub.paid)))
            amount = payment.amount if self.draw.random() < 0.6 else max(1, payment.amount // 3)
            refund = Refund(self.shop.fresh("re"), payment.payment_id, amount, payment.currency, at_us)
            self._book.refunds.append(refund)
            money = ("succeeded", refund.amount, refund.currency, from_us(at_us))
            row = (self.shop.merchant_id, refund.refund_id, payment.payment_id, self.customer_id, *money)
            self._rows["refunds"].append(row)

    def _subscribe_again(self, _: Subscription, at_us: int) -> None:
        if sum(s.status not in OVER for s in self.subscriptions) < 3:
            self.subscribe(at_us)

    def _new_card(self, _: Subscription, at_us: int) -> None:
        self._card = (self.draw.randrange(1, 13), from_us(at_us).year + self.draw.randrange(4))
        self._write_customer(at_us)

    # --- ends ----

    def _end(self, sub: Subscription, at_us: int, reason: str, status: str = "canceled") -> None:
        sub.status, sub.reason, sub.ended_us = status, reason, at_us
        sub.canceled_us = sub.canceled_us or at_us
        self._write(sub, at_us)
        if any(other.status not in OVER for other in self.subscriptions):
            return
        lot = self.draw.random()
        if lot < 0.35:
            self._at(self._soon(at_us, self.draw.choice((2, 20, 60, 95, 200))), self.subscribe)
        elif lot < 0.4:
            self._at(self._soon(at_us, 30), self._forget)

    def _forget(self, at_us: int) -> None:
        """Be deleted; what was earned stays earned."""
        if all(sub.status in OVER for sub in self.subscriptions):
            self._deleted = True
            self._agenda.clear()
            self._write_customer(at_us)

    def _choose_items(self, sub: Subscription, valid_us: int, recorded_us: int | None = None) -> None:
        key = (sub.currency, sub.term)
        prices = [self.draw.choice(self.shop.ladders[key])]
        lot = self.draw.random()
        if lot < 0.15:
            prices += self.shop.extras[key][:1]
        if 0.1 < lot < 0.25:
            prices += self.shop.metered[key]
        for price in prices:
            quantity = 1 if price.scheme == "flat" else self.draw.choice((1, 1, 2, 3, 7, 12, 40))
            item = Item(self.shop.fresh("si"), price, quantity)
            sub.items.append(item)
            self._write_item(sub, item, valid_us, recorded_us=recorded_us)


_WHIMS: tuple[tuple[Callable[[Life, Subscription, int], None], float], ...] = (
    (Life._switch, 6),
    (Life._change_seats, 9),
    (Life._add_item, 3),
    (Life._drop_item, 2),
    (Life._take_coupon, 5),
    (Life._ask_to_leave, 3),
    (Life._leave, 1.5),
    (Life._pause, 1),
    (Life._correct, 1.5),
    (Life._refund, 2),
    (Life._subscribe_again, 1),
    (Life._new_card, 1),
)
"""What customers do between renewals, and how often."""


def _plain_amount(price: Price, quantity: int) -> int:
    """Return what a period costs before discounts, about: invoices are no part of MRR."""
    if price.scheme == "flat":
        quantity = 1
    unit = price.unit_amount if price.unit_amount is not None else price.tiers[0][1]
    return int((unit * quantity).quantize(Decimal(1), ROUND_HALF_UP))
