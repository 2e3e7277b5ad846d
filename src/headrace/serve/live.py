"""Views as they change, over WebSocket and as server-sent events: a snapshot, then numbered changes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Mapping
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from headrace.errors import BadRequest, HeadraceError
from headrace.serve.answers import error_response
from headrace.serve.channel import Channel, ChannelKey
from headrace.serve.messages import Message
from headrace.serve.service import Service
from headrace.serve.viewer import Viewer

EVERY_MS_MAX = 60_000
GONE_CODE = 4404
"""WebSocket close code where the view does not exist, or no longer."""


def key_of(name: str, params: Mapping[str, str], *, arrow_allowed: bool = True) -> ChannelKey:
    """Return which channel a request asks for.

    Raises:
        BadRequest: `every_ms` or `format` makes no sense.
    """
    every = params.get("every_ms", "0")
    if not every.isdigit() or int(every[:9]) > EVERY_MS_MAX:
        raise BadRequest(
            f"every_ms={every!r} is no pause"[:100], expected=f"0 to {EVERY_MS_MAX} milliseconds"
        )
    form = params.get("format", "json")
    if form not in ("json", "arrow") or (form == "arrow" and not arrow_allowed):
        raise BadRequest(
            f"format={form!r} cannot be followed"[:100], expected="json, or arrow over WebSocket"
        )
    return ChannelKey(name.lower(), int(every), form == "arrow")


async def stream(service: Service, channel: Channel, viewer: Viewer) -> AsyncIterator[Message]:
    """Yield what one viewer is to be sent, until it is closed or the view is gone."""
    told: str | None = None
    while not viewer.closed:
        if viewer.wants_snapshot:
            message = await _snapshot(service, channel, viewer)
            if message.kind in ("error", "gone"):
                if message.problem != told:
                    told = message.problem
                    yield message
                if message.kind == "gone":
                    return
                await viewer.wake()
                beat = viewer.next_beat()
                if beat is not None:
                    yield beat
                continue
            if viewer.begin_at(message.version):
                told = None
                yield message
            continue
        following = viewer.next_message()
        if following is not None:
            yield following
        elif not viewer.wants_snapshot:
            await viewer.wake()


async def _snapshot(service: Service, channel: Channel, viewer: Viewer) -> Message:
    async with channel.lock:
        return await service.reads.run(lambda: channel.take_snapshot(viewer.floor))


async def watch_socket(socket: WebSocket) -> None:
    """Handle `WS /v1/views/{name}/changes`."""
    service: Service = socket.app.state.service
    try:
        key = key_of(socket.path_params["name"], socket.query_params)
        channel, viewer = service.broadcast.join(key)
    except HeadraceError as error:
        await refuse_socket(socket, error)
        return
    try:
        await socket.accept()
        await _both(_send_all(socket, service, channel, viewer), _hear(socket))
    except HeadraceError as error:
        with contextlib.suppress(RuntimeError):
            await socket.close(1013, error.problem[:100])
    except (WebSocketDisconnect, RuntimeError, OSError):
        pass
    finally:
        viewer.close()
        service.broadcast.leave(channel, viewer)


async def refuse_socket(socket: WebSocket, error: HeadraceError) -> None:
    """Answer a handshake with the error, as over HTTP."""
    if "websocket.http.response" in socket.scope.get("extensions", {}):
        await socket.send_denial_response(error_response(error))
    else:
        await socket.close(GONE_CODE if error.http_status == 404 else 1008, error.problem[:100])


async def _both(*tasks: Coroutine[Any, Any, None]) -> None:
    """Run until the first one ends, then end the other."""
    running = [asyncio.ensure_future(task) for task in tasks]
    try:
        done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _send_all(socket: WebSocket, service: Service, channel: Channel, viewer: Viewer) -> None:
    async for message in stream(service, channel, viewer):
        await socket.send({"type": "websocket.send", "text": message.text})
        if message.rows is not None:
            await socket.send({"type": "websocket.send", "bytes": message.rows})
        if message.kind == "gone":
            await socket.close(GONE_CODE, "the view is gone")
            return
    await socket.close(1001, "the server stops")


async def _hear(socket: WebSocket) -> None:
    """Read and ignore what the reader says, until it goes away."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


def watch_events(request: Request) -> Response:
    """Answer `GET /v1/views/{name}/changes` with `Accept: text/event-stream`."""
    service: Service = request.app.state.service
    key = key_of(request.path_params["name"], request.query_params, arrow_allowed=False)
    channel, viewer = service.broadcast.join(key)
    headers = {
        "Cache-Control": "no-store",
        "X-Accel-Buffering": "no",
        **service.stamper.stamp(key.view).headers(),
    }
    return EventStream(service, channel, viewer, headers)


class EventStream(StreamingResponse):
    """Server-sent events of one viewer, who leaves the channel however the answer ends."""

    def __init__(
        self, service: Service, channel: Channel, viewer: Viewer, headers: Mapping[str, str]
    ) -> None:
        super().__init__(_events(service, channel, viewer), media_type="text/event-stream", headers=headers)
        self._leave = partial(service.broadcast.leave, channel, viewer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the reader or the server ends it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave()


async def _events(service: Service, channel: Channel, viewer: Viewer) -> AsyncIterator[str]:
    yield "retry: 1000\n\n"
    async for message in stream(service, channel, viewer):
        kind = "error" if message.kind == "gone" else message.kind
        yield f"event: {kind}\nid: {message.version}\ndata: {message.text}\n\n"
