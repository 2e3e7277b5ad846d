"""The simulator against a stand-in server that loses answers: the tally must be what the server holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.solutions.promotions.stub import StubServer

from headrace.errors import ConnectError
from headrace.solutions.kit.compare import compare_views
from headrace.solutions.kit.durations import duration_s
from headrace.solutions.promotions.journal import Journal, read_journal
from headrace.solutions.promotions.sender import Patience
from headrace.solutions.promotions.simulate import Clock, Plan, Simulator
from headrace.solutions.promotions.tally import tally

DIRTY: dict[str, Any] = {
    "late_share": 0.02,
    "repeated_share": 0.05,
    "broken_share": 0.05,
    "retried_share": 0.1,
}
IMPATIENT = Patience(gone_s=0.0, first_wait_s=0.0, longest_wait_s=0.0)
PATIENT = Patience(gone_s=60.0, first_wait_s=0.0, longest_wait_s=0.0)


def play(
    plan: Plan, server: httpx.AsyncBaseTransport, folder: Path, patience: Patience = PATIENT
) -> dict[str, Any]:
    async def playing() -> dict[str, Any]:
        async with httpx.AsyncClient(transport=server, base_url="http://stub") as client:
            with Journal(folder) as journal:
                return await Simulator(plan, client, journal, patience=patience).run()

    return asyncio.run(playing())


def faults(number: int) -> str | None:
    """Every kind of fault, often, and a server that stays away for a while."""
    if 40 <= number < 46:
        return "refuse"
    return {3: "lose", 5: "busy", 7: "crash"}.get(number % 11)


@pytest.mark.parametrize("body", ["json", "arrow"])
@pytest.mark.parametrize("day_in_s", [None, 2.0])
def test_every_view_equals_the_tally(tmp_path: Path, body: str, day_in_s: float | None) -> None:
    server = StubServer(faults)
    plan = Plan(rate=4_000, events_max=3_000, day_in_s=day_in_s, body=body, tick_s=0.05, **DIRTY)
    numbers = play(plan, server, tmp_path)
    taken, wrong = read_journal(tmp_path)
    assert wrong == []
    outcomes = compare_views(server.reference.read, tally(taken))
    assert [outcome for outcome in outcomes if outcome.problem] == []
    assert min(numbers[name] for name in ("repeated", "late", "rejected", "lost_answers", "busy_answers")) > 0
    assert server.replays > numbers["retried_requests"] > 0
    assert (
        numbers["accepted"] + numbers["late"] + numbers["repeated"] + numbers["rejected"] == numbers["sent"]
    )


def test_events_stops_at_exactly_so_many_clean_events(tmp_path: Path) -> None:
    server = StubServer()
    numbers = play(Plan(rate=2_000, events_max=777, broken_share=0, repeated_share=0), server, tmp_path)
    assert numbers["sent"] == 777


def test_a_row_that_is_counted_twice_by_the_server_is_found(tmp_path: Path) -> None:
    server = StubServer()
    play(Plan(rate=2_000, events_max=600), server, tmp_path)
    server.reference.con.execute("INSERT INTO orders SELECT * FROM orders WHERE kind = 'sale' LIMIT 1")
    taken, _ = read_journal(tmp_path)
    broken = {
        outcome.view for outcome in compare_views(server.reference.read, tally(taken)) if outcome.problem
    }
    assert {"gmv", "gmv_per_minute", "product_sales"} <= broken


def test_a_server_that_takes_broken_rows_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = StubServer()
    judge = server._judge

    def lenient(*args: Any) -> tuple[str, dict[str, Any]]:
        status, row = judge(*args)
        return ("late" if status == "rejected" else status), row

    monkeypatch.setattr(server, "_judge", lenient)
    monkeypatch.setattr(server.reference, "insert", lambda *_: None)
    play(Plan(rate=2_000, events_max=1_000, broken_share=0.1), server, tmp_path)
    _, wrong = read_journal(tmp_path)
    assert any("broken rows were answered late" in sentence for sentence in wrong)


@pytest.mark.parametrize("fault", ["refuse", "crash"])
def test_a_server_that_stays_away_ends_the_simulator(tmp_path: Path, fault: str) -> None:
    with pytest.raises(ConnectError, match="no answer"):
        play(Plan(rate=1_000, events_max=100), StubServer(lambda _: fault), tmp_path, IMPATIENT)


@pytest.mark.parametrize(
    "answer", [b"<html>", b"{}", b'{"rows": [], "accepted": 1, "repeated": 0, "late": 0, "rejected": 0}']
)
def test_an_answer_that_cannot_be_is_an_error(tmp_path: Path, answer: bytes) -> None:
    class Odd(StubServer):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, content=answer)

    with pytest.raises(ConnectError, match="cannot be read"):
        play(Plan(rate=2_000, events_max=200), Odd(), tmp_path)


def test_equal_seeds_make_equal_days(tmp_path: Path) -> None:
    def made(folder: Path, seed: int) -> list[tuple[Any, ...]]:
        play(
            Plan(rate=2_000, events_max=500, seed=seed, broken_share=0, repeated_share=0),
            StubServer(),
            folder,
        )
        rows = read_journal(folder)[0].of("orders")
        return [(row["product"], row["quantity"], row["unit_price"], row["kind"]) for row in rows]

    assert made(tmp_path / "a", 5) == made(tmp_path / "b", 5) != made(tmp_path / "c", 6)


def test_day_in_plays_the_whole_of_yesterday() -> None:
    noon_us = 1_767_614_400_000_000  # 2026-01-05 12:00 UTC
    clock = Clock(Plan(day_in_s=300, tick_s=0.1), noon_us)
    assert clock.tick(0) == (1_767_484_800_000_000, 28_800_000, 0.0)
    assert clock.tick(1_500)[2] == 12.0
    assert clock.tick(2_999)[0] + clock.tick(2_999)[1] == 1_767_571_200_000_000
    assert not clock.is_over(2_999)
    assert clock.is_over(3_000)


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("60s", 60), ("5m", 300), ("1.5h", 5400)])
def test_durations(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "soon", "-5s", "0", "inf", "nan"])
def test_what_is_no_duration(text: str) -> None:
    import typer

    with pytest.raises(typer.BadParameter):
        duration_s(text)


def test_progress_tells_the_numbers(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    callback: Callable[[dict[str, Any]], None] = told.append

    async def playing() -> None:
        async with httpx.AsyncClient(transport=StubServer(), base_url="http://stub") as client:
            await Simulator(Plan(rate=1_000, events_max=100), client, on_progress=callback).run()

    asyncio.run(playing())
    assert told[-1]["sent"] >= 100
    assert {"rate", "hour", "late", "request_p99_ms"} <= told[-1].keys()
