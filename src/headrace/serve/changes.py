"""`GET /v1/views/{name}/changes`: server-sent events, or the changes after a version in one answer."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pyarrow as pa
from starlette.requests import Request
from starlette.responses import Response

from headrace.change import VERSION, WEIGHT
from headrace.contracts.schema import Column, Schema
from headrace.errors import BadRequest
from headrace.serve.answers import ARROW, FORMATS, JSON, Page, rows_response, wanted_format
from headrace.serve.channel import followed
from headrace.serve.live import watch_events
from headrace.serve.service import Service

WAIT_S_MAX = 30.0
EXTRA_COLUMNS = (Column(WEIGHT, "BIGINT", pa.int64()), Column(VERSION, "BIGINT", pa.int64()))


async def read_changes(request: Request) -> Response:
    """Answer as events where the caller wants `text/event-stream`, else with what changed up to now."""
    accept = request.headers.get("accept", "")
    if "text/event-stream" in accept or request.query_params.get("format") == "events":
        return watch_events(request)
    service: Service = request.app.state.service
    params = request.query_params
    kind = wanted_format(accept, params.get("format"))
    if kind not in (JSON, ARROW):
        kind = FORMATS["json"] if kind.startswith("text/") else kind
    info = followed(service.run, request.path_params["name"])
    since = _since(params.get("since"))
    if since is not None:
        await _wait(service, since, params.get("wait_s"))

    def work() -> Response:
        newest = service.run.version
        tables = list(service.run.changes(info.name, since))
        schema = Schema((*info.schema.columns, *EXTRA_COLUMNS))
        table = pa.concat_tables(tables) if tables else schema.arrow.empty_table()
        seen = max([newest.number, *(_last(part) for part in tables)])
        extra: dict[str, Any] = {"view": info.name, "since": since, "upto": seen}
        stamp = service.stamper.stamp(info.name, newest)
        return rows_response(Page(table, schema, stamp, extra, {"Headrace-Upto": str(seen)}), kind)

    return await service.reads.run(work)


def _last(table: pa.Table) -> int:
    numbers = table.column(VERSION)
    return int(numbers[len(numbers) - 1].as_py()) if len(numbers) else 0


def _since(value: str | None) -> int | None:
    if value is None:
        return None
    if value.isdigit() and len(value) <= 18:
        return int(value)
    raise BadRequest(f"since={value!r} is not a version"[:100], expected="a version number")


async def _wait(service: Service, since: int, wait_s: str | None) -> None:
    """Wait for a version after `since`, at most `wait_s` seconds: long polling."""
    if wait_s is None:
        return
    try:
        seconds = min(max(float(wait_s), 0.0), WAIT_S_MAX)
    except ValueError:
        raise BadRequest(
            f"wait_s={wait_s!r} is not a number"[:100], expected=f"0 to {WAIT_S_MAX:g}"
        ) from None
    if seconds != seconds:  # NaN
        seconds = 0.0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await service.broadcast.moved_beyond(since)
