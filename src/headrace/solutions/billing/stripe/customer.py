"""Customers: name, country, dimensions (Stripe's metadata) and the last month of the default card."""

from __future__ import annotations

from headrace.solutions.billing.stripe import discount
from headrace.solutions.billing.stripe.occasion import EXPORTED, Occasion, version_of
from headrace.solutions.billing.stripe.rows import Gathered
from headrace.solutions.billing.stripe.values import EMPTY, Object, ident, inner, listed, moment, must


def map_customer(found: Object, told: Occasion, out: Gathered) -> None:
    """A version of a customer, and the discount that it carries; a deleted one ends."""
    key = {**told.of_merchant, "customer_id": must(found, "id")}
    gone = bool(found.get("deleted")) or told.kind == "customer.deleted"
    if not found.get("deleted"):
        card = _card(found)
        row = {
            **key,
            "name": found.get("name"),
            "email": found.get("email"),
            "country": inner(found, "address", "country"),
            "created_at": moment(found.get("created")),
            "dimensions": found.get("metadata") or None,
            "card_exp_month": card.get("exp_month"),
            "card_exp_year": card.get("exp_year"),
        }
        if told.kind == EXPORTED and row["created_at"]:
            out.upsert("customers", row | version_of(row["created_at"]))
        out.upsert("customers", row | told.version(earlier=int(gone)))
        discount.map_carried(found, told, out)
    if gone:
        out.delete("customers", {**key, **told.version()})


def _card(found: Object) -> Object:
    """Return the default card, where the object holds it."""
    method = inner(found, "invoice_settings", "default_payment_method", "card")
    if isinstance(method, dict):
        return method
    default = ident(found.get("default_source"))
    cards = [source for source in listed(found.get("sources")) if source.get("exp_month")]
    return next((card for card in cards if card.get("id") == default), EMPTY)
