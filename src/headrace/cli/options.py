"""Options that several verbs share, spelled once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ProjectOption = Annotated[
    Path,
    typer.Option("--project", "-C", envvar="HEADRACE_PROJECT", help="The folder with app.py."),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data", envvar="HEADRACE_DATA", help="The data folder; default: data in the project folder."
    ),
]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", envvar="HEADRACE_URL", help="Ask this server instead of looking for one."),
]
TokenOption = Annotated[
    str | None,
    typer.Option("--token", envvar="HEADRACE_TOKEN", help="The token that the server wants."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write the data as JSON.")]
HERE = Path()
