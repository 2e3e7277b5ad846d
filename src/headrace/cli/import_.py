"""`headrace import PATH…`: files into the tables and streams they are named after, or through a source."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
from headrace.cli.output import note, say, say_json
from headrace.cli.replay import COUNTS, progress_line, progress_text
from headrace.cli.session import session
from headrace.errors import DeclarationError, HeadraceError, UnknownName

if TYPE_CHECKING:
    from headrace.sources.files import FileSource

KINDS = {"table": "upsert", "stream": "append"}
SHEETS = (".csv", ".tsv")
SKIPPED = (".", "_")
"""Files whose names begin so are left alone in a folder."""
NAMED_MAX = 10
"""So many files that were not tried are told by name; --json has all."""


@dataclass(frozen=True)
class Imported:
    """What has become of one file.

    Attributes:
        lines: of a sheet that was given to a source, without its heading; None: it is no sheet.
        state: what is not `taken` either `failed`, or came after what did and was `not tried`.
        error: what went wrong with what failed.
    """

    file: str
    into: str
    rows: int = 0
    accepted: int = 0
    repeated: int = 0
    late: int = 0
    rejected: int = 0
    commit: int | None = None
    first_rejection: str | None = None
    lines: int | None = None
    state: Literal["taken", "failed", "not tried"] = "taken"
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class _Task:
    """A file, where it goes, and what puts it there."""

    file: Path
    into: str
    work: Callable[[], Imported]


@calmly
def import_files(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders of files.")],
    into: Annotated[
        str | None, typer.Option("--into", help="The table or stream; default: by the file's name.")
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", help="Give the files to this source of the app instead.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", help="NAME=VALUE: told to the source, such as merchant=acme."),
    ] = None,
    form: FormatOption = None,
    mapping: MapOption = None,
    delimiter: DelimiterOption = None,
    header: HeaderOption = True,
    encoding: EncodingOption = "utf-8",
    project: ProjectOption = HERE,
    data: DataOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load files into tables and streams: each into the one that it is named after."""
    from headrace.sources.columns import parse_mapping
    from headrace.sources.files import FileSource
    from headrace.sources.registry import ReadOptions

    files = list(_files(paths, any_name=source is not None))
    params = _parameters(param or [], source)
    options = ReadOptions(delimiter=delimiter, header=header, encoding=encoding)
    pattern = FileSource(Path(), form, options, parse_mapping(mapping or []))
    with ExitStack() as stack:
        asked: Any = stack.enter_context(session(project, data=data, url=url, token=token, auto=True))
        if source is not None:
            tasks = [_Task(f, source, partial(_delivered, asked, f, source, params)) for f in files]
        else:
            wanted = [(f, *_relation(asked, f, into)) for f in files]
            tasks = [
                _Task(f, name, partial(_loaded, asked, replace(pattern, path=f), name, verb))
                for f, name, verb in wanted
            ]
        done = _in_turn(tasks, as_json)
        last = max((one.commit for one in done if one.commit is not None), default=None)
        if last is not None:
            with progress_text(f"commit {last}") as show:
                show("waiting until it is in the views")
                asked.wait_for(last)
    _tell(done, as_json)


def _in_turn(tasks: Sequence[_Task], as_json: bool) -> list[Imported]:
    """Take the files in, one after the other; where one fails, tell what is in by then, and what is not."""
    done: list[Imported] = []
    for number, task in enumerate(tasks):
        try:
            done.append(task.work())
        except BaseException as error:
            facts = error.as_dict() if isinstance(error, HeadraceError) else {"problem": str(error)}
            failed = Imported(task.file.name, task.into, state="failed", error=facts)
            left = [Imported(one.file.name, one.into, state="not tried") for one in tasks[number + 1 :]]
            _tell([*done, failed, *left], as_json)
            raise
    return done


def _files(paths: Sequence[Path], any_name: bool) -> Iterator[Path]:
    """Yield the files, those of a folder by name; in a folder, only files of a known format."""
    from headrace.sources.registry import formats

    known = {suffix for item in formats().values() for suffix in item.suffixes}
    for path in paths:
        if path.is_dir():
            inside = (file for file in sorted(path.iterdir()) if file.is_file())
            named = (file for file in inside if not file.name.startswith(SKIPPED))
            yield from (f for f in named if any_name or known & {s.lower() for s in f.suffixes})
        elif path.is_file():
            yield path
        else:
            raise not_found("there is no such file or folder", where=str(path))


def _relation(asked: Any, file: Path, into: str | None) -> tuple[str, str]:
    """Return the table or stream that a file is for, and how its rows go in; before anything is sent."""
    name = into or file.name.partition(".")[0]
    infos = {info.name.lower(): info for info in asked.relations() if info.kind in KINDS}
    found = infos.get(name.lower())
    if found is None:
        error = UnknownName.of("table or stream", name, infos)
        error.where = str(file)
        error.hint = error.hint or "--into NAME says which it is for"
        error.args = (error.render(),)
        raise error
    return found.name, KINDS[found.kind]


def _loaded(asked: Any, source: FileSource, name: str, verb: Any) -> Imported:
    from headrace.sources.replay import replay as replay_file

    with progress_line(source.path.name) as show:
        done = replay_file(asked, name, source, verb=verb, progress=show)
    facts = {key: getattr(done, key) for key in ("rows", *COUNTS, "commit")}
    if done.left_out:
        note(f"{source.path.name}: columns that {name} has no place for: {', '.join(done.left_out)}")
    return Imported(source.path.name, name, **facts)


def _delivered(asked: Any, file: Path, source: str, params: dict[str, str]) -> Imported:
    with progress_text(file.name) as show:
        show("reading")
        body = file.read_bytes()
        show(f"{len(body):,} bytes given to {source}, waiting for the answer")
        results = asked.receive(source, body, params={"file": file.name, **params})
    counts = {name: sum(getattr(result, name) for result in results) for name in COUNTS}
    reasons = [rejection.reason for result in results for rejection in result.rejections]
    commits = [result.commit for result in results if result.commit is not None]
    first, last = next(iter(reasons), None), max(commits, default=None)
    return Imported(
        file.name,
        source,
        sum(counts.values()),
        **counts,
        commit=last,
        first_rejection=first,
        lines=_lines(file, body),
    )


def _lines(file: Path, body: bytes) -> int | None:
    """Count the lines of a sheet below its heading; a cell may hold line breaks."""
    if file.suffix.lower() not in SHEETS:
        return None
    rows = csv.reader(io.StringIO(body.decode("utf-8-sig", "replace"), newline=""))
    return max(0, sum(1 for row in rows if "".join(row).strip(";\t ")) - 1)


def _parameters(given: Sequence[str], source: str | None) -> dict[str, str]:
    if given and source is None:
        raise DeclarationError("--param is told to a source", where=given[0], hint="--source NAME")
    pairs = [text.partition("=") for text in given]
    broken = next((name for name, equals, _ in pairs if not equals or not name), None)
    if broken is not None:
        raise DeclarationError(f"{broken!r} is no parameter", where="--param", expected="NAME=VALUE")
    return {name: value for name, _, value in pairs}


def _tell(done: Sequence[Imported], as_json: bool) -> None:
    if as_json:
        say_json([asdict(one) for one in done])
        return
    for one in done:
        if one.state == "taken":
            _tell_taken(one)
    failed = [f"{one.file} into {one.into}" for one in done if one.state == "failed"]
    left = [one.file for one in done if one.state == "not tried"]
    if failed and len(done) > 1:
        note(f"failed: {failed[0]}")
    if left:
        more = f" and {len(left) - NAMED_MAX:,} more" if len(left) > NAMED_MAX else ""
        note(f"not tried: {', '.join(left[:NAMED_MAX])}{more}")


def _tell_taken(one: Imported) -> None:
    counts = (f"{getattr(one, name):,} {name}" for name in COUNTS if getattr(one, name))
    what = ", ".join(counts) or "nothing"
    read = "" if one.lines is None else f"{one.lines:,} line{'' if one.lines == 1 else 's'}; rows of tables: "
    say(f"{one.file} into {one.into}: {read}{what}")
    if one.first_rejection:
        note(f"first rejection: {one.first_rejection}")
    elif one.rejected:
        note(f'rejected rows are kept: headrace query -c "SELECT * FROM {one.into}__rejected LIMIT 10"')
