"""What a billing system tells: its objects as rows that change by key, and usage as events.

Every row belongs to a merchant. Money is exact: whole minor units (cents, yen, fils) as integers, or decimals
of minor units where a price is finer than one. Times are UTC. Tables whose past matters carry `valid_at`,
from when the row holds, and `seq`, which orders the versions of one key however they arrive;
`<table>__history` then has every version with `valid_from` and `valid_to`.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field, JsonValue

import headrace as hr
from headrace.solutions.billing.currencies import DIGITS

MINOR_MAX = 10**15
"""Minor units of one amount; sums of thousands of such amounts still have room in 64 bits."""
OFF_MAX = 10**12
"""Minor units that a discount takes off."""
QUANTITY_MAX = 10**9
"""Units of an item; what a price asks for them is cut at 1e14 minor units an interval (views/charges.sql)."""
USED_MAX = 10**12
"""Units that one event of a meter tells."""
COUNT_MAX = 10_000
"""Days, weeks, months or years of an interval."""
Minor = Annotated[int, Field(ge=-MINOR_MAX, le=MINOR_MAX)]
"""Money in whole minor units of the row's currency."""
Currency = Annotated[str, Field(pattern=r"^[a-z]{3}$")]
"""An ISO 4217 code in small letters."""
Interval = Literal["day", "week", "month", "year"]


def _known_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("no such time zone; expected an IANA name such as 'Europe/Berlin'")
    return name


TimeZone = Annotated[str, AfterValidator(_known_zone)]
"""An IANA name, such as `America/New_York`."""


def _known_currency(code: str) -> str:
    if code not in DIGITS:
        raise ValueError("no such currency; expected three small letters such as 'eur'")
    return code


KnownCurrency = Annotated[str, AfterValidator(_known_currency)]
"""A currency that there is: totals in another one would be empty."""
CENTURY = 36_500
"""Days of a hundred years: what is longer counts for ever."""
SubscriptionStatus = Literal[
    "incomplete", "incomplete_expired", "trialing", "active", "past_due", "unpaid", "paused", "canceled"
]


class Sequenced(hr.Table):
    """A row of which only the newest version counts: that of the highest `seq`, however versions arrive."""

    seq: int = 0


class Versioned(hr.Table):
    """A row with a past: it holds from `valid_at`; of one key, the highest `seq` is the newest version."""

    valid_at: datetime
    seq: int


class Merchant(Sequenced):
    """A business that bills its customers. Its time zone says when its days begin."""

    merchant_id: str
    name: str
    time_zone: TimeZone = "UTC"
    reporting_currency: Currency = "usd"
    country: str | None = None
    created_at: datetime | None = None


class Customer(Versioned):
    """A customer of a merchant; `dimensions` are the merchant's own, such as `{"segment": "smb"}`."""

    merchant_id: str
    customer_id: str
    name: Annotated[str | None, hr.pii("name")] = None
    email: Annotated[str | None, hr.pii("email")] = None
    country: str | None = None
    created_at: datetime | None = None
    dimensions: JsonValue = None
    card_exp_month: Annotated[int | None, Field(ge=1, le=12)] = None
    card_exp_year: Annotated[int | None, Field(ge=1970, le=9999)] = None


class Product(Sequenced):
    """What is sold; a product has any number of prices."""

    merchant_id: str
    product_id: str
    name: str


class Price(Versioned):
    """What one unit costs per interval, in minor units (a decimal, since units may cost fractions of a cent).

    `tiers` is a list of `{"up_to": number or null, "unit_amount": decimal, "flat_amount": decimal}` in
    ascending order; `graduated` charges each unit by the tier that it falls in, `volume` all by that of the
    last. With `divide_by`, packages of so many units are charged, and `round` says which way.
    """

    merchant_id: str
    price_id: str
    product_id: str
    currency: Currency
    scheme: Literal["flat", "per_unit", "tiered"] = "per_unit"
    tiers_mode: Literal["graduated", "volume"] | None = None
    tiers: JsonValue = None
    unit_amount: Annotated[Decimal | None, hr.decimal(24, 12)] = None
    usage_type: Literal["licensed", "metered"] = "licensed"
    meter: str | None = None
    interval: Interval = "month"
    interval_count: Annotated[int, Field(ge=1, le=COUNT_MAX)] = 1
    divide_by: Annotated[int | None, Field(ge=1, le=MINOR_MAX)] = None
    round: Literal["up", "down"] | None = None


class Subscription(Versioned):
    """A contract of a customer, in Stripe's statuses.

    A subscription that ends with its period says so with `cancel_at_period_end` or `cancel_at` before it
    becomes `canceled`. `pause_behavior` is set while collection is paused.
    """

    merchant_id: str
    subscription_id: str
    customer_id: str
    status: SubscriptionStatus
    currency: Currency
    start_at: datetime | None = None
    trial_start: datetime | None = None
    trial_end: datetime | None = None
    current_period_start: datetime | None = None
    current_period_end: datetime | None = None
    cancel_at_period_end: bool = False
    cancel_at: datetime | None = None
    canceled_at: datetime | None = None
    ended_at: datetime | None = None
    pause_behavior: Literal["void", "mark_uncollectible", "keep_as_draft"] | None = None
    pause_resumes_at: datetime | None = None
    cancellation_reason: str | None = None


class SubscriptionItem(Versioned):
    """One line of a subscription: a price and how many of it."""

    merchant_id: str
    item_id: str
    subscription_id: str
    price_id: str
    quantity: Annotated[int | None, Field(ge=0, le=QUANTITY_MAX)] = 1


class Coupon(Sequenced):
    """What discounts are made of: the terms of those that have none of their own."""

    merchant_id: str
    coupon_id: str
    name: str | None = None
    percent_off: Annotated[Decimal | None, hr.decimal(7, 4), Field(ge=0, le=100)] = None
    amount_off: Annotated[int | None, Field(ge=0, le=OFF_MAX)] = None
    currency: Currency | None = None
    duration: Literal["once", "repeating", "forever"] = "forever"
    duration_in_months: Annotated[int | None, Field(ge=0, le=COUNT_MAX)] = None


class Discount(Versioned):
    """A coupon that applies from `starts_at` to `ends_at` (NULL: no end is known).

    To one item (give its subscription too), to a subscription, or to all of a customer's. `amount_off` is per
    billing interval, in minor units.
    """

    merchant_id: str
    discount_id: str
    customer_id: str | None = None
    subscription_id: str | None = None
    item_id: str | None = None
    coupon_id: str | None = None
    percent_off: Annotated[Decimal | None, hr.decimal(7, 4), Field(ge=0, le=100)] = None
    amount_off: Annotated[int | None, Field(ge=0, le=OFF_MAX)] = None
    currency: Currency | None = None
    duration: Literal["once", "repeating", "forever"] = "forever"
    starts_at: datetime
    ends_at: datetime | None = None


class Invoice(Sequenced):
    """What a customer owes for a period. `attempt_count` counts the tries to collect it."""

    merchant_id: str
    invoice_id: str
    customer_id: str
    subscription_id: str | None = None
    status: Literal["draft", "open", "paid", "uncollectible", "void"]
    currency: Currency
    subtotal: Minor = 0
    tax: Minor = 0
    total: Minor = 0
    amount_due: Minor = 0
    amount_paid: Minor = 0
    attempt_count: int = 0
    billing_reason: str | None = None
    created_at: datetime
    finalized_at: datetime | None = None
    paid_at: datetime | None = None


class PaymentMethod(Sequenced):
    """A card, with the last month in which it can be charged; without a customer it is detached."""

    merchant_id: str
    payment_method_id: str
    customer_id: str | None = None
    exp_month: Annotated[int | None, Field(ge=1, le=12)] = None
    exp_year: int | None = None


class InvoiceLine(Sequenced):
    """One line of an invoice; a proration corrects a period that has begun."""

    merchant_id: str
    line_id: str
    invoice_id: str
    item_id: str | None = None
    price_id: str | None = None
    quantity: Annotated[int | None, Field(ge=-QUANTITY_MAX, le=QUANTITY_MAX)] = None
    amount: Minor
    currency: Currency
    proration: bool = False
    period_start: datetime | None = None
    period_end: datetime | None = None


class Payment(Sequenced):
    """One try to collect money: a charge."""

    merchant_id: str
    payment_id: str
    customer_id: str | None = None
    invoice_id: str | None = None
    status: Literal["succeeded", "failed", "pending", "canceled"]
    amount: Minor
    currency: Currency
    failure_code: str | None = None
    created_at: datetime


class Refund(Sequenced):
    """Money that went back."""

    merchant_id: str
    refund_id: str
    payment_id: str | None = None
    customer_id: str | None = None
    status: Literal["pending", "succeeded", "failed", "canceled"] = "succeeded"
    amount: Minor
    currency: Currency
    created_at: datetime


class MeterEvent(hr.Event):
    """Usage of something that is measured; `event_id` counts once."""

    event_id: str
    merchant_id: str
    customer_id: str
    meter: str
    value: Annotated[Decimal, hr.decimal(24, 6), Field(ge=-USED_MAX, le=USED_MAX)]
    used_at: Annotated[datetime, hr.event_time()]


class StripeEvent(hr.Event):
    """An event of Stripe's as it came, whatever became of it, so that nothing told is ever lost.

    `outcome`: `mapped` to rows; `unknown`, since its object means no rows; `unread`, since the object lacks
    something that it cannot be without: `problem` says what.
    """

    event_id: str
    merchant_id: str
    type: str
    object: str | None = None
    object_id: str | None = None
    created_at: datetime
    api_version: str | None = None
    livemode: bool = False
    outcome: Literal["mapped", "unknown", "unread"]
    problem: str | None = None
    payload: Annotated[JsonValue, hr.pii("billing")]


class StripeMapping(hr.Table):
    """What became of an event of Stripe's when it was mapped again; see stripe/again.py."""

    merchant_id: str
    event_id: str
    outcome: Literal["mapped", "unknown", "unread"]
    problem: str | None = None
    mapped_at: datetime


class Meter(hr.Table):
    """Under which name the usage of a meter comes, where prices name the meter otherwise, as Stripe's do."""

    merchant_id: str
    meter_id: str
    event_name: str


class FxRate(hr.Table):
    """How many units of a currency one US dollar buys on a day, in major units; `usd` itself is 1."""

    day: date
    currency: Currency
    rate: Annotated[Decimal, hr.decimal(18, 8), Field(gt=0)]


class Setting(Versioned):
    """How a merchant defines its metrics. `scenario` is `live`, or the name of a preview or comparison.

    README.md says what each column means; NULL means the merchant's own (time zone, currency) or no limit.
    """

    merchant_id: str
    scenario: str = "live"
    preset: Literal["stripe", "chartmogul", "profitwell", "baremetrics"] | None = None
    subtract_recurring_discounts: bool = True
    subtract_once_discounts: bool = False
    active_from: Literal["start", "first_payment"] = "start"
    churn_at: Literal["cancellation", "period_end"] = "period_end"
    count_past_due: bool = True
    reactivation_days: Annotated[int | None, Field(ge=0, le=CENTURY)] = None
    refunds: Literal["ignore", "subtract"] = "ignore"
    reporting_currency: KnownCurrency | None = None
    rate_rule: Literal["day", "previous_day", "latest"] = "day"
    time_zone: TimeZone | None = None
    week_start: Literal["monday", "sunday", "saturday"] = "monday"
    churn_formula: Literal["stripe", "common"] = "stripe"
    changed_by: str | None = None
    note: str | None = None


class Proof(hr.Table):
    """What came of the last computation from scratch of one customer under one scenario; see prove.py."""

    merchant_id: str
    customer_id: str
    scenario: str
    proved_at: datetime
    version: int
    movements: int
    drift_minor: int
    differences: int
