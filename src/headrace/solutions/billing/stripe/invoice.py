"""Invoices, their lines, and the attempts to collect them.

Since 2025-03-31 (basil) an invoice names its subscription in `parent`, a line its item in `parent` and its
price in `pricing`, and taxes stand in `total_taxes`; charges no longer name their invoice. So attempts are
told by the invoice's own events, `invoice.payment_failed` and `invoice.paid`: one row for each, numbered by
`attempt_count`.
"""

from __future__ import annotations

from headrace.solutions.billing.stripe.occasion import EXPORTED, Occasion
from headrace.solutions.billing.stripe.rows import Gathered, Row
from headrace.solutions.billing.stripe.values import Object, currency, ident, inner, listed, moment, must

STATUSES = ("draft", "open", "paid", "uncollectible", "void")


def map_invoice(found: Object, told: Occasion, out: Gathered) -> None:
    """An invoice, its lines once it is no draft, and the attempt that the event tells."""
    invoice_id = found.get("id")
    if not invoice_id:  # a preview of an invoice to come: no fact
        return
    key = {**told.of_merchant, "invoice_id": invoice_id}
    if found.get("deleted") or told.kind == "invoice.deleted":
        if not found.get("deleted"):
            out.upsert("invoices", key | _row(found) | {"seq": told.seq - 1})
        out.delete("invoices", key | {"seq": told.seq})
        return
    out.upsert("invoices", key | _row(found) | {"seq": told.seq})
    if found.get("status") != "draft":
        for line in listed(found.get("lines")):
            map_line({"invoice": invoice_id, **line}, told, out)
    _attempts(found, told, out)


def map_line(found: Object, told: Occasion, out: Gathered) -> None:
    """A line of an invoice."""
    invoice_id = ident(found.get("invoice"))
    if invoice_id is None:
        return
    details = inner(found, "parent", "subscription_item_details") or {}
    item = found.get("subscription_item") or details.get("subscription_item")
    price = found.get("price") or found.get("plan") or inner(found, "pricing", "price_details", "price")
    proration = found.get("proration") or details.get("proration")
    out.upsert(
        "invoice_lines",
        {
            **told.of_merchant,
            "line_id": must(found, "id"),
            "invoice_id": invoice_id,
            "item_id": ident(item),
            "price_id": ident(price),
            "quantity": found.get("quantity"),
            "amount": must(found, "amount"),
            "currency": currency(found),
            "proration": bool(proration),
            "period_start": moment(inner(found, "period", "start")),
            "period_end": moment(inner(found, "period", "end")),
            "seq": told.seq,
        },
    )


def subscription_of(found: Object) -> str | None:
    """Return the subscription of an invoice, wherever its API version keeps it."""
    return ident(found.get("subscription")) or ident(
        inner(found, "parent", "subscription_details", "subscription")
    )


def _row(found: Object) -> Row:
    status = found.get("status") or ("paid" if found.get("paid") else "open")
    dates = found.get("status_transitions") or {}
    return {
        "customer_id": ident(found.get("customer")) or "",
        "subscription_id": subscription_of(found),
        "status": status,
        "currency": currency(found),
        "subtotal": found.get("subtotal") or 0,
        "tax": _tax(found),
        "total": found.get("total") or 0,
        "amount_due": found.get("amount_due") or 0,
        "amount_paid": found.get("amount_paid") or 0,
        "attempt_count": found.get("attempt_count") or 0,
        "billing_reason": found.get("billing_reason"),
        "created_at": moment(found.get("created") or found.get("date")),
        "finalized_at": moment(dates.get("finalized_at")),
        "paid_at": moment(dates.get("paid_at")),
    }


def _tax(found: Object) -> int:
    if found.get("tax") is not None:
        return int(found["tax"])
    taxes = listed(found.get("total_taxes")) or listed(found.get("total_tax_amounts"))
    return sum(int(tax.get("amount") or 0) for tax in taxes)


def _attempts(found: Object, told: Occasion, out: Gathered) -> None:
    """Add the attempt to collect that an event tells, or the last one of an exported invoice."""
    count, row = int(found.get("attempt_count") or 0), _row(found)
    paid = found.get("status") == "paid" and row["amount_paid"] > 0 and not found.get("paid_out_of_band")
    if told.kind == "invoice.payment_failed":
        _attempt(found, told, out, count, "failed", row["amount_due"])
    elif told.kind in ("invoice.paid", "invoice.payment_succeeded", EXPORTED) and paid:
        _attempt(found, told, out, count, "succeeded", row["amount_paid"])


def _attempt(found: Object, told: Occasion, out: Gathered, count: int, status: str, amount: int) -> None:
    paid_at = moment(inner(found, "status_transitions", "paid_at")) if status == "succeeded" else None
    told_at = moment(found.get("created")) if told.kind == EXPORTED else told.told_at
    reason = inner(found, "last_finalization_error", "code") if status == "failed" else None
    out.upsert(
        "payments",
        {
            **told.of_merchant,
            "payment_id": f"{found['id']}/{max(count, 1)}",
            "customer_id": ident(found.get("customer")),
            "invoice_id": found["id"],
            "status": status,
            "amount": amount,
            "currency": currency(found),
            "failure_code": reason,
            "created_at": paid_at or told_at,
            "seq": told.seq,
        },
    )
