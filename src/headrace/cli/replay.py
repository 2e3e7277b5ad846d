"""`headrace replay FILE --stream NAME`: feeds a file into a stream."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.exits import calmly, not_found
from headrace.cli.options import (
    HERE,
    DataOption,
    DelimiterOption,
    EncodingOption,
    FormatOption,
    HeaderOption,
    JsonOption,
    MapOption,
    ProjectOption,
    TokenOption,
    UrlOption,
)
from headrace.cli.output import messages, note, say, say_json
from headrace.cli.project import has_project, load_project
from headrace.cli.session import session

if TYPE_CHECKING:
    from headrace.sources.files import FileSource
    from headrace.sources.replay import Replayed

COUNTS = ("accepted", "repeated", "late", "rejected")


@calmly
def replay(
    file: Annotated[Path, typer.Argument(help="CSV, NDJSON, Parquet, Arrow or a log, also gzipped.")],
    stream: Annotated[str, typer.Option("--stream", "-s", help="The stream to feed.")],
    form: FormatOption = None,
    mapping: MapOption = None,
    pattern: Annotated[
        str | None, typer.Option("--pattern", help="For log lines: a regular expression with named groups.")
    ] = None,
    time_format: Annotated[
        str | None, typer.Option("--time-format", help="As strptime, or epoch, epoch_ms, epoch_us.")
    ] = None,
    time_column: Annotated[
        str | None, typer.Option("--time-column", help="The stream's column that --speed goes by.")
    ] = None,
    speed: Annotated[
        str, typer.Option("--speed", help="max, or 60x: so many times the pace of the file's own times.")
    ] = "max",
    delimiter: DelimiterOption = None,
    header: HeaderOption = True,
    encoding: EncodingOption = "utf-8",
    project: ProjectOption = HERE,
    data: DataOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Feed a file into a stream, as fast as it goes or at the pace of its own times."""
    from headrace.sources.columns import parse_mapping
    from headrace.sources.files import FileSource
    from headrace.sources.registry import ReadOptions
    from headrace.sources.replay import parse_speed

    if not file.is_file():
        problem = "that is a folder" if file.is_dir() else "there is no such file"
        raise not_found(problem, where=str(file))
    options = ReadOptions(delimiter=delimiter, header=header, encoding=encoding, pattern=pattern)
    source = FileSource(file, form, options, parse_mapping(mapping or []), time_format=time_format)
    pace = parse_speed(speed)
    with session(project, data=data, url=url, token=token, auto=True) as asked:
        column = time_column or declared_time(project, stream)
        done, took_s = feed(asked, stream, source, pace, column)
    tell(done, took_s, stream, as_json)


def declared_time(project: Path, stream: str) -> str | None:
    """Return the event time that the project declares for a stream, where there is a project."""
    if not has_project(project):
        return None
    streams = load_project(project).app.streams
    found = next((decl for name, decl in streams.items() if name.lower() == stream.lower()), None)
    return found.event_time if found else None


def feed(
    asked: Any, stream: str, source: FileSource, pace: float | None, time_column: str | None
) -> tuple[Replayed, float]:
    """Send the file with a progress line; return what became of it, and the seconds that it took."""
    from headrace.sources.replay import replay as replay_file

    started = time.monotonic()
    with progress_line(source.path.name) as show:
        done = replay_file(asked, stream, source, speed=pace, time_column=time_column, progress=show)
        if done.commit is not None:
            asked.wait_for(done.commit)
    return done, time.monotonic() - started


@contextmanager
def progress_line(name: str) -> Iterator[Callable[[Replayed], None]]:
    """Show rows and pace on stderr while the block runs; nothing where stderr is no terminal."""
    started = time.monotonic()
    with progress_text(name) as tell_text:

        def show(done: Replayed) -> None:
            rate = done.rows / max(time.monotonic() - started, 1e-3)
            tell_text(f"{done.rows:,} rows, {rate:,.0f} a second, {done.rejected:,} rejected")

        yield show


@contextmanager
def progress_text(name: str) -> Iterator[Callable[[str], None]]:
    """Show on stderr what is being done, and for how long, while the block runs; nothing as above."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    if not sys.stderr.isatty():
        yield lambda _: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=messages(), transient=True) as progress:
        task = progress.add_task(name)
        yield lambda text: progress.update(task, description=f"{name}: {text}")


def tell(done: Replayed, took_s: float, stream: str, as_json: bool) -> None:
    """Write what became of the rows to stdout, and what to look at to stderr."""
    facts = asdict(done) | {"took_s": round(took_s, 3)}
    if as_json:
        say_json(facts)
    else:
        counts = ", ".join(f"{facts[name]:,} {name}" for name in COUNTS if facts[name] or name == "accepted")
        say(f"{done.rows:,} rows in {took_s:.1f} s: {counts}")
    if done.left_out:
        note(f"columns of the file that the stream has no place for: {', '.join(done.left_out)}")
    for count, side in ((done.rejected, "rejected"), (done.late, "late")):
        if count:
            note(f'{side} rows are kept: headrace query -c "SELECT * FROM {stream}__{side} LIMIT 10"')
