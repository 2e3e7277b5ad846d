"""The account itself: a merchant with time zone, currency and country."""

from __future__ import annotations

from headrace.solutions.billing.stripe.occasion import Occasion
from headrace.solutions.billing.stripe.rows import Gathered
from headrace.solutions.billing.stripe.values import Object, inner, moment


def map_account(found: Object, told: Occasion, out: Gathered) -> None:
    """A merchant."""
    named = inner(found, "business_profile", "name") or inner(found, "settings", "dashboard", "display_name")
    out.upsert(
        "merchants",
        {
            **told.of_merchant,
            "name": named or told.merchant_id,
            "time_zone": inner(found, "settings", "dashboard", "timezone") or "UTC",
            "reporting_currency": str(found.get("default_currency") or "usd").lower(),
            "country": found.get("country"),
            "created_at": moment(found.get("created")),
            "seq": told.seq,
        },
    )
