"""Billing analytics: the tables of a billing system, and the views in `views/`."""

from __future__ import annotations

from pathlib import Path

import headrace as hr
from headrace.solutions.billing import models

HERE = Path(__file__).parent

app = hr.App("billing")

for _name, _model, _key in (
    ("merchants", models.Merchant, ()),
    ("products", models.Product, ("product_id",)),
    ("coupons", models.Coupon, ("coupon_id",)),
    ("invoices", models.Invoice, ("invoice_id",)),
    ("invoice_lines", models.InvoiceLine, ("line_id",)),
    ("payments", models.Payment, ("payment_id",)),
    ("refunds", models.Refund, ("refund_id",)),
):
    app.table(_name, _model, key=("merchant_id", *_key))

for _name, _model, _key in (
    ("customers", models.Customer, ("customer_id",)),
    ("prices", models.Price, ("price_id",)),
    ("subscriptions", models.Subscription, ("subscription_id",)),
    ("subscription_items", models.SubscriptionItem, ("item_id",)),
    ("discounts", models.Discount, ("discount_id",)),
    ("settings", models.Setting, ("scenario",)),
):
    app.table(_name, _model, key=("merchant_id", *_key), effective="valid_at", sequence="seq")

app.table("fx_rates", models.FxRate, key=("day", "currency"))
app.stream("meter_events", models.MeterEvent, event_id="event_id")

app.views(HERE / "views")
