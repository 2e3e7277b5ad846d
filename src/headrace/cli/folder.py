"""`headrace backup`, `restore` and `fsck`: a data folder copied, put back, and held against itself."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.exits import FAILED, calmly, not_found
from headrace.cli.options import HERE, DataOption, JsonOption, ProjectOption
from headrace.cli.output import note, say, say_json
from headrace.cli.project import data_folder, has_project, load_project
from headrace.cli.server_file import find_server
from headrace.errors import FolderLocked, HeadraceError, StorageError

if TYPE_CHECKING:
    from headrace.app import App
    from headrace.functions import PythonFunction

FolderArgument = Annotated[Path, typer.Argument(help="The folder of the copy.")]


@calmly
def backup(
    target: FolderArgument,
    project: ProjectOption = HERE,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy the data folder, also while a server runs: all that was acknowledged before the call is in the
    copy, with the newest checkpoint and the past.
    """
    from headrace.history.copies import copy_folder

    folder = data_folder(project, data)
    if not (folder / "log").is_dir():
        raise not_found("there is no data folder", where=str(folder), hint="name it with --data")
    found = copy_folder(folder, target)
    if as_json:
        say_json(asdict(found))
        return
    kept = "no checkpoint" if found.version is None else f"the checkpoint of version {found.version:,}"
    say(f"{target}: {found.last_commit:,} commits, {kept}, {found.bytes / 1e6:,.1f} MB, read back and whole")


@calmly
def restore(
    source: FolderArgument,
    project: ProjectOption = HERE,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a copy back as the data folder, which must not exist yet or be empty."""
    from headrace.history.copies import copy_folder

    if not (source / "log").is_dir():
        raise not_found("there is no copy of a data folder", where=str(source))
    folder = data_folder(project, data)
    found = copy_folder(source, folder)
    if as_json:
        say_json(asdict(found))
        return
    begins = "" if found.version is None else f" behind version {found.version:,}"
    say(f"{folder}: {found.last_commit:,} commits; `headrace run` computes the views from them{begins}")


@dataclass(frozen=True)
class Found:
    """What one check found: `problem` is None where all is well."""

    check: str
    found: str
    problem: str | None = None


@calmly
def fsck(project: ProjectOption = HERE, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Check a data folder that nobody has open: every checksum, and every view against a recomputation."""
    folder = data_folder(project, data)
    if not (folder / "log").is_dir():
        raise not_found("there is no data folder", where=str(folder), hint="name it with --data")
    holder = find_server(folder)
    if holder is not None:
        raise FolderLocked(
            f"a server runs on it: {holder.url}", where=str(folder), hint="stop it, or check a backup"
        )
    app = load_project(project).app if has_project(project) else None
    findings = list(checks(folder, app))
    if as_json:
        say_json([asdict(one) for one in findings])
    else:
        for one in findings:
            say(f"{'ok  ' if one.problem is None else 'FAIL'} {one.check}: {one.problem or one.found}")
    if any(one.problem for one in findings):
        raise typer.Exit(FAILED)


def checks(folder: Path, app: App | None) -> Iterator[Found]:
    """Yield what is found: the log, the checkpoints, and with an app the views."""
    log = _told("log", lambda: _log(folder))
    yield log
    yield _told("checkpoints", lambda: _checkpoints(folder, {} if app is None else app.functions))
    if (folder / "history").is_dir():
        yield _told("history", lambda: _past(folder))
    if log.problem is not None:
        note("without a whole log the views cannot be computed again")
        return
    if app is None:
        note("there is no project here, so the views were not computed again")
        return
    yield from _views(folder, app)


def _told(check: str, work: Callable[[], str]) -> Found:
    try:
        return Found(check, work())
    except HeadraceError as error:
        place = f" ({error.where})" if error.where else ""
        return Found(check, "", f"{error.problem}{place}")


def _log(folder: Path) -> str:
    from headrace.log.copies import checked

    return f"{checked(folder):,} commits, every checksum right"


def _checkpoints(folder: Path, functions: Mapping[str, PythonFunction]) -> str:
    from headrace.state.checkpoint import Checkpoints

    with _messages() as heard:
        whole = [facts.version for facts, _ in Checkpoints(folder).newest(functions)]
    if heard:
        raise StorageError("; ".join(heard), hint="the log serves without them; they may be deleted")
    return f"{len(whole)} whole" + (f", the newest of version {whole[0]:,}" if whole else "")


def _past(folder: Path) -> str:
    from headrace.history.store import History

    with _messages() as heard:
        versions = History(folder).check()
    if heard:
        raise StorageError("; ".join(heard), hint="versions that need it are gone; the present is whole")
    return f"{versions:,} versions, every checksum right"


@contextmanager
def _messages() -> Iterator[list[str]]:
    """Collect what is logged inside."""
    heard: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    ear, logger = Ear(), logging.getLogger("headrace")
    before, logger.propagate = logger.propagate, False
    logger.addHandler(ear)
    try:
        yield heard
    finally:
        logger.removeHandler(ear)
        logger.propagate = before


def _views(folder: Path, app: App) -> Iterator[Found]:
    """Compare what a start from the checkpoint has with what the log alone gives, and with DuckDB from
    scratch.
    """
    with tempfile.TemporaryDirectory() as scratch:
        alone = Path(scratch) / "data"
        alone.mkdir()
        shutil.copytree(folder / "log", alone / "log")
        with app.open(folder, on_change="keep") as kept, app.open(alone, on_change="keep") as fresh:
            for run in (kept, fresh):
                run.advance()
            for info in kept.relations():
                begun = kept.history_from(info.name)
                if begun is not None:
                    since = f"{begun:%Y-%m-%d %H:%M:%S} UTC"
                    yield Found(info.name, f"not compared: rows from before {since} are no longer kept")
                elif not info.is_logged:
                    yield _told(info.name, partial(_same, kept, fresh, info.name))


def _same(kept: Any, fresh: Any, name: str) -> str:
    from headrace.definitions.difference import Content, view_difference

    info = kept.relation(name)
    if info.error is not None:
        return f"in error, as it should be: {info.error}"
    contents = [Content(run.snapshot(name)[1], info.schema, info.key) for run in (kept, fresh)]
    found = view_difference(name, *contents)
    if not found.is_same:
        raise StorageError(
            f"{found.rows_gone:,} rows are there and should not be, {found.rows_come:,} are missing",
            hint="delete the folder `state` in the data folder; the log is right",
        )
    return f"{found.rows_new:,} rows, as the log gives them"
