"""The server: routes, error answers, counting, and a clean end."""

from __future__ import annotations

import contextlib
import gc
import logging
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any

import orjson
import uvicorn
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from headrace.app import App
from headrace.errors import BadRequest, HeadraceError, UnknownName
from headrace.runtime import Run
from headrace.serve import ingest
from headrace.serve.access import Access
from headrace.serve.answers import JSON, error_response, unexpected
from headrace.serve.live import watch_socket
from headrace.serve.openapi import openapi
from headrace.serve.operations import OPERATIONS
from headrace.serve.service import Service
from headrace.serve.settings import ServerSettings
from headrace.serve.sources import is_signed

logger = logging.getLogger("headrace")

GRACE_S = 1
"""How long open requests may take to end after Ctrl-C."""
SWITCH_INTERVAL_S = 0.001
"""How often Python's threads take turns while a server runs: the event loop must not wait 5 ms for each."""
COLLECT_AFTER = (5_000, 40, 50)
"""Thresholds of the cycle collector: a step or a request makes many objects and hardly a cycle. Each new one
is looked at once; 50,000 of them at a time take 20 ms, in which nothing else goes on.
"""
SOCKET_MESSAGE_BYTES_MAX = 64 << 10
"""Largest message that a reader may send; nothing is expected of it."""


class ShortWay(FastAPI):
    """An app whose ways in do not pass through what only pages need.

    A request with rows is checked and answered as any other; but routing, exception pages and the like cost
    FastAPI more than reading a hundred rows of JSON, and of these requests there are hundreds a second.
    """

    ways_in: Mapping[tuple[str, str], Callable[[Request], Awaitable[Response]]] = {}
    guard: Access | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["method"] == "POST" and self.guard is not None:
            parts = scope["path"].split("/")
            endpoint = self.ways_in.get((parts[2], "/".join(parts[4:]))) if len(parts) > 3 else None
            if endpoint is not None and parts[1] == "v1" and parts[3]:
                scope["app"], scope["path_params"] = self, {"name": parts[3]}

                async def answer(scope: Scope, receive: Receive, send: Send) -> None:
                    await (await endpoint(Request(scope, receive, send)))(scope, receive, send)

                await self.guard.pass_on(answer, scope, receive, send)
                return
        await super().__call__(scope, receive, send)


def create_server(
    run: Run,
    settings: ServerSettings | None = None,
    routes: Iterable[BaseRoute] = (),
    declarations: Callable[[], App] | None = None,
) -> FastAPI:
    """Return the ASGI app that serves a run; pages may be added to it with `include_router` or `mount`.

    Args:
        run: an open run; it should step by itself (`auto=True`).
        settings: None reads the environment.
        routes: more routes, looked at before the API's own.
        declarations: reads the project's files anew, for a change of definitions while it serves.

    Raises:
        AccessDenied: other machines could reach it and there is no token.
    """
    settings = settings or ServerSettings()
    settings.check_exposed()
    service = Service.of(run, settings, declarations)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        before = sys.getswitchinterval()
        sys.setswitchinterval(min(before, SWITCH_INTERVAL_S))
        thresholds = gc.get_threshold()
        gc.freeze()  # what has been imported and declared stays: no collection need look at it again
        gc.set_threshold(*COLLECT_AFTER)
        service.broadcast.start()
        try:
            yield
        finally:
            sys.setswitchinterval(before)
            gc.set_threshold(*thresholds)
            gc.unfreeze()
            service.close()

    app = ShortWay(title=run.app.name, openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.service = service
    app.guard = Access(app, settings)
    app.ways_in = {
        ("streams", ""): answered(service, "/v1/streams/{name}", ingest.append),
        ("tables", "upsert"): answered(service, "/v1/tables/{name}/upsert", ingest.upsert),
        ("tables", "delete"): answered(service, "/v1/tables/{name}/delete", ingest.delete),
    }
    app.router.routes.extend(routes)
    for operation in OPERATIONS:
        endpoint = answered(service, operation.path, operation.handler)
        app.router.routes.append(Route(operation.path, endpoint, methods=[operation.method]))
    app.router.routes.append(WebSocketRoute("/v1/views/{name}/changes", watch_socket))
    app.router.routes.append(Route("/openapi.json", answered(service, "/openapi.json", _openapi)))
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(HeadraceError, _headrace_error)
    app.add_middleware(Access, settings=settings, signed=lambda scope: is_signed(service.run.app, scope))
    return app


async def _openapi(request: Request) -> Response:
    service: Service = request.app.state.service
    document = await service.reads.run(lambda: openapi(service.run))
    return Response(orjson.dumps(document), media_type=JSON)


def answered(
    service: Service, route: str, handler: Callable[[Request], Awaitable[Response]]
) -> Callable[[Request], Awaitable[Response]]:
    """Return a handler that turns errors into answers and counts every request."""

    async def endpoint(request: Request) -> Response:
        began = time.perf_counter()
        try:
            answer = await handler(request)
        except HeadraceError as error:
            answer = error_response(error, service.stamper.stamp())
        except Exception as error:  # noqa: BLE001 - told as 500, and logged
            answer = error_response(unexpected(error, f"{request.method} {route}"), service.stamper.stamp())
        service.counters.request(request.method, route, answer.status_code, time.perf_counter() - began)
        return answer

    return endpoint


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        problem: HeadraceError = UnknownName(
            f"there is nothing at {request.url.path}"[:300], hint="/openapi.json says what there is"
        )
    else:
        problem = BadRequest(str(error.detail), where=request.url.path[:200])
    answer = error_response(problem, status=error.status_code)
    answer.headers.update(error.headers or {})
    return answer


async def _headrace_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HeadraceError)
    return error_response(error)


def server_config(app: Any, settings: ServerSettings, **overrides: Any) -> uvicorn.Config:
    """Return how uvicorn is to serve the app; `overrides` are uvicorn's own settings."""
    chosen: dict[str, Any] = {
        "host": settings.host,
        "port": settings.port,
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "lifespan": "on",
        "ws": "websockets-sansio",
        "ws_max_size": SOCKET_MESSAGE_BYTES_MAX,
        "ws_per_message_deflate": False,
        "timeout_graceful_shutdown": GRACE_S,
        "timeout_keep_alive": 30,
    }
    return uvicorn.Config(app, **{**chosen, **overrides})


class Server(uvicorn.Server):
    """A uvicorn server that lets its live readers go before it waits for open requests to end."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, end live readers, wait for what is open."""
        self._service.broadcast.end_viewers()
        await super().shutdown(sockets)


def make_server(app: FastAPI, settings: ServerSettings, **overrides: Any) -> Server:
    """Return a server for the app of `create_server`; `overrides` are uvicorn's own settings."""
    return Server(server_config(app, settings, **overrides), app.state.service)


def serve(run: Run, settings: ServerSettings | None = None) -> None:
    """Serve a run until Ctrl-C or SIGTERM, and end within a second or two; the run stays open.

    Raises:
        AccessDenied: other machines could reach it and there is no token.
    """
    settings = settings or ServerSettings()
    app = create_server(run, settings)
    server = make_server(app, settings)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
