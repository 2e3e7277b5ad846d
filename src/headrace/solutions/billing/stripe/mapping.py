"""Which of Stripe's objects mean which rows. What is not listed is kept as it came, and counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.errors import BadRequest
from headrace.solutions.billing.stripe.account import map_account
from headrace.solutions.billing.stripe.coupon import map_coupon
from headrace.solutions.billing.stripe.customer import map_customer
from headrace.solutions.billing.stripe.discount import map_discount
from headrace.solutions.billing.stripe.invoice import map_invoice, map_line
from headrace.solutions.billing.stripe.occasion import Occasion
from headrace.solutions.billing.stripe.payment_method import map_payment_method
from headrace.solutions.billing.stripe.price import map_price
from headrace.solutions.billing.stripe.product import map_product
from headrace.solutions.billing.stripe.refund import map_charge, map_refund
from headrace.solutions.billing.stripe.rows import Gathered
from headrace.solutions.billing.stripe.subscription import map_item, map_subscription
from headrace.solutions.billing.stripe.usage import map_meter, map_meter_event
from headrace.solutions.billing.stripe.values import Object

Mapper = Callable[[Object, Occasion, Gathered], None]
MAPPERS: dict[str, Mapper] = {
    "account": map_account,
    "customer": map_customer,
    "payment_method": map_payment_method,
    "card": map_payment_method,
    "product": map_product,
    "price": map_price,
    "plan": map_price,
    "coupon": map_coupon,
    "discount": map_discount,
    "subscription": map_subscription,
    "subscription_item": map_item,
    "invoice": map_invoice,
    "line_item": map_line,
    "charge": map_charge,
    "refund": map_refund,
    "billing.meter": map_meter,
    "billing.meter_event": map_meter_event,
}
"""One function for each object, by the name that Stripe gives it."""


def map_object(found: Any, told: Occasion, out: Gathered) -> bool:
    """Add the rows that an object means; return whether it is one of those that mean any.

    Raises:
        BadRequest: it is no object, or lacks what it cannot be without.
    """
    kind = found.get("object") if isinstance(found, dict) else None
    if not isinstance(kind, str):
        raise BadRequest("this is none of Stripe's objects", expected='{"object": "subscription", …}')
    mapper = MAPPERS.get(kind)
    if mapper is None:
        return False
    try:
        mapper(found, told, out)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        problem = f"the {kind} cannot be read: {type(error).__name__}: {error}"[:300]
        raise BadRequest(problem, where=str(found.get("id"))[:100]) from error
    return True
