"""`/v1/views`: what there is, rows with filters and pages, schema, plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from headrace.errors import BadRequest
from headrace.query import QueryLimits
from headrace.runtime import RelationInfo
from headrace.serve.answers import Page, Stamp, columns_of, json_response, rows_response, wanted_format
from headrace.serve.cursors import Listing
from headrace.serve.filters import Listed, listed
from headrace.serve.service import Service


def described(info: RelationInfo) -> dict[str, Any]:
    """Return one readable name for a body."""
    return {
        "name": info.name,
        "kind": info.kind,
        "columns": columns_of(info.schema),
        "key": None if info.key is None else list(info.key),
        "sql": info.sql,
        "rows": info.rows,
        "error": info.error,
    }


async def list_views(request: Request) -> Response:
    """Answer `GET /v1/views`: every readable name; `?kind=view` narrows it."""
    service: Service = request.app.state.service
    infos = await service.reads.run(service.run.relations)
    kind = request.query_params.get("kind")
    found = [described(info) for info in infos if kind is None or info.kind == kind]
    return json_response({"views": found}, service.stamper.stamp())


async def schema_of(request: Request) -> Response:
    """Answer `GET /v1/views/{name}/schema`."""
    service: Service = request.app.state.service
    info = service.run.relation(request.path_params["name"])
    return json_response(described(info), service.stamper.stamp(info.name))


async def explain(request: Request) -> Response:
    """Answer `GET /v1/views/{name}/explain`: the operators, as data and as text."""
    service: Service = request.app.state.service
    name = request.path_params["name"]
    plan = await service.reads.run(lambda: service.run.explain(name))
    facts = plan.as_dict() if hasattr(plan, "as_dict") else _plain(plan)
    body = {"view": service.run.relation(name).name, "text": str(plan), "plan": facts}
    return json_response(body, service.stamper.stamp(name))


def _plain(plan: Any) -> Any:
    return asdict(plan) if is_dataclass(plan) and not isinstance(plan, type) else None


async def read_view(request: Request) -> Response:
    """Answer `GET /v1/views/{name}`: rows of one version, filtered, ordered, in pages."""
    service: Service = request.app.state.service
    params = request.query_params
    kind = wanted_format(request.headers.get("accept", ""), params.get("format"))
    await service.reach(params)
    info = service.run.relation(request.path_params["name"])
    asked = listed(info.name, info.schema, params.multi_items(), info.order, service.settings.sql_rows_max)

    def work() -> Response:
        page = _next_page(service, info, asked) if asked.cursor else _first_page(service, info, asked)
        next_cursor = page.extra["next"]
        if next_cursor:
            link = {**dict(params), "cursor": next_cursor}
            address = f"{request.url.path}?{urlencode(link)}"
            page = Page(
                page.table,
                page.schema,
                page.stamp,
                page.extra,
                {"Headrace-Next": next_cursor, "Link": f'<{address}>; rel="next"'},
            )
        return rows_response(page, kind)

    return await service.reads.run(work)


def _first_page(service: Service, info: RelationInfo, asked: Listed) -> Page:
    limits = service.settings.limits
    free = QueryLimits(limits.timeout_s, None, limits.result_bytes_max)
    answer = service.run.answer(asked.sql, asked.params, limits=free)
    stamp = _stamp(service, info, answer.version, answer.freshness)
    listing = Listing(info.name.lower(), answer.table, answer.schema, stamp)
    return _page(service, info, listing, 0, asked.limit, None)


def _next_page(service: Service, info: RelationInfo, asked: Listed) -> Page:
    name, _, offset = (asked.cursor or "").rpartition(".")
    if not offset.isdigit() or len(offset) > 15:
        raise BadRequest("the cursor is not one of ours", expected="the `next` of the page before")
    listing = service.cursors.find(name, info.name)
    return _page(service, info, listing, int(offset), asked.limit, name)


def _page(
    service: Service, info: RelationInfo, listing: Listing, offset: int, limit: int, name: str | None
) -> Page:
    end = offset + limit
    following = None
    if end < listing.table.num_rows:
        name = name or service.cursors.keep(listing)
        following = f"{name}.{end}"
    extra: Mapping[str, Any] = {"view": info.name, "row_count": listing.table.num_rows, "next": following}
    return Page(listing.table.slice(offset, limit), listing.schema, listing.stamp, extra)


def _stamp(service: Service, info: RelationInfo, version: Any, freshness: Any) -> Stamp:
    watermark = service.stamper.stamp(info.name, version).watermark
    return Stamp(version, freshness, watermark)
