"""`headrace doctor`: what is fine is told so, what is broken too, and nothing breaks the doctor."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from tests.cli.conftest import Invoke

from headrace.cli import doctor
from headrace.cli.doctor import Finding, Place


def findings(project: Path, invoke: Invoke, *words: str) -> dict[str, tuple[str, str]]:
    told = invoke("doctor", "--json", *words)
    return {entry["check"]: (entry["status"], entry["found"]) for entry in json.loads(told.out)}


def test_a_healthy_project(project: Path, invoke: Invoke) -> None:
    told = invoke("doctor", "--port", "0")
    assert told.code == 0, told.out
    assert "FAIL" not in told.out
    assert "shop: 1 stream, 0 tables, 1 view, 0 pages" in told.out
    assert [path.name for path in project.iterdir() if "doctor" in path.name] == []


def test_a_broken_project_fails(project: Path, invoke: Invoke) -> None:
    (project / "app.py").write_text("1 / 0\n")
    told = invoke("doctor", "--port", "0")
    assert told.code == 1
    assert "ZeroDivisionError" in told.out


def test_a_file_in_place_of_the_data_folder_fails(project: Path, invoke: Invoke) -> None:
    (project / "data").write_text("mine")
    assert findings(project, invoke, "--port", "0")["data"] == ("fail", f"{Path('data')} is no folder")
    told = invoke("query", "FROM gmv")
    assert told.code == 4
    assert "name a folder" in told.err


def test_a_taken_port_is_a_warning(project: Path, invoke: Invoke) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert findings(project, invoke, "--port", str(port))["port"][0] == "warn"


def test_a_clock_behind_the_stored_files_fails(tmp_path: Path) -> None:
    stored = tmp_path / "0.seg"
    stored.touch()
    ahead_s = time.time() + 3_600
    os.utime(stored, (ahead_s, ahead_s))
    found = list(doctor.check_clock(Place(tmp_path, tmp_path, 0)))
    assert [finding.status for finding in found] == ["fail"]


def test_a_folder_that_does_not_exist_yet_is_looked_at_from_above(tmp_path: Path) -> None:
    assert doctor.nearest_folder(tmp_path / "a" / "b") == tmp_path.resolve()
    assert doctor.file_system(Path("/proc")) == "proc"


def test_a_check_that_breaks_is_a_finding() -> None:
    def check_nothing(_place: Place) -> Iterator[Finding]:
        raise RuntimeError("oh")

    found = list(doctor.guarded(check_nothing, Place(Path(), Path(), 0)))
    assert [(f.check, f.status) for f in found] == [("nothing", "fail")]
