"""Stripe's own published objects (its fixtures for the mock server), where this machine holds them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.solutions.billing.stripe_objects import JAN_1, event, tables

from headrace.solutions.billing.stripe.backfill import backfill, known_objects
from headrace.solutions.billing.stripe.source import changes

MEANT = {
    "account": {"merchants"},
    "customer": {"customers", "discounts"},
    "payment_method": {"payment_methods"},
    "card": {"payment_methods"},
    "product": {"products"},
    "price": {"prices"},
    "plan": {"prices"},
    "coupon": {"coupons"},
    "discount": {"discounts"},
    "subscription": {"subscriptions", "subscription_items", "prices"},
    "subscription_item": {"subscription_items", "prices"},
    "invoice": {"invoices"},
    "line_item": {"invoice_lines"},
    "refund": {"refunds"},
    "billing.meter_event": {"meter_events"},
}


@pytest.fixture(scope="module")
def resources(shared_data: Path) -> dict[str, Any]:
    file = shared_data / "stripe" / "fixtures3.json"
    if not file.is_file():
        pytest.skip("Stripe's fixtures are not on this machine")
    found: dict[str, Any] = json.loads(file.read_text())["resources"]
    return found


def test_every_published_object_is_taken(resources: dict[str, Any]) -> None:
    """None is lost, none is unread, and every row that one means is accepted.

    But for what is gone before it came.
    """
    with tables().open(None) as run:
        for number, (name, found) in enumerate(sorted(resources.items())):
            told = event(f"{name}.updated", found, JAN_1 + number, event_id=f"evt_{number}")
            if name == "event":
                told = found
            with run.transaction() as transaction:
                for put in changes(told, "m"):
                    getattr(transaction, put.verb)(put.name, put.rows)
            for result in transaction.results:
                lost = [one for one in result.rejections if "holds no row" not in one.reason]
                assert lost == [], name
        run.advance()
        kept = run.query("SELECT object, outcome, problem FROM stripe_events").to_pylist()
    assert len(kept) == len(resources)
    assert [row for row in kept if row["outcome"] == "unread"] == []
    mapped = {row["object"] for row in kept if row["outcome"] == "mapped"}
    assert set(known_objects()) & {found.get("object") for found in resources.values()} <= mapped


@pytest.mark.parametrize("name", MEANT)
def test_published_objects_mean_rows(resources: dict[str, Any], name: str) -> None:
    puts = changes(event(f"{name}.updated", resources[name]), "m")
    found = {put.name for put in puts} - {"stripe_events"}
    assert found - {"merchants"} >= MEANT[name] - {"merchants"}
    exported, unknown = backfill([resources[name]], "m", datetime(2026, 1, 1, tzinfo=UTC))
    assert {put.name for put in exported} >= MEANT[name]
    assert unknown == {}


def test_the_published_subscription_column_by_column(resources: dict[str, Any]) -> None:
    puts = changes(event("customer.subscription.updated", resources["subscription"]), "m")
    (row,) = next(put.rows for put in puts if put.name == "subscriptions")
    assert row["subscription_id"] == "sub_1Pgc6rB7WZ01zgkWNy0Cn5nw"
    assert (row["status"], row["currency"], row["pause_behavior"]) == ("active", "usd", "mark_uncollectible")
    assert row["current_period_end"] == datetime.fromtimestamp(976287773, UTC)
    (item,) = next(put.rows for put in puts if put.name == "subscription_items")
    assert (item["item_id"], item["price_id"], item["quantity"]) == (
        "si_QXhVnC2h0Jczwc",
        "price_1PgafmB7WZ01zgkW6dKueIc5",
        1,
    )
    (price,) = next(put.rows for put in puts if put.name == "prices")
    assert (price["unit_amount"], price["interval"], price["round"]) == (2000, "month", "down")
