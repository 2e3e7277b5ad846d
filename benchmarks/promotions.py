"""From an event to a page: how long until a WebSocket holds what an event of the promotion day changed.

python benchmarks/promotions.py [--rates 2000,20000] [--seconds 30]

The real server and the real simulator run as processes of their own. This one is the browser: it follows
every view over a WebSocket each. Twenty times a second, at times fixed beforehand, it posts one ERROR
line as a shop would, and measures from the time when it was due until the line's number comes back in a
change of `error_logs`. All views move together, so this is the age of everything on the wall. Also
printed: CPU of the server and of the simulator.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import websockets
from rich.console import Console
from rich.table import Table

from headrace.solutions.promotions.app import HERE, app

PROBE_EVERY_S = 0.05
PROBED_VIEW = "error_logs"
SETTLES_S = 5.0
"""The first seconds are not measured: processes start, caches fill."""
CLOCK_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass
class Probes:
    """When each probe was due, and when it came back."""

    due: dict[int, float] = field(default_factory=dict)
    back: dict[int, float] = field(default_factory=dict)

    def latencies_ms(self, since: float) -> list[float]:
        return [(self.back[n] - due) * 1e3 for n, due in self.due.items() if due >= since and n in self.back]

    def lost(self, since: float) -> int:
        return sum(due >= since and n not in self.back for n, due in self.due.items())


@contextlib.contextmanager
def process(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        yield started
    finally:
        started.terminate()
        started.wait()


def first_line(started: subprocess.Popen[str]) -> str:
    assert started.stdout is not None
    return started.stdout.readline().strip()


def cpu_s(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS_PER_S


async def follow(url: str, view: str, probes: Probes, ready: asyncio.Event) -> None:
    """Read a view's changes, as a page would."""
    address = f"{url.replace('http', 'ws', 1)}/v1/views/{view}/changes"
    async with websockets.connect(address, max_size=None) as socket:
        async for message in socket:
            ready.set()
            if view != PROBED_VIEW:
                continue
            now = time.monotonic()
            for row in orjson.loads(message).get("rows", ()):
                number = int(row["event_id"])
                if number in probes.due:
                    probes.back.setdefault(number, now)


async def probe(url: str, probes: Probes, lasts_s: float) -> None:
    """Post one ERROR line at each due time, whether or not the ones before are answered."""
    first = 2**52
    running: set[asyncio.Task[Any]] = set()
    async with httpx.AsyncClient(base_url=url, timeout=60.0) as client:
        start = time.monotonic() + 0.1
        for number in range(int(lasts_s / PROBE_EVERY_S)):
            due = start + number * PROBE_EVERY_S
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            probes.due[first + number] = due
            task = asyncio.create_task(post(client, first + number))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)


async def post(client: httpx.AsyncClient, number: int) -> None:
    row = {"event_id": number, "host": "probe", "service": "probe", "level": "ERROR", "message": "probe"}
    while True:
        line = row | {"logged_at": datetime.now(UTC).isoformat()}
        answer = await client.post("/v1/streams/logs", content=orjson.dumps([line]))
        if answer.status_code != 429:
            answer.raise_for_status()
            return
        await asyncio.sleep(float(answer.headers.get("Retry-After", "0.1")))


async def measured(url: str, rate: float, seconds: float) -> tuple[Probes, float, dict[str, Any]]:
    """Play at a rate; return the probes, since when they count, and the simulator's last words."""
    probes = Probes()
    readies = {view: asyncio.Event() for view in app.view_decls}
    followers = [asyncio.create_task(follow(url, view, probes, readies[view])) for view in readies]
    await asyncio.gather(*(ready.wait() for ready in readies.values()))
    total_s = seconds + SETTLES_S
    arguments = ["--url", url, "--rate", str(rate), "--for", str(total_s + 2), "--steady"]
    simulator = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "headrace.solutions.promotions.simulate",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
    )
    assert simulator.stdout is not None
    words: list[bytes] = [await simulator.stdout.readline()]
    reading = asyncio.create_task(read_all(simulator.stdout, words))
    since = time.monotonic() + SETTLES_S
    await probe(url, probes, total_s)
    await simulator.wait()
    await reading
    await asyncio.sleep(1.0)
    for follower in followers:
        follower.cancel()
    await asyncio.gather(*followers, return_exceptions=True)
    last: dict[str, Any] = json.loads(words[-1])
    return probes, since, last


async def read_all(stream: asyncio.StreamReader, words: list[bytes]) -> None:
    words.extend([line async for line in stream])


def row(rate: float, seconds: float) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        arguments = ("run", "--project", str(HERE), "--data", folder, "--port", "0")
        with process("headrace.cli", *arguments) as server:
            url = first_line(server)
            used = cpu_s(server.pid)
            began = time.monotonic()
            probes, since, numbers = asyncio.run(measured(url, rate, seconds))
            share = (cpu_s(server.pid) - used) / (time.monotonic() - began)
    latencies = probes.latencies_ms(since) or [float("nan")]
    p50, p99 = np.percentile(latencies, [50, 99])
    return [
        f"{rate:,.0f}",
        f"{numbers['rate']:,.0f}",
        f"{len(latencies)}",
        f"{probes.lost(since)}",
        f"{p50:.0f}",
        f"{p99:.0f}",
        f"{max(latencies):.0f}",
        f"{share:.2f}",
        f"{numbers['cpu_s'] / numbers['passed_s']:.2f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", default="2000,20000")
    parser.add_argument("--seconds", type=float, default=30.0)
    given = parser.parse_args()
    table = Table(title="promotion day: scheduled event to WebSocket, a subscriber on every view")
    names = "events/s wanted|events/s sent|probes|lost|p50 ms|p99 ms|max ms|server cores|simulator cores"
    for name in names.split("|"):
        table.add_column(name, justify="right")
    for rate in given.rates.split(","):
        table.add_row(*row(float(rate), given.seconds))
    Console().print(table)


if __name__ == "__main__":
    main()
