"""Coupons: what discounts are made of. A deleted coupon keeps its row: its discounts run on."""

from __future__ import annotations

from headrace.solutions.billing.stripe.occasion import EXPORTED, Occasion
from headrace.solutions.billing.stripe.rows import Gathered, Row
from headrace.solutions.billing.stripe.values import Object, exact, moment, must


def map_coupon(found: Object, told: Occasion, out: Gathered) -> None:
    """A coupon."""
    if found.get("deleted"):
        return
    own = told.kind.startswith("coupon.") or told.kind == EXPORTED
    row = {
        **told.of_merchant,
        "coupon_id": must(found, "id"),
        "name": found.get("name"),
        **terms(found),
        "duration_in_months": found.get("duration_in_months"),
    }
    first = told.first(moment(found.get("created")), row)
    out.upsert("coupons", row | {"seq": told.seq if own else first["seq"]})


def terms(found: Object) -> Row:
    """Return what a coupon takes off, as columns that coupons and discounts share."""
    amount = found.get("amount_off")
    return {
        "percent_off": exact(found.get("percent_off")),
        "amount_off": amount,
        "currency": str(found["currency"]).lower() if amount is not None and found.get("currency") else None,
        "duration": found.get("duration") or "forever",
    }
