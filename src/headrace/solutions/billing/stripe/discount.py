"""Discounts: a coupon that applies to a customer, a subscription or one of its items, from when until when.

Their coupon stood in `coupon`; since 2025-09-30 (clover) it stands in `source.coupon`. A subscription or
customer had one `discount`; newer versions list `discounts`, by id unless expanded, and
`customer.discount.*` events bring them.
"""

from __future__ import annotations

from headrace.solutions.billing.stripe.coupon import map_coupon, terms
from headrace.solutions.billing.stripe.occasion import Occasion
from headrace.solutions.billing.stripe.rows import Gathered
from headrace.solutions.billing.stripe.values import EMPTY, Object, ident, inner, listed, moment, must


def map_discount(found: Object, told: Occasion, out: Gathered, item: Object = EMPTY) -> None:
    """A version of a discount, and its coupon; one that is removed ends when it is."""
    if not found.get("id") or found.get("start") is None:
        return
    coupon = found.get("coupon") or inner(found, "source", "coupon")
    own = told.kind.startswith("customer.discount.") or found.get("deleted")
    starts_at = moment(found["start"])
    subscription = ident(found.get("subscription")) or ident(item.get("subscription"))
    ends_at = moment(found.get("end"))
    if told.kind.endswith("discount.deleted") or found.get("deleted"):
        ends_at = min(ends_at, told.told_at) if ends_at else told.told_at
    off = terms(coupon) if isinstance(coupon, dict) else {}
    row = {
        **told.of_merchant,
        "discount_id": must(found, "id"),
        "customer_id": None if subscription else ident(found.get("customer")),
        "subscription_id": subscription,
        "item_id": ident(found.get("subscription_item")) or ident(item),
        "coupon_id": ident(coupon),
        **off,
        "starts_at": starts_at,
        "ends_at": ends_at,
    }
    out.upsert("discounts", row | (told.version() if own else told.first(starts_at, row)))
    if isinstance(coupon, dict):
        map_coupon(coupon, told, out)


def map_carried(found: Object, told: Occasion, out: Gathered, item: Object = EMPTY) -> None:
    """The discounts that an object carries, and the end of the one that it carried before."""
    carried = listed(found.get("discounts"))
    if isinstance(found.get("discount"), dict):
        carried = [found["discount"], *carried]
    for entry in carried:
        map_discount(entry, told, out, item)
    was = [*listed(told.before.get("discounts")), *listed([told.before.get("discount")])]
    held = {entry.get("id") for entry in carried} | set(map(ident, found.get("discounts") or ()))
    for entry in was:
        if not item and entry.get("id") not in held and "start" in entry:
            map_discount({**entry, "deleted": True}, told, out)
