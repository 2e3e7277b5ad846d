"""Deliveries through the whole way in: signed, out of order, twice, of several merchants, over HTTP."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.serve.conftest import Shop, serving
from tests.solutions.billing.stripe_objects import (
    DAY,
    JAN_1,
    Object,
    event,
    invoice,
    item,
    listing,
    price,
    subscription,
    tables,
)

import headrace as hr
from headrace.errors import BadRequest
from headrace.solutions.billing.app import app
from headrace.solutions.billing.stripe.again import map_again
from headrace.solutions.billing.stripe.mapping import MAPPERS
from headrace.solutions.billing.stripe.signature import sign
from headrace.solutions.billing.stripe.source import SECRETS, StripeSource, changes

SECRET = "whsec_test"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def delivery(body: bytes, secret: str = SECRET, **params: str) -> hr.Delivery:
    header = sign(body, secret, int(NOW.timestamp()))
    return hr.Delivery(body, NOW, {"stripe-signature": header}, params)


def customer(name: str) -> Object:
    return {"id": "cus_1", "object": "customer", "name": name, "created": JAN_1}


def life() -> list[Object]:
    """A subscription from its beginning to its end, with a quantity, a second item and invoices."""
    one, three = item(), item(quantity=3)
    two = item("si_2", priced=price("price_2", 500))
    began = subscription("trialing", listing(one), trial_start=JAN_1, trial_end=JAN_1 + 7 * DAY)
    active = subscription("active", listing(one))
    more = subscription("active", listing(three, two))
    less = subscription("active", listing(three))
    late = subscription("past_due", listing(three))
    leaving = subscription("active", listing(three), cancel_at_period_end=True)
    over = subscription("canceled", listing(three), ended_at=JAN_1 + 62 * DAY, canceled_at=JAN_1 + 50 * DAY)
    updated = "customer.subscription.updated"
    return [
        event("customer.created", customer("Ada")),
        event("customer.subscription.created", began),
        event(updated, active, JAN_1 + 7 * DAY, {"status": "trialing"}),
        event("invoice.created", invoice("draft"), JAN_1 + 7 * DAY),
        event("invoice.finalized", invoice("open"), JAN_1 + 7 * DAY),
        event("invoice.paid", invoice("paid"), JAN_1 + 7 * DAY),
        event(updated, more, JAN_1 + 9 * DAY, {"items": listing(one)}),
        event(updated, less, JAN_1 + 20 * DAY, {"items": listing(three, two)}),
        event("invoice.payment_failed", invoice("open", id="in_2"), JAN_1 + 38 * DAY),
        event(updated, late, JAN_1 + 38 * DAY, {"status": "active"}),
        event(updated, leaving, JAN_1 + 50 * DAY, {"cancel_at_period_end": False, "status": "past_due"}),
        event(
            "customer.updated",
            {"id": "cus_1", "object": "customer", "name": "Bo", "created": JAN_1},
            JAN_1 + DAY,
        ),
        event("customer.subscription.deleted", over, JAN_1 + 62 * DAY),
    ]


NAMES = (
    "merchants",
    "customers",
    "prices",
    "invoices",
    "invoice_lines",
    "payments",
    "subscriptions",
    "subscription_items",
    "subscriptions__history",
    "subscription_items__history",
    "stripe_events",
)


Rows = list[dict[str, Any]]


def taken(events: Sequence[Object]) -> dict[str, Rows]:
    """Take events one by one; return what every table then holds."""
    with tables().open(None) as run:
        for told in events:
            with run.transaction() as transaction:
                for put in changes(told, "m"):
                    getattr(transaction, put.verb)(put.name, put.rows)
        run.advance()
        return {name: sorted(run.query(f"SELECT * FROM {name}").to_pylist(), key=str) for name in NAMES}


def effective(held: dict[str, Rows]) -> dict[str, Rows]:
    """Leave out sequences, and versions that never held: how many there are depends on who came first."""
    found = {}
    for name, rows in held.items():
        kept = [row for row in rows if "valid_to" not in row or row["valid_from"] != row["valid_to"]]
        found[name] = sorted(({**row, "seq": 0} for row in kept), key=str) if "__" in name else kept
    return found


def test_a_life_in_its_order() -> None:
    held = taken(life())
    assert [row["status"] for row in held["subscriptions"]] == ["canceled"]
    assert [row["item_id"] for row in held["subscription_items"]] == ["si_1"]
    assert [row["name"] for row in held["customers"]] == ["Bo"]
    assert [row["status"] for row in held["invoices"]] == ["paid", "open"]
    assert [row["status"] for row in held["payments"]] == ["succeeded", "failed"]
    past = sorted(held["subscriptions__history"], key=lambda row: row["seq"])
    statuses = ["trialing", "active", "active", "active", "past_due", "active", "canceled"]
    assert [row["status"] for row in past] == statuses


@pytest.mark.parametrize("seed", range(8))
def test_whatever_the_order_of_arrival_and_however_often(seed: int) -> None:
    draw = random.Random(seed)
    events = life() + draw.sample(life(), 5)
    draw.shuffle(events)
    assert effective(taken(events)) == effective(taken(life()))


def test_an_event_that_comes_again_with_another_count_of_hooks_is_the_same() -> None:
    once, again = life()[0], life()[0] | {"pending_webhooks": 0}
    assert len(taken([once, again])["stripe_events"]) == 1


# --- after an upgrade ----


def take(run: hr.Run, told: Object) -> None:
    with run.transaction() as transaction:
        for put in changes(told, "m"):
            getattr(transaction, put.verb)(put.name, put.rows)


def test_what_could_not_be_read_is_mapped_again_and_is_as_if_it_had_been(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def cannot(*_: Any) -> None:
        raise KeyError("a field of the next version")

    events = life()
    with tables().open(None) as run:
        with monkeypatch.context() as older:
            older.setitem(MAPPERS, "subscription", cannot)
            older.delitem(MAPPERS, "customer")
            for told in events:
                take(run, told)
        run.advance()
        assert run.query("SELECT * FROM subscriptions").num_rows == 0
        outcomes = "SELECT outcome, count(*) AS n FROM stripe_events GROUP BY 1 ORDER BY 1"
        kept = run.query(outcomes).to_pylist()
        assert [row["outcome"] for row in kept] == ["mapped", "unknown", "unread"]
        assert map_again(run) == {"mapped": kept[1]["n"] + kept[2]["n"]}
        run.advance()
        held = {
            name: sorted(run.query(f"SELECT * FROM {name}").to_pylist(), key=str)
            for name in NAMES
            if name != "stripe_events"
        }
        assert effective(held) == {
            name: rows for name, rows in effective(taken(events)).items() if name != "stripe_events"
        }
        assert map_again(run) == {}


def test_what_still_cannot_be_read_stays_waiting_and_stops_nothing() -> None:
    broken = event("customer.subscription.created", {"object": "subscription", "id": "sub_9"})
    other = event("tax_rate.created", {"object": "tax_rate", "id": "txr_1"})
    with tables().open(None) as run:
        for told in (broken, other):
            take(run, told)
        run.advance()
        for _ in range(2):
            assert map_again(run) == {"unread": 1, "unknown": 1}
            run.advance()
        said = run.query("SELECT outcome, problem FROM stripe_mappings ORDER BY outcome").to_pylist()
        assert [row["outcome"] for row in said] == ["unknown", "unread"]
        assert "subscription" in said[1]["problem"]


def test_usage_of_a_meter_that_a_price_names_by_its_id() -> None:
    recurring = {"interval": "month", "interval_count": 1, "usage_type": "metered", "meter": "mtr_1"}
    metered = price("price_m", 5, recurring=recurring)
    held = subscription("active", listing(item("si_m", priced=metered)))
    used = {"object": "billing.meter_event", "identifier": "use-1", "event_name": "api_calls"}
    payload = {"stripe_customer_id": held["customer"], "value": "7"}
    with app.open(None) as run:
        for told in (
            event("customer.subscription.created", held),
            event("v1.billing.meter_event", used | {"timestamp": JAN_1 + DAY, "payload": payload}),
            event(
                "billing.meter.created", {"object": "billing.meter", "id": "mtr_1", "event_name": "api_calls"}
            ),
        ):
            take(run, told)
        run.advance()
        found = run.query("SELECT meter, units, amount FROM usage_monthly").to_pylist()
        assert [(row["meter"], int(row["units"]), row["amount"]) for row in found] == [("api_calls", 7, 35)]


# --- who is meant ----


def merchant_of(source: StripeSource, told: Object, secret: str = SECRET, **params: str) -> str:
    puts = source(delivery(json.dumps(told).encode(), secret, **params))
    (kept,) = next(put.rows for put in puts if put.name == "stripe_events")
    return str(kept["merchant_id"])


def test_the_merchant_is_that_of_the_secret_the_account_or_the_address() -> None:
    source = StripeSource({SECRET: None, "whsec_own": "acct_9"})
    told = event("customer.created", {"id": "cus_1", "object": "customer"})
    assert merchant_of(source, told) == "default"
    assert merchant_of(source, told, merchant="shop") == "shop"
    assert merchant_of(source, told | {"account": "acct_2"}, merchant="shop") == "acct_2"
    assert merchant_of(source, told, "whsec_own") == "acct_9"
    assert merchant_of(source, told, "whsec_own", merchant="acct_9") == "acct_9"
    for strange in ({"merchant": "shop"}, {}):
        other = told if strange else told | {"account": "acct_2"}
        with pytest.raises(hr.AccessDenied, match="another merchant"):
            merchant_of(source, other, "whsec_own", **strange)
    with pytest.raises(BadRequest, match="merchant"):
        merchant_of(source, told, merchant="a\nb")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"[" * 100_000, b'{"object": "event"}', b"\xff"])
def test_bytes_that_are_no_event_are_a_bad_request(body: bytes) -> None:
    with pytest.raises(BadRequest):
        StripeSource({SECRET: None})(delivery(body))


# --- over HTTP ----


@pytest.fixture(scope="module")
def served() -> Iterator[Shop]:
    shop = tables()
    shop.source("stripe", StripeSource(), signed=True)
    with serving(shop, token="correct-horse") as found:
        found.http.headers.pop("Authorization")
        yield found


def post(shop: Shop, told: Any, secret: str = SECRET) -> Any:
    body = json.dumps(told).encode()
    header = sign(body, secret, int(datetime.now(UTC).timestamp()))
    return shop.http.post("/v1/sources/stripe", content=body, headers={"Stripe-Signature": header})


def test_a_webhook_needs_no_token_but_a_secret(served: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    told = life()[0]
    monkeypatch.delenv(SECRETS, raising=False)
    assert post(served, told).status_code == 403
    monkeypatch.setenv(SECRETS, f"{SECRET},whsec_next")
    assert post(served, told).status_code == 200
    assert post(served, told, "whsec_next").status_code == 200
    assert post(served, told, "whsec_wrong").status_code == 403
    assert post(served, {"object": "event"}).status_code == 400
    assert served.http.post("/v1/sources/stripe", json=told).status_code == 400
    served.run.advance()
    assert served.run.query("SELECT name FROM customers").to_pylist() == [{"name": "Ada"}]
