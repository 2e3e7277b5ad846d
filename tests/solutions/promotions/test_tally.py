"""The tally against DuckDB: two ways of counting that share no code must agree on every view.

The rows come from few sessions, buyers, products, addresses and minutes, so that every group is hit many
times, orders fall inside and outside the 30 minutes and exactly on their ends, and ties in the top lists are
common.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from tests.solutions.promotions.duck import Reference, view_sql

from headrace.solutions.kit.compare import compare_rows, compare_views
from headrace.solutions.promotions.tally import VIEWS, Taken, mask_ip, percentile_75, tally

NOON = datetime(2026, 1, 5, 12, 0)  # noqa: DTZ001 - naive UTC, as views answer it


def some_rows(seed: int, count: int = 300) -> dict[str, list[dict[str, Any]]]:
    draw = random.Random(seed)

    def at() -> datetime:
        return NOON + timedelta(minutes=draw.randint(0, 70), seconds=draw.choice([0, 0, 0, 17, 59.5]))

    def buyer() -> int | None:
        return draw.randint(0, 11) if draw.random() < 0.9 else None

    def session() -> int:
        return draw.randint(100, 140)

    placed = {order: (draw.randint(0, 11), at()) for order in range(40)}

    def line(event: int) -> dict[str, Any]:
        order = draw.randrange(40)
        kind = draw.choice(["sale", "sale", "sale", "cancellation", "return"])
        product = draw.randint(1, 9)
        return {
            "event_id": event,
            "order_id": order,
            "line_no": draw.randint(1, 3),
            "kind": kind,
            "buyer_id": placed[order][0],
            "buyer_name": draw.choice(["Ada Lovelace", "Émile Zola", "王小明", ""]),
            "product_id": product,
            "product": f"Product {product}",
            "quantity": draw.randint(1, 3),
            "unit_price": Decimal(draw.choice([999, 1999, 0, 4550])) / 100,
            "occurred_at": placed[order][1] if kind == "sale" else at(),
        }

    span = range(count)
    return {
        "searches": [
            {
                "event_id": n,
                "session_id": session(),
                "buyer_id": buyer(),
                "query": "tea",
                "results": 3,
                "searched_at": at(),
            }
            for n in span
        ],
        "product_views": [
            {
                "event_id": n,
                "session_id": session(),
                "buyer_id": buyer(),
                "product_id": draw.randint(1, 9),
                "viewed_at": at(),
            }
            for n in span
        ],
        "orders": [line(n) for n in span],
        "requests": [
            {
                "event_id": n,
                "visitor_id": draw.randint(1, 50),
                "ip": f"192.0.2.{draw.randint(1, 60)}",
                "kind": draw.choice(["page", "api"]),
                "path": "/",
                "status": draw.choice([200, 302, 400, 500]),
                "duration_ms": 1.5,
                "requested_at": at() + timedelta(hours=draw.choice([0, 11, 12])),
            }
            for n in span
        ],
        "machine_metrics": [
            {
                "event_id": n,
                "host": draw.choice(["web-1", "db-1"]),
                "cpu_pct": draw.uniform(0, 100),
                "memory_pct": round(draw.uniform(0, 100), 2),
                "io_pct": float(draw.randint(0, 4)),
                "measured_at": at(),
            }
            for n in span
        ],
        "logs": [
            {
                "event_id": n,
                "host": "web-1",
                "service": draw.choice(["cart", "search"]),
                "level": draw.choice(["INFO", "ERROR"]),
                "message": "timeout",
                "logged_at": at(),
            }
            for n in span
        ],
    }


@pytest.mark.parametrize("seed", range(6))
def test_tally_and_duckdb_agree_on_every_view(seed: int) -> None:
    rows = some_rows(seed)
    reference = Reference()
    for stream, accepted in rows.items():
        reference.insert(stream, accepted)
    reference.insert("orders__rejected", [{"reason": "x"}] * 3)
    reference.insert("orders__late", rows["orders"][:2])
    reference.insert("logs__late", rows["logs"][:1])
    taken = Taken(rows, rejected={"orders": 3}, late={"orders": 2, "logs": 1})
    outcomes = compare_views(reference.read, tally(taken))
    assert [outcome for outcome in outcomes if outcome.problem] == []
    assert all(outcome.rows for outcome in outcomes)


def test_nothing_taken_in_gives_the_answers_of_empty_streams() -> None:
    outcomes = compare_views(Reference().read, tally(Taken({})))
    assert [outcome for outcome in outcomes if outcome.problem] == []


def test_every_view_has_a_tally() -> None:
    assert {view.__name__ for view in VIEWS} == set(view_sql())


@pytest.mark.parametrize(
    ("view", "column", "wrong"),
    [
        ("gmv", "net_gmv", Decimal("0.01")),
        ("funnel", "sessions", 1),
        ("host_load_per_minute", "io_p75", 1e-6),
    ],
)
def test_a_small_error_in_one_view_is_found(view: str, column: str, wrong: Any) -> None:
    expected = tally(Taken(some_rows(1)))[view]
    found = [dict(row) for row in expected]
    found[-1][column] += wrong
    assert compare_rows(view, list(reversed(expected)), expected).problem is None
    problem = compare_rows(view, found, expected).problem
    assert problem is not None
    assert column in problem


def test_a_missing_or_doubled_row_is_found() -> None:
    expected = tally(Taken(some_rows(1)))["error_logs"]
    assert compare_rows("error_logs", expected[1:], expected).problem is not None
    assert compare_rows("error_logs", [*expected[1:], expected[1]], expected).problem is not None


@pytest.mark.parametrize(
    ("ip", "masked"), [("192.0.2.17", "192.0.2.x"), ("2001:db8::42", "2001:db8::x"), ("", ""), ("abc", "x")]
)
def test_mask_ip_is_what_the_views_show(ip: str, masked: str) -> None:
    reference = Reference()
    reference.insert("requests", [{"ip": ip, "requested_at": NOON}])
    assert mask_ip(ip) == masked
    assert reference.read("requests_per_ip_per_minute")[0]["masked_ip"] == masked


@pytest.mark.parametrize("values", [[4.0], [1.0, 2.0], [5.0, 1.0, 3.0], [0.1] * 7, [9.0, -1.0, 4.0, 2.0]])
def test_percentile_75_is_quantile_cont(values: list[float]) -> None:
    reference = Reference()
    rows = [{"host": "h", "cpu_pct": value, "measured_at": NOON} for value in values]
    reference.insert("machine_metrics", rows)
    found = reference.read("host_load_per_minute")[0]["cpu_p75"]
    assert found == pytest.approx(percentile_75(values), rel=1e-12)
