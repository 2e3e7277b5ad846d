"""The one way in: add the pages to a server."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.console.assets import Assets, cache_folder
from headrace.console.pages import Console
from headrace.dashboards import Dashboard, check, with_choices
from headrace.errors import UnknownName

if TYPE_CHECKING:
    from fastapi import FastAPI

    from headrace.contracts.schema import Schema
    from headrace.runtime import Run


def attach(
    server_app: FastAPI, run: Run, dashboards: Iterable[Dashboard] = (), *, cache: Path | None = None
) -> None:
    """Add the pages to a server.

    Args:
        server_app: what `headrace.serve.create_server` returned.
        run: the run that it serves.
        dashboards: the declared pages; each is checked against the views first.
        cache: folder for generated files; None: the user's cache folder.

    Raises:
        DeclarationError: a dashboard names a view or column that does not exist.
    """
    declared = list(dashboards)
    asked = check_pages(run, declared)
    declared = [with_choices(one, run.app.named_queries) for one in declared]
    console = Console(run, declared, asked, Assets(cache or cache_folder()))
    server_app.include_router(console.router())


def check_pages(run: Run, dashboards: Iterable[Dashboard]) -> dict[str, Schema]:
    """Compare pages with the views and named queries of a run; return the columns of the queries.

    Raises:
        DeclarationError, UnknownName: the first thing that is wrong.
    """
    declared = list(dashboards)
    queries = run.app.named_queries
    schemas = {info.name: info.schema for info in run.relations()}
    asked = {name: run.asked_schema(name) for name in queries}
    names = {dashboard.name for dashboard in declared}
    for dashboard in declared:
        for tab in dashboard.tabs:
            if tab not in names:
                raise UnknownName.of("dashboard", tab, names)
        check(dashboard, {**schemas, **asked}, queries)
    return asked
