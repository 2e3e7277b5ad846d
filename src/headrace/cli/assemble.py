"""The server of a project: HTTP interface and pages on one run, under one set of settings."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from headrace.cli.project import Project, load_project
from headrace.console import attach
from headrace.errors import DeclarationError
from headrace.serve import ServerSettings, create_server


def read_settings(host: str, port: int, token: str | None) -> ServerSettings:
    """Return the settings: these three, and the variables of the environment.

    Raises:
        DeclarationError: a variable makes no sense.
        AccessDenied: other machines could reach the server, and no token is set.
    """
    given: dict[str, Any] = {"host": host, "port": port} | ({"token": token} if token else {})
    try:
        settings = ServerSettings(**given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = "_".join(["HEADRACE", *(str(step).upper() for step in first["loc"][:1])])
        raise DeclarationError(
            f"{str(first['input'])!r:.80}: {first['msg']}", where=name, hint="unset it, or see the settings"
        ) from None
    settings.check_exposed()
    return settings


def assemble(project: Project, run: Any, settings: ServerSettings) -> Any:
    """Return the ASGI application: the HTTP interface of the run, and its pages.

    Raises:
        DeclarationError: a page does not fit the views.
    """
    server = create_server(run, settings, declarations=lambda: load_project(project.folder).app)
    attach(server, run, project.dashboards)
    return server
