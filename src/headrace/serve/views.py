"""`/v1/views`: what there is, rows with filters and pages, schema, plan."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass, replace
from typing import Any
from urllib.parse import urlencode

import pyarrow as pa
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from headrace.contracts.schema import Schema
from headrace.errors import BadRequest
from headrace.relations import RelationInfo
from headrace.serve.answers import Page, columns_of, json_response, rows_response, wanted_format
from headrace.serve.cursors import Listing
from headrace.serve.filters import listed
from headrace.serve.past import moment_of
from headrace.serve.service import Service

SORTED_ROWS_MAX = 100_000
"""Rows of a view that are sorted also where nobody asks for an order."""


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

    def work() -> Response:
        page = _page(service, request.path_params["name"], params)
        following = page.extra["next"]
        headers = {}
        if following:
            address = f"{request.url.path}?{urlencode({**dict(params), 'cursor': following})}"
            headers = {"Headrace-Next": following, "Link": f'<{address}>; rel="next"'}
        return rows_response(replace(page, headers=headers), kind)

    return await service.reads.run(work)


def _page(service: Service, view: str, params: QueryParams) -> Page:
    as_of = moment_of(params.get("as_of"))
    info = service.run.relation(view, as_of=as_of)
    rows_max = service.settings.sql_rows_max
    asked = listed(info.name, info.schema, params.multi_items(), info.order, rows_max)
    if asked.cursor:
        name, _, offset = asked.cursor.rpartition(".")
        if not offset.isdigit() or len(offset) > 15:
            raise BadRequest("the cursor is not one of ours", expected="the `next` of the page before")
        listing = service.cursors.find(name, info.name)
        rows, schema = _rows(service, listing, asked.limit, int(offset))
        return _told(info, listing, rows, schema, name, int(offset) + asked.limit)
    version, table = service.run.snapshot(info.name, as_of=as_of)
    if table.num_rows > SORTED_ROWS_MAX:
        asked = listed(info.name, info.schema, params.multi_items(), info.order, rows_max, is_small=False)
    stamp = service.stamper.stamp(info.name, version)
    if as_of is not None:
        stamp = replace(stamp, freshness=service.run.freshness_of(version), refreshed={})
    values = tuple(asked.params)
    listing = Listing(info.name.lower(), table, info.schema, asked.sql, values, table.num_rows, stamp)
    rows, schema = _rows(service, listing, asked.limit, 0)
    if rows.num_rows < asked.limit:
        return _told(info, replace(listing, row_count=rows.num_rows), rows, schema, None, 0)
    if asked.count_sql is not None:
        counted = _asked(service, listing, asked.count_sql)[0]
        listing = replace(listing, row_count=counted.column(0)[0].as_py())
    kept = service.cursors.keep(listing) if listing.row_count > asked.limit else None
    return _told(info, listing, rows, schema, kept, asked.limit)


def _rows(service: Service, listing: Listing, limit: int, offset: int) -> tuple[pa.Table, Schema]:
    return _asked(service, listing, f"{listing.sql} LIMIT {limit} OFFSET {offset}")


def _asked(service: Service, listing: Listing, sql: str) -> tuple[pa.Table, Schema]:
    tables, schemas = {listing.view: listing.table}, {listing.view: listing.schema}
    return service.reader.run(sql, listing.params, tables, schemas, service.settings.limits)


def _told(
    info: RelationInfo, listing: Listing, rows: pa.Table, schema: Schema, name: str | None, end: int
) -> Page:
    following = f"{name}.{end}" if name is not None and end < listing.row_count else None
    extra = {"view": info.name, "row_count": listing.row_count, "next": following}
    return Page(rows, schema, listing.stamp, extra)
