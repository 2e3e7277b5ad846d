"""The pages and what they ask for while they are open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.requests import Request

from headrace.console.assets import Asset, Assets
from headrace.console.generated import relation_json
from headrace.console.overview import overview_json
from headrace.console.panel_json import Json, dashboard_json
from headrace.console.shell import PAGE_HEADERS, page
from headrace.dashboards import Dashboard
from headrace.errors import HeadraceError, UnknownName

if TYPE_CHECKING:
    from headrace.contracts.schema import Schema
    from headrace.runtime import Run

ASSET_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}


class Console:
    """The pages of one run.

    Args:
        run: what they show.
        dashboards: the declared pages.
        asked: the columns of the named queries.
        assets: static files.
    """

    def __init__(
        self, run: Run, dashboards: Sequence[Dashboard], asked: Mapping[str, Schema], assets: Assets
    ) -> None:
        self._run = run
        self._dashboards = {dashboard.name: dashboard for dashboard in dashboards}
        self._asked = asked
        self._assets = assets

    def router(self) -> APIRouter:
        """Return the routes; they stand in no API description, as they are for people."""
        router = APIRouter(include_in_schema=False)
        for path, answer in (
            ("/", self.index),
            ("/dashboards/{name}", self.dashboard),
            ("/views/{name}", self.view),
            ("/tables/{name}", self.view),
            ("/streams/{name}", self.stream),
            ("/console/overview.json", self.overview),
            ("/console/relations/{name}.json", self.relation),
            ("/console/theme.css", self.theme),
            ("/console/vega.js", self.vega),
            ("/console/static/{name}", self.static),
        ):
            router.add_api_route(path, answer, methods=["GET", "HEAD"], response_model=None)
        return router

    # --- pages ------------------------------------------------------------------------------------

    def index(self) -> Response:
        """The first page: dashboards, views, streams, tables."""
        told = {"kind": "index", "overview": self._overview()}
        return self._page(self._run.app.name, "index.js", told, "index")

    def dashboard(self, name: str) -> Response:
        """One declared page."""
        if name not in self._dashboards:
            return self._missing(UnknownName.of("dashboard", name, self._dashboards))
        dashboard = self._dashboards[name]
        told = dashboard_json(dashboard, self._schemas(), self._run.app.named_queries)
        keys = {info.name.lower(): info.key for info in self._run.relations()}
        for panel in told["panels"]:
            if "table" in panel:
                panel["key"] = keys[panel["table"].lower()]
        others = [self._dashboards[one] for one in dashboard.tabs if one in self._dashboards]
        told["tabs"] = [{"name": one.name, "title": one.title or one.name} for one in others]
        return self._page(told["title"], "dashboard.js", told, "dashboard")

    def view(self, name: str) -> Response:
        """The generated page of a view, table or side table."""
        return self._relation_page(name, ("view", "table", "side"), "view.js")

    def stream(self, name: str) -> Response:
        """The generated page of a stream."""
        return self._relation_page(name, ("stream",), "stream.js")

    def _relation_page(self, name: str, kinds: tuple[str, ...], script: str) -> Response:
        found = {info.name.lower(): info for info in self._run.relations() if info.kind in kinds}
        info = found.get(name.lower())
        if info is None:
            return self._missing(UnknownName.of(kinds[0], name, (one.name for one in found.values())))
        look = {"side": "side-table"}.get(info.kind, info.kind)
        return self._page(info.name, script, relation_json(self._run, info), look)

    def _page(self, title: str, script: str, told: Json, look: str) -> Response:
        html = page(title, self._run.app.name, script, told, look=look)
        return HTMLResponse(html, headers=PAGE_HEADERS)

    def _missing(self, error: HeadraceError) -> Response:
        told = {"kind": "missing", "problem": error.render()}
        html = page("Not found", self._run.app.name, "missing.js", told, look="missing")
        return HTMLResponse(html, status_code=404, headers=PAGE_HEADERS)

    def _schemas(self) -> dict[str, Schema]:
        return {**{info.name: info.schema for info in self._run.relations()}, **self._asked}

    # --- what open pages ask for ------------------------------------------------------------------

    def overview(self) -> Response:
        """What the first page shows, as JSON."""
        return JSONResponse(self._overview(), headers={"Cache-Control": "no-store"})

    def _overview(self) -> Json:
        return overview_json(self._run, list(self._dashboards.values()))

    def relation(self, name: str) -> Response:
        """What a generated page shows besides the rows, as JSON."""
        found = {info.name.lower(): info for info in self._run.relations()}
        info = found.get(name.lower())
        if info is None:
            raise UnknownName.of("view", name, (one.name for one in found.values()))
        return JSONResponse(relation_json(self._run, info), headers={"Cache-Control": "no-store"})

    # --- static files -----------------------------------------------------------------------------

    def static(self, name: str, request: Request) -> Response:
        """A file of `console/static`."""
        found = self._assets.get(name)
        return Response(status_code=404) if found is None else _send(found, request)

    def theme(self, request: Request) -> Response:
        """The colours, as CSS variables."""
        return _send(self._assets.theme, request)

    def vega(self, request: Request) -> Response:
        """The chart library."""
        return _send(self._assets.vega(), request)


def _send(found: Asset, request: Request) -> Response:
    headers = ASSET_HEADERS | {"ETag": found.etag}
    if found.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(found.content, media_type=found.media_type, headers=headers)
