"""Prices, and the plans before them: amount, tiers, interval, meter. One-time prices are no part of MRR."""

from __future__ import annotations

from typing import Any

from headrace.solutions.billing.stripe.occasion import Occasion
from headrace.solutions.billing.stripe.product import map_product
from headrace.solutions.billing.stripe.rows import Gathered, Row
from headrace.solutions.billing.stripe.values import (
    EMPTY,
    Object,
    currency,
    exact,
    ident,
    listed,
    moment,
    must,
)


def map_price(found: Object, told: Occasion, out: Gathered) -> None:
    """A version of a price; an expanded product comes along."""
    if found.get("deleted"):
        return
    row = row_of_plan(found) if found.get("object") == "plan" else row_of_price(found)
    if row is None:
        return
    created_at = row.pop("created_at")
    changed = told.kind in ("price.updated", "plan.updated")
    row |= told.of_merchant
    out.upsert("prices", row | (told.version() if changed else told.first(created_at, row)))
    if isinstance(found.get("product"), dict):
        map_product(found["product"], told, out)


def row_of_price(found: Object) -> Row | None:
    """Return the columns of a price, or None for a one-time one."""
    recurring = found.get("recurring")
    if not isinstance(recurring, dict):
        return None
    shape = found.get("transform_quantity") or EMPTY
    amounts = (found.get("unit_amount_decimal"), found.get("unit_amount"))
    return _row(found, recurring, amounts, shape)


def row_of_plan(found: Object) -> Row:
    """Return the columns of a plan, the older form of a recurring price."""
    shape = found.get("transform_usage") or EMPTY
    return _row(found, found, (found.get("amount_decimal"), found.get("amount")), shape)


def _row(found: Object, recurring: Object, amounts: tuple[Any, Any], shape: Object) -> Row:
    return {
        "price_id": must(found, "id"),
        "product_id": ident(found.get("product")) or "",
        "currency": currency(found),
        "scheme": found.get("billing_scheme") or "per_unit",
        "tiers_mode": found.get("tiers_mode"),
        "tiers": [_tier(tier) for tier in listed(found.get("tiers"))] or None,
        "unit_amount": exact(*amounts),
        "usage_type": recurring.get("usage_type") or "licensed",
        "meter": recurring.get("meter"),
        "interval": must(recurring, "interval"),
        "interval_count": recurring.get("interval_count") or 1,
        "divide_by": shape.get("divide_by"),
        "round": shape.get("round"),
        "created_at": moment(found.get("created")),
    }


def _tier(tier: Object) -> dict[str, Any]:
    unit = exact(tier.get("unit_amount_decimal"), tier.get("unit_amount"))
    flat = exact(tier.get("flat_amount_decimal"), tier.get("flat_amount"))
    return {"up_to": tier.get("up_to"), "unit_amount": str(unit or 0), "flat_amount": str(flat or 0)}
