"""What every view must say, counted apart in plain Python from the rows that the platform accepted.

Nothing here knows SQL, DuckDB or the engine: loops, dictionaries, `Decimal` and `math.fsum` only, so that an
error of the platform cannot hide in a shared piece of code. Each function is named like its view and answers
the same rows.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

Row = dict[str, Any]
TEN_SECONDS = timedelta(seconds=10)
MINUTE = timedelta(minutes=1)
TEN_MINUTES = timedelta(minutes=10)
DAY = timedelta(days=1)
FOLLOWS_WITHIN = timedelta(minutes=30)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)
ZERO = Decimal("0.00")


@dataclass
class Taken:
    """What the platform took in, by its own answers.

    Attributes:
        accepted: per stream, the accepted rows; event times are naive datetimes in UTC, money is `Decimal`.
        rejected: per stream, the number of rejected rows.
        late: per stream, the number of late rows.
    """

    accepted: Mapping[str, Sequence[Row]]
    rejected: Mapping[str, int] = field(default_factory=dict)
    late: Mapping[str, int] = field(default_factory=dict)

    def of(self, stream: str) -> Sequence[Row]:
        """Return the accepted rows of a stream."""
        return self.accepted.get(stream, ())


def window(at: datetime, size: timedelta) -> tuple[datetime, datetime]:
    """Return the window of that size, aligned to the Unix epoch, that contains the moment."""
    start = EPOCH + (at - EPOCH) // size * size
    return start, start + size


def by_window(rows: Iterable[Row], time: str, size: timedelta) -> dict[tuple[datetime, datetime], list[Row]]:
    """Return the rows of each window."""
    groups: dict[tuple[datetime, datetime], list[Row]] = defaultdict(list)
    for row in rows:
        groups[window(row[time], size)].append(row)
    return groups


def mask_ip(ip: str) -> str:
    """Return the address without its last part."""
    cut = max(ip.rfind("."), ip.rfind(":")) + 1
    return ip[:cut] + "x" if cut < len(ip) else ip


def percentile_75(values: Iterable[float]) -> float:
    """Return the 75th percentile, interpolated between the two nearest of at least one value."""
    ranked = sorted(values)
    place = 0.75 * (len(ranked) - 1)
    below = int(place)
    above = min(below + 1, len(ranked) - 1)
    return ranked[below] + (ranked[above] - ranked[below]) * (place - below)


def mean(values: Sequence[float]) -> float:
    """Return the mean of exactly summed values."""
    return math.fsum(values) / len(values)


def _money(rows: Iterable[Row], *kinds: str) -> Decimal:
    return sum((row["quantity"] * row["unit_price"] for row in rows if row["kind"] in kinds), ZERO)


def _net(row: Row) -> Decimal:
    amount: Decimal = row["quantity"] * row["unit_price"]
    return amount if row["kind"] == "sale" else -amount


def _orders(rows: Iterable[Row]) -> int:
    return len({row["order_id"] for row in rows if row["kind"] == "sale"})


def gmv(taken: Taken) -> list[Row]:
    """GMV since the beginning."""
    lines = taken.of("orders")
    return [
        {
            "gross_gmv": _money(lines, "sale"),
            "cancelled": _money(lines, "cancellation"),
            "returned": _money(lines, "return"),
            "net_gmv": _money(lines, "sale") - _money(lines, "cancellation", "return"),
            "orders": _orders(lines),
            "lines": sum(line["kind"] == "sale" for line in lines),
        }
    ]


def gmv_per_minute(taken: Taken) -> list[Row]:
    """GMV per minute."""
    return [
        {
            "window_start": start,
            "window_end": end,
            "gross_gmv": _money(lines, "sale"),
            "refunds": _money(lines, "cancellation", "return"),
            "net_gmv": _money(lines, "sale") - _money(lines, "cancellation", "return"),
            "orders": _orders(lines),
        }
        for (start, end), lines in by_window(taken.of("orders"), "occurred_at", MINUTE).items()
    ]


def gmv_per_10_seconds(taken: Taken) -> list[Row]:
    """Net GMV per 10 seconds."""
    return [
        {"window_start": start, "window_end": end, "net_gmv": sum(map(_net, lines), ZERO)}
        for (start, end), lines in by_window(taken.of("orders"), "occurred_at", TEN_SECONDS).items()
    ]


def _sales(lines: Iterable[Row]) -> list[Row]:
    units: Counter[tuple[int, str]] = Counter()
    money: dict[tuple[int, str], Decimal] = defaultdict(lambda: ZERO)
    for line in lines:
        product = (line["product_id"], line["product"])
        units[product] += line["quantity"] if line["kind"] == "sale" else -line["quantity"]
        money[product] += _net(line)
    return [
        {"product_id": number, "product": name, "net_units": units[number, name], "net_sales": sales}
        for (number, name), sales in money.items()
    ]


def _best_first(sales: list[Row]) -> list[Row]:
    return sorted(sales, key=lambda row: (-row["net_sales"], row["product_id"], row["product"]))


def product_sales(taken: Taken) -> list[Row]:
    """Net sales of each product."""
    return _sales(taken.of("orders"))


def top_products_now(taken: Taken) -> list[Row]:
    """The five best products."""
    return _best_first(product_sales(taken))[:5]


def top_products_per_10_minutes(taken: Taken) -> list[Row]:
    """The five best products of each 10 minutes."""
    return [
        {"window_start": start, "window_end": end, "place": place, **row}
        for (start, end), lines in by_window(taken.of("orders"), "occurred_at", TEN_MINUTES).items()
        for place, row in enumerate(_best_first(_sales(lines))[:5], start=1)
    ]


def _order_times(taken: Taken) -> dict[int, list[datetime]]:
    times: dict[int, set[datetime]] = defaultdict(set)
    for line in taken.of("orders"):
        if line["kind"] == "sale":
            times[line["buyer_id"]].add(line["occurred_at"])
    return {buyer: sorted(moments) for buyer, moments in times.items()}


def _followed(times: Mapping[int, list[datetime]], buyer: int | None, at: datetime) -> bool:
    moments = times.get(buyer, []) if buyer is not None else []
    first = bisect_left(moments, at)
    return first < len(moments) and moments[first] <= at + FOLLOWS_WITHIN


def conversion(taken: Taken) -> list[Row]:
    """Sessions that searched (viewed), and how many of them were followed by an order."""
    times = _order_times(taken)
    answer = []
    sources = (("search", "searches", "searched_at"), ("view", "product_views", "viewed_at"))
    for source, stream, time in sources:
        rows = taken.of(stream)
        sessions = {row["session_id"] for row in rows}
        converted = {row["session_id"] for row in rows if _followed(times, row["buyer_id"], row[time])}
        if sessions:
            counts = {"sessions": len(sessions), "converted": len(converted)}
            answer.append({"source": source, **counts, "rate": len(converted) / len(sessions)})
    return answer


def funnel(taken: Taken) -> list[Row]:
    """Sessions that searched, then viewed, then ordered."""
    times = _order_times(taken)
    first_search: dict[int, datetime] = {}
    for row in taken.of("searches"):
        session, at = row["session_id"], row["searched_at"]
        first_search[session] = min(at, first_search.get(session, at))
    viewed, ordered = set(), set()
    for row in taken.of("product_views"):
        session, at = row["session_id"], row["viewed_at"]
        if session in first_search and at >= first_search[session]:
            viewed.add(session)
            if _followed(times, row["buyer_id"], at):
                ordered.add(session)
    stages = (("searched", first_search), ("viewed a product", viewed), ("ordered", ordered))
    return [{"step": n, "stage": name, "sessions": len(of)} for n, (name, of) in enumerate(stages, start=1)]


def _pv_uv(taken: Taken, size: timedelta) -> list[Row]:
    pages = [row for row in taken.of("requests") if row["kind"] == "page" and row["status"] < 400]
    return [
        {
            "window_start": start,
            "window_end": end,
            "page_views": len(rows),
            "unique_visitors": len({row["visitor_id"] for row in rows}),
        }
        for (start, end), rows in by_window(pages, "requested_at", size).items()
    ]


def pv_uv_per_minute(taken: Taken) -> list[Row]:
    """Page views and unique visitors per minute."""
    return _pv_uv(taken, MINUTE)


def pv_uv_per_day(taken: Taken) -> list[Row]:
    """Page views and unique visitors per day, UTC."""
    return _pv_uv(taken, DAY)


def requests_per_ip_per_minute(taken: Taken) -> list[Row]:
    """Requests of each address per minute."""
    return [
        {"window_start": start, "window_end": end, "masked_ip": mask_ip(ip), "requests": requests}
        for (start, end), rows in by_window(taken.of("requests"), "requested_at", MINUTE).items()
        for ip, requests in Counter(row["ip"] for row in rows).items()
    ]


def top_ips_per_minute(taken: Taken) -> list[Row]:
    """The ten busiest addresses of each minute."""
    answer = []
    for (start, end), rows in by_window(taken.of("requests"), "requested_at", MINUTE).items():
        asked = Counter(row["ip"] for row in rows)
        failed = Counter(row["ip"] for row in rows if row["status"] >= 400)
        busiest = sorted(asked, key=lambda ip: (-asked[ip], ip))[:10]
        for place, ip in enumerate(busiest, start=1):
            span = {"window_start": start, "window_end": end, "place": place, "masked_ip": mask_ip(ip)}
            answer.append(span | {"requests": asked[ip], "failed": failed[ip]})
    return answer


def host_load_per_minute(taken: Taken) -> list[Row]:
    """Mean and 75th percentile of the load of each host per minute."""
    answer = []
    for (start, end), rows in by_window(taken.of("machine_metrics"), "measured_at", MINUTE).items():
        for host in {row["host"] for row in rows}:
            line: Row = {"window_start": start, "window_end": end, "host": host}
            for part in ("cpu", "memory", "io"):
                values = [row[f"{part}_pct"] for row in rows if row["host"] == host]
                line[f"{part}_avg"] = mean(values)
                line[f"{part}_p75"] = percentile_75(values)
            answer.append(line)
    return answer


def error_logs(taken: Taken) -> list[Row]:
    """The log lines of level ERROR."""
    columns = ("logged_at", "service", "host", "message", "event_id")
    return [{name: row[name] for name in columns} for row in taken.of("logs") if row["level"] == "ERROR"]


def errors_per_service_per_minute(taken: Taken) -> list[Row]:
    """Error lines per service and minute."""
    counts = Counter((*window(row["logged_at"], MINUTE), row["service"]) for row in error_logs(taken))
    return [
        {"window_start": start, "window_end": end, "service": service, "errors": errors}
        for (start, end, service), errors in counts.items()
    ]


def _newest_first(rows: Iterable[Row], time: str) -> list[Row]:
    return sorted(rows, key=lambda row: (row[time], row["event_id"]), reverse=True)


def latest_errors(taken: Taken) -> list[Row]:
    """The 30 newest error lines."""
    return _newest_first(error_logs(taken), "logged_at")[:30]


def latest_orders(taken: Taken) -> list[Row]:
    """The 20 newest movements of order lines."""
    newest = _newest_first(taken.of("orders"), "occurred_at")[:20]
    shown = ("occurred_at", "kind", "product", "quantity", "event_id")
    return [
        {name: row[name] for name in shown} | {"buyer": row["buyer_name"][:1] + "***", "amount": _net(row)}
        for row in newest
    ]


def kept_aside(taken: Taken) -> list[Row]:
    """Rejected and late rows per stream; a stream without any is not listed."""
    streams = {stream for counts in (taken.rejected, taken.late) for stream, count in counts.items() if count}
    rejected, late = taken.rejected, taken.late
    return [
        {"stream": name, "rejected": rejected.get(name, 0), "late": late.get(name, 0)} for name in streams
    ]


VIEWS: tuple[Callable[[Taken], list[Row]], ...] = (
    gmv,
    gmv_per_minute,
    gmv_per_10_seconds,
    product_sales,
    top_products_now,
    top_products_per_10_minutes,
    conversion,
    funnel,
    pv_uv_per_minute,
    pv_uv_per_day,
    requests_per_ip_per_minute,
    top_ips_per_minute,
    host_load_per_minute,
    error_logs,
    errors_per_service_per_minute,
    latest_errors,
    latest_orders,
    kept_aside,
)
"""One function for each view, of the same name."""


def tally(taken: Taken) -> dict[str, list[Row]]:
    """Return the rows of every view, in no particular order."""
    return {view.__name__: view(taken) for view in VIEWS}
