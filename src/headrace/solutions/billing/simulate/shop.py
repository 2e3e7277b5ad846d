"""A made-up merchant: time zone, currencies, products, prices of every kind, coupons."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

from headrace.solutions.billing.simulate.books import Books, Price
from headrace.solutions.billing.simulate.layout import Rows
from headrace.solutions.billing.simulate.times import from_us

ZONES = (
    ("America/New_York", "usd", "US"),
    ("America/Los_Angeles", "usd", "US"),
    ("Europe/Berlin", "eur", "DE"),
    ("Europe/London", "gbp", "GB"),
    ("Asia/Tokyo", "jpy", "JP"),
    ("Asia/Kolkata", "usd", "IN"),
    ("Asia/Kuwait", "kwd", "KW"),
    ("Australia/Lord_Howe", "usd", "AU"),
    ("America/Sao_Paulo", "usd", "BR"),
    ("UTC", "usd", "US"),
    ("Pacific/Apia", "usd", "WS"),
)
LIKE_A_DOLLAR = {"usd": 100, "eur": 90, "gbp": 80, "jpy": 150, "kwd": 310}
"""Minor units that about make a dollar."""
NAMES = ("Aurora", "Basalt", "Cedar", "Dune", "Ember", "Fjord", "Grove", "Harbour", "Iris", "Juniper")
KINDS = ("Analytics", "Mail", "Storage", "Payroll", "Design", "Maps", "Video", "Support")
PLANS = ("Basic", "Team", "Business", "Scale")


@dataclass
class Coupon:
    """A coupon: a share or an amount off, once, for months, or for ever."""

    coupon_id: str
    percent_off: Decimal | None
    amount_off: int | None
    currency: str | None
    duration: str
    months: int | None


@dataclass
class Shop:
    """A merchant and what it sells.

    Attributes:
        ladders: licensed prices by currency and interval, the cheapest first.
        extras: licensed prices by currency and interval that come as second items.
        metered: prices for usage by currency and interval.
    """

    merchant_id: str
    zone: str
    currencies: tuple[str, ...]
    created_us: int
    draw: Random
    ladders: dict[tuple[str, str], list[Price]] = field(default_factory=dict)
    extras: dict[tuple[str, str], list[Price]] = field(default_factory=dict)
    metered: dict[tuple[str, str], list[Price]] = field(default_factory=dict)
    coupons: list[Coupon] = field(default_factory=list)
    last_seq: int = 0
    numbered: int = 0

    def seq(self, at_us: int) -> int:
        """Return a sequence for something recorded at a moment, larger than any before."""
        self.last_seq = max(at_us, self.last_seq + 1)
        return self.last_seq

    def fresh(self, kind: str) -> str:
        """Return an id that nothing else of this merchant has."""
        self.numbered += 1
        return f"{kind}_{self.merchant_id[5:]}_{self.numbered}"


def open_shop(number: int, seed: int, created_us: int, rows: Rows, books: Books) -> Shop:
    """Make the merchant of a number, with its catalogue; equal seeds make equal merchants."""
    draw = Random(f"{seed}/{number}")
    zone, home, country = ZONES[number % len(ZONES)]
    others = [name for name in LIKE_A_DOLLAR if name != home]
    currencies = (home, *draw.sample(others, draw.choice((0, 0, 1, 2))))
    shop = Shop(f"acct_{number:05}", zone, currencies, created_us, draw)
    name = f"{NAMES[number % 10]} {KINDS[number // 10 % 8]} {number}"
    rows.rows["merchants"].append((shop.merchant_id, name, zone, home, country, from_us(created_us)))
    books.merchants[shop.merchant_id] = (zone, home)
    _plans(shop, rows, books)
    _coupons(shop, rows)
    return shop


def _plans(shop: Shop, rows: Rows, books: Books) -> None:
    plans = shop.draw.randrange(2, len(PLANS) + 1)
    base = shop.draw.choice((500, 900, 1_900, 4_900))
    for level in range(plans):
        product = _product(shop, rows, PLANS[level])
        for currency in shop.currencies:
            amount = base * 2**level * LIKE_A_DOLLAR[currency] // 100
            for interval, count, factor in _intervals(shop.draw, level):
                price = _licensed(shop, rows, books, product, currency, interval, count, amount * factor)
                shop.ladders.setdefault((currency, f"{count} {interval}"), []).append(price)
    addon, usage = _product(shop, rows, "Add-on"), _product(shop, rows, "Usage")
    for currency, term in list(shop.ladders):
        count, interval = int(term.split()[0]), term.split()[1]
        amount = base * LIKE_A_DOLLAR[currency] // 300
        extra = _licensed(shop, rows, books, addon, currency, interval, count, amount)
        shop.extras.setdefault((currency, term), []).append(extra)
        unit = Decimal(shop.draw.choice(("0.5", "2", "10.25", "0.000125")))
        meter = Price(currency, "per_unit", interval, count, unit, meter="api_calls")
        shop.metered[currency, term] = [_price(shop, rows, books, usage, meter, shop.created_us)]


def _intervals(draw: Random, level: int) -> list[tuple[str, int, int]]:
    found = [("month", 1, 1), ("year", 1, 10)]
    if level == 0:
        found += [draw.choice((("week", 1, 1), ("day", 10, 1), ("month", 3, 3), ("year", 2, 18)))]
    return found


def _product(shop: Shop, rows: Rows, name: str) -> str:
    product = shop.fresh("prod")
    rows.rows["products"].append((shop.merchant_id, product, name))
    return product


def _licensed(
    shop: Shop, rows: Rows, books: Books, product: str, currency: str, interval: str, count: int, amount: int
) -> Price:
    """Make a licensed price: mostly per unit, some flat, some in tiers of either mode."""
    lot = shop.draw.random()
    price = Price(currency, "per_unit", interval, count, unit_amount=Decimal(amount))
    if lot < 0.15:
        price.scheme = "flat"
    elif lot < 0.35:
        price.scheme, price.unit_amount = "tiered", None
        price.tiers_mode = "graduated" if lot < 0.25 else "volume"
        half, tenth = Decimal(amount) / 2, Decimal(amount) / 8
        price.tiers = ((5, Decimal(amount), 0), (20, half, amount // 4), (None, tenth, 0))
    elif lot < 0.4:
        price.unit_amount = Decimal(amount) + Decimal("0.333333")
    return _price(shop, rows, books, product, price, shop.created_us)


def _price(shop: Shop, rows: Rows, books: Books, product: str, price: Price, at_us: int) -> Price:
    price.price_id, price.product_id = shop.fresh("price"), product
    write_price(shop, rows, books, price, at_us)
    return price


def write_price(shop: Shop, rows: Rows, books: Books, price: Price, at_us: int) -> None:
    """Write a version of a price that holds from a moment."""
    books.note_price(shop.merchant_id, price, at_us)
    tiers = [
        {"up_to": upto, "unit_amount": str(unit), "flat_amount": str(flat)}
        for upto, unit, flat in price.tiers
    ]
    rows.rows["prices"].append(
        (
            shop.merchant_id,
            price.price_id,
            price.product_id,
            price.currency,
            price.scheme,
            price.tiers_mode,
            json.dumps(tiers) if tiers else None,
            price.unit_amount,
            "metered" if price.meter else "licensed",
            price.meter,
            price.interval,
            price.count,
            from_us(at_us),
            shop.seq(at_us),
        )
    )


def _coupons(shop: Shop, rows: Rows) -> None:
    home = shop.currencies[0]
    fixed = 5 * LIKE_A_DOLLAR[home]
    made = [
        (Decimal(25), None, "once", None),
        (Decimal("12.5"), None, "repeating", 3),
        (Decimal(10), None, "forever", None),
        (Decimal(100), None, "repeating", 2),
        (None, fixed, "repeating", 6),
        (None, fixed, "forever", None),
    ]
    for percent, amount, duration, months in made:
        currency = home if amount else None
        coupon = Coupon(shop.fresh("coupon"), percent, amount, currency, duration, months)
        shop.coupons.append(coupon)
        name = f"{percent or amount} off {duration}"
        rows.rows["coupons"].append(
            (shop.merchant_id, coupon.coupon_id, name, percent, amount, currency, duration, months)
        )
