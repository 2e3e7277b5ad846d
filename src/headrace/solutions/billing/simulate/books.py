"""The simulator's own books: what it did to whom and when, kept by itself and never read from a table.

Every fact that moves money stands here as a timeline: what holds from a moment on. What is
learned later about an earlier moment takes the place of everything from that moment on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Generic, NamedTuple, TypeVar

Held = TypeVar("Held")
Tier = tuple[int | None, Decimal, int]
"""Up to which quantity, the amount per unit, and the amount for touching the tier."""


class Timeline(Generic[Held]):
    """What holds from when, microseconds."""

    def __init__(self) -> None:
        self.entries: dict[int, Held] = {}

    def note(self, at_us: int, held: Held) -> None:
        """Let something hold from a moment on, whatever was to hold later."""
        for later in [known for known in self.entries if known > at_us]:
            del self.entries[later]
        self.entries[at_us] = held

    def ordered(self) -> list[tuple[int, Held]]:
        """Return the entries by time."""
        return sorted(self.entries.items(), key=lambda entry: entry[0])


@dataclass
class Price:
    """What a price says, in minor units; a new version of it is a new object in its timeline."""

    currency: str
    scheme: str
    interval: str
    count: int
    unit_amount: Decimal | None = None
    tiers_mode: str | None = None
    tiers: tuple[Tier, ...] = ()
    meter: str | None = None
    price_id: str = ""
    product_id: str = ""


class Standing(NamedTuple):
    """A subscription's status (`paused` too while nothing is collected), and about its end."""

    status: str
    leaving: bool
    failed: bool = False


class Holding(NamedTuple):
    """What an item is: price and quantity."""

    price_id: str
    quantity: int


class Reduction(NamedTuple):
    """A discount on a customer, a subscription or one item, by a share or an amount, in its time."""

    discount_id: str
    customer_id: str | None
    subscription_id: str | None
    item_id: str | None
    percent_off: Decimal | None
    amount_off: int | None
    currency: str | None
    duration: str
    starts_us: int
    ends_us: int | None


@dataclass
class SubscriptionBook:
    """A subscription: whose it is, its standing over time, and when it was first paid."""

    customer_id: str
    currency: str
    standing: Timeline[Standing] = field(default_factory=Timeline)
    items: dict[str, Timeline[Holding | None]] = field(default_factory=dict)
    first_paid_us: int | None = None


@dataclass
class TrialBook:
    """A trial of a subscription; how and when it ended, if it has."""

    customer_id: str
    started_us: int
    ended_us: int | None = None
    outcome: str | None = None


class Payment(NamedTuple):
    """An attempt to pay an invoice."""

    payment_id: str
    invoice_id: str
    customer_id: str
    succeeded: bool
    amount: int
    currency: str
    attempt: int
    at_us: int


class Refund(NamedTuple):
    """Money that went back."""

    refund_id: str
    payment_id: str
    amount: int
    currency: str
    at_us: int


class Usage(NamedTuple):
    """Something metered."""

    meter: str
    customer_id: str
    value: Decimal
    at_us: int


@dataclass
class CustomerBook:
    """What a customer is now; nothing where he is deleted."""

    country: str | None
    dimensions: dict[str, str]
    card: tuple[int, int] | None = None


@dataclass
class MerchantBook:
    """Everything that happened at one merchant."""

    customers: dict[str, CustomerBook] = field(default_factory=dict)
    subscriptions: dict[str, SubscriptionBook] = field(default_factory=dict)
    prices: dict[str, Timeline[Price]] = field(default_factory=dict)
    discounts: dict[str, Reduction] = field(default_factory=dict)
    trials: list[TrialBook] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    refunds: list[Refund] = field(default_factory=list)
    usage: list[Usage] = field(default_factory=list)


class Books:
    """The books of all merchants.

    Attributes:
        merchants: time zone and reporting currency by merchant.
        rates: by currency, how many of its major units a dollar buys, by day; days may be missing.
    """

    def __init__(self) -> None:
        self.merchants: dict[str, tuple[str, str]] = {}
        self.rates: dict[str, dict[int, Decimal]] = {}
        self._books: dict[str, MerchantBook] = {}

    def of(self, merchant_id: str) -> MerchantBook:
        """Return the book of a merchant."""
        return self._books.setdefault(merchant_id, MerchantBook())

    def note_price(self, merchant_id: str, price: Price, at_us: int) -> None:
        """Let a price hold from a moment on."""
        held = Price(**vars(price))
        self.of(merchant_id).prices.setdefault(price.price_id, Timeline()).note(at_us, held)
