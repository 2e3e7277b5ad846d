"""Objects as rows, in the API versions in which fields have moved; and what an event adds to its object."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from tests.solutions.billing.stripe_objects import (
    BASIL,
    DAY,
    JAN_1,
    OLD,
    event,
    invoice,
    item,
    listing,
    price,
    subscription,
)

import headrace as hr
from headrace.errors import BadRequest
from headrace.solutions.billing.stripe.occasion import sequence
from headrace.solutions.billing.stripe.rows import HARDLY_KNOWN
from headrace.solutions.billing.stripe.source import changes

START = datetime(2026, 1, 1, tzinfo=UTC)


def rows(told: dict[str, Any]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    return {(put.verb, put.name): list(put.rows) for put in changes(told, "m")}


def only(told: dict[str, Any], table: str, verb: str = "upsert") -> dict[str, Any]:
    (row,) = rows(told)[verb, table]
    return dict(row)


@pytest.mark.parametrize("api", [OLD, BASIL])
def test_a_subscription_means_the_same_in_every_version(api: str) -> None:
    found = rows(event("customer.subscription.created", subscription(api=api)))
    (row,), (line,), (tariff,) = (
        found["upsert", table] for table in ("subscriptions", "subscription_items", "prices")
    )
    assert (row["subscription_id"], row["customer_id"], row["status"]) == ("sub_1", "cus_1", "active")
    assert (row["current_period_start"], row["current_period_end"]) == (START, START + timedelta(days=31))
    assert (line["item_id"], line["subscription_id"], line["price_id"], line["quantity"]) == (
        "si_1",
        "sub_1",
        "price_1",
        1,
    )
    assert (tariff["unit_amount"], tariff["interval"], tariff["scheme"]) == (
        Decimal(2000),
        "month",
        "per_unit",
    )


@pytest.mark.parametrize("api", [OLD, BASIL])
def test_an_invoice_means_the_same_in_every_version(api: str) -> None:
    found = rows(event("invoice.paid", invoice(api=api), JAN_1 + 5))
    (row,), (line,), (payment,) = (
        found["upsert", table] for table in ("invoices", "invoice_lines", "payments")
    )
    assert (row["subscription_id"], row["tax"], row["paid_at"]) == (
        "sub_1",
        380,
        START + timedelta(seconds=5),
    )
    assert (line["item_id"], line["price_id"], line["proration"]) == ("si_1", "price_1", True)
    assert (payment["payment_id"], payment["status"], payment["amount"]) == ("in_1/1", "succeeded", 2_380)


def test_an_attempt_that_failed_is_a_row_of_its_own() -> None:
    failed = event("invoice.payment_failed", invoice("open"), JAN_1 + 60)
    payment = only(failed, "payments")
    assert (payment["payment_id"], payment["status"], payment["amount"]) == ("in_1/1", "failed", 2_380)
    assert payment["created_at"] == START + timedelta(minutes=1)
    later = only(event("invoice.payment_succeeded", invoice(attempt_count=2)), "payments")
    assert later["payment_id"] == "in_1/2"
    assert ("upsert", "payments") not in rows(event("invoice.updated", invoice("open")))
    assert ("upsert", "payments") not in rows(event("invoice.paid", invoice(amount_paid=0)))
    assert ("upsert", "payments") not in rows(event("invoice.paid", invoice(paid_out_of_band=True)))


def test_a_draft_has_no_lines_yet_and_may_be_deleted() -> None:
    assert ("upsert", "invoice_lines") not in rows(event("invoice.created", invoice("draft")))
    found = rows(event("invoice.deleted", invoice("draft")))
    (row,), (key,) = found["upsert", "invoices"], found["delete", "invoices"]
    assert (key["invoice_id"], key["seq"]) == ("in_1", row["seq"] + 1)
    assert len(found) == 4


def test_a_subscription_of_plans_alone_has_their_currency() -> None:
    plan = {"id": "plan_1", "object": "plan", "amount": 900, "currency": "eur", "interval": "month"}
    of_plan = item() | {"price": None, "plan": plan}
    found = subscription("active", listing(of_plan)) | {"currency": None, "plan": plan}
    told = event("customer.subscription.created", found)
    assert only(told, "subscriptions")["currency"] == "eur"
    assert only(told, "subscription_items")["price_id"] == only(told, "prices")["price_id"] == "plan_1"


def test_a_start_in_the_past_holds_from_then() -> None:
    found = subscription(start_date=JAN_1 - 10 * DAY, created=JAN_1)
    told = event("customer.subscription.created", found)
    assert only(told, "subscriptions")["valid_at"] == START - timedelta(days=10)
    assert only(told, "subscription_items")["valid_at"] == START - timedelta(days=10)


def test_the_end_of_a_subscription_dates_itself() -> None:
    found = subscription("canceled", ended_at=JAN_1 + DAY, canceled_at=JAN_1)
    row = only(event("customer.subscription.deleted", found, JAN_1 + DAY + 3), "subscriptions")
    assert (row["status"], row["valid_at"]) == ("canceled", START + timedelta(days=1))


def test_a_pause_and_a_wish_to_leave_are_kept() -> None:
    paused = {"behavior": "void", "resumes_at": JAN_1 + DAY}
    details = {"reason": "cancellation_requested"}
    found = subscription(
        pause_collection=paused,
        cancel_at_period_end=True,
        cancel_at=JAN_1 + DAY,
        cancellation_details=details,
    )
    row = only(event("customer.subscription.updated", found), "subscriptions")
    assert (row["pause_behavior"], row["pause_resumes_at"]) == ("void", START + timedelta(days=1))
    assert (row["cancel_at_period_end"], row["cancel_at"]) == (True, START + timedelta(days=1))
    assert row["cancellation_reason"] == "cancellation_requested"


def test_items_that_an_event_is_not_about_are_told_as_known_from_their_beginning() -> None:
    told = event("customer.subscription.updated", subscription(), JAN_1 + DAY, before={"status": "trialing"})
    row = only(told, "subscription_items")
    assert row["valid_at"] == START
    assert (JAN_1 - 1) * 1_000_000 < row["seq"] < JAN_1 * 1_000_000
    again = only(told | {"id": "evt_2", "created": JAN_1 + 9 * DAY}, "subscription_items")
    assert again == row


@pytest.mark.parametrize(
    "before",
    [
        {"items": listing(item(quantity=2))},
        {"items": listing(item(priced=price("price_0")))},
        {"items": listing()},
        {"quantity": 2},
        {"plan": {"id": "price_0"}},
    ],
)
def test_items_that_an_event_changed_hold_from_then(before: dict[str, Any]) -> None:
    told = event("customer.subscription.updated", subscription(), JAN_1 + DAY, before=before)
    assert only(told, "subscription_items")["valid_at"] == START + timedelta(days=1)


def test_a_new_period_is_no_change_of_an_item() -> None:
    was = listing(item(current_period_start=1, current_period_end=2))
    told = event("customer.subscription.updated", subscription(), JAN_1 + DAY, before={"items": was})
    assert only(told, "subscription_items")["valid_at"] == START


@pytest.mark.parametrize("kind", ["trial_will_end", "paused", "resumed", "deleted"])
def test_other_events_of_a_subscription_are_not_about_its_items(kind: str) -> None:
    told = event(f"customer.subscription.{kind}", subscription(), JAN_1 + DAY)
    assert only(told, "subscription_items")["valid_at"] == START
    assert only(told, "subscriptions")["valid_at"] == START + timedelta(days=1)


def test_items_that_are_gone_end() -> None:
    was = listing(item(), item("si_2", 3))
    told = event("customer.subscription.updated", subscription(), JAN_1 + DAY, before={"items": was})
    (gone,) = rows(told)["delete", "subscription_items"]
    assert (gone["item_id"], gone["valid_at"]) == ("si_2", START + timedelta(days=1))
    before = next(row for row in rows(told)["upsert", "subscription_items"] if row["item_id"] == "si_2")
    assert (before["quantity"], before["seq"]) == (3, gone["seq"] - 1)


def test_of_a_list_that_is_cut_nothing_is_said_to_be_gone() -> None:
    was = listing(item(), item("si_2"))
    cut = subscription(items=listing(item(), has_more=True))
    told = event("customer.subscription.updated", cut, before={"items": was})
    assert ("delete", "subscription_items") not in rows(told)


def discount(**changed: Any) -> dict[str, Any]:
    coupon = {"id": "c_1", "object": "coupon", "percent_off": 12.5, "duration": "repeating", "created": JAN_1}
    return {
        "id": "di_1",
        "object": "discount",
        "customer": "cus_1",
        "subscription": "sub_1",
        "start": JAN_1,
        "end": JAN_1 + 90 * DAY,
        "coupon": coupon,
    } | changed


def test_a_discount_holds_its_coupon_wherever_it_stands() -> None:
    old = only(event("customer.discount.created", discount()), "discounts")
    moved = discount(source={"type": "coupon", "coupon": discount()["coupon"]}, coupon=None)
    new = only(event("customer.discount.created", moved), "discounts")
    assert old == new
    assert (old["percent_off"], old["duration"], old["subscription_id"]) == (
        Decimal("12.5"),
        "repeating",
        "sub_1",
    )
    assert old["customer_id"] is None
    by_id = only(event("customer.discount.created", discount(coupon="c_1")), "discounts")
    assert (by_id["coupon_id"], by_id.get("percent_off")) == ("c_1", None)


@pytest.mark.parametrize(
    "carried", [{"discount": discount()}, {"discounts": [discount()]}, {"discounts": ["di_0", discount()]}]
)
def test_a_discount_comes_with_its_subscription(carried: dict[str, Any]) -> None:
    row = only(event("customer.subscription.updated", subscription(**carried)), "discounts")
    assert (row["discount_id"], row["starts_at"]) == ("di_1", START)
    assert row["seq"] < JAN_1 * 1_000_000


def test_a_discount_of_an_item_names_both() -> None:
    found = subscription(items=listing(item(discounts=[discount(subscription=None)])))
    row = only(event("customer.subscription.created", found), "discounts")
    assert (row["item_id"], row["subscription_id"], row["customer_id"]) == ("si_1", "sub_1", None)


def test_a_discount_that_is_removed_ends_then() -> None:
    later = START + timedelta(days=2)
    deleted = event("customer.discount.deleted", discount(), JAN_1 + 2 * DAY)
    lost = event(
        "customer.subscription.updated", subscription(), JAN_1 + 2 * DAY, before={"discount": discount()}
    )
    assert only(deleted, "discounts")["ends_at"] == later
    assert only(lost, "discounts")["ends_at"] == later
    kept = subscription(discounts=["di_1"])
    told = event("customer.subscription.updated", kept, before={"discount": discount()})
    assert ("upsert", "discounts") not in rows(told)


def test_a_discount_of_a_customer_names_only_him() -> None:
    found = {"id": "cus_1", "object": "customer", "discount": discount(subscription=None)}
    row = only(event("customer.updated", found), "discounts")
    assert (row["customer_id"], row["subscription_id"]) == ("cus_1", None)


def test_a_customer_with_his_default_card() -> None:
    card = {"id": "card_2", "object": "card", "exp_month": 8, "exp_year": 2030}
    found = {
        "id": "cus_1",
        "object": "customer",
        "name": "Ada",
        "email": "ada@example.com",
        "created": JAN_1,
        "address": {"country": "DE"},
        "metadata": {"segment": "smb"},
        "default_source": "card_2",
        "sources": listing({"id": "card_1", "exp_month": 1, "exp_year": 2027}, card),
    }
    row = only(event("customer.updated", found), "customers")
    assert (row["country"], row["dimensions"]) == ("DE", {"segment": "smb"})
    assert (row["card_exp_month"], row["card_exp_year"]) == (8, 2030)
    assert (row["name"], row["email"], row["created_at"]) == ("Ada", "ada@example.com", START)


@pytest.mark.parametrize("found", [{"id": "cus_1", "object": "customer", "deleted": True}])
def test_a_deleted_customer_ends(found: dict[str, Any]) -> None:
    assert only(event("customer.deleted", found), "customers", "delete")["customer_id"] == "cus_1"
    whole = {"id": "cus_1", "object": "customer", "name": "Ada"}
    told = rows(event("customer.deleted", whole))
    assert told["upsert", "customers"][0]["seq"] == told["delete", "customers"][0]["seq"] - 1


def test_prices_in_tiers_packages_and_fractions() -> None:
    tiers = [
        {"up_to": 10, "unit_amount": 500, "unit_amount_decimal": "500", "flat_amount": None},
        {"up_to": None, "unit_amount": None, "unit_amount_decimal": "0.5", "flat_amount_decimal": "100"},
    ]
    tiered = price(billing_scheme="tiered", tiers_mode="graduated", tiers=tiers, unit_amount=None)
    row = only(event("price.created", tiered | {"unit_amount_decimal": None}), "prices")
    assert row["tiers"] == [
        {"up_to": 10, "unit_amount": "500", "flat_amount": "0"},
        {"up_to": None, "unit_amount": "0.5", "flat_amount": "100"},
    ]
    assert (row["scheme"], row["tiers_mode"], row["unit_amount"]) == ("tiered", "graduated", None)
    packed = price(transform_quantity={"divide_by": 5, "round": "up"}, unit_amount_decimal="0.000125")
    row = only(event("price.created", packed), "prices")
    assert (row["divide_by"], row["round"], row["unit_amount"]) == (5, "up", Decimal("0.000125"))


def test_a_plan_is_a_price_and_a_one_time_price_is_none() -> None:
    plan = {
        "id": "plan_1",
        "object": "plan",
        "amount": 900,
        "billing_scheme": "per_unit",
        "created": JAN_1,
        "currency": "EUR",
        "interval": "year",
        "interval_count": 2,
        "product": {"id": "prod_1", "object": "product", "name": "Maps"},
        "usage_type": "metered",
        "meter": "mtr_1",
    }
    told = rows(event("plan.created", plan))
    (row,), (product,) = told["upsert", "prices"], told["upsert", "products"]
    assert (row["price_id"], row["unit_amount"], row["currency"]) == ("plan_1", Decimal(900), "eur")
    assert (row["interval"], row["interval_count"], row["usage_type"]) == ("year", 2, "metered")
    assert (product["product_id"], product["name"]) == ("prod_1", "Maps")
    once = price(recurring=None, type="one_time")
    assert ("upsert", "prices") not in rows(event("price.created", once))


def test_refunds_come_alone_or_in_their_charge() -> None:
    refund = {
        "id": "re_1",
        "object": "refund",
        "amount": 100,
        "charge": "ch_1",
        "payment_intent": "pi_1",
        "created": JAN_1,
        "currency": "usd",
        "status": "requires_action",
    }
    alone = only(event("refund.created", refund), "refunds")
    charge = {"id": "ch_1", "object": "charge", "customer": "cus_1", "refunds": listing(refund)}
    within = only(event("charge.refunded", charge), "refunds")
    assert (alone["payment_id"], alone["status"], alone["customer_id"]) == ("pi_1", "pending", None)
    assert within["customer_id"] == "cus_1"


def test_cards_products_coupons_accounts_and_usage() -> None:
    method = {
        "id": "pm_1",
        "object": "payment_method",
        "customer": "cus_1",
        "card": {"exp_month": 2, "exp_year": 2027},
    }
    assert only(event("payment_method.attached", method), "payment_methods")["exp_month"] == 2
    assert ("upsert", "payment_methods") not in rows(
        event("payment_method.attached", method | {"card": None})
    )
    account = {
        "id": "m",
        "object": "account",
        "business_profile": {"name": "Shop"},
        "default_currency": "eur",
        "country": "DE",
        "settings": {"dashboard": {"timezone": "Europe/Berlin"}},
    }
    known, named = sorted(
        rows(event("account.updated", account))["upsert", "merchants"], key=lambda r: r["seq"]
    )
    assert (known["seq"], known["name"]) == (HARDLY_KNOWN, "m")
    assert (named["name"], named["time_zone"], named["reporting_currency"]) == (
        "Shop",
        "Europe/Berlin",
        "eur",
    )
    usage = {
        "object": "billing.meter_event",
        "event_name": "calls",
        "identifier": "u1",
        "payload": {"stripe_customer_id": "cus_1", "value": "2.5"},
        "timestamp": JAN_1,
    }
    row = only(event("billing.meter_event.created", usage), "meter_events", "append")
    assert (row["event_id"], row["meter"], row["value"], row["used_at"]) == (
        "m/u1",
        "calls",
        Decimal("2.5"),
        START,
    )


# --- what is not known, and what cannot be read ----


def test_unknown_objects_are_kept() -> None:
    found = rows(event("payout.paid", {"id": "po_1", "object": "payout"}))
    assert found.keys() == {("append", "stripe_events"), ("upsert", "merchants")}
    (kept,) = found["append", "stripe_events"]
    assert (kept["outcome"], kept["object"], kept["object_id"]) == ("unknown", "payout", "po_1")
    assert "pending_webhooks" not in kept["payload"]


@pytest.mark.parametrize(
    "found",
    [
        {"id": "sub_1", "object": "subscription"},
        subscription(items=listing({"id": "si_1", "object": "subscription_item"})),
        subscription(start_date="soon"),
        price(unit_amount_decimal="a lot"),
        invoice(currency=None),
        invoice(lines=listing({"id": "il_1"})),
        {"id": "x"},
    ],
)
def test_an_object_that_cannot_be_read_is_kept_with_the_problem(found: dict[str, Any]) -> None:
    told = rows(event("something.updated", found))
    (kept,) = told["append", "stripe_events"]
    assert kept["outcome"] == "unread"
    assert kept["problem"]
    assert told.keys() == {("append", "stripe_events"), ("upsert", "merchants")}


# --- the order of what is told ----


def test_the_order_within_a_second() -> None:
    created = event("customer.subscription.created", subscription("incomplete"))
    active = event("customer.subscription.updated", subscription("active"))
    late = event("customer.subscription.updated", subscription("past_due"))
    ended = event("customer.subscription.deleted", subscription("canceled"))
    later = event("customer.subscription.created", subscription("incomplete"), JAN_1 + 1)
    order = [sequence(told, told["data"]["object"]) for told in (created, active, late, ended, later)]
    assert order == sorted(order)
    statuses = ("draft", "open", "paid")
    order = [sequence(event("invoice.updated", invoice(status)), invoice(status)) for status in statuses]
    assert order == sorted(set(order))


def test_two_events_of_one_kind_and_second_have_an_order_of_their_own() -> None:
    one, two = (
        event("customer.updated", {"object": "customer"}, event_id=name) for name in ("evt_a", "evt_b")
    )
    assert sequence(one, {}) != sequence(two, {})
    assert sequence(one, {}) == sequence(dict(one), {})


def test_what_is_no_event_is_refused() -> None:
    from headrace.solutions.billing.stripe.source import must_be_event

    nothing: dict[str, Any] = {}
    strange: list[Any] = [
        None,
        [],
        nothing,
        {"object": "event"},
        event("", {}),
        event("a", {}, data={"object": 1}),
    ]
    for broken in strange:
        with pytest.raises(BadRequest):
            must_be_event(broken)
    with pytest.raises(hr.HeadraceError, match="without a time"):
        must_be_event(event("a", {}) | {"created": "now"})
