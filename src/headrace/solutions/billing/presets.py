"""What well-known products mean by the same words, as settings.

A preset is a row of settings like any other. Set under scenarios of their own (`settings.compare`), presets
stand side by side over the same data; README.md says where and why their numbers differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STRIPE: Mapping[str, Any] = {
    "subtract_recurring_discounts": True,
    "subtract_once_discounts": False,
    "active_from": "start",
    "churn_at": "period_end",
    "count_past_due": True,
    "reactivation_days": None,
    "refunds": "ignore",
    "churn_formula": "stripe",
}
"""Stripe Billing analytics, as it comes: recurring and forever coupons lower MRR, single ones do not; a
subscription counts from its start, through `past_due`, until cancelled or unpaid; churn over start + new."""

CHARTMOGUL: Mapping[str, Any] = {
    **STRIPE,
    "active_from": "first_payment",
    "churn_at": "cancellation",
    "churn_formula": "common",
}
"""ChartMogul: what is paid counts, so a customer begins with the first payment; MRR ends when a subscription
is cancelled; who comes back is a reactivation however long it took; churn over the start."""

PROFITWELL: Mapping[str, Any] = {
    **STRIPE,
    "active_from": "first_payment",
    "churn_at": "period_end",
    "reactivation_days": 90,
    "churn_formula": "common",
}
"""ProfitWell (Paddle): MRR until the paid period is over; who returns after 90 days is new again."""

BAREMETRICS: Mapping[str, Any] = {
    **STRIPE,
    "subtract_once_discounts": True,
    "count_past_due": True,
    "churn_at": "cancellation",
    "refunds": "subtract",
    "churn_formula": "common",
}
"""Baremetrics: every discount lowers MRR, single ones too; refunds lower net revenue; a cancellation is churn
at once."""

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "stripe": STRIPE,
    "chartmogul": CHARTMOGUL,
    "profitwell": PROFITWELL,
    "baremetrics": BAREMETRICS,
}
"""Every preset by its name."""
