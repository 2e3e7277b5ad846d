"""What things are worth a month, by the plain arithmetic of fractions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from headrace.solutions.billing.simulate.books import Price, Reduction
from headrace.solutions.billing.simulate.times import DAY_US, add_months

MONTHS = {"day": Fraction(30), "week": Fraction(52, 12), "month": Fraction(1), "year": Fraction(1, 12)}


@dataclass(frozen=True)
class Rules:
    """How a merchant counts; the defaults are Stripe's."""

    subtract_recurring_discounts: bool = True
    subtract_once_discounts: bool = False
    active_from: str = "start"
    churn_at: str = "period_end"
    count_past_due: bool = True
    reactivation_days: int | None = None
    refunds: str = "ignore"
    churn_formula: str = "stripe"
    reporting_currency: str | None = None
    time_zone: str | None = None


def per_interval(price: Price, quantity: int) -> Fraction:
    """Return what a price asks per interval, in minor units; nothing for what is metered."""
    if price.meter:
        return Fraction(0)
    unit = Fraction(price.unit_amount or 0)
    if price.scheme == "flat":
        return unit
    if price.scheme == "per_unit":
        return unit * quantity
    if price.tiers_mode == "volume":
        upto, amount, flat = next(tier for tier in price.tiers if tier[0] is None or quantity <= tier[0])
        return Fraction(amount) * quantity + flat
    total, below = Fraction(0), 0
    for upto, amount, flat in price.tiers:
        if quantity > below:
            within = quantity if upto is None else min(quantity, upto)
            total += Fraction(amount) * (within - below) + flat
        below = quantity if upto is None else upto
    return total


def per_month(amount: Fraction, price: Price) -> int:
    """Return an amount per interval as whole minor units a month, rounded half away from zero."""
    monthly = amount * MONTHS[price.interval] / price.count
    return int(monthly + Fraction(1, 2)) if monthly >= 0 else -int(-monthly + Fraction(1, 2))


def holds(discount: Reduction, price: Price, at_us: int) -> bool:
    """Return whether a discount is on at a moment; one on a single invoice lasts one interval."""
    if discount.amount_off is not None and discount.currency not in (None, price.currency):
        return False
    ends_us = ends_of(discount, price)
    return discount.starts_us <= at_us and (ends_us is None or at_us < ends_us)


def ends_of(discount: Reduction, price: Price) -> int | None:
    """Return when a discount is over for an item with this price."""
    if discount.duration != "once":
        return discount.ends_us
    if price.interval in ("day", "week"):
        return discount.starts_us + price.count * (7 if price.interval == "week" else 1) * DAY_US
    return add_months(discount.starts_us, price.count * (12 if price.interval == "year" else 1))


def is_subtracted(discount: Reduction, rules: Rules) -> bool:
    """Return whether a merchant's MRR is lowered by a discount of its kind."""
    return {
        "forever": True,
        "repeating": rules.subtract_recurring_discounts,
        "once": rules.subtract_once_discounts,
    }[discount.duration]


Line = tuple[str, Price, Fraction]
"""An item's id, its price, and what it costs per interval."""


def lowered(
    lines: Sequence[Line], discounts: Sequence[Reduction], at_us: int, rules: Rules
) -> list[Fraction]:
    """Return what is left of a subscription's lines at a moment, in their order.

    A line's own discounts (its own and its subscription's) come before those of the customer, which count
    only where there are none. Shares come off one after the other, then amounts, each spread over the lines
    it is on by cost.
    """
    on = [
        [d for d in discounts if d.item_id in (None, item) and holds(d, price, at_us)]
        for item, price, _ in lines
    ]
    own = [[d for d in found if d.subscription_id is not None] for found in on]
    left = []
    for number, (_, _, cost) in enumerate(lines):
        chosen = [d for d in own[number] or on[number] if is_subtracted(d, rules)]
        rest = cost
        for discount in chosen:
            rest -= rest * Fraction(discount.percent_off or 0) / 100
        for discount in chosen:
            if discount.amount_off:
                total = sum(lines[n][2] for n, found in enumerate(on) if discount in found)
                rest -= discount.amount_off * cost / total
        left.append(max(rest, Fraction(0)))
    return left
