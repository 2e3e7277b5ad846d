"""A simulated world told by Stripe alone: its events, shuffled, must make the ledger that its books have.

Compared are the views of MRR, subscribers and trials with books that never saw an event. What such events
cannot say (corrections of the past, starts agreed beforehand, instants between seconds) is left out.
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from headrace.solutions.billing.app import app
from headrace.solutions.billing.simulate.history import World, make_world
from headrace.solutions.billing.simulate.layout import LAYOUT
from headrace.solutions.billing.simulate.metrics import (
    Row,
    mrr_daily,
    mrr_movements,
    reckon,
    subscribers_daily,
    trials_daily,
)
from headrace.solutions.billing.simulate.times import to_us
from headrace.solutions.billing.stripe.source import changes

UNTIL = datetime(2026, 7, 1, tzinfo=UTC)
SECOND_US = 1_000_000
TOLD_LATE_US = 10 * SECOND_US
Event = dict[str, Any]


def rows_of(world: World, table: str) -> list[Row]:
    return [dict(zip(LAYOUT[table], row, strict=True)) for row in world.rows.rows[table]]


def seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())


def must_seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def leave_out_what_events_cannot_say(world: World) -> None:
    """Take customers out of rows and books to whom something happened that no event can tell."""
    strange: set[str] = set()
    of_subscription = {row["subscription_id"]: row["customer_id"] for row in rows_of(world, "subscriptions")}
    for table in ("subscriptions", "subscription_items", "discounts"):
        for row in rows_of(world, table):
            whose = row.get("customer_id") or of_subscription[row["subscription_id"]]
            told_us = to_us(row["valid_at"])
            if abs(row["seq"] - told_us) > TOLD_LATE_US or told_us % SECOND_US:
                strange.add(whose)
    for table, rows in world.rows.rows.items():
        columns = list(LAYOUT[table])
        for column in ("customer_id", "subscription_id"):
            if column in columns and table != "meter_events":
                at = columns.index(column)
                rows[:] = [
                    row
                    for row in rows
                    if row[at] not in strange and of_subscription.get(row[at]) not in strange
                ]
    for merchant_id in world.books.merchants:
        book = world.books.of(merchant_id)
        for name in [name for name, sub in book.subscriptions.items() if sub.customer_id in strange]:
            del book.subscriptions[name]
        book.trials = [trial for trial in book.trials if trial.customer_id not in strange]


class Teller:
    """Tells a world's rows as Stripe would."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.told = 0
        self.flat = {row["price_id"] for row in rows_of(world, "prices") if row["scheme"] == "flat"}
        self.prices = {row["price_id"]: self._price(row) for row in rows_of(world, "prices")[::-1]}

    def events(self) -> Iterator[tuple[str, Event]]:
        """Yield merchants' ids and events."""
        for row in rows_of(self.world, "merchants"):
            settings = {"dashboard": {"timezone": row["time_zone"], "display_name": row["name"]}}
            account = {"id": row["merchant_id"], "object": "account", "settings": settings}
            account["default_currency"] = row["reporting_currency"]
            yield self._event(row, "account.updated", account, row["created_at"])
        known: set[str] = set()
        for row in rows_of(self.world, "prices"):
            kind = "price.updated" if row["price_id"] in known else "price.created"
            known.add(row["price_id"])
            yield self._event(row, kind, self._price(row), row["valid_at"])
        for row in rows_of(self.world, "customers"):
            found = {
                "id": row["customer_id"],
                "object": "customer",
                "metadata": json.loads(row["dimensions"]),
            }
            found |= {"address": {"country": row["country"]}, "created": must_seconds(row["created_at"])}
            yield self._event(row, "customer.updated", found, row["valid_at"])
        gone = {row[1]: row for row in self.world.rows.gone["customers"]}
        for customer_id, (merchant_id, _, at, _) in gone.items():
            found = {"id": customer_id, "object": "customer"}
            yield self._event({"merchant_id": merchant_id}, "customer.deleted", found, at)
        yield from self._subscriptions()
        yield from self._discounts()

    def _event(
        self, row: Row, kind: str, found: Event, at: datetime, before: Event | None = None
    ) -> tuple[str, Event]:
        self.told += 1
        data = {"object": found} | ({"previous_attributes": before} if before else {})
        told = {"id": f"evt_{self.told:06}", "object": "event", "type": kind, "data": data}
        return row["merchant_id"], told | {"created": must_seconds(at)}

    def _price(self, row: Row) -> Event:
        tiers = [
            {
                "up_to": tier["up_to"],
                "unit_amount_decimal": tier["unit_amount"],
                "flat_amount_decimal": tier["flat_amount"],
            }
            for tier in json.loads(row["tiers"] or "[]")
        ]
        recurring = {name: row[name] for name in ("interval", "interval_count", "usage_type", "meter")}
        return {
            "id": row["price_id"],
            "object": "price",
            "product": row["product_id"],
            "currency": row["currency"],
            "billing_scheme": "per_unit" if row["scheme"] == "flat" else row["scheme"],
            "tiers_mode": row["tiers_mode"],
            "tiers": tiers or None,
            "unit_amount_decimal": None if row["unit_amount"] is None else str(row["unit_amount"]),
            "recurring": recurring,
            "created": must_seconds(row["valid_at"]),
        }

    def _subscriptions(self) -> Iterator[tuple[str, Event]]:
        """Yield one event for each moment at which a subscription or its items changed."""
        acts: dict[str, list[tuple[int, str, Row]]] = defaultdict(list)
        owners: dict[str, str] = {}
        for row in rows_of(self.world, "subscriptions"):
            acts[row["subscription_id"]].append((row["seq"], "standing", row))
        for row in rows_of(self.world, "subscription_items"):
            owners[row["item_id"]] = row["subscription_id"]
            acts[row["subscription_id"]].append((row["seq"], "item", row))
        for _, item_id, at, seq in self.world.rows.gone["subscription_items"]:
            if item_id in owners:
                acts[owners[item_id]].append((seq, "gone", {"item_id": item_id, "valid_at": at}))
        for found in acts.values():
            found.sort(key=lambda act: act[0])
            yield from self._life([(kind, row) for _, kind, row in found])

    def _life(self, acts: list[tuple[str, Row]]) -> Iterator[tuple[str, Event]]:
        items: dict[str, Event] = {}
        was: dict[str, Event] = {}
        standing: Row | None = None
        first = True
        for nth, (kind, row) in enumerate(acts):
            if kind == "standing":
                standing = row
            elif kind == "gone":
                items.pop(row["item_id"])
            else:
                quantity = 1 if row["price_id"] in self.flat else row["quantity"]
                price = self.prices[row["price_id"]]
                created = items.get(row["item_id"], {"created": must_seconds(row["valid_at"])})["created"]
                items[row["item_id"]] = {
                    "id": row["item_id"],
                    "price": price,
                    "quantity": quantity,
                    "created": created,
                }
            following = acts[nth + 1][1]["valid_at"] if nth + 1 < len(acts) else None
            if standing is None or following == row["valid_at"]:
                continue
            told = self._subscription(standing, items)
            before = {"items": {"object": "list", "data": list(was.values()), "has_more": False}}
            name = "created" if first else "deleted" if standing["status"] == "canceled" else "updated"
            yield self._event(
                standing, f"customer.subscription.{name}", told, row["valid_at"], None if first else before
            )
            first, was = False, dict(items)

    def _subscription(self, row: Row, items: dict[str, Event]) -> Event:
        data = [{**item, "object": "subscription_item"} for item in items.values()]
        times = ("trial_start", "trial_end", "cancel_at", "canceled_at", "ended_at")
        return {
            "id": row["subscription_id"],
            "object": "subscription",
            "customer": row["customer_id"],
            "status": row["status"],
            "currency": row["currency"],
            "start_date": must_seconds(row["start_at"]),
            **{name: seconds(row[name]) for name in times},
            "current_period_start": must_seconds(row["current_period_start"]),
            "current_period_end": must_seconds(row["current_period_end"]),
            "cancel_at_period_end": row["cancel_at_period_end"],
            "pause_collection": {"behavior": row["pause_behavior"]} if row["pause_behavior"] else None,
            "cancellation_details": {"reason": row["cancellation_reason"]},
            "items": {"object": "list", "data": data, "has_more": False},
        }

    def _discounts(self) -> Iterator[tuple[str, Event]]:
        for row in rows_of(self.world, "discounts"):
            percent = None if row["percent_off"] is None else float(row["percent_off"])
            coupon = {"id": row["coupon_id"], "object": "coupon", "percent_off": percent}
            coupon |= {name: row[name] for name in ("amount_off", "currency", "duration")}
            found = {
                "id": row["discount_id"],
                "object": "discount",
                "customer": row["customer_id"],
                "subscription": row["subscription_id"],
                "subscription_item": row["item_id"],
                "start": must_seconds(row["starts_at"]),
                "end": seconds(row["ends_at"]),
                "source": {"type": "coupon", "coupon": coupon},
            }
            yield self._event(row, "customer.discount.updated", found, row["valid_at"])


def test_a_world_told_by_stripes_events_in_any_order_has_the_ledger_of_its_books() -> None:
    world = make_world(4, 4, 14, 2.0, UNTIL)
    world.scenarios.clear()
    leave_out_what_events_cannot_say(world)
    events = list(Teller(world).events())
    events += random.Random(1).sample(events, 40)
    random.Random(2).shuffle(events)
    with app.open(None) as run:
        for merchant_id, told in events:
            for put in changes(told, merchant_id):
                result = getattr(run, put.verb)(put.name, put.rows)
                reasons = {one.reason for one in result.rejections}
                assert reasons <= {"the table holds no row with this key"}, reasons
        run.advance()
        of = [reckon(world.books, name, to_us(UNTIL)) for name in world.books.merchants]
        for view in (mrr_movements, mrr_daily, subscribers_daily, trials_daily):
            rows = [row for one in of for row in view(one)]
            found = run.query(f"SELECT {', '.join(rows[0])} FROM {view.__name__}").to_pylist()
            assert len(rows) > 20
            extra = Counter(map(str, found)) - Counter(map(str, rows))
            lacking = Counter(map(str, rows)) - Counter(map(str, found))
            assert (list(extra)[:3], list(lacking)[:3]) == ([], [])
