"""From an event's scheduled send to a WebSocket: twenty views of mixed kinds, a reader on each, an open loop.

    python benchmarks/latency.py [--rates 2000,20000] [--seconds 60] [--warm-up 5]

The server is a process of its own with a data folder, as `headrace run` has it. This process is the shop and
the twenty readers together; it sends bodies that were made beforehand over raw sockets and reads no more of a
message than when it came and which commits are in it.

Every request has a time at which it is due, whether or not earlier ones are answered. For each view and each
request whose commit is in a version that changed the view, one sample: from the time when the request was due
until the reader had the whole message. A message that adds up several versions counts for all of them.
Requests of the first seconds (`--warm-up`) are sent but not counted. CPU is that of each process over the
counted time: on a machine that has other work it tells more than the clock.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import itertools
import multiprocessing
import os
import re
import socket
import tempfile
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from report import markdown, publish

HEAD = ["wanted/s", "sent/s", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "server cores", "versions/s"]
BATCH = 100
CUSTOMERS = 5_000
MERCHANTS = 200
LANES = 48
CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
COUNTRIES = ("DE", "FR", "IT", "ES", "NL", "PL", "SE", "AT", "DK", "FI")
STATUSES = ("paid", "paid", "paid", "paid", "open", "failed")

ORDERS = """order_id BIGINT, customer_id BIGINT, merchant_id INTEGER, category TEXT, country TEXT,
            amount DECIMAL(18,2), quantity INTEGER, status TEXT, placed_at TIMESTAMP"""
CUSTOMER = "customer_id BIGINT, segment TEXT, region TEXT"
MERCHANT = "merchant_id INTEGER, name TEXT, fee_percent DECIMAL(5,2)"

VIEWS = {
    # rows that are kept
    "large_orders": "SELECT order_id, customer_id, amount, placed_at FROM orders WHERE amount > 95",
    "failed_orders": """SELECT order_id, merchant_id, upper(country) AS country, amount * quantity AS total
                        FROM orders WHERE status = 'failed' AND country IN ('DE', 'FR')""",
    # groups
    "all_time": "SELECT count(*) AS orders, sum(amount) AS gmv, avg(amount) AS mean FROM orders",
    "by_category": """SELECT category, count(*) AS orders, sum(amount) AS gmv, avg(amount) AS mean
                      FROM orders GROUP BY category""",
    "by_merchant": "SELECT merchant_id, sum(amount) AS gmv, max(amount) AS largest FROM orders GROUP BY ALL",
    "payment_health": """SELECT country, count(*) FILTER (status = 'failed') AS failed, count(*) AS orders
                         FROM orders GROUP BY country""",
    "spread": "SELECT category, stddev_samp(amount) AS spread FROM orders GROUP BY category",
    "range": "SELECT country, min(placed_at) AS first, max(placed_at) AS last FROM orders GROUP BY country",
    # windows
    "per_10s": """SELECT window_start, category, count(*) AS orders, sum(amount) AS gmv
                  FROM TUMBLE(orders, placed_at, INTERVAL 10 SECONDS) GROUP BY window_start, category""",
    "per_minute": """SELECT window_start, avg(amount) AS mean, sum(quantity) AS items
                     FROM TUMBLE(orders, placed_at, INTERVAL 1 MINUTE) GROUP BY window_start""",
    "sliding": """SELECT window_start, country, sum(amount) AS gmv
                  FROM HOP(orders, placed_at, INTERVAL 20 SECONDS, INTERVAL 1 MINUTE)
                  GROUP BY window_start, country""",
    # distinct things, quantiles
    "buyers": """SELECT window_start, country, count(DISTINCT customer_id) AS buyers
                 FROM TUMBLE(orders, placed_at, INTERVAL 10 SECONDS) GROUP BY window_start, country""",
    "active_pairs": """SELECT DISTINCT date_trunc('second', placed_at) AS at, merchant_id, country
                       FROM orders WHERE status = 'open'""",
    "median_order": """SELECT window_start, country, quantile_cont(CAST(amount AS DOUBLE), 0.5) AS median
                        FROM TUMBLE(orders, placed_at, INTERVAL 10 SECONDS) GROUP BY window_start, country""",
    # the latest, the largest
    "latest": "SELECT order_id, merchant_id, amount, placed_at FROM orders ORDER BY placed_at DESC LIMIT 5",
    "top_categories": "SELECT category, gmv FROM by_category ORDER BY gmv DESC LIMIT 5",
    "last_status": """SELECT merchant_id, order_id, status, placed_at FROM orders
                      QUALIFY row_number() OVER (PARTITION BY merchant_id ORDER BY placed_at DESC) = 1""",
    # joins
    "by_segment": """SELECT c.segment, count(*) AS orders, sum(o.amount) AS gmv
                     FROM orders o JOIN customers c ON o.customer_id = c.customer_id GROUP BY c.segment""",
    "gold_orders": """SELECT o.order_id, c.region, o.amount FROM orders o
                      JOIN customers c ON o.customer_id = c.customer_id
                      WHERE c.segment = 'gold' AND o.amount > 90""",
    "fees": """SELECT m.name, sum(o.amount * m.fee_percent) AS fees
               FROM orders o JOIN merchants m ON o.merchant_id = m.merchant_id
               WHERE o.status = 'paid' GROUP BY m.name""",
}


# --- the server ---------------------------------------------------------------------------------------


def run_server(data: str, port: int) -> None:
    """Serve the views until terminated."""
    import headrace as hr
    from headrace.serve import ServerSettings, create_server, make_server

    app = hr.App("latency")
    app.stream("orders", ORDERS, event_id="order_id", event_time="placed_at", lateness="10s")
    app.table("customers", CUSTOMER, key="customer_id")
    app.table("merchants", MERCHANT, key="merchant_id")
    for name, sql in VIEWS.items():
        app.view(name, sql)
    settings = ServerSettings(port=port)
    with app.open(Path(data), auto=True) as run:
        make_server(create_server(run, settings), settings).run()


def tables() -> dict[str, list[dict[str, Any]]]:
    """Return the rows of the tables that are joined."""
    segments = ("gold", "silver", "silver", "plain", "plain", "plain")
    customers = [
        {"customer_id": n, "segment": segments[n % 6], "region": f"r{n % 12}"} for n in range(CUSTOMERS)
    ]
    merchants = [
        {"merchant_id": n, "name": f"merchant {n}", "fee_percent": f"{n % 5}.25"} for n in range(MERCHANTS)
    ]
    return {"customers": customers, "merchants": merchants}


def bodies(rate: int, count: int) -> list[bytes]:
    """Return the requests as bytes; event times go at the pace of the schedule."""
    random = np.random.default_rng(7)
    start = datetime.now(UTC).replace(tzinfo=None)
    made = []
    for request in range(count):
        cents = random.integers(100, 10_000, BATCH).tolist()
        customers = random.integers(0, CUSTOMERS, BATCH).tolist()
        merchants = random.integers(0, MERCHANTS, BATCH).tolist()
        kinds = random.integers(0, 1_200, BATCH).tolist()
        rows = []
        for at in range(BATCH):
            number = request * BATCH + at
            kind = kinds[at]
            rows.append(
                {
                    "order_id": number,
                    "customer_id": customers[at],
                    "merchant_id": merchants[at],
                    "category": f"c{kind % 20}",
                    "country": COUNTRIES[kind % 10],
                    "amount": f"{cents[at] // 100}.{cents[at] % 100:02}",
                    "quantity": kind % 7 + 1,
                    "status": STATUSES[kind // 7 % 6],
                    "placed_at": start + timedelta(seconds=number / rate),
                }
            )
        made.append(post("/v1/streams/orders", orjson.dumps(rows, option=orjson.OPT_UTC_Z)))
    return made


def post(path: str, body: bytes) -> bytes:
    """Return one request as it goes over the wire."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


# --- the shop -----------------------------------------------------------------------------------------


@dataclass
class Sent:
    """What became of the requests.

    Attributes:
        due: when each is due (`time.perf_counter`).
        commits: per commit number, the requests that it holds.
        acknowledged: seconds from due to the answer, per request.
        statuses: how many answers of each HTTP status.
        last_sent: when the last request left.
    """

    due: list[float] = field(default_factory=list)
    commits: dict[int, list[int]] = field(default_factory=dict)
    acknowledged: dict[int, float] = field(default_factory=dict)
    statuses: dict[int, int] = field(default_factory=dict)
    last_sent: float = 0.0


class Lane(asyncio.Protocol):
    """One keep-alive connection: a request out, its answer in."""

    _LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
    _COMMIT = re.compile(rb'"commit":(\d+)')

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._buffer = b""
        self.request = -1
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def send(self, request: int, data: bytes) -> None:
        assert self.transport is not None
        self.request = request
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        length = self._LENGTH.search(self._buffer, 0, head_end)
        end = head_end + 4 + (int(length.group(1)) if length else 0)
        if len(self._buffer) < end:
            return
        status, body = int(self._buffer[9:12]), self._buffer[head_end + 4 : end]
        self._buffer = self._buffer[end:]
        commit = self._COMMIT.search(body)
        self._shop.answered(self, status, int(commit.group(1)) if commit else None)


class Shop:
    """Sends every request at its time over whichever connection is free."""

    def __init__(self, requests: list[bytes], sent: Sent) -> None:
        self._requests = requests
        self._sent = sent
        self._free: deque[Lane] = deque()
        self._waiting: deque[int] = deque()
        self._next = 0
        self._left = len(requests)
        self.done = asyncio.Event()

    async def run(self, host: str, port: int) -> None:
        """Send all, and return when all are answered."""
        loop = asyncio.get_running_loop()
        for _ in range(LANES):
            _, lane = await loop.create_connection(lambda: Lane(self), host, port)
            self._free.append(lane)
        self._tick(loop)
        await self.done.wait()

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = time.perf_counter()
        while self._next < len(self._requests) and self._sent.due[self._next] <= now:
            self._waiting.append(self._next)
            self._next += 1
        self._flush()
        if self._next < len(self._requests):
            loop.call_later(max(0.0, self._sent.due[self._next] - time.perf_counter()), self._tick, loop)

    def _flush(self) -> None:
        while self._waiting and self._free:
            request = self._waiting.popleft()
            self._free.popleft().send(request, self._requests[request])
            self._sent.last_sent = time.perf_counter()

    def answered(self, lane: Lane, status: int, commit: int | None) -> None:
        sent, request = self._sent, lane.request
        sent.statuses[status] = sent.statuses.get(status, 0) + 1
        self._free.append(lane)
        if status == 429:
            asyncio.get_running_loop().call_later(0.1, self._again, request)
            return
        sent.acknowledged[request] = time.perf_counter() - sent.due[request]
        if commit is not None:
            sent.commits.setdefault(commit, []).append(request)
        self._left -= 1
        if not self._left:
            self.done.set()
        self._flush()

    def _again(self, request: int) -> None:
        self._waiting.append(request)
        self._flush()


# --- the readers --------------------------------------------------------------------------------------

HEAD_BYTES = 400


class Reader(asyncio.Protocol):
    """One WebSocket: notes when each message was complete, and how it begins."""

    def __init__(self, view: str) -> None:
        self.view = view
        self.heard: list[tuple[float, bytes]] = []
        self.began = asyncio.Event()
        self._buffer = bytearray()
        self._upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(
            f"GET /v1/views/{self.view}/changes HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        buffer = self._buffer
        buffer += data
        if not self._upgraded:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            assert buffer.startswith(b"HTTP/1.1 101"), bytes(buffer[:300])
            del buffer[: end + 4]
            self._upgraded = True
        while len(buffer) >= 2:
            length, start = buffer[1] & 127, 2
            if length == 126:
                length, start = int.from_bytes(buffer[2:4], "big"), 4
            elif length == 127:
                length, start = int.from_bytes(buffer[2:10], "big"), 10
            if len(buffer) < start + length:
                return
            if buffer[0] & 15 == 1:
                self.heard.append((now, bytes(buffer[start : start + min(length, HEAD_BYTES)])))
                self.began.set()
            del buffer[: start + length]


_CHANGE = re.compile(rb'\{"type":"change".*?"version":(\d+).*?"commit":(\d+),"first":(\d+)')


def samples(readers: list[Reader], sent: Sent, counted_from: float) -> dict[str, list[float]]:
    """Return milliseconds from due to received: per view, one for each request that changed it."""
    changes = {
        reader.view: [(at, found) for at, text in reader.heard if (found := _CHANGE.match(text))]
        for reader in readers
    }
    last = {int(found[1]): int(found[2]) for heard in changes.values() for _, found in heard}
    versions = sorted(last)
    before = {version: last[earlier] for earlier, version in itertools.pairwise(versions)}
    result: dict[str, list[float]] = {}
    for view, heard in changes.items():
        found_ms = result.setdefault(view, [])
        for at, found in heard:
            first = int(found[3])
            began = before.get(first, last.get(first - 1))
            if began is None:
                continue
            for commit in range(began + 1, int(found[2]) + 1):
                due = [sent.due[request] for request in sent.commits.get(commit, ())]
                found_ms += [(at - moment) * 1e3 for moment in due if moment >= counted_from]
    return result


# --- measuring ----------------------------------------------------------------------------------------


def cpu_s(pid: int) -> float:
    """Return user and system time of a process and its children that live (Linux)."""
    total = 0.0
    for task in [pid, *children(pid)]:
        fields = Path(f"/proc/{task}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / CLOCK_TICKS_PER_S
    return total


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(text) for text in path.read_text().split()]
    return [task for child in found for task in (child, *children(child))]


def rows_in(readers: list[Reader]) -> int:
    return sum(len(reader.heard) for reader in readers)


def itself(reader: Reader) -> Reader:
    return reader


async def measured(port: int, pid: int, rate: int, seconds: float, warm_up_s: float) -> dict[str, Any]:
    """Run one rate and return the figures."""
    requests = bodies(rate, int(rate * (seconds + warm_up_s) / BATCH))
    for name, rows in tables().items():
        await ask("127.0.0.1", port, post(f"/v1/tables/{name}/upsert", orjson.dumps(rows)))
    loop = asyncio.get_running_loop()
    readers = [Reader(view) for view in VIEWS]
    lines = [
        (await loop.create_connection(partial(itself, reader), "127.0.0.1", port))[0] for reader in readers
    ]
    await asyncio.gather(*(reader.began.wait() for reader in readers))
    gc.collect()
    gc.freeze()
    start = time.perf_counter() + 0.5
    sent = Sent(due=[start + number * BATCH / rate for number in range(len(requests))])
    marks: list[float] = []

    def mark() -> None:
        marks.extend((time.perf_counter(), cpu_s(pid), time.process_time(), rows_in(readers)))

    loop.call_later(warm_up_s + 0.5, mark)
    await Shop(requests, sent).run("127.0.0.1", port)
    sent_s = sent.last_sent - start + BATCH / rate
    mark()
    await asyncio.sleep(2.0)
    for line in lines:
        line.close()
    counted_from = start + warm_up_s
    return {
        "wanted": rate,
        "rows": len(requests) * BATCH,
        "requests_per_commit": len(sent.acknowledged) / max(len(sent.commits), 1),
        "sent": len(requests) * BATCH / sent_s,
        "statuses": sent.statuses,
        "views": samples(readers, sent, counted_from),
        "acknowledged": [s * 1e3 for n, s in sent.acknowledged.items() if sent.due[n] >= counted_from],
        "server_cores": (marks[5] - marks[1]) / (marks[4] - marks[0]),
        "client_cores": (marks[6] - marks[2]) / (marks[4] - marks[0]),
        "messages_per_s": (marks[7] - marks[3]) / (marks[4] - marks[0]),
        "versions_per_s": versions_per_s(readers, marks[0], marks[4]),
    }


def versions_per_s(readers: list[Reader], since: float, until: float) -> float:
    """Return the versions that any reader heard of, per second."""
    seen = {
        int(found[1])
        for reader in readers
        for at, text in reader.heard
        if since <= at <= until and (found := _CHANGE.match(text))
    }
    return len(seen) / (until - since)


async def ask(host: str, port: int, data: bytes) -> bytes:
    """Send one request on a connection of its own and return the start of the answer."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(data)
    answer = await reader.read(65_536)
    writer.close()
    return answer


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until_ready(port: int, pid: int) -> None:
    """Wait for the server."""
    while " Z " not in Path(f"/proc/{pid}/stat").read_text():
        with contextlib.suppress(OSError):
            if b" 200 " in await ask("127.0.0.1", port, b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"):
                return
        await asyncio.sleep(0.05)
    raise SystemExit("the server has ended by itself")


@contextlib.contextmanager
def serving(port: int) -> Any:
    """Run the server in a process of its own, in a folder of its own; yield its process id."""
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        server = context.Process(target=run_server, args=(folder, port))
        server.start()
        try:
            yield server.pid
        finally:
            server.terminate()
            server.join(20)


def told(name: str, latencies_ms: list[float]) -> str:
    """Return one line of quantiles."""
    if not latencies_ms:
        return f"  {name:<24} nothing"
    p50, p99, p999, most = np.percentile(latencies_ms, [50, 99, 99.9, 100])
    return f"  {name:<24} {p50:9.1f} {p99:9.1f} {p999:9.1f} {most:9.1f}   {len(latencies_ms):,} samples"


def show(figures: dict[str, Any], *, each: bool) -> None:
    """Print the table of one rate."""
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    views: dict[str, list[float]] = figures["views"]
    every = [value for found in views.values() for value in found]
    print(
        f"\n{figures['wanted']:,} events/s wanted, {figures['sent']:,.0f} sent; answers {figures['statuses']}"
    )
    print(f"  {'milliseconds':<24} {'p50':>9} {'p99':>9} {'p99.9':>9} {'max':>9}")
    print(told("due to socket", every))
    print(told("due to acknowledged", figures["acknowledged"]))
    if each:
        for view, found in views.items():
            print(told(f"  {view}", found))
    server, client = figures["server_cores"], figures["client_cores"]
    print(f"  cores: server {server:.2f}, shop and readers {client:.2f}; load {load}")
    print(
        f"  {figures['rows']:,} rows, {figures['requests_per_commit']:.1f} requests a commit, "
        f"{figures['versions_per_s']:.1f} versions/s, {figures['messages_per_s']:.0f} messages/s",
        flush=True,
    )


def listed(figures: dict[str, Any]) -> list[str]:
    """Return the line of one rate for the page."""
    every = [value for found in figures["views"].values() for value in found]
    quantiles = [f"{value:.1f}" for value in np.percentile(every, [50, 99, 99.9, 100])]
    sent = [f"{figures['wanted']:,}", f"{figures['sent']:,.0f}"]
    return [*sent, *quantiles, f"{figures['server_cores']:.2f}", f"{figures['versions_per_s']:.1f}"]


def main() -> None:
    """Measure every rate against a server of its own."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rates", default="2000,20000")
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--warm-up", type=float, default=5.0)
    options.add_argument("--each", action="store_true", help="a line for each view")
    options.add_argument("--docs", action="store_true", help="write the table into the documentation")
    chosen = options.parse_args()
    print(f"{len(VIEWS)} views, a reader each; requests of {BATCH}; {os.cpu_count()} cores")
    rows = []
    for rate in chosen.rates.split(","):
        port = free_port()
        with serving(port) as pid:
            asyncio.run(until_ready(port, pid))
            figures = asyncio.run(measured(port, pid, int(rate), chosen.seconds, chosen.warm_up))
            show(figures, each=chosen.each)
            rows.append(listed(figures))
    if chosen.docs:
        publish("latency", markdown(HEAD, rows))


if __name__ == "__main__":
    main()
