"""Sends parcels to the platform over HTTP, exactly once in effect, also through restarts of the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt

from headrace.errors import ConnectError
from headrace.solutions.promotions.dirt import Batch
from headrace.solutions.promotions.wire import STATUS_NAMES, Parcel, statuses

Statuses = npt.NDArray[np.uint8]
OnAnswer = Callable[[Batch, Statuses], None]
WAITING_PARCELS_MAX = 8
"""Parcels that wait per lane; a shop that is further ahead of the platform waits too."""


@dataclass
class Stats:
    """What has been sent and answered so far; rows unless said otherwise.

    Attributes:
        sent: rows in answered requests, each counted once.
        accepted, repeated, late, rejected: their outcomes.
        requests: answered requests.
        retried_requests: requests sent once more although they had been answered.
        lost_answers: attempts without an answer (no connection, server gone).
        busy_answers: attempts that were told to come later (429).
        latencies_ms: of the last requests, from sending to the answer.
    """

    sent: int = 0
    accepted: int = 0
    repeated: int = 0
    late: int = 0
    rejected: int = 0
    requests: int = 0
    retried_requests: int = 0
    lost_answers: int = 0
    busy_answers: int = 0
    latencies_ms: list[float] = field(default_factory=list)

    def count(self, outcome: Statuses, latency_ms: float) -> None:
        """Add an answered request."""
        self.requests += 1
        self.sent += len(outcome)
        for name, count in zip(STATUS_NAMES, np.bincount(outcome, minlength=4).tolist(), strict=True):
            setattr(self, name, getattr(self, name) + count)
        self.latencies_ms = [*self.latencies_ms[-499:], latency_ms]

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers, the latencies as their median and 99th percentile."""
        numbers = asdict(self)
        latencies = numbers.pop("latencies_ms") or [0.0]
        p50, p99 = np.percentile(latencies, [50, 99])
        return numbers | {"request_p50_ms": round(float(p50), 1), "request_p99_ms": round(float(p99), 1)}


@dataclass(frozen=True)
class Patience:
    """How long the sender keeps trying.

    Attributes:
        gone_s: time without any answer after which it gives up.
        first_wait_s, longest_wait_s: pause after the first failed attempt; it doubles up to the longest.
    """

    gone_s: float = 60.0
    first_wait_s: float = 0.05
    longest_wait_s: float = 1.0


class Sender:
    """Posts parcels over several connections; parcels of one lane arrive in their order.

    Args:
        client: with the server's address; its pool holds the connections.
        run_id: makes idempotency keys that no other run of the simulator uses.
        on_answer: called with every batch and the outcome of its rows, once.
        retried_share: share of the requests that are sent a second time with the same key.
        lanes: connections per stream; more than one lets requests of a stream overtake each other.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        run_id: str,
        on_answer: OnAnswer,
        *,
        retried_share: float = 0.0,
        lanes: int = 1,
        patience: Patience | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.stats = Stats()
        self._client = client
        self._run_id = run_id
        self._on_answer = on_answer
        self._retried_share = retried_share
        self._lanes = lanes
        self._patience = patience or Patience()
        self._sleep = sleep
        self._queues: dict[str, asyncio.Queue[Parcel]] = {}
        self._workers: list[asyncio.Task[None]] = []
        self._numbered = 0
        self._debt = 0.0

    async def put(self, parcel: Parcel) -> None:
        """Queue a parcel; waits while its stream is behind.

        Raises:
            ConnectError: a worker gave up.
        """
        stream = parcel.batch.stream
        if stream not in self._queues:
            self._queues[stream] = asyncio.Queue(WAITING_PARCELS_MAX * self._lanes)
            self._workers += [
                asyncio.create_task(self._work(self._queues[stream])) for _ in range(self._lanes)
            ]
        await self._unless_failed(self._queues[stream].put(parcel))

    async def drain(self) -> None:
        """Wait until everything is answered.

        Raises:
            ConnectError: a worker gave up.
        """
        for queue in list(self._queues.values()):
            await self._unless_failed(queue.join())

    async def close(self) -> None:
        """Stop the workers; what waits is dropped."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def _unless_failed(self, wanted: Awaitable[None]) -> None:
        """Await, but stop at once when a worker dies."""
        task = asyncio.ensure_future(wanted)
        await asyncio.wait([task, *self._workers], return_when=asyncio.FIRST_COMPLETED)
        failed = next((worker for worker in self._workers if worker.done()), None)
        if failed is not None:
            task.cancel()
            failed.result()
        await task

    async def _work(self, queue: asyncio.Queue[Parcel]) -> None:
        while True:
            parcel = await queue.get()
            self._numbered += 1
            await self._deliver(parcel, f"{self._run_id}-{self._numbered}")
            queue.task_done()

    async def _deliver(self, parcel: Parcel, key: str) -> None:
        started = time.perf_counter()
        outcome = await self._post(parcel, key)
        self.stats.count(outcome, (time.perf_counter() - started) * 1e3)
        self._on_answer(parcel.batch, outcome)
        self._debt += self._retried_share
        if self._debt >= 1.0:
            self._debt -= 1.0
            self.stats.retried_requests += 1
            again = await self._post(parcel, key)
            if not np.array_equal(again, outcome):
                raise ConnectError(
                    "a request that was sent twice with one Idempotency-Key got two different answers",
                    where=f"POST /v1/streams/{parcel.batch.stream}",
                    expected="the first answer again",
                )

    async def _post(self, parcel: Parcel, key: str) -> Statuses:
        """Post until there is an answer to keep."""
        wait_s, gone_since = self._patience.first_wait_s, None
        url = f"/v1/streams/{parcel.batch.stream}"
        headers = {"Content-Type": parcel.content_type, "Idempotency-Key": key}
        while True:
            try:
                response = await self._client.post(url, content=parcel.body, headers=headers)
            except httpx.TransportError as error:
                problem: str = f"{type(error).__name__}: {error}"
            else:
                if response.status_code == 429:
                    self.stats.busy_answers += 1
                    gone_since = None
                    await self._sleep(_retry_after_s(response))
                    continue
                if response.status_code < 500:
                    return _outcome(response, url, len(parcel.batch))
                problem = f"status {response.status_code}"
            self.stats.lost_answers += 1
            gone_since = gone_since or time.monotonic()
            if time.monotonic() - gone_since > self._patience.gone_s:
                raise ConnectError(
                    f"no answer for {self._patience.gone_s:g} s, last: {problem}",
                    where=str(self._client.base_url),
                    hint="is `headrace run` still running there?",
                )
            await self._sleep(wait_s)
            wait_s = min(wait_s * 2, self._patience.longest_wait_s)


def _outcome(response: httpx.Response, url: str, rows: int) -> Statuses:
    if response.status_code >= 300:
        raise ConnectError(f"status {response.status_code}: {response.text[:500]}", where=f"POST {url}")
    try:
        return statuses(response.json(), rows)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ConnectError(
            f"the answer cannot be read: {error!r}: {response.text[:500]}", where=f"POST {url}"
        ) from error


def _retry_after_s(response: httpx.Response, default_s: float = 0.2, longest_s: float = 30.0) -> float:
    try:
        return min(longest_s, max(0.0, float(response.headers["Retry-After"])))
    except (KeyError, ValueError):
        return default_s
