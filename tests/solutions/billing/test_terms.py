"""Terms that stand elsewhere: a discount's with its coupon, cards as payment methods, prices per package."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

import headrace as hr
from headrace.solutions.billing.app import app
from headrace.solutions.billing.prove import prove

JAN = datetime(2026, 1, 1, tzinfo=UTC)
FEB = datetime(2026, 2, 1, tzinfo=UTC)
OWN = {"merchant_id": "m", "valid_at": JAN, "seq": 1}


@pytest.fixture
def run() -> Iterator[hr.Run]:
    with app.open(None) as opened:
        opened.upsert("merchants", [{"merchant_id": "m", "name": "M"}])
        opened.upsert("customers", [{**OWN, "customer_id": "c", "name": "C"}])
        subscription = {"subscription_id": "s", "customer_id": "c", "status": "active", "currency": "usd"}
        opened.upsert("subscriptions", [{**OWN, **subscription}])
        yield opened


def subscribed(run: hr.Run, quantity: int = 1, **price: Any) -> None:
    run.upsert("prices", [{**OWN, "price_id": "p", "product_id": "q", "currency": "usd", **price}])
    item = {"item_id": "i", "subscription_id": "s", "price_id": "p", "quantity": quantity}
    run.upsert("subscription_items", [{**OWN, **item}])
    run.advance()


def ledger(run: hr.Run) -> list[tuple[str, int]]:
    """The customer's movements, which a computation from scratch must find too."""
    assert prove(run, "m", "c").is_equal
    rows = run.query("SELECT CAST(happened_at AS DATE) AS day, amount FROM customer_movements ORDER BY ALL")
    return [(str(row["day"]), row["amount"]) for row in rows.to_pylist()]


@pytest.mark.parametrize(
    ("quantity", "way", "packages"),
    [(10, "up", 2), (11, "up", 3), (11, "down", 2), (11, None, 3), (0, "up", 0), (4, "down", 0)],
)
def test_packages_are_counted_whole(run: hr.Run, quantity: int, way: str | None, packages: int) -> None:
    subscribed(run, quantity, unit_amount=700, divide_by=5, round=way)
    assert ledger(run) == ([("2026-01-01", 700 * packages)] if packages else [])


def test_a_discount_has_its_coupons_terms(run: hr.Run) -> None:
    subscribed(run, unit_amount=1000)
    discount = {
        "discount_id": "d",
        "subscription_id": "s",
        "coupon_id": "k",
        "starts_at": FEB,
    }
    run.upsert("discounts", [{**OWN, **discount}])
    run.advance()
    assert ledger(run) == [("2026-01-01", 1000)]
    coupon = {"merchant_id": "m", "coupon_id": "k", "percent_off": 25, "duration": "repeating"}
    run.upsert("coupons", [{**coupon, "duration_in_months": 3}])
    run.advance()
    assert ledger(run) == [("2026-01-01", 1000), ("2026-02-01", -250), ("2026-05-01", 250)]
    run.upsert("discounts", [{**OWN, **discount, "seq": 2, "percent_off": 10}])
    run.advance()
    assert ledger(run) == [("2026-01-01", 1000), ("2026-02-01", -100)]


def test_an_amount_off_brings_its_currency(run: hr.Run) -> None:
    subscribed(run, unit_amount=1000)
    coupon = {"merchant_id": "m", "coupon_id": "k", "amount_off": 300, "currency": "eur"}
    run.upsert("coupons", [coupon])
    discount = {"discount_id": "d", "customer_id": "c", "coupon_id": "k", "starts_at": FEB}
    run.upsert("discounts", [{**OWN, **discount}])
    run.advance()
    assert ledger(run) == [("2026-01-01", 1000)]
    run.upsert("coupons", [{**coupon, "currency": "usd", "seq": 1}])
    run.advance()
    assert ledger(run) == [("2026-01-01", 1000), ("2026-02-01", -300)]


def test_cards_are_told_with_the_customer_or_apart(run: hr.Run) -> None:
    subscribed(run, unit_amount=1000)
    asked = {"merchant": "m", "today": "2026-06-10"}
    assert run.ask("revenue_at_risk", asked).table.num_rows == 0
    card = {
        "merchant_id": "m",
        "payment_method_id": "x",
        "customer_id": "c",
        "exp_month": 7,
        "exp_year": 2026,
    }
    run.upsert("payment_methods", [card])
    run.advance()
    assert run.ask("revenue_at_risk", asked).table.column("mrr").to_pylist() == [1000]
    run.upsert(
        "customers", [{**OWN, "customer_id": "c", "card_exp_month": 7, "card_exp_year": 2026, "seq": 2}]
    )
    run.advance()
    assert run.ask("revenue_at_risk", asked).table.num_rows == 1
