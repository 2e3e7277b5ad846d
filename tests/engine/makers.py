"""Random rows with few distinct values, so that they meet, repeat and cancel."""

from __future__ import annotations

import random
from datetime import datetime
from decimal import Decimal

from tests.engine.world import Row, schema

TIMES = [
    datetime.fromisoformat(f"2024-01-01T00:{minute:02}:{second:02}")
    for minute in (0, 1, 7)
    for second in (0, 13, 59)
]
THINGS = schema(
    k="BIGINT",
    s="VARCHAR",
    x="INTEGER",
    d="DECIMAL(18,2)",
    f="DOUBLE",
    ts="TIMESTAMP",
    b="BOOLEAN",
    day="DATE",
)
"""One column of every common type."""
OTHERS = schema(k="BIGINT", name="VARCHAR", w="DOUBLE")
"""A second relation to join with."""
TEXTS = [None, "", "a", "b", "longer text é", "longer text ê"]
AMOUNTS = [None, Decimal("1.25"), Decimal("-7.50"), Decimal("1000000.01")]
FLOATS = [None, 0.0, -0.0, 1.5, float("nan"), float("inf"), -2.25, 1e100]


def thing(rng: random.Random) -> Row:
    """Return a row of `THINGS`."""
    at = rng.choice([None, *TIMES])
    return {
        "k": rng.choice([None, 1, 2, 3, 4]),
        "s": rng.choice(TEXTS),
        "x": rng.choice([None, -5, 0, 7, 7, 100]),
        "d": rng.choice(AMOUNTS),
        "f": rng.choice(FLOATS),
        "ts": at,
        "b": rng.choice([None, True, False]),
        "day": None if at is None else at.date(),
    }


def other(rng: random.Random) -> Row:
    """Return a row of `OTHERS`."""
    return {
        "k": rng.choice([None, 1, 2, 3, 9]),
        "name": rng.choice(["p", "q", "a", None]),
        "w": rng.choice([1.0, 2.0, float("nan"), -0.0, 0.0]),
    }
