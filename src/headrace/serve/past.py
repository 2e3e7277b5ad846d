"""The past over HTTP: moments as they are written, and `POST /v1/difference`."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headrace.errors import BadRequest
from headrace.history.difference import to_arrow
from headrace.serve.answers import ARROW, FORMATS, json_response, wanted_format
from headrace.serve.bodies import body_of, parsed_json
from headrace.serve.service import Service

MOMENT_CHARS_MAX = 100


def moment_of(value: Any, name: str = "as_of") -> int | str | None:
    """Return a moment as a caller wrote it; None where he wrote none.

    Raises:
        BadRequest: it is neither a number nor a text.
    """
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, str) and 0 < len(value) <= MOMENT_CHARS_MAX:
        return value
    raise BadRequest(f"{name} is no moment", expected='a version, or a time such as "2026-01-31T12:00:00Z"')


async def difference(request: Request) -> Response:
    """Answer `POST /v1/difference`: why a view differs between two moments."""
    service: Service = request.app.state.service
    kind = wanted_format(request.headers.get("accept", ""), request.query_params.get("format"))
    if kind not in (ARROW, FORMATS["json"]):
        raise BadRequest("a difference is answered as JSON or Arrow")
    async with body_of(request, service.settings, service.flight) as body:
        view, since, until, causes, where = _question(parsed_json(body))

    def work() -> Response:
        found = service.run.difference(view, since, until, causes, where=where)
        stamp = service.stamper.stamp(found.view, found.until)
        if kind == ARROW:
            return Response(to_arrow(found), headers=stamp.headers(), media_type=ARROW)
        facts = found.as_dict()
        return json_response({**facts, "text": found.text()}, stamp)

    return await service.reads.run(work)


Question = tuple[
    str, int | str, int | str | None, dict[str, list[str]] | None, dict[str, str | int | bool | None] | None
]


def _question(value: Any) -> Question:
    expected = '{"view": "gmv", "since": 7, "until": null, "causes": {"exchange rate": ["fx_rates"]}}'
    if not isinstance(value, dict) or not isinstance(value.get("view"), str):
        raise BadRequest("the body does not name a view", expected=expected)
    unknown = sorted(value.keys() - {"view", "since", "until", "causes", "where"})
    if unknown:
        raise BadRequest(f"{unknown[0]!r} has no meaning here"[:200], expected=expected)
    since = moment_of(value.get("since"), "since")
    if since is None:
        raise BadRequest("the body does not say since when", expected=expected)
    causes = value.get("causes")
    if causes is not None and not _are_causes(causes):
        raise BadRequest("causes is not a list of names by cause", expected=expected)
    where = value.get("where")
    if where is not None and not _are_values(where):
        raise BadRequest("where is not a value by column", expected='{"merchant_id": "acme"}')
    return value["view"], since, moment_of(value.get("until"), "until"), causes, where


def _are_values(value: Any) -> bool:
    plain = (str, int, bool, type(None))
    return isinstance(value, dict) and all(isinstance(one, plain) for one in value.values())


def _are_causes(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in value.values()
    )
