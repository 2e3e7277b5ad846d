"""Makes the events of the simulated day, a tick at a time, as Arrow record batches; seeded.

Visitors stand in a pool of sessions. A session searches, looks at products and sometimes orders; then another
takes its place. Bots are few addresses with many requests. Refunds refer to lines that were sold before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.solutions.promotions import catalogue as stock
from headrace.solutions.promotions.catalogue import Catalogue, Floats, Ints
from headrace.solutions.promotions.day import Day, Mood

SECOND_US = 1_000_000
SHARES = {"requests": 0.64, "product_views": 0.17, "searches": 0.09, "orders": 0.04, "logs": 0.06}
"""Share of each stream in an ordinary moment; machine metrics come on top at a fixed pace."""
SESSIONS_NEW_PER_EVENT = 0.05
SESSION_LASTS_S = 60
NO_BUYER = -1


@dataclass(frozen=True)
class Tick:
    """A span of event time to fill with events.

    Attributes:
        start_us: its beginning, microseconds since the epoch.
        span_us: its length.
        hour: the hour of the simulated day.
        events: how many events to make, machine metrics not counted.
        readings: how many readings of machine metrics to make.
    """

    start_us: int
    span_us: int
    hour: float
    events: int
    readings: int


class Generator:
    """The shop and everybody in it.

    Args:
        seed: equal seeds and ticks give equal events.
        first_id: where event ids, order ids and session ids begin; they only grow.
        events_per_s: about how many events come in a second of real time; it sizes the pool of sessions.
        late_share: share of events that arrive long after their time.
    """

    def __init__(self, seed: int, first_id: int, events_per_s: float, late_share: float = 0.003) -> None:
        self.catalogue = Catalogue(seed)
        self.day = Day(seed, len(self.catalogue.products), len(stock.HOSTS), len(stock.SERVICES))
        self.late_share = late_share
        self._draw = np.random.default_rng([seed, 3])
        self._next_id = first_id
        sessions = int(np.clip(events_per_s * SESSIONS_NEW_PER_EVENT * SESSION_LASTS_S, 50, 200_000))
        self._session: Ints = np.zeros(sessions, dtype=np.int64)
        self._buyer: Ints = np.zeros(sessions, dtype=np.int64)
        self._address: Ints = np.zeros(sessions, dtype=np.int64)
        self._oldest = 0
        self._readings = 0
        self._admit(sessions)
        self._sold: list[tuple[Ints, ...]] = []

    def tick(self, tick: Tick) -> dict[str, pa.RecordBatch]:
        """Return the events of a tick, per stream; a stream without events is left out."""
        mood = self.day.mood(tick.hour)
        self._admit(self._draw.poisson(tick.events * SESSIONS_NEW_PER_EVENT))
        names, shares = list(SHARES), self._shares(mood)
        counts = dict(zip(names, self._draw.multinomial(tick.events, shares).tolist(), strict=True))
        made = {
            "searches": self._searches(tick, counts["searches"]),
            "product_views": self._views(tick, counts["product_views"], mood),
            "orders": self._orders(tick, counts["orders"], mood),
            "requests": self._requests(tick, counts["requests"], mood),
            "machine_metrics": self._metrics(tick, mood),
            "logs": self._logs(tick, counts["logs"], mood),
        }
        return {stream: batch for stream, batch in made.items() if batch.num_rows}

    def fresh_ids(self, count: int) -> Ints:
        """Return ids that nothing else has."""
        ids = np.arange(self._next_id, self._next_id + count, dtype=np.int64)
        self._next_id += count
        return ids

    # --- who is there ----

    def _admit(self, count: int) -> None:
        """Let new sessions take the places of the oldest ones."""
        count = min(count, len(self._session))
        places = np.arange(self._oldest, self._oldest + count) % len(self._session)
        self._oldest = int((self._oldest + count) % len(self._session))
        self._session[places] = self.fresh_ids(count)
        known = self._draw.random(count) < 0.7
        self._buyer[places] = np.where(known, self._draw.integers(1, 400_000, count), NO_BUYER)
        self._address[places] = stock.BOTS + self._draw.integers(0, stock.HUMAN_ADDRESSES, count)

    def _somebody(self, count: int) -> Ints:
        """Return places in the pool; some visitors are far more active than others."""
        skewed = self._draw.random(count) ** 1.5
        return ((skewed * len(self._session)).astype(np.int64) + self._oldest) % len(self._session)

    def _shares(self, mood: Mood) -> Floats:
        shares = np.array([SHARES[name] for name in SHARES])
        if mood.on_sale is not None:
            shares *= [1, 1.6, 1, 2.2, 1]
        if mood.bursting is not None:
            shares *= [1, 1, 1, 1, 1.8]
        answer: Floats = shares / shares.sum()
        return answer

    def _times(self, tick: Tick, count: int) -> pa.Array:
        """Event times of a tick, ascending but for a few stragglers and a share that is far too late."""
        times = tick.start_us + np.sort(self._draw.integers(0, max(1, tick.span_us), count))
        lot = self._draw.random(count)
        straggling = lot > 0.95
        times[straggling] -= self._draw.integers(0, 2 * SECOND_US, int(straggling.sum()))
        late = lot < self.late_share
        times[late] -= self._draw.integers(30 * SECOND_US, 300 * SECOND_US, int(late.sum()))
        return timestamps(times)

    def _products(self, count: int, mood: Mood) -> Ints:
        products = self._draw.choice(len(self.catalogue.products), size=count, p=self.catalogue.popularity)
        if mood.on_sale is not None:
            products[self._draw.random(count) < 0.35] = mood.on_sale
        return products

    # --- one stream each ----

    def _searches(self, tick: Tick, count: int) -> pa.RecordBatch:
        place = self._somebody(count)
        return pa.record_batch(
            {
                "event_id": self.fresh_ids(count),
                "session_id": self._session[place],
                "buyer_id": buyers(self._buyer[place]),
                "query": pick(
                    self.catalogue.queries, self._draw.integers(0, len(self.catalogue.queries), count)
                ),
                "results": self._draw.integers(0, 200, count),
                "searched_at": self._times(tick, count),
            }
        )

    def _views(self, tick: Tick, count: int, mood: Mood) -> pa.RecordBatch:
        place = self._somebody(count)
        return pa.record_batch(
            {
                "event_id": self.fresh_ids(count),
                "session_id": self._session[place],
                "buyer_id": buyers(self._buyer[place]),
                "product_id": self._products(count, mood) + 1,
                "viewed_at": self._times(tick, count),
            }
        )

    def _orders(self, tick: Tick, count: int, mood: Mood) -> pa.RecordBatch:
        refunds = min(int(self._draw.binomial(count, 0.06)), sum(len(part[0]) for part in self._sold) // 4)
        sales = self._sales(count - refunds, mood)
        back = self._refunds(refunds)
        columns = [np.concatenate(pair) for pair in zip(sales, back, strict=True)]
        order, line, buyer, product, quantity, cents = columns
        kind = np.concatenate(
            [np.zeros(len(sales[0]), dtype=np.int64), 1 + self._draw.integers(0, 2, refunds)]
        )
        self._sold = [*self._sold[-49:], sales] if len(sales[0]) else self._sold
        return pa.record_batch(
            {
                "event_id": self.fresh_ids(count),
                "order_id": order,
                "line_no": line,
                "kind": pick(pa.array(["sale", "cancellation", "return"]), kind),
                "buyer_id": buyer,
                "buyer_name": pick(self.catalogue.buyers, buyer % len(self.catalogue.buyers)),
                "product_id": product + 1,
                "product": pick(self.catalogue.products, product),
                "quantity": quantity,
                "unit_price": decimals(cents),
                "occurred_at": self._order_times(tick, order, kind == 0),
            }
        )

    def _sales(self, count: int, mood: Mood) -> tuple[Ints, ...]:
        """Order, line number, buyer, product, quantity and price of `count` sold lines."""
        first = self._draw.random(count) < 0.5
        first[:1] = True
        starts = np.flatnonzero(first)
        nth = np.cumsum(first) - 1
        shoppers = self._buyer[self._somebody(4 * len(starts) + 8)]
        shoppers = shoppers[shoppers != NO_BUYER][: len(starts)]
        buyer = np.resize(shoppers, len(starts)) if len(shoppers) else np.ones(len(starts), dtype=np.int64)
        products = self._products(count, mood)
        quantity = 1 + (self._draw.random(count) ** 4 * 5).astype(np.int64)
        prices = self.catalogue.prices_of(products, mood.on_sale)
        line = np.arange(count) - starts[nth] + 1 if count else np.empty(0, dtype=np.int64)
        return self.fresh_ids(len(starts))[nth], line, buyer[nth], products, quantity, prices

    def _refunds(self, count: int) -> tuple[Ints, ...]:
        """Lines that were sold before and go back now, whole or in part; a line is taken once."""
        if not count:
            return tuple(np.empty(0, dtype=np.int64) for _ in range(6))
        pool = [np.concatenate(parts) for parts in zip(*self._sold, strict=True)]
        chosen = self._draw.permutation(len(pool[0]))
        order, line, buyer, product, quantity, cents = (column[chosen[:count]] for column in pool)
        self._sold = [tuple(column[chosen[count:]] for column in pool)]
        quantity = np.maximum(1, quantity - self._draw.integers(0, 2, count))
        return order, line, buyer, product, quantity, cents

    def _order_times(self, tick: Tick, order: Ints, sale: npt.NDArray[np.bool_]) -> pa.Array:
        """Event times; the sales of one order have the time of its first line."""
        times = self._times(tick, len(order)).cast(pa.int64()).to_numpy(zero_copy_only=False).copy()
        _, first, inverse = np.unique(order, return_index=True, return_inverse=True)
        return timestamps(np.where(sale, times[first][inverse], times))

    def _requests(self, tick: Tick, count: int, mood: Mood) -> pa.RecordBatch:
        place = self._somebody(count)
        bot = self._draw.random(count) < mood.bots
        address = np.where(bot, self._draw.integers(0, stock.BOTS, count), self._address[place])
        visitor = np.where(self._buyer[place] == NO_BUYER, self._session[place], self._buyer[place])
        kind = self._draw.choice(3, size=count, p=(0.45, 0.35, 0.2))
        sick = 0.15 * mood.failure if mood.failing is not None else 0.0
        lot = self._draw.random(count)
        status = np.select(
            [lot < 0.004 + sick, lot < 0.03 + sick, bot & (lot < 0.5)], [500, 404, 429], default=200
        )
        return pa.record_batch(
            {
                "event_id": self.fresh_ids(count),
                "visitor_id": np.where(bot, -1 - address, visitor),
                "ip": pick(self.catalogue.addresses, address),
                "kind": pick(pa.array(stock.REQUEST_KINDS), kind),
                "path": self._paths(kind),
                "status": status,
                "duration_ms": np.round(self._draw.lognormal(3.2 + sick * 8, 0.7, count), 1),
                "requested_at": self._times(tick, count),
            }
        )

    def _paths(self, kind: Ints) -> pa.Array:
        sizes = np.array([len(stock.PATHS[name]) for name in stock.REQUEST_KINDS])
        offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        nth = (self._draw.random(len(kind)) ** 2 * sizes[kind]).astype(np.int64)
        return pick(
            pa.array([path for name in stock.REQUEST_KINDS for path in stock.PATHS[name]]),
            offsets[kind] + nth,
        )

    def _metrics(self, tick: Tick, mood: Mood) -> pa.RecordBatch:
        count = tick.readings
        host = np.arange(self._readings, self._readings + count) % len(stock.HOSTS)
        self._readings += count
        sick = (host == mood.failing) * mood.failure if mood.failing is not None else np.zeros(count)
        base = 18 + host * 2.1 + 22 * mood.traffic

        def load(level: npt.NDArray[Any], noise: float) -> Floats:
            around = np.clip(level + self._draw.normal(0.0, noise, count), 0.0, 100.0)
            answer: Floats = np.round(around, 2).astype(np.float64)
            return answer

        return pa.record_batch(
            {
                "event_id": self.fresh_ids(count),
                "host": pick(pa.array(stock.HOSTS), host),
                "cpu_pct": load(base + 70 * sick, 4),
                "memory_pct": load(45 + host * 1.3 + 40 * sick, 1.5),
                "io_pct": load(8 + 9 * mood.traffic + 60 * sick**2, 3),
                "measured_at": self._times(tick, count),
            }
        )

    def _logs(self, tick: Tick, count: int, mood: Mood) -> pa.RecordBatch:
        service = self._draw.integers(0, len(stock.SERVICES), count)
        level = self._draw.choice(4, size=count, p=(0.25, 0.62, 0.115, 0.015))
        if mood.bursting is not None:
            burst = self._draw.random(count) < 0.35
            service[burst] = mood.bursting
            level[burst] = 3
        texts = [text for name in stock.LEVELS for text in stock.MESSAGES[name]]
        sizes = np.array([len(stock.MESSAGES[name]) for name in stock.LEVELS])
        offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        nth = (self._draw.random(count) * sizes[level]).astype(np.int64)
        return pa.record_batch(
            {
                "event_id": self.fresh_ids(count),
                "host": pick(pa.array(stock.HOSTS), service % len(stock.HOSTS)),
                "service": pick(pa.array(stock.SERVICES), service),
                "level": pick(pa.array(stock.LEVELS), level),
                "message": pick(pa.array(texts), offsets[level] + nth),
                "logged_at": self._times(tick, count),
            }
        )


def pick(words: pa.Array, places: Ints) -> pa.Array:
    """Return the words at those places."""
    return words.take(pa.array(places))


def timestamps(times_us: Ints) -> pa.Array:
    """Return microseconds since the epoch as Arrow timestamps."""
    return pa.array(times_us, type=pa.int64()).cast(pa.timestamp("us"))


def decimals(cents: Ints) -> pa.Array:
    """Return hundredths, none negative, as DECIMAL(10,2)."""
    words = np.zeros((len(cents), 2), dtype=np.int64)
    words[:, 0] = cents
    return pa.Array.from_buffers(pa.decimal128(10, 2), len(cents), [None, pa.py_buffer(words.tobytes())])


def buyers(numbers: Ints) -> pa.Array:
    """Return buyer ids, NULL where nobody is logged in."""
    return pa.array(numbers, mask=numbers == NO_BUYER)


def total(batches: Mapping[str, pa.RecordBatch]) -> int:
    """Return the number of rows of all streams."""
    return sum(batch.num_rows for batch in batches.values())
