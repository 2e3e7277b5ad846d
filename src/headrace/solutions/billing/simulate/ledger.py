"""The ledger by hand: each customer's MRR whenever it changes, and what the change is called."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Generic

from headrace.solutions.billing.simulate.books import (
    Held,
    Holding,
    MerchantBook,
    Price,
    Reduction,
    SubscriptionBook,
    Timeline,
)
from headrace.solutions.billing.simulate.times import DAY_US
from headrace.solutions.billing.simulate.worth import Line, Rules, ends_of, lowered, per_interval, per_month

Key = tuple[str, str, str, str]
"""Currency, subscription, item and price."""


@dataclass(frozen=True)
class Move:
    """By how much an item's MRR changed, under which name; `first_us` is when its customer first had any."""

    customer_id: str
    key: Key
    at_us: int
    kind: str
    amount: int
    first_us: int


@dataclass(frozen=True)
class Turn:
    """A customer who began or ceased to have MRR."""

    customer_id: str
    at_us: int
    kind: str
    first_us: int
    involuntary: bool


class Course(Generic[Held]):
    """What held when, asked from the past to the future."""

    def __init__(self, timeline: Timeline[Held]) -> None:
        self._entries = timeline.ordered()

    def changes(self) -> Iterator[int]:
        """Yield when something else began to hold."""
        before: Held | None = None
        for at_us, held in self._entries:
            if held != before:
                yield at_us
            before = held

    def at(self, at_us: int) -> Held | None:
        """Return what holds at a moment; None before the beginning."""
        found: Held | None = None
        for since_us, held in self._entries:
            if since_us > at_us:
                break
            found = held
        return found


class Hand:
    """Reckons one merchant's ledger from its book.

    Args:
        book: what happened.
        rules: how the merchant counts.
    """

    def __init__(self, book: MerchantBook, rules: Rules) -> None:
        self._book = book
        self._rules = rules
        self._subscriptions: dict[str, list[tuple[str, SubscriptionBook]]] = defaultdict(list)
        for name, sub in book.subscriptions.items():
            self._subscriptions[sub.customer_id].append((name, sub))
        self._discounts: dict[str | None, list[Reduction]] = defaultdict(list)
        for discount in book.discounts.values():
            self._discounts[discount.subscription_id or discount.customer_id].append(discount)
        self._versions = {name: versions.ordered() for name, versions in book.prices.items()}
        self._cost = lru_cache(maxsize=50_000)(self._cost_of)

    def customers(self) -> list[str]:
        """Return everybody who ever had a subscription."""
        return list(self._subscriptions)

    def ledger(self, customer_id: str) -> tuple[list[Move], list[Turn]]:
        """Return what changed for a customer, item by item, and when he began and ceased to have MRR."""
        parts = [_Subscription(self, name, sub) for name, sub in self._subscriptions[customer_id]]
        moments = sorted({at_us for part in parts for at_us in part.moments()})
        moves: list[Move] = []
        turns: list[Turn] = []
        held: dict[Key, int] = {}
        first_us = last_us = 0
        for at_us in moments:
            now = {key: amount for part in parts for key, amount in part.mrr(at_us).items() if amount}
            changed = {key: now.get(key, 0) - held.get(key, 0) for key in now.keys() | held.keys()}
            changed = {key: amount for key, amount in changed.items() if amount}
            if not changed:
                continue
            first_us = first_us if held or turns else at_us
            kind = self._kind(sum(held.values()), sum(now.values()), at_us - last_us, bool(turns))
            if kind:
                failed = any(part.failed(at_us) for part in parts)
                turns.append(Turn(customer_id, at_us, kind, first_us, failed))
            for key, name, amount in _named(changed, kind):
                moves.append(Move(customer_id, key, at_us, name, amount, first_us))
            held, last_us = now, at_us
        return moves, turns

    def _kind(self, before: int, after: int, since_us: int, known: bool) -> str | None:
        """Return what a change from or to nothing is called; None for one that only goes up or down."""
        if after == 0:
            return "churn"
        if before:
            return None
        days = self._rules.reactivation_days
        is_new = not known or (days is not None and since_us > days * DAY_US)
        return "new" if is_new else "reactivation"

    def discounts_of(self, name: str, customer_id: str) -> list[Reduction]:
        """Return the discounts that a subscription may have."""
        return [*self._discounts[name], *self._discounts[customer_id]]

    def line(self, item_id: str, holding: Holding, at_us: int) -> Line:
        """Return an item with its price at a moment and what it costs per interval.

        Before its first version a price was what that says.
        """
        versions = self._versions[holding.price_id]
        nth = max(0, sum(since_us <= at_us for since_us, _ in versions) - 1)
        return item_id, versions[nth][1], self._cost(holding.price_id, nth, holding.quantity)

    def first_price(self, price_id: str) -> Price:
        """Return what a price said first; its interval never changes."""
        return self._versions[price_id][0][1]

    def price_changes(self, price_id: str) -> list[tuple[int, Price]]:
        """Return the versions of a price after its first."""
        return self._versions[price_id][1:]

    def _cost_of(self, price_id: str, nth: int, quantity: int) -> Fraction:
        return per_interval(self._versions[price_id][nth][1], quantity)

    def counts(self, status: str, leaving: bool, paid: bool) -> bool:
        """Return whether a subscription that stands so has MRR."""
        rules = self._rules
        if status != "active" and not (status == "past_due" and rules.count_past_due):
            return False
        if leaving and rules.churn_at == "cancellation":
            return False
        return paid or rules.active_from == "start"

    @property
    def rules(self) -> Rules:
        """How the merchant counts."""
        return self._rules


class _Subscription:
    """One subscription in time."""

    def __init__(self, hand: Hand, name: str, book: SubscriptionBook) -> None:
        self._hand = hand
        self._name = name
        self._book = book
        self._standing = Course(book.standing)
        self._items = {item_id: Course(timeline) for item_id, timeline in book.items.items()}
        self._discounts = hand.discounts_of(name, book.customer_id)

    def moments(self) -> Iterator[int]:
        """Yield every moment at which its MRR may change."""
        yield from self._standing.changes()
        if self._book.first_paid_us is not None:
            yield self._book.first_paid_us
        prices: list[Price] = []
        for course, timeline in zip(self._items.values(), self._book.items.values(), strict=True):
            yield from course.changes()
            for price_id in {held.price_id for held in timeline.entries.values() if held}:
                prices.append(self._hand.first_price(price_id))
                yield from (since_us for since_us, _ in self._hand.price_changes(price_id))
        for discount in self._discounts:
            yield discount.starts_us
            ends = {ends_of(discount, price) for price in prices}
            yield from (end_us for end_us in ends if end_us is not None)

    def failed(self, at_us: int) -> bool:
        """Return whether at this very moment it ceased to count for want of a payment."""
        now, before = self._standing.at(at_us), self._standing.at(at_us - 1)
        if now is None or before is None or now == before:
            return False
        ended = now.status in ("canceled", "incomplete_expired") and now.failed
        return ended or (now.status in ("past_due", "unpaid") and now.status != before.status)

    def mrr(self, at_us: int) -> dict[Key, int]:
        """Return the MRR of each item at a moment, in minor units."""
        standing = self._standing.at(at_us)
        paid = self._book.first_paid_us is not None and self._book.first_paid_us <= at_us
        if standing is None or not self._hand.counts(standing.status, standing.leaving, paid):
            return {}
        held = ((item_id, course.at(at_us)) for item_id, course in self._items.items())
        lines = [self._hand.line(item_id, holding, at_us) for item_id, holding in held if holding]
        lines = [line for line in lines if line[2] > 0]
        left = lowered(lines, self._discounts, at_us, self._hand.rules)
        return {
            (price.currency, self._name, item_id, price.price_id): per_month(rest, price)
            for (item_id, price, _), rest in zip(lines, left, strict=True)
        }


def _named(changed: dict[Key, int], kind: str | None) -> Iterator[tuple[Key, str, int]]:
    """Yield the items' changes at one moment with their names.

    Where the items of a currency go both ways, the net change is shared among those that go its way, in the
    order of their ids; what is left over only moved from item to item.
    """
    for currency in {key[0] for key in changed}:
        items = {key: amount for key, amount in sorted(changed.items(), key=_by_item) if key[0] == currency}
        net = sum(items.values())
        name = kind or ("expansion" if net > 0 else "contraction")
        rest = abs(net)
        for key, amount in items.items():
            along = min(rest, abs(amount)) if amount * net > 0 else 0
            rest -= along
            own = along if net > 0 else -along
            if own:
                yield key, name, own
            if amount != own:
                yield key, "transfer in" if amount > own else "transfer out", amount - own


def _by_item(entry: tuple[Key, int]) -> tuple[str, str]:
    return entry[0][2], entry[0][3]
