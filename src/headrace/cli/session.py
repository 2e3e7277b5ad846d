"""Whom a verb asks: the server that holds the data folder, or the folder itself where no server runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from headrace.cli import warm_up
from headrace.cli.exits import not_found
from headrace.cli.project import data_folder, has_project, load_project
from headrace.cli.server_file import find_server
from headrace.errors import ConnectError, FolderLocked


class Asked(Protocol):
    """The methods that a run and a connected client have in common, as far as the command line calls them."""

    def answer(self, sql: str) -> Any:
        """Answer one SELECT, with version and freshness."""

    def relations(self) -> Any:
        """Return every readable name."""

    def relation(self, name: str) -> Any:
        """Return one readable name."""

    def explain(self, view: str) -> Any:
        """Return the operators of a view."""

    def append(self, stream: str, rows: Any) -> Any:
        """Append rows to a stream."""

    def wait_for(self, commit: int) -> Any:
        """Wait until a commit is in a version."""


@contextlib.contextmanager
def session(
    project: Path,
    *,
    data: Path | None = None,
    url: str | None = None,
    token: str | None = None,
    auto: bool = False,
) -> Iterator[Asked]:
    """Yield whom to ask.

    Args:
        project: the project folder.
        data: the data folder; None: `data` in the project.
        url: a server; None: the one that holds the data folder, else the folder itself.
        token: what the server wants; None: what the server has written beside its address.
        auto: step in the background, where the folder is opened.

    Raises:
        ConnectError: the server does not answer.
        ProjectError: there is neither a server nor a project.
        StorageError: the folder cannot be opened.
    """
    with contextlib.ExitStack() as stack:
        asked = stack.enter_context(_asked(project, data_folder(project, data), url, token, auto))
        warm_up.done()
        yield asked


def _asked(
    project: Path, folder: Path, url: str | None, token: str | None, auto: bool
) -> contextlib.AbstractContextManager[Any]:
    import headrace

    if url:
        return headrace.connect(url, token=token)
    found = find_server(folder)
    if found is None:
        return _opened(project, folder, auto)
    try:
        return headrace.connect(found.url, token=token or found.token)
    except ConnectError as error:
        # It was killed and its number is that of another process now, or it hangs: the lock tells which.
        try:
            return _opened(project, folder, auto)
        except FolderLocked:
            raise error from None


def _opened(project: Path, folder: Path, auto: bool) -> contextlib.AbstractContextManager[Any]:
    if not has_project(project):
        raise not_found(
            "there is neither a project nor a running server",
            where=str(project.resolve()),
            hint="go to a project folder, name it with --project, or name a server with --url",
        )
    run = load_project(project).app.open(folder, auto=auto)
    run.advance()
    return run
