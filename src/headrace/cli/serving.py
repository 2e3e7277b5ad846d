"""The life of a serving process: load, open, listen, serve, and with `--dev` apply each saved edit."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from headrace.cli import warm_up
from headrace.cli.definitions import show_difference
from headrace.cli.output import complain, note
from headrace.cli.project import Project, data_folder, load_project
from headrace.cli.server_file import ServerAddress, announced, find_server
from headrace.errors import ConnectError, FolderLocked, HeadraceError

if TYPE_CHECKING:
    from headrace.runtime import Run
    from headrace.serve.settings import ServerSettings

BACKLOG = 2_048
WATCHED = (".py", ".sql", ".yaml", ".yml")


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, so that the very next line may print its address.

    Raises:
        ConnectError: the port is taken, or the host is not an address of this machine.
    """
    where = f"{host}:{port}"
    try:
        family, *_, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        door = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ConnectError(f"cannot listen: {error}", where=where, hint="--host 127.0.0.1") from None
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(address)
        door.listen(BACKLOG)
    except OSError as error:
        door.close()
        raise ConnectError(
            f"cannot listen: {error.strerror or error}",
            where=where,
            expected="a free port of this machine",
            hint=f"--port {free_port(port)}, or --port 0 for any free one",
        ) from None
    return door


def free_port(port: int) -> int:
    """Return a port above `port` that is free on the loopback at present; 0 where none of the next 50 is."""
    for candidate in range(port + 1, min(port + 51, 65_536)):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", candidate)) != 0:
                return candidate
    return 0


def url_of(door: socket.socket) -> str:
    """Return the address that a browser on this machine can open."""
    host, port = door.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - read, not bound
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Serving:
    """One serving process.

    Args:
        folder: the project folder.
        data: the data folder; None: `data` in the project.
        settings: of the server.
        dev: watch the project, and put every good edit in force beside what runs.
        announce: called with the URL, once.
    """

    def __init__(
        self,
        folder: Path,
        data: Path | None,
        *,
        settings: ServerSettings,
        dev: bool = False,
        announce: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._data = data_folder(folder, data)
        self._settings = settings
        self._dev = dev
        self._announce: Callable[[str], None] | None = announce
        self._project: Project | None = None
        self._again = False
        self._stop = threading.Event()
        self._digests: dict[Path, bytes] = {}

    def load(self) -> Project:
        """Load the project, so that its errors are told before anything is opened."""
        self._project = load_project(self._folder)
        return self._project

    def serve(self, door: socket.socket) -> None:
        """Serve on a listening socket until an interrupt. A good edit of SQL (`dev`) is put in force and
        disturbs nobody; after any other the doors and pages are made anew, while the run stays open.

        Raises:
            FolderLocked: another process holds the data folder; the hint says which.
        """
        project = self._project or self.load()
        with self._opened(project) as run:
            self._tell_change(run)
            self._again = True
            while self._again:
                self._again = False
                self._serve_once(self._project or project, run, door)

    def _serve_once(self, project: Project, run: Run, door: socket.socket) -> None:
        url = url_of(door)
        address = ServerAddress(url, os.getpid(), next(iter(self._settings.secrets), None))
        server = self._server(project, run, door)
        warm_up.done()
        with announced(self._data, address):
            self._tell(url)
            watcher = self._watch(server, run, url) if self._dev else None
            try:
                server.run(sockets=[door.dup()])
            finally:
                self._stop.set()
                if watcher:
                    watcher.join()

    def _tell_change(self, run: Run) -> None:
        """Tell what the opening has changed, undone or begun again."""
        if run.undone is not None:
            note(run.undone)
        if run.change is not None and run.change.resumed:
            note("a change that was interrupted goes on; GET /v1/definitions tells how far it is")
        elif run.change is not None:
            show_difference(run.change.difference)

    def _opened(self, project: Project) -> Run:
        if (self._data / "log").exists():
            note(f"opening {self._data}/ …", style="dim")
        try:
            return project.app.open(
                self._data,
                auto=True,
                on_change="apply" if self._dev else "refuse",
                state_bytes_max=self._settings.state_bytes_max,
                recompute_rows_max=self._settings.recompute_rows_max,
                reach_rows_max=self._settings.reach_rows_max,
                checkpoints=self._settings.checkpoints,
            )
        except FolderLocked as error:
            holder = find_server(self._data)
            if holder is None:
                raise
            raise FolderLocked(
                f"a server already runs on it: {holder.url} (process {holder.pid})",
                where=str(self._data),
                hint=f"use that one, or stop it: kill {holder.pid}",
            ) from error

    def _server(self, project: Project, run: Any, door: socket.socket) -> uvicorn.Server:
        from headrace.cli.assemble import assemble
        from headrace.serve import make_server

        settings = self._settings.model_copy(update={"port": door.getsockname()[1]})
        return make_server(assemble(project, run, settings), settings, backlog=BACKLOG)

    def _tell(self, url: str) -> None:
        if self._announce is None:
            note(f"the edit is live at {url}")
            return
        self._announce(url)
        self._announce = None
        if self._settings.secrets:
            note(f"in a browser, open {url}/?token=… once")
        note("Ctrl-C ends it" + ("; edits of this project go live as they are saved" if self._dev else ""))

    # --- development ------------------------------------------------------------------------------

    def _watch(self, server: uvicorn.Server, run: Run, url: str) -> threading.Thread:
        self._stop.clear()
        work = threading.Thread(target=self._follow_edits, args=(server, run, url), name="edits", daemon=True)
        work.start()
        return work

    def _follow_edits(self, server: uvicorn.Server, run: Run, url: str) -> None:
        from watchfiles import watch

        data = self._data.resolve()
        folder = self._folder.resolve()

        def wanted(_: Any, path: str) -> bool:
            inside = Path(path).relative_to(folder).parts
            hidden = any(part.startswith((".", "__pycache__")) for part in inside)
            return path.endswith(WATCHED) and not hidden and data not in Path(path).parents

        for changes in watch(folder, watch_filter=wanted, stop_event=self._stop, raise_interrupt=False):
            edited = sorted(path for path in {Path(path) for _, path in changes} if self._differs(path))
            if not edited:
                continue
            note(f"edited: {', '.join(str(path.relative_to(folder)) for path in edited)}")
            if not self._is_good() or not self._is_applied(run):
                continue
            if all(path.suffix == ".sql" for path in edited):
                note(f"the edit is live at {url}")
                continue
            self._again = True
            server.should_exit = True
            return

    def _is_applied(self, run: Run) -> bool:
        """Put the edited project in force beside what runs, and tell the difference, or why it cannot be."""
        assert self._project is not None
        try:
            change = run.apply(self._project.app, wait=False, on_busy="replace", share=1.0)
            while not self._stop.is_set() and change.is_open:
                change.wait(0.2, settled=True)
        except HeadraceError as error:
            complain(error)
            note("the running server goes on with what it had")
            return False
        show_difference(change.difference)
        return not change.is_open

    def _differs(self, path: Path) -> bool:
        """Tell whether a file holds something else than at its last edit; one save may be told twice."""
        try:
            digest = hashlib.blake2b(path.read_bytes()).digest()
        except OSError:
            digest = b""
        before = self._digests.get(path)
        self._digests[path] = digest
        return digest != before

    def _is_good(self) -> bool:
        """Load and plan the edited project apart from the running one; tell what is wrong with it."""
        try:
            project = load_project(self._folder)
            check_project(project)
        except HeadraceError as error:
            complain(error)
            note("the running server goes on with what it had")
            return False
        self._project = project
        return True


def check_project(project: Project) -> None:
    """Plan every view in memory and compare every page with the views.

    Raises:
        HeadraceError: the first thing that is wrong.
    """
    from headrace.console.attach import check_pages

    with project.app.open(None) as trial:
        check_pages(trial, project.dashboards)
