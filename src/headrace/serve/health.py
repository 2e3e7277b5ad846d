"""Whether the server lives, is ready, and what it is doing."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from headrace import __version__
from headrace.errors import HeadraceError
from headrace.serve.answers import error_response, iso, json_response
from headrace.serve.metrics import metrics_text
from headrace.serve.service import Service


async def healthz(_: Request) -> Response:
    """Answer that the process lives."""
    return json_response({"status": "ok"})


async def readyz(request: Request) -> Response:
    """Answer whether the run takes rows and answers reads."""
    service: Service = request.app.state.service
    try:
        service.run.wait_for(0, 0)
    except HeadraceError as error:
        return error_response(error, status=503)
    trouble = service.run.trouble
    return json_response({"status": "ready"} | ({} if trouble is None else {"trouble": trouble.problem}))


async def status(request: Request) -> Response:
    """Answer `GET /v1/status`: who serves, since when, how far and how busy."""
    service: Service = request.app.state.service
    await service.reach(request.query_params)
    run = service.run
    stats = await service.reads.run(run.stats)
    version = run.version
    body = {
        "app": run.app.name,
        "headrace": __version__,
        "uptime_s": round(time.time() - service.started_at, 1),
        "commit": stats.get("commit"),
        "version_commit": version.commit,
        "held": list(version.held),
        "clock": iso(version.clock),
        "watermarks": {name: iso(moment) for name, moment in version.watermarks.items()},
        "pending_commits": run.freshness.pending_commits,
        "viewers": service.broadcast.viewers_by_view(),
        "stats": {name: value for name, value in stats.items() if name != "step_buckets"},
    }
    return json_response(body, service.stamper.stamp())


async def metrics(request: Request) -> Response:
    """Answer `GET /metrics` for Prometheus."""
    service: Service = request.app.state.service
    text = await service.reads.run(lambda: metrics_text(service))
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")
