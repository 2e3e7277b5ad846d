"""What the simulated shop consists of: products, search words, names, addresses, hosts, messages."""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

KINDS = (
    "Mug",
    "Lamp",
    "Headphones",
    "Backpack",
    "Blanket",
    "Kettle",
    "Sneakers",
    "Watch",
    "Speaker",
    "Jacket",
)
STYLES = ("Aurora", "Basalt", "Cedar", "Dune", "Ember", "Fjord", "Grove", "Harbour", "Iris", "Juniper")
SIZES = ("Mini", "Classic", "Plus", "Max")
FIRST_NAMES = (
    "Ada",
    "Bo",
    "Chen",
    "Dana",
    "Émile",
    "Fatma",
    "Goran",
    "Hana",
    "Ivo",
    "Júlia",
    "Kofi",
    "Lin",
    "王芳",
)
LAST_NAMES = ("Okafor", "Lindqvist", "Müller", "Tanaka", "García", "Novák", "O'Brien", "Şahin", "Silva", "Wu")
HOSTS = (*(f"web-{n}" for n in range(1, 7)), *(f"api-{n}" for n in range(1, 4)), "db-1", "db-2", "cache-1")
SERVICES = ("cart", "checkout", "catalogue", "search", "payments", "stock", "login", "mail")
LEVELS = ("DEBUG", "INFO", "WARN", "ERROR")
MESSAGES = {
    "DEBUG": ("cache hit", "cache miss", "retrying a slow replica", "pool has free connections"),
    "INFO": ("request served", "price list reloaded", "session opened", "order stored", "mail queued"),
    "WARN": (
        "slow query",
        "queue is half full",
        "certificate expires in 20 days",
        "retry after a lost answer",
    ),
    "ERROR": (
        "payment provider timed out",
        "stock row is locked",
        "connection refused",
        "answer is not JSON",
    ),
}
PATHS = {
    "page": ("/", "/search", "/basket", "/checkout", "/account", *(f"/product/{n}" for n in range(1, 60))),
    "api": ("/api/prices", "/api/basket", "/api/stock", "/api/suggest", "/api/login"),
    "asset": ("/static/app.js", "/static/app.css", "/static/logo.svg", "/img/hero.webp"),
}
REQUEST_KINDS = ("page", "api", "asset")
BOTS = 5
HUMAN_ADDRESSES = 40_000


class Catalogue:
    """The seeded stock of the shop and its words, as Arrow arrays to take from.

    Attributes:
        products: names; `product_id` is the index plus one.
        cents: their prices in hundredths, int64.
        popularity: the share of each product in views and sales; a few are hot, most are not.
        buyers: names of buyers; a buyer has the name at `buyer_id` modulo the length.
        addresses: IPv4 addresses; the first `BOTS` belong to bots.
    """

    def __init__(self, seed: int) -> None:
        draw = np.random.default_rng([seed, 2])
        names = [" ".join(words) for words in product(STYLES, KINDS, SIZES)]
        draw.shuffle(names)
        self.products = pa.array(names)
        self.cents: Ints = (
            np.maximum(draw.lognormal(8.0, 0.8, size=len(names)).astype(np.int64), 199) // 50 * 50 + 49
        )
        weight: Floats = 1.0 / np.arange(3.0, len(names) + 3.0) ** 1.05
        self.popularity: Floats = weight / weight.sum()
        self.queries = pa.array(
            sorted({f"{a} {b}".lower() for a, b in product((*STYLES, "cheap", "gift"), KINDS)})
        )
        self.buyers = pa.array([f"{first} {last}" for first, last in product(FIRST_NAMES, LAST_NAMES)])
        self.addresses = pa.array(
            [f"203.0.113.{10 + n}" for n in range(BOTS)]
            + [f"10.{n >> 14 & 255}.{n >> 6 & 255}.{(n & 63) * 4 + 1}" for n in range(HUMAN_ADDRESSES)]
        )

    def prices_of(self, products: Ints, on_sale: int | None, share_off: float = 0.4) -> Ints:
        """Return the prices in hundredths of products (by index), one of them possibly reduced."""
        cents = self.cents[products]
        if on_sale is None:
            return cents
        reduced = np.round(cents * (1 - share_off)).astype(np.int64)
        return np.where(products == on_sale, reduced, cents)
