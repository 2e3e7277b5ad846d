"""`POST /v1/sources/{name}`: a delivery in somebody else's language becomes changes, in one commit."""

from __future__ import annotations

from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from headrace.app import App
from headrace.deliveries import Delivery, SourceDecl
from headrace.errors import UnknownName
from headrace.serve.answers import json_response
from headrace.serve.bodies import body_of
from headrace.serve.ingest import joined
from headrace.serve.service import Service

PATH = "/v1/sources/"


async def deliver(request: Request) -> Response:
    """Answer `POST /v1/sources/{name}`; the changes are on disk when the answer comes."""
    service: Service = request.app.state.service
    source = _source(service.run.app, request.path_params["name"])
    async with body_of(request, service.settings, service.flight) as body:
        delivery = Delivery(body, datetime.now(UTC), dict(request.headers), dict(request.query_params))

        def work() -> Response:
            puts = source.receive(delivery)
            if not puts:
                return json_response(joined([]), service.stamper.stamp())
            with service.run.transaction() as transaction:
                for put in puts:
                    getattr(transaction, put.verb)(put.name, put.rows)
            return json_response(joined(transaction.results), service.stamper.stamp())

        return await service.ingest.run(work)


def _source(app: App, name: str) -> SourceDecl:
    found = app.sources.get(name)
    if found is None:
        raise UnknownName.of("source", name, app.sources)
    return found


def is_signed(app: App, scope: Scope) -> bool:
    """Whether a request goes to a source that checks by itself who sends."""
    if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith(PATH):
        return False
    found = app.sources.get(scope["path"].removeprefix(PATH))
    return found is not None and found.signed
