"""Refunds, by themselves or in the charge that they belong to."""

from __future__ import annotations

from headrace.solutions.billing.stripe.occasion import Occasion
from headrace.solutions.billing.stripe.rows import Gathered
from headrace.solutions.billing.stripe.values import Object, currency, ident, listed, moment, must

STATUSES = {"requires_action": "pending", None: "succeeded"}


def map_refund(found: Object, told: Occasion, out: Gathered, customer_id: str | None = None) -> None:
    """Money that went back."""
    status = found.get("status")
    out.upsert(
        "refunds",
        {
            **told.of_merchant,
            "refund_id": must(found, "id"),
            "payment_id": ident(found.get("payment_intent")) or ident(found.get("charge")),
            "customer_id": ident(found.get("customer")) or customer_id,
            "status": STATUSES.get(status, status),
            "amount": must(found, "amount"),
            "currency": currency(found),
            "created_at": moment(must(found, "created")),
            "seq": told.seq,
        },
    )


def map_charge(found: Object, told: Occasion, out: Gathered) -> None:
    """The refunds of a charge; that it was tried is told by its invoice."""
    for refund in listed(found.get("refunds")):
        map_refund(refund, told, out, ident(found.get("customer")))
