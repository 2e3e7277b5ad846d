"""Whom a verb asks: the server that holds the data folder, or the folder itself where no server runs."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from headrace.cli import warm_up
from headrace.cli.exits import not_found
from headrace.cli.output import note
from headrace.cli.project import data_folder, has_project, load_project
from headrace.cli.server_file import ServerAddress, find_server, is_alive
from headrace.errors import ConnectError, FolderLocked

KNOCK_S = 3.0
"""How long a server may take to let anybody in."""
OPENING_S = 20.0
"""How long a folder in use is waited for: a server that is opening it says where it is when it is done."""
LOOK_S = 0.1


class Asked(Protocol):
    """The methods that a run and a connected client have in common, as far as the command line calls them."""

    def answer(self, sql: str, *, as_of: str | None = None) -> Any:
        """Answer one SELECT, with version and freshness, now or as it was."""

    def difference(
        self, view: str, since: str, until: str | None = None, causes: Any = None, *, where: Any = None
    ) -> Any:
        """Return why a view differs between two moments."""

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
    if url:
        return _connected(url, token)
    found = find_server(folder)
    if found is None:
        try:
            return _opened(project, folder, auto)
        except FolderLocked as error:
            found = _opening(folder, error)
            if found is None:
                return _opened(project, folder, auto)
    try:
        return _connected(found.url, token or found.token)
    except ConnectError as error:
        # It was killed and its number is that of another process now, or it hangs: the lock tells which.
        try:
            return _opened(project, folder, auto)
        except FolderLocked:
            raise error from None


def _opening(folder: Path, error: FolderLocked) -> ServerAddress | None:
    """Wait for the server that is opening the folder; None: the time is up, or nobody opens it."""
    owner = str(error.details.get("pid", ""))
    pid = int(owner) if owner.isdecimal() else os.getpid()
    if pid in (0, os.getpid()):
        return None
    note(f"{error.problem}; waiting for its server", style="dim")
    end = time.monotonic() + OPENING_S
    while time.monotonic() < end:
        found = find_server(folder)
        if found is not None:
            return found
        if not is_alive(pid):
            return None
        time.sleep(LOOK_S)  # sleeps: nothing tells when another process has opened its folder
    return None


def _connected(url: str, token: str | None) -> contextlib.AbstractContextManager[Any]:
    """Connect at once or not at all: a client is patient with a server that restarts, a person is not."""
    import headrace
    from headrace.client.transport import split_url

    address, _ = split_url(url)
    parts = urlsplit(address)
    try:
        place = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        socket.create_connection(place, timeout=KNOCK_S).close()
    except (OSError, UnicodeError) as error:
        raise ConnectError(
            f"nobody answers: {getattr(error, 'strerror', None) or error}",
            where=address,
            hint="is the server running? headrace run starts it",
        ) from None
    return headrace.connect(url, token=token)


def _opened(project: Path, folder: Path, auto: bool) -> contextlib.AbstractContextManager[Any]:
    if not has_project(project):
        raise not_found(
            "there is neither a project nor a running server",
            where=str(project.resolve()),
            hint="go to a project folder, name it with --project, or name a server with --url",
        )
    run = load_project(project).app.open(folder, auto=auto, sinks=False)
    run.advance()
    return run
