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
FormatOption = Annotated[
    str | None, typer.Option("--format", "-f", help="The file's format; default: by its name.")
]
MapOption = Annotated[
    list[str] | None,
    typer.Option("--map", "-m", help="COLUMN=SOURCE: the column from one of the file's, or from SQL."),
]
DelimiterOption = Annotated[str | None, typer.Option("--delimiter", help="Between the columns of a CSV.")]
HeaderOption = Annotated[
    bool, typer.Option("--header/--no-header", help="Whether the first line of a CSV names the columns.")
]
EncodingOption = Annotated[str, typer.Option("--encoding", help="Of a text file.")]
HERE = Path()
