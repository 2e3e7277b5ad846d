"""`POST /v1/sql`: one read-only statement over streams, tables and views, at one version."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headrace.errors import BadRequest, UnsupportedBody
from headrace.relations import Answer
from headrace.serve.answers import Page, Stamp, rows_response, wanted_format
from headrace.serve.bodies import body_of, parsed_json
from headrace.serve.past import moment_of
from headrace.serve.service import Service


async def run_sql(request: Request) -> Response:
    """Answer one statement, as JSON, NDJSON, CSV or Arrow."""
    service: Service = request.app.state.service
    kind = wanted_format(request.headers.get("accept", ""), request.query_params.get("format"))
    await service.reach(request.query_params)
    async with body_of(request, service.settings, service.flight) as body:
        sql, params, as_of = _question(body, request.headers.get("content-type", ""))
    as_of = moment_of(request.query_params.get("as_of")) if as_of is None else as_of
    if not sql.strip():
        raise BadRequest("there is no SQL to answer", expected='{"sql": "SELECT …", "params": []}')

    def work() -> Response:
        answer = service.run.answer(sql, params, limits=service.settings.limits, as_of=as_of)
        return rows_response(page_of(service, answer), kind)

    return await service.reads.run(work)


def page_of(service: Service, answer: Answer) -> Page:
    """Return the rows of an answer with what tells how fresh they are."""
    watermark = service.stamper.stamp(None, answer.version).watermark
    stamp = Stamp(answer.version, answer.freshness, watermark, answer.refreshed, answer.history_from)
    return Page(answer.table, answer.schema, stamp, {"row_count": answer.table.num_rows})


def _question(body: bytes, content_type: str) -> tuple[str, Any, int | str | None]:
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/sql":
        return body.decode("utf-8", "replace"), [], None
    if kind not in ("", "application/json"):
        raise UnsupportedBody(
            f"the Content-Type {kind!r} is not taken"[:200],
            expected="application/json or application/sql",
            hint="with curl, add: -H 'Content-Type: application/json'",
        )
    value = parsed_json(body)
    if not isinstance(value, dict) or not isinstance(value.get("sql"), str):
        raise BadRequest("the body does not hold a statement", expected='{"sql": "SELECT …", "params": []}')
    unknown = sorted(value.keys() - {"sql", "params", "as_of"})
    if unknown:
        raise BadRequest(f"{unknown[0]!r} has no meaning here", expected="sql, params and as_of")
    params = value.get("params") or []
    if not isinstance(params, list | dict):
        raise BadRequest(
            "params is neither a list nor an object", expected="a list for ?, an object for $name"
        )
    return value["sql"], params, moment_of(value.get("as_of"))
