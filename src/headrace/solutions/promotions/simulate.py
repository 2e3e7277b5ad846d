"""Plays a promotion day against a running server: `python -m headrace.solutions.promotions.simulate --help`.

By default the events bear the present time, and the day's ups and downs pass in ten minutes. With
`--day-in 5m` the events bear the times of yesterday, all 24 hours of it within five minutes.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import typer

from headrace.errors import HeadraceError
from headrace.solutions.kit.durations import duration_s
from headrace.solutions.promotions import catalogue
from headrace.solutions.promotions.dirt import Batch, Dirt
from headrace.solutions.promotions.generate import SECOND_US, Generator, Tick
from headrace.solutions.promotions.journal import Journal, write_summary
from headrace.solutions.promotions.sender import Patience, Sender
from headrace.solutions.promotions.wire import ACCEPTED, pack

DAY_US = 86_400 * SECOND_US
FIRST_HOUR = 9.0
"""The hour at which the shape of the day begins when events bear the present time; a sale is near."""
SHAPE_PASSES_IN_S = 600.0
ARROW_FROM_EVENTS_PER_S = 5_000
TRAFFIC_SWING = 0.35
"""How far the daily curve moves the rate around the chosen one; 1 would be the whole curve."""


@dataclass(frozen=True)
class Plan:
    """What to play.

    Attributes:
        rate: events per second of real time, in the mean.
        events_max: stop after so many events (dirt not counted), or None.
        lasts_s: stop after so many seconds, or None.
        seed: equal seeds play equal days.
        day_in_s: squeeze the 24 hours of yesterday into so many seconds; None: events bear the present time.
        tick_s: how often each stream sends.
        rows_per_request_max: larger batches are cut.
        late_share, repeated_share, broken_share: dirt, per clean event.
        retried_share: requests sent twice with one Idempotency-Key.
        body: `json`, `arrow`, or `auto`: JSON up to 5,000 events a second.
        steady: no ups and downs of the rate.
    """

    rate: float = 2_000.0
    events_max: int | None = None
    lasts_s: float | None = None
    seed: int = 1
    day_in_s: float | None = None
    tick_s: float = 0.1
    rows_per_request_max: int = 2_500
    late_share: float = 0.003
    repeated_share: float = 0.005
    broken_share: float = 0.003
    retried_share: float = 0.01
    body: str = "auto"
    steady: bool = False

    @property
    def speed(self) -> float:
        """Seconds of event time per second of real time."""
        return DAY_US / SECOND_US / self.day_in_s if self.day_in_s else 1.0

    @property
    def as_arrow(self) -> bool:
        """Whether clean rows travel as Arrow."""
        return self.body == "arrow" or (self.body == "auto" and self.rate > ARROW_FROM_EVENTS_PER_S)


class Clock:
    """Turns the tick's number into event time and the hour of the simulated day."""

    def __init__(self, plan: Plan, now_us: int) -> None:
        self.plan = plan
        self.origin_us = now_us // DAY_US * DAY_US - DAY_US if plan.day_in_s else now_us

    def tick(self, number: int) -> tuple[int, int, float]:
        """Return start and length in event time, microseconds, and the hour of the day."""
        span_us = round(self.plan.tick_s * self.plan.speed * SECOND_US)
        start_us = self.origin_us + number * span_us
        if self.plan.day_in_s:
            return start_us, span_us, (start_us - self.origin_us) / DAY_US * 24
        return start_us, span_us, FIRST_HOUR + number * self.plan.tick_s / SHAPE_PASSES_IN_S * 24

    def is_over(self, number: int) -> bool:
        """Return whether the simulated day, or the time of the plan, has passed."""
        passed_s = number * self.plan.tick_s
        limits = [limit for limit in (self.plan.lasts_s, self.plan.day_in_s) if limit is not None]
        return bool(limits) and passed_s >= min(limits) - 1e-9


class Simulator:
    """The promotion day in progress.

    Args:
        plan: what to play.
        client: an HTTP client with the server's address as its base.
        journal: where to write what was sent and answered, or None.
        on_progress: called about once a second with the numbers so far.
    """

    def __init__(
        self,
        plan: Plan,
        client: httpx.AsyncClient,
        journal: Journal | None = None,
        on_progress: Callable[[dict[str, Any]], None] | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.plan = plan
        self.journal = journal
        self.on_progress = on_progress
        now_us = time.time_ns() // 1_000
        self.clock = Clock(plan, now_us)
        self.generator = Generator(
            plan.seed, first_id=now_us, events_per_s=plan.rate, late_share=plan.late_share
        )
        self.dirt = Dirt(plan.seed, plan.repeated_share, plan.broken_share)
        self.sender = Sender(
            client,
            run_id=f"promotions-{plan.seed}-{now_us}",
            on_answer=self._answered,
            retried_share=plan.retried_share,
            lanes=1 if plan.day_in_s else 2,
            patience=patience,
        )
        self.made = 0
        self._hour = FIRST_HOUR
        self._stopped = False

    def stop(self) -> None:
        """End after the current tick."""
        self._stopped = True

    async def run(self) -> dict[str, Any]:
        """Play until the plan is fulfilled and everything is answered; return the numbers.

        Raises:
            ConnectError: the server stayed away, or answered what cannot be.
        """
        started = time.monotonic()
        told, number = started, 0
        try:
            while not self._finished(number):
                await self._play(number)
                number += 1
                now = time.monotonic()
                if now - told >= 1.0:
                    told = now
                    self._tell(now - started)
                await asyncio.sleep(max(0.0, started + number * self.plan.tick_s - now))
            await self.sender.drain()
        finally:
            await self.sender.close()
        return self._tell(time.monotonic() - started)

    def _finished(self, number: int) -> bool:
        enough = self.plan.events_max is not None and self.made >= self.plan.events_max
        return enough or self._stopped or self.clock.is_over(number)

    async def _play(self, number: int) -> None:
        for stream, rows in self.generator.tick(self._tick(number)).items():
            self.made += rows.num_rows
            batch = self.dirt.add(stream, rows, self.generator.fresh_ids)
            for start in range(0, len(batch), self.plan.rows_per_request_max):
                part = batch.slice(start, self.plan.rows_per_request_max)
                for parcel in pack(part, self.plan.as_arrow):
                    await self.sender.put(parcel)

    def _tick(self, number: int) -> Tick:
        plan = self.plan
        start_us, span_us, self._hour = self.clock.tick(number)
        if not plan.day_in_s:
            start_us = time.time_ns() // 1_000 - span_us
        hosts = len(catalogue.HOSTS)
        readings = round(min(hosts * max(2.0, plan.speed / 20), 0.1 * plan.rate) * plan.tick_s)
        traffic = self.generator.day.mood(self._hour).traffic
        swing = 1.0 if plan.steady else 1.0 + TRAFFIC_SWING * (traffic - 1.0)
        events = round(plan.rate * plan.tick_s * swing) - readings
        if plan.events_max is not None:
            readings = min(readings, plan.events_max - self.made)
            events = min(events, plan.events_max - self.made - readings)
        return Tick(start_us, span_us, self._hour, events=max(events, 0), readings=readings)

    def _answered(self, batch: Batch, outcome: npt.NDArray[np.uint8]) -> None:
        if self.journal:
            self.journal.note(batch, outcome)
        self.dirt.remember(batch.stream, batch.rows.filter(pa.array(outcome == ACCEPTED)))

    def _tell(self, passed_s: float) -> dict[str, Any]:
        stats = self.sender.stats.as_dict()
        numbers = {"passed_s": round(passed_s, 2), "hour": round(self._hour % 24, 2), **stats}
        numbers["rate"] = round(stats["sent"] / passed_s, 1) if passed_s else 0.0
        numbers["cpu_s"] = round(time.process_time(), 2)
        if self.on_progress:
            self.on_progress(numbers)
        return numbers


async def play(
    plan: Plan,
    url: str,
    folder: Path | None = None,
    on_progress: Callable[[dict[str, Any]], None] | None = None,
    token: str | None = None,
) -> dict[str, Any]:
    """Play a plan against a server; with a folder, keep the journal there.

    Raises:
        ConnectError: the server stayed away, or answered what cannot be.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    limits = httpx.Limits(max_connections=32, max_keepalive_connections=32)
    async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=30.0) as client:
        journal = Journal(folder) if folder else None
        try:
            numbers = await Simulator(plan, client, journal, on_progress).run()
        finally:
            if journal:
                journal.close()
        if folder:
            write_summary(folder, numbers)
    return numbers


def tick_for(rate: float) -> float:
    """Return how often to send at a rate, in seconds: a fast shop sends larger requests, not more of them."""
    return 0.1 if rate <= ARROW_FROM_EVENTS_PER_S else 0.25


def command(
    url: Annotated[str, typer.Option(help="Address of the server.")] = "http://127.0.0.1:8080",
    rate: Annotated[float, typer.Option(min=1, help="Events per second.")] = 2_000.0,
    events: Annotated[int | None, typer.Option(min=1, help="Stop after so many events.")] = None,
    lasts: Annotated[
        Any, typer.Option("--for", parser=duration_s, help="Stop after this time, as in 60s.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Equal seeds play equal days.")] = 1,
    day_in: Annotated[
        Any, typer.Option(parser=duration_s, help="Play yesterday's 24 hours in this time.")
    ] = None,
    body: Annotated[str, typer.Option(help="json, arrow or auto.")] = "auto",
    journal: Annotated[Path | None, typer.Option(help="Folder for what was sent and answered.")] = None,
    steady: Annotated[bool, typer.Option(help="No ups and downs of the rate.")] = False,
    token: Annotated[str | None, typer.Option(envvar="HEADRACE_TOKEN", help="Access token.")] = None,
) -> None:
    """Play a promotion day; one line of JSON with the numbers so far goes to stdout every second."""
    plan = Plan(rate, events, lasts, seed, day_in, tick_for(rate), body=body, steady=steady)

    def tell(numbers: dict[str, Any]) -> None:
        sys.stdout.buffer.write(orjson.dumps(numbers) + b"\n")
        sys.stdout.flush()

    try:
        asyncio.run(play(plan, url, journal, tell, token))
    except HeadraceError as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


if __name__ == "__main__":
    typer.run(command)
