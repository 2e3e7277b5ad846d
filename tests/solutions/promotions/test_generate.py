"""The simulated day hangs together: unique ids, refunds after sales, orders with one time and one buyer."""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from headrace.solutions.promotions import catalogue
from headrace.solutions.promotions.day import Day
from headrace.solutions.promotions.generate import Generator, Tick, decimals

START_US = 1_767_614_400_000_000
SECOND_US = 1_000_000


def played(
    seed: int = 1, ticks: int = 60, events: int = 300, hour: float = 12.0
) -> dict[str, list[dict[str, Any]]]:
    generator = Generator(seed, first_id=1_000_000, events_per_s=300)
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for number in range(ticks):
        tick = Tick(START_US + number * SECOND_US, SECOND_US, hour + number / 60, events, readings=24)
        for stream, batch in generator.tick(tick).items():
            rows[stream] += batch.to_pylist()
    return rows


@pytest.fixture(scope="module")
def day() -> dict[str, list[dict[str, Any]]]:
    return played()


def test_every_event_has_an_id_of_its_own(day: dict[str, list[dict[str, Any]]]) -> None:
    ids = [row["event_id"] for rows in day.values() for row in rows]
    assert len(ids) == len(set(ids)) == 60 * 324


def test_a_refund_takes_back_what_was_sold_and_no_more(day: dict[str, list[dict[str, Any]]]) -> None:
    sold = {(row["order_id"], row["line_no"]): row for row in day["orders"] if row["kind"] == "sale"}
    back = [row for row in day["orders"] if row["kind"] != "sale"]
    assert len(back) > 10
    assert max(Counter((row["order_id"], row["line_no"]) for row in back).values()) == 1
    for row in back:
        sale = sold[row["order_id"], row["line_no"]]
        assert 1 <= row["quantity"] <= sale["quantity"]
        for name in ("buyer_id", "buyer_name", "product_id", "product", "unit_price"):
            assert row[name] == sale[name]


def test_the_lines_of_an_order_share_time_and_buyer(day: dict[str, list[dict[str, Any]]]) -> None:
    orders = defaultdict(list)
    for row in day["orders"]:
        if row["kind"] == "sale":
            orders[row["order_id"]].append(row)
    assert max(map(len, orders.values())) > 1
    for lines in orders.values():
        assert [line["line_no"] for line in lines] == list(range(1, len(lines) + 1))
        assert len({(line["occurred_at"], line["buyer_id"], line["buyer_name"]) for line in lines}) == 1


def test_every_host_reports_equally_often(day: dict[str, list[dict[str, Any]]]) -> None:
    readings = Counter(row["host"] for row in day["machine_metrics"])
    assert readings == dict.fromkeys(catalogue.HOSTS, 120)
    assert all(0 <= row["cpu_pct"] <= 100 for row in day["machine_metrics"])


def test_a_flash_sale_makes_its_product_the_first() -> None:
    sale = Day(1, len(Generator(1, 1, 100).catalogue.products), len(catalogue.HOSTS), 8).sales[0]
    rows = played(ticks=20, hour=sale.start_h + 0.1)["orders"]
    ((first, share),) = Counter(row["product_id"] for row in rows).most_common(1)
    assert first == sale.what + 1
    assert share > 0.25 * len(rows)


@pytest.mark.parametrize("hour", [0.0, 6.5, 23.99, 24.0, 47.3])
def test_the_day_has_a_mood_at_every_hour(hour: float) -> None:
    mood = Day(3, 400, 12, 8).mood(hour)
    assert 0 < mood.traffic < 3
    assert 0 <= mood.failure <= 1
    assert mood == Day(3, 400, 12, 8).mood(hour % 24)


def test_a_tick_may_be_empty() -> None:
    assert Generator(1, 1, 100).tick(Tick(START_US, SECOND_US, 12.0, 0, 0)) == {}


def test_hundredths_become_decimals() -> None:
    found = decimals(np.array([0, 1, 12_345, 99_999_999_99])).to_pylist()
    assert found == [Decimal("0.00"), Decimal("0.01"), Decimal("123.45"), Decimal("99999999.99")]
