"""The simulator: equal seeds make equal worlds, every kind of life occurs, and disorder changes no number.

That its books and the views agree, two computations that share nothing but the simulated facts, is the point
of it all; small numbers by hand hold the books themselves.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest

from headrace.solutions.billing.app import app
from headrace.solutions.billing.demo import Plan, go_live, load
from headrace.solutions.billing.simulate.books import Price, Reduction, Timeline
from headrace.solutions.billing.simulate.dirt import disordered
from headrace.solutions.billing.simulate.history import World, make_world
from headrace.solutions.billing.simulate.layout import KEYS, LAYOUT
from headrace.solutions.billing.simulate.live import Live
from headrace.solutions.billing.simulate.reports import Exchange, ratio
from headrace.solutions.billing.simulate.times import (
    DAY_US,
    add_months,
    from_us,
    local_midnight,
    nth_period,
    to_us,
)
from headrace.solutions.billing.simulate.worth import Rules, lowered, per_interval, per_month
from headrace.solutions.billing.verify import verify_views

UNTIL = datetime(2026, 7, 1, tzinfo=UTC)


def small(seed: int = 1, merchants: int = 3, customers: int = 12) -> World:
    return make_world(seed, merchants, customers, 3.0, UNTIL)


def rows_of(world: World) -> dict[str, list[Any]]:
    return {name: list(rows) for name, rows in (*world.rows.rows.items(), *world.rows.gone.items())}


def test_equal_seeds_make_equal_worlds() -> None:
    assert rows_of(small(3)) == rows_of(small(3))
    assert rows_of(small(3)) != rows_of(small(4))


def test_the_tables_are_those_of_the_app() -> None:
    for name, columns in LAYOUT.items():
        declared = (app.tables.get(name) or app.streams[name]).schema
        assert columns.keys() <= set(declared.names), name
    for name, columns in KEYS.items():
        assert columns.keys() <= set(app.tables[name].schema.names)


def test_every_kind_of_life_occurs() -> None:
    world = small(merchants=30, customers=30)
    tables = world.rows.take()

    def values(table: str, column: str) -> set[Any]:
        return set(tables[table].column(column).to_pylist())

    assert values("subscriptions", "status") >= {
        *("trialing", "active", "past_due", "unpaid", "paused", "canceled"),
        *("incomplete", "incomplete_expired"),
    }
    assert values("prices", "scheme") == {"flat", "per_unit", "tiered"}
    assert values("prices", "tiers_mode") == {None, "graduated", "volume"}
    assert values("prices", "interval") == {"day", "week", "month", "year"}
    assert values("prices", "usage_type") == {"licensed", "metered"}
    assert values("prices", "currency") == {"usd", "eur", "gbp", "jpy", "kwd"}
    assert values("discounts", "duration") == {"once", "repeating", "forever"}
    assert values("invoices", "status") == {"open", "paid", "void", "uncollectible"}
    assert values("payments", "status") == {"succeeded", "failed"}
    assert values("subscriptions", "cancel_at_period_end") == {True, False}
    assert tables["refunds"].num_rows
    assert tables["meter_events"].num_rows
    gone = world.rows.take_gone()
    assert gone.keys() == {"customers", "subscription_items"}


def test_a_correction_and_a_start_to_come_are_recorded_at_another_time_than_they_hold() -> None:
    tables = small(merchants=20, customers=30).rows.take()
    valid = tables["subscription_items"].column("valid_at").cast(pa.int64()).to_pylist()
    order = sorted(zip(tables["subscription_items"].column("seq").to_pylist(), valid, strict=True))
    assert [at for _, at in order] != sorted(valid)
    rows = tables["subscriptions"]
    ahead = zip(
        rows.column("valid_at").cast(pa.int64()).to_pylist(), rows.column("seq").to_pylist(), strict=True
    )
    assert any(at > known + DAY_US for at, known in ahead)


def test_disorder_moves_and_repeats_rows_and_loses_none() -> None:
    rows = small().rows.take()["subscriptions"]
    out = disordered("subscriptions", rows, 1)
    assert out.num_rows > rows.num_rows
    assert set(map(str, out.to_pylist())) == set(map(str, rows.to_pylist()))
    assert out.slice(0, rows.num_rows) != rows
    items = small().rows.take()["subscription_items"]
    assert disordered("subscription_items", items, 1) is items


# --- the books and the views ----


def test_books_and_views_agree_on_history_and_live_activity_and_a_wrong_book_is_found() -> None:
    world = make_world(1, 1, 12, 2.0, datetime.now(UTC))
    with app.open(None) as run:
        load(run, world)
        words = go_live(run, world, Plan(rate=20_000, rows_max=300))
        outcomes = verify_views(run, world)
        assert words.startswith("live:      30")
        assert [outcome for outcome in outcomes if outcome.problem] == []
        assert sum(outcome.rows for outcome in outcomes) > 1_000
        assert len(outcomes) == 20

        book = world.books.of(world.shops[0].merchant_id)
        book.payments.pop()
        for versions in book.prices.values():
            for _, held in versions.ordered():
                held.unit_amount = (held.unit_amount or Decimal(0)) * 2
        differing = {outcome.view for outcome in verify_views(run, world) if outcome.problem}
    assert {"cash_daily", "mrr_movements", "mrr_daily", "metrics (asked)"} <= differing
    assert not differing & {"trials_daily", "usage_daily"}


def test_live_activity_keeps_its_pace() -> None:
    world = small()
    world.rows.take()
    live = Live(world)
    made = live.tick(to_us(UNTIL), 200)
    assert 200 <= made < 230
    assert made == len(world.rows)


# --- by hand ----


def price(**changed: Any) -> Price:
    given: dict[str, Any] = {"currency": "usd", "scheme": "per_unit", "interval": "month", "count": 1}
    return Price(**(given | changed))


@pytest.mark.parametrize(
    ("given", "quantity", "monthly"),
    [
        (price(unit_amount=Decimal(1_000), interval="week"), 1, 4_333),
        (price(unit_amount=Decimal(5_000), count=2), 1, 2_500),
        (price(unit_amount=Decimal(22_800), interval="year"), 1, 1_900),
        (price(unit_amount=Decimal(50_000), interval="year"), 1, 4_167),
        (price(unit_amount=Decimal(1_000), interval="week"), 100, 433_333),
        (price(unit_amount=Decimal(100), interval="day", count=10), 1, 300),
        (price(unit_amount=Decimal(700), scheme="flat"), 9, 700),
        (price(unit_amount=Decimal("0.5")), 1, 1),
        (price(unit_amount=Decimal(9), meter="calls"), 1, 0),
    ],
)
def test_amounts_a_month(given: Price, quantity: int, monthly: int) -> None:
    assert per_month(per_interval(given, quantity), given) == monthly


@pytest.mark.parametrize(
    ("mode", "quantity", "amount"), [("graduated", 5, 50), ("graduated", 7, 50 + 10 + 3), ("volume", 7, 38)]
)
def test_tiers(mode: str, quantity: int, amount: int) -> None:
    tiers = ((5, Decimal(10), 0), (None, Decimal(5), 3))
    assert per_interval(price(scheme="tiered", tiers_mode=mode, tiers=tiers), quantity) == amount


def off(**changed: Any) -> Reduction:
    given = {
        "discount_id": "di",
        "customer_id": None,
        "subscription_id": "sub",
        "item_id": None,
        "percent_off": None,
        "amount_off": None,
        "currency": None,
        "duration": "forever",
        "starts_us": 0,
        "ends_us": None,
    }
    return Reduction(**(given | changed))


def test_discounts() -> None:
    lines = [("a", price(), Fraction(3_000)), ("b", price(), Fraction(1_000))]
    half, ten = off(percent_off=Decimal(50)), off(percent_off=Decimal(10), item_id="a", discount_id="2")
    amount = off(amount_off=400, currency="usd", discount_id="3")
    of_all = off(subscription_id=None, customer_id="cus", percent_off=Decimal(20), discount_id="4")
    once = off(percent_off=Decimal(100), duration="once", discount_id="5")
    rules = Rules()
    assert lowered(lines, [half, ten], 1, rules) == [1_350, 500]
    assert lowered(lines, [amount], 1, rules) == [2_700, 900]
    assert lowered(lines, [of_all, ten], 1, rules) == [2_700, 800]
    assert lowered(lines, [once], 1, rules) == [3_000, 1_000]
    assert lowered(lines, [once], 1, Rules(subtract_once_discounts=True)) == [0, 0]
    assert lowered(lines, [once], 40 * DAY_US, Rules(subtract_once_discounts=True)) == [3_000, 1_000]
    assert lowered(lines, [off(amount_off=9_999, currency="usd")], 1, rules) == [0, 0]
    assert lowered(lines, [off(amount_off=400, currency="eur")], 1, rules) == [3_000, 1_000]


def test_what_is_learned_later_takes_the_place_of_what_was_to_hold() -> None:
    timeline: Timeline[str] = Timeline()
    for at_us, held in ((10, "a"), (30, "b"), (20, "c")):
        timeline.note(at_us, held)
    assert timeline.ordered() == [(10, "a"), (20, "c")]


def test_months_keep_the_day_where_they_can() -> None:
    anchor = to_us(datetime(2024, 1, 31, 9, tzinfo=UTC))
    days = [from_us(nth_period(anchor, "month", 1, nth)).date() for nth in range(4)]
    assert days == [date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31), date(2024, 4, 30)]
    leap = to_us(datetime(2024, 2, 29, tzinfo=UTC))
    assert from_us(nth_period(leap, "year", 1, 1)).date() == date(2025, 2, 28)
    assert from_us(add_months(leap, -1)).date() == date(2024, 1, 29)
    assert from_us(local_midnight(date(2026, 1, 1), "Asia/Tokyo")).hour == 15


def test_money_is_converted_at_the_newest_rate_known_and_rounded_half_away() -> None:
    world = small(merchants=1, customers=1)
    world.books.rates = {"jpy": {0: Decimal(150), 2: Decimal(100)}, "eur": {0: Decimal("0.5")}}
    into = Exchange(world.books, "usd")
    assert into.convert(150, "jpy", date(1970, 1, 2)) == 100
    assert into.convert(150, "jpy", date(1970, 1, 3)) == 150
    assert into.convert(-1, "jpy", date(1970, 1, 2)) == -1
    assert Exchange(world.books, "jpy").convert(3, "eur", date(1970, 1, 5)) == 6
    assert into.convert(7, "usd", date(1970, 1, 1)) == 7
    assert ratio(1, 0) is None
