"""`/v1/queries`: what is asked for by name, with parameters in the address."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headrace.named_queries import NamedQuery
from headrace.query import QueryLimits
from headrace.serve.answers import json_response, rows_response, wanted_format
from headrace.serve.past import moment_of
from headrace.serve.service import Service
from headrace.serve.sql import page_of

OWN = ("format", "after", "after_s", "as_of")
"""Parameters of the door, not of the query."""


def described(query: NamedQuery) -> dict[str, Any]:
    """Return one named query for a body."""
    parameters = [asdict(one) for one in query.parameters]
    parts = [{"name": one.name, "sql": one.sql} for one in query.parts]
    return {
        "name": query.name, "help": query.help, "parameters": parameters, "sql": query.sql, "parts": parts
    }  # fmt: skip


async def list_queries(request: Request) -> Response:
    """Answer `GET /v1/queries`: every declared query, with its parameters."""
    service: Service = request.app.state.service
    found = [described(query) for query in service.run.app.named_queries.values()]
    return json_response({"queries": found}, service.stamper.stamp())


async def ask(request: Request) -> Response:
    """Answer `GET /v1/queries/{name}`; 304 where nothing has been published since the answer at hand.

    `?by=` is as if it were left out, as pages write it where nothing is chosen.
    """
    service: Service = request.app.state.service
    params = request.query_params
    kind = wanted_format(request.headers.get("accept", ""), params.get("format"))
    await service.reach(params)
    given = {name: value for name, value in params.items() if name not in OWN and value}
    query = service.run.named_query(request.path_params["name"])
    as_of = moment_of(params.get("as_of"))
    tag = f'"{service.run.version.number}"'
    if query.is_timeless and request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={**service.stamper.stamp().headers(), "ETag": tag})

    def work() -> Response:
        limits: QueryLimits = service.settings.limits
        answer = service.run.ask(query.name, given, limits=limits, as_of=as_of)
        tagged = {"ETag": f'"{answer.version.number}"'}
        return rows_response(replace(page_of(service, answer), headers=tagged), kind)

    return await service.reads.run(work)
