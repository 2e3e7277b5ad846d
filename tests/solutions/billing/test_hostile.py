"""No row that the tables take puts a view in error: one merchant's nonsense is not everybody's outage.

Rows of a small world come again with extreme values in a few columns, all that the models let through: what
cannot be is put aside by them, what is merely absurd must leave room for the sums of all others.
"""

from __future__ import annotations

import random
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from tests.torture import Torture

import headrace as hr
from headrace.solutions.billing.app import app
from headrace.solutions.billing.recompute import interval_amount
from headrace.solutions.billing.simulate.history import make_world

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
WORLD = make_world(3, 3, 8, 1.0, NOW)
WORLD.rows.take_gone()
ROWS: dict[str, pa.Table] = WORLD.rows.take()
INTEGERS = [0, 1, -1, 2, 1970, 9_999, 10**4, 10**6, 10**9, 10**12, 10**15, -(10**15), 2**63 - 1, -(2**63)]
DECIMALS = [
    Decimal(text)
    for text in (
        "0",
        "-1",
        "0.5",
        "100",
        "99.9999",
        "999999999999.999999999999",
        "0.000000000001",
        "-999999999999",
    )
]
MOMENTS = [
    *(datetime(year, 1, 1, tzinfo=UTC) for year in (1, 1600, 1970)),
    *(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2024, 2, 29, tzinfo=UTC), NOW),
]
WORDS = {
    "status": ["incomplete", "trialing", "active", "past_due", "unpaid", "paused", "canceled"],
    "scheme": ["flat", "per_unit", "tiered"],
    "tiers_mode": ["graduated", "volume"],
    "usage_type": ["licensed", "metered"],
    "interval": ["day", "week", "month", "year"],
    "duration": ["once", "repeating", "forever"],
    "currency": ["usd", "jpy", "kwd", "xxx"],
    "round": ["up", "down"],
}
TIERS: list[Any] = [
    [{"up_to": 1, "unit_amount": 1e11, "flat_amount": 1e11}, {"up_to": None, "unit_amount": 999999999999}],
    [{"up_to": 2**63 - 1, "unit_amount": "999999999999.999999999999"}, {"up_to": None, "unit_amount": 1}],
    *([{"up_to": -5, "unit_amount": -3}], [{"up_to": 1e30, "unit_amount": 1e30}], [{"up_to": None}]),
    *([], [1, 2], [None], {"a": 1}, None),
]


def absurd(draw: random.Random, field: pa.Field) -> Any:
    """Return a value that nobody means."""
    if field.name == "tiers":
        return draw.choice(TIERS)
    if field.name in WORDS:
        return draw.choice(WORDS[field.name])
    for fits, values in (
        (pa.types.is_integer, INTEGERS),
        (pa.types.is_decimal, DECIMALS),
        (pa.types.is_timestamp, MOMENTS),
        (pa.types.is_date, [date(1, 1, 1), date(9999, 12, 31), date(2024, 2, 29)]),
        (pa.types.is_boolean, [True, False]),
    ):
        if fits(field.type):
            return draw.choice(values)
    return None


def started() -> hr.Run:
    run = app.open(None)
    for name, rows in sorted(ROWS.items(), key=lambda named: named[0] == "meter_events"):
        (run.append if name in app.streams else run.upsert)(name, rows)
    run.advance()
    return run


def errors(run: hr.Run) -> dict[str, str]:
    return {name: error for name in app.view_decls if (error := run._engine.view_error(name)) is not None}


def send(run: hr.Run, name: str, row: dict[str, Any], number: int) -> bool:
    """Send a row as the newest of its key; return whether it was taken."""
    if name in app.streams:
        return bool(run.append(name, [row | {"event_id": f"absurd {number}"}]).accepted)
    return bool(run.upsert(name, [row | {"seq": 2**60 + number} if "seq" in row else row]).accepted)


def row_of(name: str, **wanted: Any) -> dict[str, Any]:
    rows: list[dict[str, Any]] = ROWS[name].to_pylist()
    return next(row for row in rows if all(row[key] == value for key, value in wanted.items()))


def play_absurd(seed: int, count: int = 120) -> None:
    draw = random.Random(seed)
    names = [name for name in ROWS if name in app.tables or name == "meter_events"]
    taken = 0
    with started() as run:
        for number in range(count):
            name = draw.choice(names)
            row = ROWS[name].slice(draw.randrange(ROWS[name].num_rows), 1).to_pylist()[0]
            schema = list((app.tables.get(name) or app.streams[name]).schema.arrow)
            for field in draw.sample(schema, min(len(schema), draw.randrange(1, 5))):
                if not field.name.endswith("_id") and field.name != "seq":
                    row[field.name] = absurd(draw, field)
            if send(run, name, row, number):
                taken += 1
                run.advance()
                assert errors(run) == {}, f"seed {seed}: {name} {row}"
    assert taken > count // 5


@pytest.mark.parametrize("seed", range(3))
def test_no_absurd_row_puts_a_view_in_error(seed: int) -> None:
    play_absurd(seed)


@pytest.mark.torture(weight=1, least=30)
def test_many_absurd_rows(torture: Torture) -> None:
    torture.play(play_absurd)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("subscription_items", {"quantity": 2**63 - 1}),
        ("subscription_items", {"quantity": 10**9 + 1}),
        ("prices", {"interval_count": 10**9}),
        ("prices", {"divide_by": 2**63 - 1}),
        ("discounts", {"amount_off": 10**18}),
        ("discounts", {"percent_off": Decimal(500)}),
        ("payments", {"amount": 2**63 - 1}),
        ("meter_events", {"value": Decimal(10) ** 17}),
    ],
)
def test_what_cannot_be_is_put_aside_with_its_reason(name: str, changed: dict[str, Any]) -> None:
    with app.open(None) as run:
        put = run.append if name in app.streams else run.upsert
        result = put(name, [ROWS[name].slice(0, 1).to_pylist()[0] | changed])
        assert (result.accepted, result.rejected) == (0, 1)
        (column,) = changed
        assert column in str(result.rejections[0])


def test_what_is_cut_is_cut_alike_by_the_views_and_from_scratch() -> None:
    """A thousand million units at almost 1e12 each are cut, on both sides, and others go on."""
    item = row_of("subscription_items")
    price = row_of("prices", merchant_id=item["merchant_id"], price_id=item["price_id"])
    for sign in (1, -1):
        dear = price | {
            "scheme": "per_unit",
            "unit_amount": sign * Decimal("999999999999"),
            "divide_by": None,
        }
        with started() as run:
            assert send(run, "prices", dear, 1)
            assert send(run, "subscription_items", item | {"quantity": 10**9, "valid_at": NOW}, 2)
            run.advance()
            assert errors(run) == {}
            asked = (
                "SELECT pico FROM charges WHERE merchant_id = ? AND price_id = ? AND quantity = 1000000000"
            )
            picos = run.query(asked, [price["merchant_id"], price["price_id"]]).column("pico").to_pylist()
        assert {int(pico) for pico in picos} == {sign * 10**26}
        assert interval_amount(dear, 10**9) == sign * 10**14


def test_an_amount_off_what_costs_next_to_nothing() -> None:
    """Shares of a subscription that costs less than a millionth of a minor unit divided by nothing."""
    with started() as run:
        for number, discount in enumerate(ROWS["discounts"].to_pylist()):
            send(run, "discounts", discount | {"amount_off": 500, "percent_off": None}, number)
        for number, price in enumerate(ROWS["prices"].to_pylist()):
            send(run, "prices", price | {"scheme": "flat", "unit_amount": Decimal("1E-12")}, number)
        run.advance()
        assert errors(run) == {}
