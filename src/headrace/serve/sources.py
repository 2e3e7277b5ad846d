"""`POST /v1/sources/{name}`: a delivery in somebody else's language becomes changes, in one commit."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from headrace.app import App
from headrace.errors import UnknownName
from headrace.serve.answers import json_response
from headrace.serve.bodies import body_of
from headrace.serve.ingest import joined
from headrace.serve.service import Service

PATH = "/v1/sources/"


async def deliver(request: Request) -> Response:
    """Answer `POST /v1/sources/{name}`; the changes are on disk when the answer comes."""
    service: Service = request.app.state.service
    name, params = request.path_params["name"], dict(request.query_params)
    with_statuses = params.pop("statuses", None) == "true"
    if name not in service.run.app.sources:
        raise UnknownName.of("source", name, service.run.app.sources)
    async with body_of(request, service.settings, service.flight) as body:

        def work() -> Response:
            results = service.run.receive(name, body, headers=dict(request.headers), params=params)
            return json_response(joined(results, with_statuses), service.stamper.stamp())

        return await service.ingest.run(work)


def is_signed(app: App, scope: Scope) -> bool:
    """Whether a request goes to a source that checks by itself who sends."""
    if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith(PATH):
        return False
    found = app.sources.get(scope["path"].removeprefix(PATH))
    return found is not None and found.signed
