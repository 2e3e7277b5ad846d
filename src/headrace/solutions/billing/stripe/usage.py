"""Meter events: usage of a customer, under the name of its meter; and meters, which prices name by ids."""

from __future__ import annotations

from headrace.solutions.billing.stripe.occasion import Occasion
from headrace.solutions.billing.stripe.rows import Gathered
from headrace.solutions.billing.stripe.values import Object, exact, inner, moment, must


def map_meter(found: Object, told: Occasion, out: Gathered) -> None:
    """Which name the events of a meter bear."""
    row = {"meter_id": must(found, "id"), "event_name": must(found, "event_name")}
    out.upsert("meters", told.of_merchant | row)


def map_meter_event(found: Object, told: Occasion, out: Gathered) -> None:
    """Usage; Stripe's default fields of the payload are read."""
    customer_id, value = inner(found, "payload", "stripe_customer_id"), inner(found, "payload", "value")
    if customer_id is None or value is None:
        return
    out.append(
        "meter_events",
        {
            "event_id": f"{told.merchant_id}/{must(found, 'identifier')}",
            "merchant_id": told.merchant_id,
            "customer_id": customer_id,
            "meter": must(found, "event_name"),
            "value": exact(value),
            "used_at": moment(must(found, "timestamp")),
        },
    )
