"""`headrace replay FILE --stream NAME`: feeds a file into a stream."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.exits import calmly
from headrace.cli.options import HERE, DataOption, JsonOption, ProjectOption, TokenOption, UrlOption


@calmly
def replay(
    file: Annotated[Path, typer.Argument(help="CSV, NDJSON, Parquet or a log file, also gzipped.")],
    stream: Annotated[str, typer.Option("--stream", "-s", help="The stream to feed.")],
    project: ProjectOption = HERE,
    data: DataOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Feed a file into a stream, as fast as it goes or at the pace of its own times."""
    raise NotImplementedError
