"""`headrace plan`, `apply` and `rollback`: definitions beside the running ones, then in their place."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.exits import calmly
from headrace.cli.options import HERE, DataOption, JsonOption, ProjectOption, TokenOption, UrlOption
from headrace.cli.output import note, say, say_json
from headrace.cli.project import data_folder, load_project
from headrace.cli.server_file import find_server
from headrace.errors import ChangeFailed

if TYPE_CHECKING:
    from headrace.definitions import ViewDifference

POLL_S = 0.3


@calmly
def plan(
    project: ProjectOption = HERE,
    data: DataOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the project's files would change in what runs: touched, reused, breaking, cost."""
    with _definitions(project, data, url, token) as asked:
        found = asked.plan()
    if as_json:
        say_json(found["plan"])
    else:
        say(found["text"])


@calmly
def apply(
    project: ProjectOption = HERE,
    data: DataOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Stop before the switch; read the new views as <view>__new.")
    ] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Give up the change that is on its way.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Give up a change that is on its way, for this one.")
    ] = False,
    queue: Annotated[bool, typer.Option("--queue", help="Wait for a change that is on its way.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Put the project's files in force while the old definitions go on answering; show the difference."""
    on_busy = "replace" if replace else "queue" if queue else "refuse"
    with _definitions(project, data, url, token) as asked:
        found = asked.cancel() if cancel else asked.apply(preview, on_busy)
    _tell(found, as_json)


@calmly
def rollback(
    project: ProjectOption = HERE,
    data: DataOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put the definitions before the last change back in force: at once, or after a restart from history."""
    with _definitions(project, data, url, token) as asked:
        found = asked.rollback()
    _tell(found, as_json)


def show_difference(difference: Sequence[ViewDifference]) -> None:
    """Tell what a change did to each view."""
    for item in difference:
        note(item.text())


def _tell(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        say_json(found)
        return
    if found["text"]:
        say(found["text"])
    note(found["state"])


class _Server:
    """A server's definitions."""

    def __init__(self, remote: Any) -> None:
        self._remote = remote

    def plan(self) -> dict[str, Any]:
        last = self._remote.definitions()
        if last["state"] == "undone":
            note(last["text"])
        found: dict[str, Any] = self._remote.plan()
        return found

    def apply(self, preview: bool, on_busy: str) -> dict[str, Any]:
        found = self._remote.apply(preview=preview, on_busy=on_busy)
        return self._followed(found, ("building",) if preview else ("building", "ready"))

    def _followed(self, found: dict[str, Any], passing: tuple[str, ...]) -> dict[str, Any]:
        """Tell how far a change is until it is there."""
        pause = threading.Event()
        while found["state"] in passing:
            progress = found["progress"]
            left_s = progress["seconds_left"]
            left = "" if left_s is None else f", about {left_s:,.0f} s left"
            note(f"{progress['rows']:,} of about {progress['rows_total']:,} rows read{left}", style="dim")
            pause.wait(POLL_S)
            found = self._remote.definitions()
        if found["state"] == "failed":
            raise ChangeFailed(found["progress"]["error"], hint="the old definitions stand")
        return found

    def cancel(self) -> dict[str, Any]:
        found: dict[str, Any] = self._remote.cancel()
        return found

    def rollback(self) -> dict[str, Any]:
        return self._followed(self._remote.rollback(), ("building", "ready"))


class _Folder:
    """A folder that no server holds: opened under its own declarations, for the time of one verb."""

    def __init__(self, run: Any, app: Any) -> None:
        self._run = run
        self._app = app

    def plan(self) -> dict[str, Any]:
        if self._run.undone is not None:
            note(self._run.undone)
        found = self._run.plan(self._app)
        return {"plan": found.as_dict(), "text": found.text()}

    def apply(self, preview: bool, on_busy: str) -> dict[str, Any]:
        change = self._run.apply(self._app, preview=preview, on_busy=on_busy, share=1.0)
        found: dict[str, Any] = change.as_dict()
        if preview and change.is_open:
            change.cancel()
            note("no server runs, so nobody could read the new views: this is their difference, and no more")
            note("nothing is kept of it; `headrace apply` puts it in force")
            found["state"] = "compared"
        return found

    def cancel(self) -> dict[str, Any]:
        raise ChangeFailed("no change is on its way: no server runs")

    def rollback(self) -> dict[str, Any]:
        self._run.rollback()
        note("the project's files still say otherwise: put them back, or the next start refuses the folder")
        found: dict[str, Any] = self._run.change.as_dict()
        return found


@contextlib.contextmanager
def _definitions(
    project: Path, data: Path | None, url: str | None, token: str | None
) -> Iterator[_Server | _Folder]:
    folder = data_folder(project, data)
    found = None if url else find_server(folder)
    if url or found is not None:
        import headrace

        address = url or (found.url if found else "")
        with headrace.connect(address, token=token or (found.token if found else None)) as remote:
            yield _Server(remote)
        return
    app = load_project(project).app
    with app.open(folder, on_change="keep") as run:
        run.advance()
        yield _Folder(run, app)
