"""Products: their names. A deleted product keeps its row, since what was sold must stay explainable."""

from __future__ import annotations

from headrace.solutions.billing.stripe.occasion import EXPORTED, Occasion
from headrace.solutions.billing.stripe.rows import Gathered
from headrace.solutions.billing.stripe.values import Object, moment, must


def map_product(found: Object, told: Occasion, out: Gathered) -> None:
    """A product's name."""
    if found.get("deleted"):
        return
    product_id = must(found, "id")
    name = found.get("name") or product_id
    own = told.kind.startswith("product.") or told.kind == EXPORTED
    row = {**told.of_merchant, "product_id": product_id, "name": name}
    first = told.first(moment(found.get("created")), row)
    out.upsert("products", row | {"seq": told.seq if own else first["seq"]})
