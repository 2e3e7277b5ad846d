"""Payment methods and the cards before them: when each expires, and whose it is."""

from __future__ import annotations

from headrace.solutions.billing.stripe.occasion import Occasion
from headrace.solutions.billing.stripe.rows import Gathered
from headrace.solutions.billing.stripe.values import Object, ident, must


def map_payment_method(found: Object, told: Occasion, out: Gathered) -> None:
    """A card of a customer; one that is detached belongs to nobody."""
    card = found.get("card") if found.get("object") == "payment_method" else found
    if not isinstance(card, dict) or not card.get("exp_month"):
        return
    out.upsert(
        "payment_methods",
        {
            **told.of_merchant,
            "payment_method_id": must(found, "id"),
            "customer_id": ident(found.get("customer")),
            "exp_month": card["exp_month"],
            "exp_year": card.get("exp_year"),
            "seq": told.seq,
        },
    )
