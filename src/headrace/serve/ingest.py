"""Ways in: rows of streams and tables, and transactions over several of them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from headrace.errors import BadRequest
from headrace.results import AppendResult, RowStatus
from headrace.serve.answers import json_response
from headrace.serve.bodies import body_of, is_text, parsed_json, rows_of
from headrace.serve.service import Service

LISTED_ROWS_MAX = 1_000
KEY_CHARS_MAX = 255
VALUE_CHARS_MAX = 1_000
STATUS_NAMES = {status: status.name.lower() for status in RowStatus}
_VERBS = ("append", "upsert", "delete")


async def append(request: Request) -> Response:
    """Answer `POST /v1/streams/{name}`."""
    on_reject, key = _options(request)
    content_type = request.headers.get("content-type", "")
    if on_reject == "raise" or key is not None or not is_text(content_type):
        return await _write(request, request.app.state.service.run.append)
    return await _write_together(request, content_type)


async def _write_together(request: Request, content_type: str) -> Response:
    """Append rows that need no commit of their own."""
    service: Service = request.app.state.service
    with_statuses = _asked(request, "statuses") == "true"
    async with body_of(request, service.settings, service.flight) as body:

        def told(result: AppendResult) -> Response:
            return json_response(outcome(result, with_statuses), service.stamper.stamp())

        def read() -> list[Any]:
            rows: list[Any] = rows_of(body, content_type, service.settings.decoded_bytes_max)
            return rows

        return await service.groups.append(request.path_params["name"], len(body), read, told)


async def upsert(request: Request) -> Response:
    """Answer `POST /v1/tables/{name}/upsert`."""
    return await _write(request, request.app.state.service.run.upsert)


async def delete(request: Request) -> Response:
    """Answer `POST /v1/tables/{name}/delete`."""
    return await _write(request, request.app.state.service.run.delete)


async def _write(request: Request, write: Callable[..., AppendResult]) -> Response:
    service: Service = request.app.state.service
    on_reject, key = _options(request)
    with_statuses = _asked(request, "statuses") == "true"
    name = request.path_params["name"]
    content_type = request.headers.get("content-type", "")
    async with body_of(request, service.settings, service.flight) as body:

        def work() -> Response:
            rows = rows_of(body, content_type, service.settings.decoded_bytes_max)
            result = write(name, rows, on_reject=on_reject, idempotency_key=key)
            return json_response(outcome(result, with_statuses), service.stamper.stamp())

        return await service.ingest.run(work)


async def transact(request: Request) -> Response:
    """Answer `POST /v1/transactions`: several changes, one commit."""
    service: Service = request.app.state.service
    on_reject, key = _options(request)
    with_statuses = _asked(request, "statuses") == "true"
    async with body_of(request, service.settings, service.flight) as body:

        def work() -> Response:
            parts = _parts(parsed_json(body))
            with service.run.transaction(on_reject=on_reject, idempotency_key=key) as transaction:
                for verb, name, rows in parts:
                    getattr(transaction, verb)(name, rows)
            return json_response(joined(transaction.results, with_statuses), service.stamper.stamp())

        return await service.ingest.run(work)


def _asked(request: Request, name: str) -> str | None:
    """Return a parameter of the address, which mostly has none."""
    return request.query_params.get(name) if request.scope["query_string"] else None


def _options(request: Request) -> tuple[str, str | None]:
    given = _asked(request, "on_reject")
    on_reject = "keep" if given is None else given
    if on_reject not in ("keep", "raise"):
        raise BadRequest(f"on_reject={on_reject!r} has no meaning"[:100], expected="keep or raise")
    key = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= KEY_CHARS_MAX and key.isprintable()):
        raise BadRequest(
            "the Idempotency-Key does not fit", expected=f"1 to {KEY_CHARS_MAX} printable characters"
        )
    return on_reject, key


def outcome(result: AppendResult, with_statuses: bool = False) -> dict[str, Any]:
    """Return what became of the rows of a call; the list holds only those that were not accepted.

    Args:
        result: of the call.
        with_statuses: add the outcome of every row, one byte each, in base64.
    """
    rows, truncated = listed_rows(result)
    statuses = {"statuses": base64.b64encode(result.statuses.tobytes()).decode()} if with_statuses else {}
    return {
        "commit": result.commit,
        "accepted": result.accepted,
        "repeated": result.repeated,
        "late": result.late,
        "rejected": result.rejected,
        "replayed": result.replayed,
        "delivery": result.delivery,
        "rows": rows,
        "rows_truncated": truncated,
        **statuses,
    }


def listed_rows(result: AppendResult) -> tuple[list[dict[str, Any]], bool]:
    """Return up to 1,000 rows that were not accepted, in order, and whether there are more."""
    if result.accepted == len(result.statuses):
        return [], False
    indexes = np.flatnonzero(result.statuses != RowStatus.ACCEPTED)
    reasons = {rejection.index: rejection for rejection in result.rejections}
    rows = []
    for index in indexes[:LISTED_ROWS_MAX].tolist():
        row: dict[str, Any] = {"index": index, "status": STATUS_NAMES[RowStatus(int(result.statuses[index]))]}
        rejection = reasons.get(index)
        if rejection is not None:
            value = rejection.value
            row |= {
                "field": rejection.field,
                "value": value if value is None else value[:VALUE_CHARS_MAX],
                "reason": rejection.reason,
            }
        rows.append(row)
    return rows, len(indexes) > LISTED_ROWS_MAX


def joined(results: Sequence[AppendResult], with_statuses: bool = False) -> dict[str, Any]:
    """Return what became of the changes of a transaction, in their order."""
    commits = [result.commit for result in results if result.commit is not None]
    return {
        "commit": max(commits, default=None),
        "results": [outcome(result, with_statuses) for result in results],
    }


def _parts(value: Any) -> list[tuple[str, str, Any]]:
    changes = value.get("changes") if isinstance(value, dict) else value
    expected = '{"changes": [{"append": "orders", "rows": […]}, {"upsert": "customers", "rows": […]}]}'
    if not isinstance(changes, list) or not changes:
        raise BadRequest("the body holds no list of changes", expected=expected)
    parts: list[tuple[str, str, Any]] = []
    for number, change in enumerate(changes):
        verbs = [verb for verb in _VERBS if isinstance(change, dict) and verb in change]
        where = f"changes[{number}]"
        if len(verbs) != 1 or not isinstance(change[verbs[0]], str):
            raise BadRequest("the change does not say what to do", where=where, expected=expected)
        rows = change.get("rows")
        if isinstance(rows, dict):
            rows = [rows]
        if not isinstance(rows, list) or set(change) != {verbs[0], "rows"}:
            raise BadRequest("the change does not hold its rows", where=where, expected=expected)
        parts.append((verbs[0], change[verbs[0]], rows))
    return parts
