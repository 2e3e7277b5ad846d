"""A shop that is served over HTTP, takes rows, changes its definition to and fro, and is killed at a point.

    served.py FOLDER POINT VISIT

It tells its address, and it changes nothing before a reader had an answer under the definition that is
shown. The two definitions of `turnover` are the setting that two teams never agree on; `best` reads it.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

import headrace as hr
from headrace.runtime import Run, open_run
from headrace.serve import ServerSettings, create_server, make_server
from headrace.testing import CrashOnCue

GROSS = "SELECT shop, sum(amount) AS amount, count(*) AS n FROM orders WHERE amount > 0 GROUP BY shop"
NET = "SELECT shop, sum(amount) AS amount, count(*) AS n FROM orders GROUP BY shop"
BEST = "SELECT max(amount) AS amount, sum(n) AS n FROM turnover"
LIFE_S = 60.0


def shop(turnover: str) -> hr.App:
    """The app under one of the two definitions."""
    app = hr.App("shop")
    app.stream("orders", "shop TEXT, amount BIGINT")
    app.view("turnover", turnover)
    app.view("best", BEST)
    return app


def opened(folder: Path, crash: CrashOnCue) -> tuple[Run, str]:
    """Open the folder under the definition that it takes, as a program does that was restarted as it was."""
    for turnover in (NET, GROSS):
        with contextlib.suppress(hr.DeclarationsChanged):
            return open_run(shop(turnover), folder, auto=True, files=crash.files), turnover
    raise AssertionError("the folder takes neither definition")


class Answers:
    """Counts the answers that left the server, whole."""

    def __init__(self) -> None:
        self._given = threading.Semaphore(0)

    def around(self, app: ASGIApp) -> ASGIApp:
        """Return the app with a count."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            await app(scope, receive, send)
            if scope["type"] == "http":
                self._given.release()

        return counted

    def wait(self) -> None:
        """Wait for two more answers: the first may have been asked before, the second is of what is shown."""
        while self._given.acquire(blocking=False):
            pass
        for _ in range(2):
            if not self._given.acquire(timeout=LIFE_S):
                raise AssertionError("nobody reads")


@contextlib.contextmanager
def serving(run: Run) -> Iterator[tuple[str, Answers]]:
    """Serve for the time of a block."""
    settings = ServerSettings(port=0)
    app, answers = create_server(run, settings), Answers()
    app.add_middleware(answers.around)
    server: uvicorn.Server = make_server(app, settings)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + LIFE_S
    while not server.started and time.monotonic() < until:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", answers
    server.should_exit = True
    thread.join()


def pour(run: Run, done: threading.Event) -> None:
    """Append rows, some of which count under one definition only."""
    number = 0
    while not done.wait(0.002):
        number += 1
        run.append("orders", [{"shop": f"s{number % 5}", "amount": number % 11 - 3} for _ in range(3)])


def main(folder: Path, point: str | None, visit: int) -> None:
    crash, done = CrashOnCue(point, visit), threading.Event()
    with crash.armed():
        run, turnover = opened(folder, crash)
        with run, serving(run) as (url, answers):
            run.append("orders", [{"shop": "first", "amount": -1}])  # tells the two definitions apart
            sys.stdout.write(url + "\n")
            sys.stdout.flush()
            writer = threading.Thread(target=pour, args=(run, done))
            writer.start()
            if run.change is not None:
                run.change.wait(settled=True)
            for _ in range(3):
                answers.wait()
                turnover = GROSS if turnover == NET else NET
                run.apply(shop(turnover), share=1.0)
            answers.wait()
            run.rollback()
            answers.wait()
            done.set()
            writer.join()


if __name__ == "__main__":
    main(Path(sys.argv[1]), None if sys.argv[2] == "-" else sys.argv[2], int(sys.argv[3]))
