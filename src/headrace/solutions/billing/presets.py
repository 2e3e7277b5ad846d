"""What well-known products mean by the same words, as settings.

A preset is a row of settings like any other. Set under scenarios of their own (`settings.compare`), presets
stand side by side over the same data; README.md says where and why their numbers differ, what of this the
vendors publish and what is assumed.
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
    "churn_formula": "common",
}
"""ChartMogul, as it comes: a customer begins with the first payment above zero; MRR ends when the
subscription has ended in the billing system; who comes back is a reactivation; churn over the start."""

PROFITWELL: Mapping[str, Any] = {
    **STRIPE,
    "subtract_once_discounts": True,
    "churn_formula": "common",
}
"""ProfitWell (Paddle): all discounts lower MRR, however often they apply; MRR lasts until the paid period is
over, through dunning; refunds are left out; who comes back at any time is a reactivation."""

BAREMETRICS: Mapping[str, Any] = {
    **STRIPE,
    "churn_at": "cancellation",
    "refunds": "subtract",
    "churn_formula": "stripe",
}
"""Baremetrics: a cancellation is churn at once, refunds lower net revenue, and customers who came and went
within the period count in the churn rate."""

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "stripe": STRIPE,
    "chartmogul": CHARTMOGUL,
    "profitwell": PROFITWELL,
    "baremetrics": BAREMETRICS,
}
"""Every preset by its name."""
