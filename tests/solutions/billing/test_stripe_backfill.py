"""Exported lists: what an object dates itself becomes its past, and events fall into their places between."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.solutions.billing.stripe_objects import DAY, JAN_1, event, invoice, listing, subscription, tables

from headrace.errors import BadRequest
from headrace.solutions.billing.stripe.backfill import backfill, objects_of
from headrace.solutions.billing.stripe.source import changes

EXPORTED = datetime(2026, 6, 1, tzinfo=UTC)
START = datetime(2026, 1, 1)  # noqa: DTZ001 - as views hold it


def held(*parts: Any) -> list[tuple[str, bool, datetime, datetime | None]]:
    """Load parts of changes; return the past of the subscription as far as it held."""
    with tables().open(None) as run:
        for part in parts:
            for put in part:
                getattr(run, put.verb)(put.name, put.rows)
        run.advance()
        found = run.query(
            "SELECT status, cancel_at_period_end, valid_from, valid_to FROM subscriptions__history "
            "WHERE valid_to IS NULL OR valid_to > valid_from ORDER BY valid_from"
        ).to_pylist()
    return [tuple(row.values()) for row in found]


def test_a_subscription_with_a_trial_that_was_canceled() -> None:
    found = subscription(
        "canceled",
        trial_start=JAN_1,
        trial_end=JAN_1 + 7 * DAY,
        canceled_at=JAN_1 + 20 * DAY,
        ended_at=JAN_1 + 31 * DAY,
    )
    trial, asked, end = (START + timedelta(days=days) for days in (7, 20, 31))
    steps = held(backfill([found], "m", EXPORTED)[0])
    assert [(status, leaving, since) for status, leaving, since, _ in steps[:4]] == [
        ("trialing", False, START),
        ("active", False, trial),
        ("active", True, asked),
        ("canceled", False, end),
    ]
    assert {status for status, *_ in steps[4:]} <= {"canceled"}


@pytest.mark.parametrize(
    ("found", "statuses"),
    [
        (subscription("active"), ["active", "active"]),
        (subscription("past_due"), ["active", "past_due"]),
        (subscription("trialing", trial_start=JAN_1, trial_end=JAN_1 + 400 * DAY), ["trialing", "trialing"]),
        (
            subscription("canceled", canceled_at=JAN_1 + DAY, ended_at=JAN_1 + DAY),
            ["active", "canceled", "canceled"],
        ),
        (subscription("incomplete_expired", ended_at=JAN_1 + DAY), ["incomplete_expired"] * 2),
    ],
)
def test_a_subscription_as_it_stands(found: dict[str, Any], statuses: list[str]) -> None:
    steps = held(backfill([found], "m", EXPORTED)[0])
    assert [status for status, *_ in steps] == statuses
    assert steps[0][2] == START + timedelta(days=int(statuses[0] == "incomplete_expired"))


def test_events_from_before_the_export_stand_before_it_whenever_they_come() -> None:
    export = backfill([subscription("active")], "m", EXPORTED)[0]
    late = changes(
        event(
            "customer.subscription.updated", subscription("past_due"), JAN_1 + 40 * DAY, {"status": "active"}
        ),
        "m",
    )
    after = changes(event("customer.subscription.deleted", subscription("canceled"), JAN_1 + 200 * DAY), "m")
    orders = [held(*parts) for parts in ((export, late, after), (after, late, export), (late, after, export))]
    assert [status for status, *_ in orders[0]] == ["active", "past_due", "active", "canceled"]
    assert orders[1] == orders[0]
    assert orders[2] == orders[0]


def test_an_exported_invoice_tells_its_last_payment() -> None:
    puts = backfill([invoice("paid", attempt_count=2)], "m", EXPORTED)[0]
    (payment,) = next(put.rows for put in puts if put.name == "payments")
    assert (payment["payment_id"], payment["status"]) == ("in_1/2", "succeeded")


def test_files_in_every_form() -> None:
    one, two = {"id": "a", "object": "product"}, {"id": "b", "object": "price"}
    forms = [
        json.dumps(listing(one, two)),
        json.dumps([one, two]),
        f"{json.dumps(one)}\n\n{json.dumps(two)}\n",
        json.dumps([listing(one), listing(two)]),
        f"{json.dumps(listing(one))}\n{json.dumps(listing(two))}",
    ]
    assert [list(objects_of(form)) for form in forms] == [[one, two]] * 5
    assert list(objects_of(json.dumps(one))) == [one]
    for broken in ("nonsense", '{"a": 1}\n{', "[1]", "3"):
        with pytest.raises(BadRequest):
            list(objects_of(broken))


def test_unknown_objects_are_counted_and_events_are_taken_as_events() -> None:
    payout = {"id": "po_1", "object": "payout"}
    puts, unknown = backfill([payout, payout, event("payout.paid", payout)], "m", EXPORTED)
    assert unknown == {"payout": 2}
    assert "stripe_events" in {put.name for put in puts}
