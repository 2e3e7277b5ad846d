"""Billing analytics: the tables of a billing system, the views and the questions asked of them."""

from __future__ import annotations

from pathlib import Path

import headrace as hr
from headrace.solutions.billing import models, sheet, why_rows
from headrace.solutions.billing.stripe import backfill
from headrace.solutions.billing.stripe.source import StripeSource

HERE = Path(__file__).parent

app = hr.App("billing")

FACTS: dict[str, tuple[type[hr.Table], str | None]] = {
    "merchants": (models.Merchant, None),
    "products": (models.Product, "product_id"),
    "coupons": (models.Coupon, "coupon_id"),
    "invoices": (models.Invoice, "invoice_id"),
    "payment_methods": (models.PaymentMethod, "payment_method_id"),
    "invoice_lines": (models.InvoiceLine, "line_id"),
    "payments": (models.Payment, "payment_id"),
    "refunds": (models.Refund, "refund_id"),
}
"""Tables of which only the present counts, with what beside the merchant makes a key."""

HISTORIES: dict[str, tuple[type[hr.Table], str]] = {
    "customers": (models.Customer, "customer_id"),
    "prices": (models.Price, "price_id"),
    "subscriptions": (models.Subscription, "subscription_id"),
    "subscription_items": (models.SubscriptionItem, "item_id"),
    "discounts": (models.Discount, "discount_id"),
    "settings": (models.Setting, "scenario"),
}
"""Tables that keep their past."""

for _name, (_model, _id) in FACTS.items():
    app.table(_name, _model, key=("merchant_id", _id) if _id else "merchant_id", sequence="seq")
for _name, (_model, _key) in HISTORIES.items():
    app.table(_name, _model, key=("merchant_id", _key), effective="valid_at", sequence="seq")

app.table("stripe_mappings", models.StripeMapping, key=("merchant_id", "event_id"))
app.table("meters", models.Meter, key=("merchant_id", "meter_id"))
app.table("fx_rates", models.FxRate, key=("day", "currency"))
app.table("proofs", models.Proof, key=("merchant_id", "customer_id", "scenario"))
app.stream("meter_events", models.MeterEvent, event_id="event_id")
app.stream("stripe_events", models.StripeEvent, event_id="event_id")
app.source("stripe", StripeSource(), signed=True)
app.source("stripe_export", backfill.receive)
app.source("sheet", sheet.receive)

app.views(HERE / "views")
app.query_parts(HERE / "queries" / "parts")
app.queries(HERE / "queries")
app.python_query("why", why_rows.why_rows, columns=why_rows.COLUMNS, wants=why_rows.WANTS)
app.dashboard(HERE / "dashboards")
app.metric(
    "billing_drift_minor",
    "-- By how much views and ledgers computed from scratch differ, in minor units: must be 0.\n"
    "SELECT merchant_id, drift_minor AS value FROM proof_totals",
)
