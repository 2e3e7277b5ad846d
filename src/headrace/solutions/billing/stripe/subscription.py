"""Subscriptions and their items. One event tells the whole subscription with its items and discounts.

Until 2025-03-31 (basil) the billing period stood on the subscription, since then on each item. A list that
was exported tells only how a subscription stands now; the versions that it dates itself are made from it:
its trial, its start, and its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from headrace.solutions.billing.stripe import discount
from headrace.solutions.billing.stripe.occasion import EXPORTED, Occasion, version_of
from headrace.solutions.billing.stripe.price import map_price
from headrace.solutions.billing.stripe.rows import Gathered, Row
from headrace.solutions.billing.stripe.values import (
    Object,
    currency,
    ident,
    inner,
    is_whole,
    listed,
    moment,
    must,
)

OVER = ("canceled", "incomplete_expired")


def map_subscription(found: Object, told: Occasion, out: Gathered) -> None:
    """The versions of a subscription and of its items that an event, or an export, tells."""
    row = _row(found, told)
    if told.kind == EXPORTED:
        for at, changed in past_of(row):
            out.upsert("subscriptions", row | changed | version_of(at))
    since = _since(found, told)
    out.upsert("subscriptions", row | told.version(since))
    for item in listed(found.get("items")):
        _item(item, found, told, out, since)
    _dropped_items(found, told, out)
    discount.map_carried(found, told, out)


def map_item(found: Object, told: Occasion, out: Gathered) -> None:
    """An item that comes by itself, from a list of items."""
    if found.get("deleted"):
        key = {**told.of_merchant, "item_id": must(found, "id")}
        out.delete("subscription_items", {**key, **told.version()})
        return
    _item(found, found, told, out, told.told_at)


def _row(found: Object, told: Occasion) -> Row:
    items = listed(found.get("items"))
    starts = [item["current_period_start"] for item in items if item.get("current_period_start")]
    ends = [item["current_period_end"] for item in items if item.get("current_period_end")]
    status = must(found, "status")
    if told.kind == "customer.subscription.deleted" and status not in OVER:
        status = "canceled"
    return {
        **told.of_merchant,
        "subscription_id": must(found, "id"),
        "customer_id": ident(must(found, "customer")),
        "status": status,
        "currency": currency(_with_currency(found, items)),
        "start_at": moment(found.get("start_date") or found.get("created")),
        "trial_start": moment(found.get("trial_start")),
        "trial_end": moment(found.get("trial_end")),
        "current_period_start": moment(found.get("current_period_start") or min(starts, default=None)),
        "current_period_end": moment(found.get("current_period_end") or max(ends, default=None)),
        "cancel_at_period_end": bool(found.get("cancel_at_period_end")),
        "cancel_at": moment(found.get("cancel_at")),
        "canceled_at": moment(found.get("canceled_at")),
        "ended_at": moment(found.get("ended_at")),
        "pause_behavior": inner(found, "pause_collection", "behavior"),
        "pause_resumes_at": moment(inner(found, "pause_collection", "resumes_at")),
        "cancellation_reason": inner(found, "cancellation_details", "reason"),
    }


def _with_currency(found: Object, items: Sequence[Object]) -> Object:
    """Return what tells a subscription's currency: itself, or in what was sent long ago its price or plan."""
    priced = (entry.get("price") or entry.get("plan") for entry in (*items, found))
    known = [entry for entry in priced if isinstance(entry, Mapping)]
    return found if found.get("currency") or not known else known[0]


def _since(found: Object, told: Occasion) -> datetime:
    """Return from when an event's version holds: a start may be backdated, an end dates itself."""
    if told.kind == "customer.subscription.created":
        start = moment(found.get("start_date"))
        return min(start, told.told_at) if start else told.told_at
    if told.kind == "customer.subscription.deleted":
        return moment(found.get("ended_at")) or told.told_at
    return told.told_at


def past_of(row: Row) -> Iterator[tuple[datetime, Row]]:
    """Yield what a subscription's own dates tell: from when, and how it stood then otherwise than now."""
    status, ended_at, asked_at = row["status"], row["ended_at"], row["canceled_at"]
    staying = {"ended_at": None, "canceled_at": None, "cancel_at_period_end": False, "cancel_at": None}
    steps: list[tuple[datetime, Row]] = []
    began = row["start_at"]
    if row["trial_start"] and row["trial_end"]:
        steps.append((row["trial_start"], {"status": "trialing", **staying}))
        began = row["trial_end"]
    over = status in OVER
    never_active = status in ("trialing", "incomplete", "incomplete_expired")
    if began and not never_active and not (over and ended_at and ended_at <= began):
        steps.append((began, {"status": "active", **staying}))
    if asked_at and steps and not (over and ended_at and ended_at <= asked_at):
        was = [changed["status"] for at, changed in steps if at <= asked_at] or ["active"]
        leaving = {"ended_at": None, "cancel_at_period_end": True, "cancel_at": row["cancel_at"] or ended_at}
        steps.append((asked_at, {"status": was[-1], **leaving}))
    if over and ended_at:
        steps.append((ended_at, {}))
    yield from sorted(steps, key=lambda step: step[0])


def _item(item: Object, found: Object, told: Occasion, out: Gathered, since: datetime) -> None:
    price = item.get("price") or item.get("plan")
    row = {
        **told.of_merchant,
        "item_id": must(item, "id"),
        "subscription_id": ident(item.get("subscription")) or must(found, "id"),
        "price_id": ident(price) or must(item, "price"),
        "quantity": item.get("quantity"),
    }
    began = moment(item.get("created"))
    if told.kind == EXPORTED and began:
        out.upsert("subscription_items", row | version_of(began))
    is_told = _is_told(item, told)
    out.upsert("subscription_items", row | (told.version(since) if is_told else told.first(began, row)))
    if isinstance(price, dict):
        map_price(price, told, out)
    within = {"id": item.get("id"), "subscription": row["subscription_id"]}
    discount.map_carried(item, told, out, within)


def _is_told(item: Object, told: Occasion) -> bool:
    """Whether an event is about an item: it may be new, or have another price or quantity than before."""
    if told.kind in ("customer.subscription.created", EXPORTED):
        return True
    if told.kind != "customer.subscription.updated":
        return False
    if {"plan", "quantity"} & told.before.keys():
        return True
    if "items" not in told.before:
        return False
    was = {entry.get("id"): _terms(entry) for entry in listed(told.before["items"])}
    return was.get(item.get("id")) != _terms(item)


def _terms(item: Object) -> tuple[str | None, Any]:
    return ident(item.get("price") or item.get("plan")), item.get("quantity")


def _dropped_items(found: Object, told: Occasion, out: Gathered) -> None:
    """End the items that the event took away: those of before that are no longer there."""
    was, held = inner(told.before, "items"), found.get("items")
    if not (is_whole(was) and is_whole(held)):
        return
    held_ids = {item.get("id") for item in listed(held)}
    for item in listed(was):
        if item.get("id") not in held_ids:
            row = {
                **told.of_merchant,
                "item_id": must(item, "id"),
                "subscription_id": must(found, "id"),
                "price_id": ident(item.get("price") or item.get("plan")) or "",
                "quantity": item.get("quantity"),
            }
            out.upsert("subscription_items", row | told.version(earlier=1))
            key = {**told.of_merchant, "item_id": item["id"]}
            out.delete("subscription_items", {**key, **told.version()})
