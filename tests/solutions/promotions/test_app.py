"""The promotion views on the platform itself: after a simulated day, dirt and all, they equal the tally."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx
import orjson
import pyarrow as pa
import pytest
from tests.solutions.promotions.test_simulate import DIRTY, play

from headrace.solutions.kit.compare import compare_views
from headrace.solutions.promotions.app import app
from headrace.solutions.promotions.journal import read_journal
from headrace.solutions.promotions.simulate import Plan
from headrace.solutions.promotions.tally import tally
from headrace.solutions.promotions.wire import STATUS_NAMES


class RunServer(httpx.AsyncBaseTransport):
    """A run behind an HTTP client, without a server between."""

    def __init__(self, run: Any) -> None:
        self.run = run

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = b"".join([part async for part in request.stream])  # type: ignore[union-attr]
        arrow = "arrow" in request.headers["Content-Type"]
        rows = pa.ipc.open_stream(io.BytesIO(body)).read_all() if arrow else orjson.loads(body)
        stream, key = request.url.path.rsplit("/", 1)[-1], request.headers["Idempotency-Key"]
        result = self.run.append(stream, rows, idempotency_key=key)
        listed = [
            {"index": index, "status": STATUS_NAMES[status]}
            for index, status in enumerate(result.statuses.tolist())
            if status
        ]
        counts = {name: getattr(result, name) for name in STATUS_NAMES}
        return httpx.Response(200, json={"rows": listed, **counts})


def differences(run: Any, folder: Path) -> list[str]:
    taken, wrong = read_journal(folder)
    outcomes = compare_views(lambda view: run.query(f"SELECT * FROM {view}").to_pylist(), tally(taken))
    return wrong + [f"{outcome.view}: {outcome.problem}" for outcome in outcomes if outcome.problem]


@pytest.mark.parametrize(("body", "day_in_s"), [("json", None), ("arrow", 2.0)])
def test_every_view_equals_the_tally(tmp_path: Path, body: str, day_in_s: float | None) -> None:
    with app.open(None) as run:
        plan = Plan(rate=3_000, events_max=3_000, day_in_s=day_in_s, body=body, **DIRTY)
        numbers = play(plan, RunServer(run), tmp_path)
        run.advance()
        assert differences(run, tmp_path) == []
        assert min(numbers[name] for name in ("repeated", "late", "rejected", "retried_requests")) > 0


def test_the_views_hold_after_the_folder_is_opened_again(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    with app.open(tmp_path / "data") as run:
        play(Plan(rate=3_000, events_max=1_000, **DIRTY), RunServer(run), journal)
    with app.open(tmp_path / "data") as run:
        run.advance()
        assert differences(run, journal) == []


def test_every_view_has_a_rule_that_costs_what_changed() -> None:
    with app.open(None) as run:
        rules = {info.rule for view in app.view_decls for info in operators(run.explain(view))}
    assert rules == {"linear", "accumulators", "delta join", "match counts", "distinct set", "ordered range"}


def operators(info: Any) -> list[Any]:
    return [info, *(one for part in info.inputs for one in operators(part))]


def test_private_fields_are_not_shown() -> None:
    with app.open(None) as run:
        run.append(
            "requests",
            pa.table(
                {
                    "event_id": [1],
                    "visitor_id": [1],
                    "ip": ["198.51.100.77"],
                    "kind": ["page"],
                    "path": ["/"],
                    "status": [200],
                    "duration_ms": [1.0],
                    "requested_at": ["2026-01-05T12:00:00Z"],
                }
            ),
        )
        run.advance()
        for view in ("requests_per_ip_per_minute", "top_ips_per_minute"):
            assert [row["masked_ip"] for row in run.query(f"SELECT * FROM {view}").to_pylist()] == [
                "198.51.100.x"
            ]
