"""A server of a project beside a demo: started, watched, and stopped with it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO

from rich.console import Console

from headrace.errors import ConnectError

SERVER_STARTS_WITHIN_S = 120.0
ENDS_WITHIN_S = 10.0


class Server:
    """A running `headrace run` of a project."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url

    def must_run(self) -> None:
        """Raise ConnectError when the server has ended."""
        if self.process.poll() is not None:
            raise ConnectError(f"the server ended with code {self.process.returncode}", where=self.url)

    def stay(self) -> int:
        """Wait until Ctrl-C.

        Raises:
            ConnectError: the server has ended.
        """
        while True:
            self.must_run()
            time.sleep(0.5)  # sleeps: the pages stay until Ctrl-C


@contextlib.contextmanager
def serving(project: Path, data: Path, port: int, console: Console) -> Iterator[Server]:
    """Serve a project folder in a process of its own while the block runs.

    Args:
        project: the folder with `app.py`.
        data: where its data lies.
        port: to listen on; 0: any free one.
        console: hears where it listens.

    Raises:
        ConnectError: the server did not start.
    """
    arguments = ["run", "--project", str(project), "--data", str(data), "--port", str(port)]
    with module("headrace.cli", arguments) as process:
        url = _first_line(process, SERVER_STARTS_WITHIN_S)
        if not url:
            code = process.poll()
            raise ConnectError(
                "the server did not start" if code is None else f"the server ended with code {code}",
                hint="its own words stand above",
            )
        console.print(f"server:    {url} (data in {data})", highlight=False)
        yield Server(process, url)


def _first_line(process: subprocess.Popen[str], within_s: float) -> str:
    lines: list[str] = []
    stream = stdout_of(process)
    reader = threading.Thread(target=lambda: lines.append(stream.readline()), daemon=True)
    reader.start()
    reader.join(within_s)
    return lines[0].strip() if lines else ""


def stdout_of(process: subprocess.Popen[str]) -> IO[str]:
    """Return the stream of what a module writes."""
    assert process.stdout is not None
    return process.stdout


@contextlib.contextmanager
def module(name: str, arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Run a module beside us; at the end it is asked to stop, then stopped."""
    command = [sys.executable, "-m", name, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(ENDS_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout:
            process.stdout.close()


def end_calmly() -> None:
    """Let SIGTERM end a demo as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
