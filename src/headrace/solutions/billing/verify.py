"""Compares every metric of a server with the simulator's books."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from headrace.solutions.billing.simulate.history import World
from headrace.solutions.billing.simulate.metrics import expected, reckon
from headrace.solutions.billing.simulate.times import to_us
from headrace.solutions.kit.compare import Compared, compare_rows

BOOKS = "the books"


def verify_views(run: Any, world: World) -> list[Compared]:
    """Compare the views of a run, or of a connection, with a world's books, in the columns of these."""
    run.advance()
    now_us = to_us(datetime.now(UTC))
    merchants = [reckon(world.books, merchant_id, now_us) for merchant_id in world.books.merchants]
    outcomes = []
    for view, rows in expected(merchants).items():
        columns = ", ".join(rows[0]) if rows else "*"
        found = run.query(f"SELECT {columns} FROM {view}").to_pylist()
        outcomes.append(compare_rows(view, found, rows, BOOKS))
    return outcomes
