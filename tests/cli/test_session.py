"""Whom a verb asks while another process opens the folder: its server, as soon as it says where it is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.cli import session
from headrace.cli.server_file import ServerAddress
from headrace.errors import FolderLocked


@pytest.fixture
def other() -> Iterator[int]:
    """A process that is there until the test is over."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.communicate(b"\n")


def test_a_server_that_is_opening_the_folder_is_waited_for(
    other: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ServerAddress("http://127.0.0.1:1", other)
    looks = iter([None, None, found])
    monkeypatch.setattr(session, "find_server", lambda _: next(looks))
    monkeypatch.setattr(session, "LOOK_S", 0.0)
    assert session._opening(tmp_path, FolderLocked("in use", pid=str(other))) == found


def test_the_time_ends(other: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "OPENING_S", 0.0)
    assert session._opening(tmp_path, FolderLocked("in use", pid=str(other))) is None


def test_nobody_is_waited_for_who_is_gone_or_oneself(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for pid in (str(gone.pid), str(os.getpid()), "unknown", "0"):
        assert session._opening(tmp_path, FolderLocked("in use", pid=pid)) is None
