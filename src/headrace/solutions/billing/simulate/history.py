"""Years of history at once: shops open, customers come, live, and leave their rows and books behind."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from random import Random

from headrace.solutions.billing.presets import PRESETS
from headrace.solutions.billing.simulate.books import Books, Price
from headrace.solutions.billing.simulate.layout import Rows
from headrace.solutions.billing.simulate.life import Life
from headrace.solutions.billing.simulate.metrics import LIVE
from headrace.solutions.billing.simulate.shop import LIKE_A_DOLLAR, Shop, open_shop, write_price
from headrace.solutions.billing.simulate.times import DAY_US, EPOCH_DAY, special, to_us
from headrace.solutions.billing.simulate.worth import Rules

COMPARING = 10
"""Merchants, those with most customers, that look at their numbers under other definitions too."""
PER_DOLLAR = {"usd": "1", "eur": "0.92", "gbp": "0.79", "jpy": "147.2", "kwd": "0.3074"}


@dataclass
class World:
    """Merchants, customers, the rows they have left so far, and the books."""

    seed: int
    rows: Rows = field(default_factory=Rows)
    books: Books = field(default_factory=Books)
    shops: list[Shop] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    scenarios: dict[str, dict[str, Rules]] = field(default_factory=dict)

    def scenarios_of(self, merchant_id: str) -> list[tuple[str, Rules]]:
        """Return a merchant's scenarios with their rules; the live one first, which is Stripe's."""
        return [(LIVE, Rules()), *self.scenarios.get(merchant_id, {}).items()]


def make_world(seed: int, merchants: int, customers: int, years: float, until: datetime) -> World:
    """Return a world with its history up to a moment.

    Args:
        seed: equal seeds (and other arguments) make equal worlds.
        merchants: how many.
        customers: how many come to each merchant, in the mean.
        years: how far back it goes.
        until: the present.
    """
    world = World(seed)
    until_us = to_us(until)
    since_us = until_us - round(years * 365.25) * DAY_US
    _quote(world, since_us, until_us)
    for number in range(1, merchants + 1):
        shop = open_shop(number, seed, since_us, world.rows, world.books)
        world.shops.append(shop)
        _fill(world, shop, customers, until_us)
    lives = Counter(life.shop.merchant_id for life in world.lives)
    for shop in sorted(world.shops, key=lambda one: -lives[one.merchant_id])[:COMPARING]:
        _compare(world, shop, until)
    world.rows.rows["meter_events"].sort(key=lambda row: row[-1])
    return world


def _compare(world: World, shop: Shop, until: datetime) -> None:
    """Lay other definitions beside the merchant's own: those of well-known products, and of another place."""
    rules = {name: Rules(**preset) for name, preset in PRESETS.items() if name != "stripe"}
    rules["from_tokyo"] = Rules(time_zone="Asia/Tokyo", reporting_currency="eur")
    world.scenarios[shop.merchant_id] = rules
    for name, found in rules.items():
        preset = name if name in PRESETS else None
        key = (shop.merchant_id, name, preset)
        row = (*key, *vars(found).values(), until, shop.seq(to_us(until)))
        world.rows.rows["settings"].append(row)


def _fill(world: World, shop: Shop, customers: int, until_us: int) -> None:
    draw = shop.draw
    count = max(1, round(customers * draw.uniform(0.4, 1.6)))
    arrivals = []
    for _ in range(count):
        at_us = draw.randrange(shop.created_us, until_us)
        at_us = special(draw, at_us, shop.zone) if draw.random() < 0.15 else at_us // 1_000_000 * 1_000_000
        arrivals.append(min(max(at_us, shop.created_us), until_us - 1))
    lives = [
        Life(shop, n, world.seed, at_us, world.rows, world.books)
        for n, at_us in enumerate(sorted(arrivals), start=1)
    ]
    for life in lives:
        life.run(until_us)
    world.lives += lives
    if draw.random() < 0.3:
        _raise_price(world, shop, draw.randrange(shop.created_us, until_us))


def _raise_price(world: World, shop: Shop, at_us: int) -> None:
    """Let a price cost a tenth more for everybody who has it."""
    price: Price = shop.draw.choice([price for ladder in shop.ladders.values() for price in ladder])
    tenth_more = Decimal("1.1")
    if price.unit_amount is not None:
        price.unit_amount = (price.unit_amount * tenth_more).quantize(Decimal(1))
    price.tiers = tuple((upto, unit * tenth_more, flat) for upto, unit, flat in price.tiers)
    write_price(shop, world.rows, world.books, price, at_us)


def _quote(world: World, since_us: int, until_us: int) -> None:
    """Write a rate for each currency and working day: about 1 in 7 days has none."""
    draw = Random(f"{world.seed}/rates")
    for currency in LIKE_A_DOLLAR:
        rate, rates = Decimal(PER_DOLLAR[currency]), world.books.rates.setdefault(currency, {})
        for day in range(since_us // DAY_US - 7, until_us // DAY_US + 1):
            if currency != "usd":
                rate *= Decimal(1) + Decimal(draw.randrange(-60, 61)) / 10_000
            if day % 7 == 2 and currency != "usd":
                continue
            rates[day] = rate = rate.quantize(Decimal("0.00000001"))
            world.rows.rows["fx_rates"].append((date.fromordinal(EPOCH_DAY + day), currency, rate))
