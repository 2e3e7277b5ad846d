"""`headrace run`: opens the data folder, steps by itself, and serves API and pages until Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated, Any

import typer

from headrace.cli.exits import USAGE, calmly
from headrace.cli.options import HERE, DataOption, JsonOption, ProjectOption
from headrace.cli.output import complain, note, say, say_json
from headrace.errors import AccessDenied, DeclarationError


@calmly
def run(
    host: Annotated[
        str, typer.Option("--host", envvar="HEADRACE_HOST", help="The address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option("--port", envvar="HEADRACE_PORT", min=0, max=65535, help="The port; 0: any free."),
    ] = 8080,
    project: ProjectOption = HERE,
    data: DataOption = None,
    token: Annotated[
        str | None,
        typer.Option("--token", envvar="HEADRACE_TOKEN", help="What requests must bring."),
    ] = None,
    dev: Annotated[
        bool, typer.Option("--dev", help="Take over edits of app.py, views and dashboards as they are saved.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the project: take in events, keep the views, serve API and pages. Ctrl-C ends it."""
    from headrace.cli.assemble import read_settings
    from headrace.cli.serving import Serving, listen

    try:
        settings = read_settings(host, port, token)
    except (AccessDenied, DeclarationError) as error:
        complain(error)
        raise typer.Exit(USAGE) from None
    serving = Serving(project, data, settings=settings, dev=dev, announce=lambda url: announce(url, as_json))
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        serving.load()
        with listen(host, port) as door:
            serving.serve(door)
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
    note("stopped; everything that was acknowledged is on disk")


def _interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


def announce(url: str, as_json: bool) -> None:
    """Tell where the server listens: the URL alone on stdout, so that a program can read it."""
    if as_json:
        say_json({"url": url, "pid": os.getpid()})
    else:
        say(url)
    sys.stdout.flush()
