"""The file by which a running server is found: private, gone with the server, never believed blindly."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.cli.server_file import NAME, ServerAddress, announced, find_server


def test_it_is_there_for_the_time_of_the_block(tmp_path: Path) -> None:
    address = ServerAddress("http://127.0.0.1:1", os.getpid(), "secret")
    with announced(tmp_path, address):
        assert find_server(tmp_path) == address
        assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
    assert find_server(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_the_file_of_a_process_that_is_gone_does_not_count(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with announced(tmp_path, ServerAddress("http://127.0.0.1:1", gone.pid)):
        assert find_server(tmp_path) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"url": 1}', '{"url": "u", "pid": "x"}', "null"])
def test_a_damaged_file_does_not_count(content: str, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(content)
    assert find_server(tmp_path) is None


def test_no_folder_no_server(tmp_path: Path) -> None:
    assert find_server(tmp_path / "nothing") is None
