"""A stand-in for the server: decides about rows as the contract says, and loses answers on cue.

It is an HTTP transport for httpx, so the simulator meets it exactly where it would meet a socket.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import httpx
import orjson
import pyarrow as pa
from tests.solutions.promotions.duck import COLUMNS, Reference

LATENESS = timedelta(seconds=10)
NULLABLE = ("buyer_id",)
CHOICES = {
    ("orders", "kind"): ("sale", "cancellation", "return"),
    ("requests", "kind"): ("page", "api", "asset"),
    ("logs", "level"): ("DEBUG", "INFO", "WARN", "ERROR"),
}
AT_LEAST = {"results": 0, "line_no": 1, "quantity": 1, "unit_price": 0, "status": 100, "duration_ms": 0}
AT_LEAST |= {"cpu_pct": 0, "memory_pct": 0, "io_pct": 0}
AT_MOST = {"status": 599, "cpu_pct": 100, "memory_pct": 100, "io_pct": 100}


def checked(stream: str, row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with typed values; ValueError where it breaks the contract."""
    typed: dict[str, Any] = {}
    for column in COLUMNS[stream].replace("(10,2)", "").split(", "):
        name, sql_type = column.split()
        value = row[name] if name in NULLABLE else _required(row, name)
        typed[name] = None if value is None else _typed(value, sql_type)
        number = typed[name]
        if name in AT_LEAST and not AT_LEAST[name] <= number <= AT_MOST.get(name, 1e18):
            raise ValueError(name)
        if number not in CHOICES.get((stream, name), (number,)):
            raise ValueError(name)
    return typed


def _required(row: dict[str, Any], name: str) -> Any:
    if row.get(name) is None:
        raise ValueError(name)
    return row[name]


def _typed(value: Any, sql_type: str) -> Any:
    wanted: dict[str, tuple[type, ...]] = {"BIGINT": (int,), "TEXT": (str,), "DOUBLE": (int, float)}
    if sql_type == "TIMESTAMP":
        at = value if isinstance(value, datetime) else datetime.fromisoformat(value).replace(tzinfo=None)
        if at > datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=1):
            raise ValueError("ahead")
        return at
    if sql_type == "DECIMAL":
        try:
            return Decimal(value)
        except InvalidOperation:
            raise ValueError(sql_type) from None
    if not isinstance(value, wanted[sql_type]):
        raise ValueError(sql_type)
    return value


class StubServer(httpx.AsyncBaseTransport):
    """Takes rows in as the platform does, into the DuckDB reference.

    `fault` is asked before each request with its number and may answer `lose` (take the rows in, then lose
    the answer), `refuse` (no connection), `busy` (429) or `crash` (503 before anything happened).
    """

    def __init__(self, fault: Callable[[int], str | None] | None = None) -> None:
        self.reference = Reference()
        self.fault = fault or (lambda _number: None)
        self.number = 0
        self.answers: dict[str, bytes] = {}
        self.replays = 0
        self._seen: dict[str, set[int]] = {stream: set() for stream in COLUMNS}
        self._newest: dict[str, datetime] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        self.number += 1
        fault = self.fault(self.number)
        if fault == "refuse":
            raise httpx.ConnectError("connection refused")
        if fault == "busy":
            return httpx.Response(429, headers={"Retry-After": "0"})
        if fault == "crash":
            return httpx.Response(503)
        body = b"".join([part async for part in request.stream])  # type: ignore[union-attr]
        key = request.headers["Idempotency-Key"]
        if key in self.answers:
            self.replays += 1
        else:
            stream = request.url.path.rsplit("/", 1)[-1]
            arrow = "arrow" in request.headers["Content-Type"]
            rows = (
                pa.ipc.open_stream(io.BytesIO(body)).read_all().to_pylist() if arrow else orjson.loads(body)
            )
            self.answers[key] = orjson.dumps(self.append(stream, rows))
        if fault == "lose":
            raise httpx.ReadError("the server went away")
        return httpx.Response(200, content=self.answers[key])

    def append(self, stream: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Decide about the rows and keep them."""
        time = COLUMNS[stream].rsplit(", ", 1)[-1].split()[0]
        watermark = self._newest[stream] - LATENESS if stream in self._newest else None
        kept: dict[str, list[dict[str, Any]]] = {"accepted": [], "repeated": [], "late": [], "rejected": []}
        listed = []
        for index, row in enumerate(rows):
            status, typed = self._judge(stream, row, time, watermark)
            kept[status].append(typed)
            if status != "accepted":
                listed.append({"index": index, "status": status})
        self.reference.insert(stream, kept["accepted"])
        self.reference.insert(f"{stream}__late", kept["late"])
        self.reference.insert(f"{stream}__rejected", [{"reason": "broken"} for _ in kept["rejected"]])
        return {"rows": listed} | {status: len(of) for status, of in kept.items()}

    def _judge(
        self, stream: str, row: dict[str, Any], time: str, watermark: datetime | None
    ) -> tuple[str, dict[str, Any]]:
        try:
            typed = checked(stream, row)
        except (ValueError, KeyError, TypeError):
            return "rejected", {}
        if typed["event_id"] in self._seen[stream]:
            return "repeated", typed
        if watermark is not None and typed[time] < watermark:
            return "late", typed
        self._seen[stream].add(typed["event_id"])
        self._newest[stream] = max(typed[time], self._newest.get(stream, typed[time]))
        return "accepted", typed
