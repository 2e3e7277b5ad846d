"""The `headrace` command: registers the verbs and starts one."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from headrace.cli import warm_up
from headrace.cli.verbs import VERBS

app = typer.Typer(
    name="headrace",
    help="Streams and tables in, SQL views kept exactly right, answers out.",
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 out of reach, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def show_version(wanted: bool) -> None:
    """Write the version and end, where it is asked for."""
    if wanted:
        sys.stdout.write(f"headrace {version('headrace')}\n")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and end."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks; may stand anywhere on the line.")
    ] = False,
) -> None:
    """Take the options that belong to no verb."""
    if debug:
        os.environ["HEADRACE_DEBUG"] = "1"


for name, verb in VERBS.items():
    app.command(name)(verb)


def main() -> None:
    """Run the command line; the way in of the installed `headrace` script."""
    words = sys.argv[1:]
    ours = words[: words.index("--")] if "--" in words else words
    if "--debug" in ours:
        sys.argv[1:] = ["--debug", *(word for word in ours if word != "--debug"), *words[len(ours) :]]
    warm_up.begin()
    try:
        app(prog_name="headrace")
    finally:
        warm_up.end()
