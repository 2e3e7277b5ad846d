"""How fast the HTTP door is: events in, queries out, and from an event's scheduled send to a socket.

    python benchmarks/serve.py [--rate 20000] [--seconds 10] [--views 20] [--batch 100] [--data FOLDER]

The server runs in a process of its own. Sending is open loop: every request has a time at which it is due,
and the latency of what it causes counts from that time, so a server that falls behind cannot hide it. Each
view has one subscriber; a marker column tells which request a change belongs to. CPU time is the server's
own: on a machine that has other work it tells more than the clock.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
from websockets.asyncio.client import connect

import headrace as hr
from headrace.serve import ServerSettings, create_server, make_server

COLUMNS = """order_id BIGINT, customer_id BIGINT, category TEXT, amount DECIMAL(18,2), sent BIGINT,
             placed_at TIMESTAMP"""


def declared(views: int) -> hr.App:
    """Return an app whose every view tells the newest request that reached it."""
    app = hr.App("bench")
    app.stream("orders", COLUMNS, event_id="order_id", event_time="placed_at", lateness="10s")
    shapes = (
        "SELECT {k} AS view, max(sent) AS sent, sum(amount) AS n FROM orders WHERE {where}",
        "SELECT category, max(sent) AS sent, sum(amount) AS gmv FROM orders WHERE {where} GROUP BY category",
    )
    for number in range(views):
        where = f"order_id % 1000 <> {number}"
        app.view(f"v{number}", shapes[number % len(shapes)].format(k=number, where=where))
    return app


def run_server(views: int, data: str | None, port: int) -> None:
    """Serve until terminated."""
    settings = ServerSettings(port=port)
    with declared(views).open(data, auto=True) as run:
        make_server(create_server(run, settings), settings).run()


def body(request: int, batch: int) -> bytes:
    """Return the JSON of one request; `sent` is its number."""
    rows = [
        {
            "order_id": request * batch + i,
            "customer_id": (request * 31 + i) % 5_000,
            "category": f"c{i % 20}",
            "amount": f"{i % 90 + 1}.50",
            "sent": request,
            "placed_at": "2026-01-01T12:00:00Z",
        }
        for i in range(batch)
    ]
    return orjson.dumps(rows)


def quantiles(samples_ms: list[float]) -> str:
    """Return p50, p99 and the largest."""
    if not samples_ms:
        return "nothing"
    p50, p99, top = np.percentile(samples_ms, [50, 99, 100])
    return f"p50 {p50:8.1f} ms   p99 {p99:8.1f} ms   max {top:8.1f} ms   ({len(samples_ms):,} samples)"


async def subscribe(
    url: str, view: str, due: list[float], samples: list[float], ready: asyncio.Event
) -> None:
    """Follow one view and note how long after its due time each request was seen."""
    seen = -1
    async with connect(f"{url}/v1/views/{view}/changes", max_size=None, compression=None) as line:
        async for text in line:
            now = time.perf_counter()
            message: dict[str, Any] = orjson.loads(text)
            ready.set()
            if message["type"] != "change":
                continue
            newest = max((int(row["sent"]) for row in message["rows"] if row["_weight"] > 0), default=-1)
            samples.extend((now - due[request]) * 1e3 for request in range(seen + 1, newest + 1))
            seen = max(seen, newest)


async def send(
    url: str, bodies: list[bytes], due: list[float], answers: list[float], lanes: int
) -> dict[int, int]:
    """Send every request at its time over a few connections; note the time to its acknowledgement."""
    statuses: dict[int, int] = {}
    following = iter(range(len(bodies)))

    async def lane(client: httpx.AsyncClient) -> None:
        for number in following:
            await asyncio.sleep(max(0.0, due[number] - time.perf_counter()))
            while True:
                answer = await client.post(
                    "/v1/streams/orders", content=bodies[number], headers={"Content-Type": "application/json"}
                )
                statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
                if answer.status_code != 429:
                    break
                await asyncio.sleep(float(answer.headers["Retry-After"]))
            answers.append((time.perf_counter() - due[number]) * 1e3)

    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
        await asyncio.gather(*(lane(client) for _ in range(lanes)))
    return statuses


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure_flow(url: str, pid: int, rate: int, seconds: float, views: int, batch: int) -> None:
    """Print acknowledgement and socket latencies at a steady rate."""
    requests = int(rate * seconds / batch)
    bodies = [body(number, batch) for number in range(requests)]
    start = time.perf_counter() + 1.0
    due = [start + number * batch / rate for number in range(requests)]
    seen: list[list[float]] = [[] for _ in range(views)]
    ready = [asyncio.Event() for _ in range(views)]
    watchers = [
        asyncio.create_task(subscribe(url.replace("http", "ws"), f"v{n}", due, seen[n], ready[n]))
        for n in range(views)
    ]
    await asyncio.gather(*(event.wait() for event in ready))
    shift = max(0.0, time.perf_counter() + 0.5 - start)
    due[:] = [moment + shift for moment in due]
    answers: list[float] = []
    began, cpu_began = time.perf_counter(), cpu_seconds(pid)
    statuses = await send(url, bodies, due, answers, 32)
    took = time.perf_counter() - max(began, due[0])
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            while any(len(samples) < requests for samples in seen):
                await asyncio.sleep(0.05)
    for watcher in watchers:
        watcher.cancel()
    print(f"\nflow: {rate:,} events/s asked for, {requests * batch / took:,.0f} reached; answers {statuses}")
    cpu = cpu_seconds(pid) - cpu_began
    print(
        f"  server CPU           {cpu:.2f} s: {cpu / requests * 1e3:.2f} ms a request, {cpu / took:.2f} cores"
    )
    print(f"  due to acknowledged  {quantiles(answers)}")
    print(f"  due to socket        {quantiles([sample for samples in seen for sample in samples])}")


async def measure_reads(url: str, count: int = 400) -> None:
    """Print the latency of point reads, listings and SQL, one after another."""
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
        print()
        for label, request in {
            "GET a view of one row": ("GET", "/v1/views/v0", None),
            "GET with a filter": ("GET", "/v1/views/v1?category=c3", None),
            "POST SQL over two views": ("POST", "/v1/sql", {"sql": "SELECT a.n + b.n AS n FROM v0 a, v2 b"}),
            "GET /healthz": ("GET", "/healthz", None),
        }.items():
            samples = []
            for _ in range(count):
                began = time.perf_counter()
                answer = await client.request(request[0], request[1], json=request[2])
                samples.append((time.perf_counter() - began) * 1e3)
                assert answer.status_code == 200, answer.text
            print(f"  {label:<26} {quantiles(samples)}")


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(url: str) -> None:
    """Wait for the server."""
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/readyz", trust_env=False).status_code == 200:
                return
        time.sleep(0.05)


def main() -> None:
    """Start a server, measure, print, stop."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rate", type=int, default=20_000)
    options.add_argument("--seconds", type=float, default=10)
    options.add_argument("--views", type=int, default=20)
    options.add_argument("--batch", type=int, default=100)
    options.add_argument("--memory", action="store_true", help="no data folder")
    chosen = options.parse_args()
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        data = None if chosen.memory else str(Path(folder) / "data")
        server = multiprocessing.get_context("spawn").Process(
            target=run_server, args=(chosen.views, data, port)
        )
        server.start()
        wait_until_ready(url)
        print(json.dumps(vars(chosen)))
        asyncio.run(
            measure_flow(url, server.pid or 0, chosen.rate, chosen.seconds, chosen.views, chosen.batch)
        )
        asyncio.run(measure_reads(url))
        server.terminate()
        server.join(20)


if __name__ == "__main__":
    main()
