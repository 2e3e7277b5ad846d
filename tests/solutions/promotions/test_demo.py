"""The demo as a user starts it, and its promise: `kill -9` of the server loses and doubles nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from headrace.errors import HeadraceError
from headrace.solutions.kit.compare import Compared, comparison_table
from headrace.solutions.promotions.app import HERE
from headrace.solutions.promotions.demo import run_demo, verify_views

QUIET = {**os.environ, "PYTHONUNBUFFERED": "1"}


@contextmanager
def started(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=QUIET,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line, process.stderr.read() if process.stderr else "no output"
    return line


def server(data: Path, port: int) -> tuple[str, ...]:
    return ("headrace.cli", "run", "--project", str(HERE), "--data", str(data), "--port", str(port))


@pytest.mark.timeout(400)
def test_the_demo_verifies_itself() -> None:
    command = ["demo", "promotions", "--events", "2000", "--verify", "--port", "0"]
    done = subprocess.run(
        [sys.executable, "-m", "headrace.cli", *command],
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "all 18 views equal the tally" in done.stderr
    assert done.stdout.startswith("http://127.0.0.1:")


@pytest.mark.timeout(400)
def test_kill_9_of_the_server_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    data, journal = tmp_path / "data", tmp_path / "journal"
    with started(*server(data, 0)) as first:
        url = line_of(first)
        arguments = ["--url", url, "--rate", "1500", "--events", "3000", "--journal", str(journal)]
        with started("headrace.solutions.promotions.simulate", *arguments) as simulator:
            while json.loads(line_of(simulator))["sent"] == 0:
                pass
            first.send_signal(signal.SIGKILL)
            first.wait()
            with started(*server(data, urlsplit(url).port or 0)) as second:
                assert line_of(second) == url
                output, errors = simulator.communicate(timeout=200)
                assert simulator.returncode == 0, errors
                numbers = json.loads(output.strip().splitlines()[-1])
                assert numbers["lost_answers"] > 0
                outcomes, wrong = verify_views(url, journal)
    assert wrong == []
    assert [outcome for outcome in outcomes if outcome.problem] == []


@pytest.mark.parametrize("text", ["soon", "-1s", "0"])
def test_a_time_that_is_none_is_told_before_anything_starts(text: str) -> None:
    with pytest.raises(HeadraceError, match="duration"):
        run_demo(for_=text)


def test_verify_needs_a_new_folder(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    with pytest.raises(HeadraceError, match="holds events already"):
        run_demo(verify=True, data=tmp_path)


def test_a_difference_is_drawn_beside_its_view() -> None:
    table = comparison_table([Compared("gmv", 1), Compared("funnel", 3, "sessions = 4, the tally has 5")])
    assert [str(cell) for cell in table.columns[2].cells] == ["equal", "sessions = 4, the tally has 5"]
