"""`GET /v1/views/{name}/changes`: server-sent events, or the changes after a version in one answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from starlette.requests import Request
from starlette.responses import Response

from headrace.change import VERSION, WEIGHT, Change, as_batch
from headrace.contracts.schema import Column, Schema
from headrace.errors import BadRequest
from headrace.feed import with_version
from headrace.results import Version
from headrace.serve.answers import ARROW, FORMATS, JSON, Page, rows_response, wanted_format
from headrace.serve.channel import followed
from headrace.serve.live import watch_events
from headrace.serve.service import Service, seconds_of

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
        await _wait(service, since, params)

    def work() -> Response:
        schema = Schema((*info.schema.columns, *EXTRA_COLUMNS))
        version, tables = _changes(service, info.name, since)
        table = pa.concat_tables(tables) if tables else schema.arrow.empty_table()
        upto = max([version.number, *(_last(part) for part in tables)])
        extra: dict[str, Any] = {"view": info.name, "since": since, "upto": upto}
        stamp = service.stamper.stamp(info.name, version)
        return rows_response(Page(table, schema, stamp, extra, {"Headrace-Upto": str(upto)}), kind)

    return await service.reads.run(work)


def _changes(service: Service, view: str, since: int | None) -> tuple[Version, list[pa.Table]]:
    """Return the changes after `since`, or all rows; and a version that they reach in any case."""
    if since is None:
        version, rows = service.run.snapshot(view)
        return version, [with_version(Change.inserts(as_batch(rows)), version.number)]
    version = service.run.version
    return version, list(service.run.changes(view, since))


def _last(table: pa.Table) -> int:
    numbers = table.column(VERSION)
    return int(numbers[len(numbers) - 1].as_py()) if len(numbers) else 0


def _since(value: str | None) -> int | None:
    if value is None:
        return None
    if value.isdigit() and len(value) <= 18:
        return int(value)
    raise BadRequest(f"since={value!r} is not a version"[:100], expected="a version number")


async def _wait(service: Service, since: int, params: Mapping[str, str]) -> None:
    """Wait for a version after `since`, at most `wait_s` seconds: long polling."""
    if "wait_s" not in params:
        return
    seconds = seconds_of(params, "wait_s", WAIT_S_MAX)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await service.broadcast.moved_beyond(since)
