"""Objects and events as Stripe sends them, in an older and a newer API version, cut to what is read."""

from __future__ import annotations

from typing import Any

import headrace as hr
from headrace.solutions.billing import models
from headrace.solutions.billing.app import FACTS, HISTORIES

Object = dict[str, Any]
OLD, BASIL = "2020-08-27", "2025-03-31.basil"
DAY = 86_400
JAN_1 = 1_767_225_600
"""2026-01-01 00:00 UTC, in seconds."""


def tables() -> hr.App:
    """The tables of the billing app, without its views."""
    app = hr.App("billing")
    for name, (model, column) in FACTS.items():
        app.table(name, model, key=("merchant_id", column) if column else "merchant_id", sequence="seq")
    for name, (model, column) in HISTORIES.items():
        app.table(name, model, key=("merchant_id", column), effective="valid_at", sequence="seq")
    app.table("stripe_mappings", models.StripeMapping, key=("merchant_id", "event_id"))
    app.table("meters", models.Meter, key=("merchant_id", "meter_id"))
    app.table("fx_rates", models.FxRate, key=("day", "currency"))
    app.stream("meter_events", models.MeterEvent, event_id="event_id")
    app.stream("stripe_events", models.StripeEvent, event_id="event_id")
    return app


def price(price_id: str = "price_1", amount: int = 2_000, **changed: Any) -> Object:
    recurring = {"interval": "month", "interval_count": 1, "usage_type": "licensed", "meter": None}
    return {
        "id": price_id,
        "object": "price",
        "billing_scheme": "per_unit",
        "created": JAN_1 - 30 * DAY,
        "currency": "usd",
        "product": "prod_1",
        "recurring": recurring,
        "unit_amount": amount,
        "unit_amount_decimal": str(amount),
        "tiers_mode": None,
        "type": "recurring",
    } | changed


def item(item_id: str = "si_1", quantity: int = 1, priced: Object | None = None, **changed: Any) -> Object:
    return {
        "id": item_id,
        "object": "subscription_item",
        "created": JAN_1,
        "price": priced or price(),
        "quantity": quantity,
        "subscription": "sub_1",
    } | changed


def listing(*entries: Object, has_more: bool = False) -> Object:
    return {"object": "list", "data": list(entries), "has_more": has_more}


def subscription(
    status: str = "active", items: Object | None = None, api: str = BASIL, **changed: Any
) -> Object:
    found: Object = {
        "id": "sub_1",
        "object": "subscription",
        "created": JAN_1,
        "currency": "usd",
        "customer": "cus_1",
        "items": items or listing(item()),
        "start_date": JAN_1,
        "status": status,
        "cancel_at_period_end": False,
        "discounts": [],
    }
    period = {"current_period_start": JAN_1, "current_period_end": JAN_1 + 31 * DAY}
    if api < BASIL:
        return found | period | {"discount": None} | changed
    for entry in found["items"]["data"]:
        entry |= period
    return found | changed


def invoice(status: str = "paid", api: str = BASIL, **changed: Any) -> Object:
    found = {
        "id": "in_1",
        "object": "invoice",
        "created": JAN_1,
        "currency": "usd",
        "customer": "cus_1",
        "status": status,
        "subtotal": 2_000,
        "total": 2_380,
        "amount_due": 2_380,
        "amount_paid": 2_380 if status == "paid" else 0,
        "attempt_count": 1,
        "billing_reason": "subscription_cycle",
        "status_transitions": {"finalized_at": JAN_1, "paid_at": JAN_1 + 5 if status == "paid" else None},
    }
    line = {
        "id": "il_1",
        "object": "line_item",
        "amount": 2_000,
        "currency": "usd",
        "quantity": 1,
        "period": {"start": JAN_1, "end": JAN_1 + 31 * DAY},
    }
    if api < BASIL:
        line |= {"price": price(), "subscription_item": "si_1", "subscription": "sub_1", "proration": True}
        return found | {"tax": 380, "subscription": "sub_1", "lines": listing(line)} | changed
    line["parent"] = {"subscription_item_details": {"subscription_item": "si_1", "proration": True}}
    line["pricing"] = {"type": "price_details", "price_details": {"price": "price_1", "product": "prod_1"}}
    parent = {"type": "subscription_details", "subscription_details": {"subscription": "sub_1"}}
    return found | {"total_taxes": [{"amount": 380}], "parent": parent, "lines": listing(line)} | changed


def event(
    kind: str, found: Object, created: int = JAN_1, before: Object | None = None, **changed: Any
) -> Object:
    data: Object = {"object": found} | ({"previous_attributes": before} if before is not None else {})
    return {
        "id": changed.pop("event_id", f"evt_{kind}_{created}"),
        "object": "event",
        "api_version": BASIL,
        "created": created,
        "type": kind,
        "data": data,
        "livemode": True,
        "pending_webhooks": 1,
    } | changed
