"""A warm process that serves the billing app from a folder, one life after the other, each killed at a point.

    python -m tests.solutions.billing.poured

An order is a line on stdin: folder, point (`-`: none) and visit, parted by tabs. It forks a life, which tells
its address and its process id in a line on stdout and serves until it is killed, or ended by SIGTERM. How it
ended is another line: `ended` and the number of the signal. Forking saves what importing and planning take;
the process has no thread and has opened nothing, so nothing in the copy is half done.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import polars  # noqa: F401 - a life need not import it
import pyarrow.compute  # noqa: F401 - as above
import uvicorn

from headrace.runtime import open_run
from headrace.serve import ServerSettings, create_server, make_server
from headrace.solutions.billing.app import app
from headrace.sql import duck
from headrace.testing import CrashOnCue, Oracle


def say(*words: object) -> None:
    """Write a line that somebody waits for."""
    sys.stdout.write("\t".join(map(str, words)) + "\n")
    sys.stdout.flush()


def tell(server: uvicorn.Server) -> None:
    """Say where a server listens, once it does."""
    while not server.started:
        time.sleep(0.005)
    say(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", os.getpid())


def live(folder: Path, point: str, visit: int) -> None:
    """Serve until SIGTERM, or until the point is reached."""
    crash = CrashOnCue(None if point == "-" else point, visit)
    with crash.armed(), open_run(app, folder, auto=True, files=crash.files) as run:
        settings = ServerSettings(port=0)
        server: uvicorn.Server = make_server(create_server(run, settings), settings)
        threading.Thread(target=tell, args=(server,), daemon=True).start()
        signal.signal(signal.SIGTERM, lambda *_: None)  # raised once more when the server has ended
        server.run()


def outlived_by(parent: int) -> None:
    """End this life when the process that forked it is gone: nobody would."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def serve() -> None:
    """Answer orders until there are no more."""
    assert threading.active_count() == 1
    for order in sys.stdin:
        folder, point, visit = order.rstrip("\n").split("\t")
        child = os.fork()
        if child == 0:
            outlived_by(os.getppid())
            status = 1
            try:
                live(Path(folder), point, int(visit))
                status = 0
            finally:
                os._exit(status)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        say("ended", ended)


def warm_up() -> None:
    """Plan the views once: plans are remembered."""
    with Oracle(app) as oracle:
        for view in app.view_decls:
            oracle.plan(view)
    duck._SCRATCH.close()  # a child makes its own


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warm_up()
    serve()
