"""`headrace run` as a process: from the URL on stdout over an edit to a clean end; and its refusals."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from tests.cli.conftest import Invoke

from headrace.cli.server_file import NAME, find_server

PATIENCE_S = 60.0


@contextmanager
def running(project: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a server in the project; yield the process and the URL that it printed."""
    command = [sys.executable, "-m", "headrace.cli", "run", "--port", "0", *words]
    with (project / "messages.txt").open("w") as messages:
        process = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=messages, text=True)
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()
            process.communicate()


def until(check: Callable[[], Any]) -> Any:
    """Call until it answers something that is true; edits and starts take a moment."""
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        found = check()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def rows(url: str, view: str, **params: Any) -> list[dict[str, Any]] | None:
    try:
        answer = httpx.get(f"{url}/v1/views/{view}", params=params)
    except httpx.TransportError:
        return None
    found: list[dict[str, Any]] | None = answer.json().get("rows")
    return found


def test_from_start_to_end(project: Path, invoke: Invoke) -> None:
    with running(project) as (process, url):
        assert url.startswith("http://127.0.0.1:")
        sent = httpx.post(
            f"{url}/v1/streams/orders", json=[{"order_id": 7, "product": "tea", "amount": "5.00"}]
        )
        commit = sent.json()["commit"]
        assert rows(url, "gmv", after=commit) == [{"gmv": "5.00", "orders": 1}]

        asked = invoke("query", "-c", "SELECT * FROM gmv", "--csv")
        assert asked.out == "gmv,orders\n5.00,1\n"
        assert invoke("replay", "orders.csv", "-s", "orders").out.startswith("4 rows")
        assert "aggregate" in invoke("explain", "gmv").out
        assert url in invoke("doctor").out

        second = invoke("run", "--port", "0")
        assert second.code == 4
        assert url in second.err

        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
    assert find_server(project / "data") is None
    assert not (project / "data" / NAME).exists()
    assert "on disk" in (project / "messages.txt").read_text()
    kept = invoke("query", "-c", "SELECT order_id FROM orders ORDER BY ALL", "--csv")
    assert kept.code == 0, kept.err
    assert kept.out.split() == ["order_id", "1", "2", "7"]


def test_good_edits_go_live_and_wrong_ones_are_told(project: Path) -> None:
    view = project / "views" / "gmv.sql"
    messages = project / "messages.txt"
    with running(project, "--dev") as (process, url):
        httpx.post(f"{url}/v1/streams/orders", json=[{"order_id": 7, "amount": "5.00"}]).raise_for_status()
        until(lambda: rows(url, "gmv") == [{"gmv": "5.00", "orders": 1}])

        view.write_text("SELECT sum(amuont) AS gmv FROM orders")
        until(lambda: "amuont" in messages.read_text())
        assert rows(url, "gmv") == [{"gmv": "5.00", "orders": 1}]

        view.write_text("SELECT max(amount) AS highest FROM orders")
        until(lambda: rows(url, "gmv") == [{"highest": "5.00"}])
        until(lambda: "gmv: 1 rows become 1; 1 go, 1 come" in messages.read_text())

        app = project / "app.py"
        app.write_text(app.read_text() + '\napp.view("added", "SELECT count(*) AS n FROM orders")\n')
        until(lambda: rows(url, "added") == [{"n": 1}])
        assert messages.read_text().count("opening") == 0

        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0


def test_a_host_that_others_reach_needs_a_token(project: Path, invoke: Invoke) -> None:
    told = invoke("run", "--host", "0.0.0.0", "--port", "0")
    assert told.code == 2
    assert "HEADRACE_TOKEN" in told.err
    assert not (project / "data").exists()


def test_a_taken_port_is_told_with_another(project: Path, invoke: Invoke) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = invoke("run", "--port", str(port))
    assert told.code == 4
    assert f"127.0.0.1:{port}" in told.err
    assert "--port" in told.err
    assert not (project / "data").exists()


def test_a_setting_that_makes_no_sense_is_named(project: Path, invoke: Invoke, monkeypatch: Any) -> None:
    monkeypatch.setenv("HEADRACE_BODY_BYTES_MAX", "large")
    told = invoke("run", "--port", "0")
    assert told.code == 2
    assert "HEADRACE_BODY_BYTES_MAX" in told.err


def test_without_a_project_there_is_nothing_to_run(invoke: Invoke, tmp_path: Path) -> None:
    assert invoke("run", "--project", str(tmp_path), "--port", "0").code == 3


def test_a_wrong_page_stops_the_start(project: Path, invoke: Invoke) -> None:
    (project / "dashboards").mkdir()
    (project / "dashboards" / "wall.yaml").write_text("panels: [{type: tile, view: gvm, value: gmv}]")
    told = invoke("run", "--port", "0")
    assert told.code == 1
    assert "did you mean 'gmv'?" in told.err
