"""`/v1/definitions`: what would change, the change on its way, and the way back."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headrace.app import App
from headrace.definitions import Changeover
from headrace.errors import BadRequest, ChangeFailed
from headrace.serve.answers import json_response
from headrace.serve.bodies import body_of, parsed_json
from headrace.serve.service import Service

ACTIONS = ("create", "replace", "drop")
ON_BUSY = ("refuse", "queue", "replace")


async def show(request: Request) -> Response:
    """Answer `GET /v1/definitions`: the last change, how far it is and what it does."""
    service: Service = request.app.state.service
    return json_response(facts_of(service.run.change, service.run.undone), service.stamper.stamp())


async def plan(request: Request) -> Response:
    """Answer `GET /v1/definitions/plan`: from what runs to what the project's files say now."""
    service: Service = request.app.state.service

    def work() -> dict[str, Any]:
        found = service.run.plan(_wanted(service))
        return {"plan": found.as_dict(), "text": found.text()}

    return json_response(await service.reads.run(work), service.stamper.stamp())


async def apply(request: Request) -> Response:
    """Answer `POST /v1/definitions/apply`: start putting the project's files in force."""
    service: Service = request.app.state.service
    async with body_of(request, service.settings, service.flight) as body:
        preview, on_busy = _wishes(parsed_json(body) if body.strip() else {})

    def work() -> dict[str, Any]:
        return facts_of(service.run.apply(_wanted(service), preview=preview, wait=False, on_busy=on_busy))

    return json_response(await service.reads.run(work), service.stamper.stamp())


async def cancel(request: Request) -> Response:
    """Answer `POST /v1/definitions/cancel`: give up the change on its way."""
    service: Service = request.app.state.service

    def work() -> dict[str, Any]:
        change = service.run.change
        if change is None:
            raise ChangeFailed("no change is on its way")
        change.cancel()
        return facts_of(change)

    return json_response(await service.reads.run(work), service.stamper.stamp())


async def rollback(request: Request) -> Response:
    """Answer `POST /v1/definitions/rollback`: back to what was before the last change."""
    service: Service = request.app.state.service

    def work() -> dict[str, Any]:
        service.run.rollback(wait=False)
        return facts_of(service.run.change)

    return json_response(await service.reads.run(work), service.stamper.stamp())


async def views(request: Request) -> Response:
    """Answer `POST /v1/definitions/views`: start to create, replace or drop one view."""
    service: Service = request.app.state.service
    async with body_of(request, service.settings, service.flight) as body:
        action, name, sql = _view_wish(parsed_json(body))

    def work() -> dict[str, Any]:
        run = service.run
        if action == "drop":
            run.drop_view(name, wait=False)
        elif action == "create":
            run.create_view(name, sql, wait=False)
        else:
            run.replace_view(name, sql, wait=False)
        return facts_of(run.change)

    return json_response(await service.reads.run(work), service.stamper.stamp())


def facts_of(change: Changeover | None, undone: str | None = None) -> dict[str, Any]:
    """Return a change as JSON values; without one, whether an interrupted one has been undone."""
    if change is None:
        return {
            "state": "none" if undone is None else "undone",
            "resumed": False,
            "progress": None,
            "plan": None,
            "difference": [],
            "text": undone or "nothing has changed",
        }
    return change.as_dict()


def _wanted(service: Service) -> App:
    if service.declarations is None:
        raise ChangeFailed(
            "this server has no project to read declarations from",
            hint="call run.apply(app) in the program that opened the run",
        )
    return service.declarations()


def _view_wish(value: Any) -> tuple[str, str, str]:
    if not isinstance(value, dict) or value.get("action") not in ACTIONS:
        expected = f'"action" with one of: {", ".join(ACTIONS)}'
        raise BadRequest("the body has no meaning here", expected=expected)
    wanted = {"action", "name"} if value["action"] == "drop" else {"action", "name", "sql"}
    if value.keys() != wanted or not all(isinstance(part, str) for part in value.values()):
        raise BadRequest("the body has no meaning here", expected=f"texts named {', '.join(sorted(wanted))}")
    return value["action"], value["name"], value.get("sql", "")


def _wishes(value: Any) -> tuple[bool, Any]:
    if not isinstance(value, dict) or value.keys() - {"preview", "on_busy"}:
        raise BadRequest("the body has no meaning here", expected='{"preview": false, "on_busy": "refuse"}')
    preview, on_busy = value.get("preview", False), value.get("on_busy", "refuse")
    if not isinstance(preview, bool):
        raise BadRequest(f"preview is {preview!r}"[:100], expected="true or false")
    if on_busy not in ON_BUSY:
        raise BadRequest(f"on_busy is {on_busy!r}"[:100], expected=", ".join(ON_BUSY))
    return preview, on_busy
