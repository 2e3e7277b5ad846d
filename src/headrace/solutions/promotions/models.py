"""What the streams of the promotion wall look like. README.md says what happens to rows that break these."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

import headrace as hr

LATENESS = "10s"
"""Allowed disorder of every stream: what is further behind the newest event is late and kept aside."""


class Search(hr.Event):
    """A buyer typed a query. `buyer_id` is missing while nobody is logged in."""

    event_id: int
    session_id: int
    buyer_id: int | None
    query: str
    results: Annotated[int, Field(ge=0)]
    searched_at: Annotated[datetime, hr.event_time(lateness=LATENESS)]


class ProductView(hr.Event):
    """Somebody looked at the page of a product."""

    event_id: int
    session_id: int
    buyer_id: int | None
    product_id: int
    viewed_at: Annotated[datetime, hr.event_time(lateness=LATENESS)]


class OrderLine(hr.Event):
    """One movement of one order line: it was sold, cancelled before shipping, or returned after it.

    All lines of an order carry the same `order_id`, and its sales the same `occurred_at`. Quantity and price
    are those of the movement and never negative; `kind` says which way the money goes.
    """

    event_id: int
    order_id: int
    line_no: Annotated[int, Field(ge=1)]
    kind: Literal["sale", "cancellation", "return"]
    buyer_id: int
    buyer_name: Annotated[str, hr.pii("name")]
    product_id: int
    product: str
    quantity: Annotated[int, Field(ge=1)]
    unit_price: Annotated[Decimal, hr.decimal(10, 2), Field(ge=0)]
    occurred_at: Annotated[datetime, hr.event_time(lateness=LATENESS)]


class Request(hr.Event):
    """One request to the site: a page, a call of its API, or an asset."""

    event_id: int
    visitor_id: int
    ip: Annotated[str, hr.pii("ip")]
    kind: Literal["page", "api", "asset"]
    path: str
    status: Annotated[int, Field(ge=100, le=599)]
    duration_ms: Annotated[float, Field(ge=0)]
    requested_at: Annotated[datetime, hr.event_time(lateness=LATENESS)]


class MachineMetric(hr.Event):
    """The load of one host at one moment, in percent."""

    event_id: int
    host: str
    cpu_pct: Annotated[float, Field(ge=0, le=100)]
    memory_pct: Annotated[float, Field(ge=0, le=100)]
    io_pct: Annotated[float, Field(ge=0, le=100)]
    measured_at: Annotated[datetime, hr.event_time(lateness=LATENESS)]


class LogLine(hr.Event):
    """One line of an application's log."""

    event_id: int
    host: str
    service: str
    level: Literal["DEBUG", "INFO", "WARN", "ERROR"]
    message: str
    logged_at: Annotated[datetime, hr.event_time(lateness=LATENESS)]
