"""What `make` says where something is missing; nothing is installed here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ("sh", "uname", "echo", "rm", "basename", "tr", "cat")


def script(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    """A PATH with a few tools, without Python and uv."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        if found:
            (folder / tool).symlink_to(found)
    return folder


def run(bin_folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", *words],
        cwd=ROOT,
        env={"PATH": str(bin_folder), "HOME": str(bin_folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_no_python_is_told(bin_folder: Path, tmp_path: Path) -> None:
    told = run(bin_folder, "scripts/make_venv.sh", str(tmp_path / "venv"))
    assert told.returncode == 1
    assert "Python 3.11 or newer is needed; found: none" in told.stderr


def test_an_old_python_is_told_with_its_version(bin_folder: Path, tmp_path: Path) -> None:
    script(bin_folder, "python3", '[ "$1" = --version ] && echo "Python 3.9.2" || exit 1')
    told = run(bin_folder, "scripts/make_venv.sh", str(tmp_path / "venv"))
    assert told.returncode == 1
    assert "found: Python 3.9.2" in told.stderr


def test_a_missing_venv_module_is_told_with_the_package(bin_folder: Path, tmp_path: Path) -> None:
    script(bin_folder, "python3", 'case "$2" in *ensurepip*) exit 1;; esac; exit 0')
    told = run(bin_folder, "scripts/make_venv.sh", str(tmp_path / "venv"))
    assert told.returncode == 1
    assert "apt-get install python3-venv" in told.stderr


def test_another_system_is_tried_with_a_word_of_warning(bin_folder: Path, tmp_path: Path) -> None:
    (bin_folder / "uname").unlink()
    script(bin_folder, "uname", "echo Plan9")
    told = run(bin_folder, "scripts/make_venv.sh", str(tmp_path / "venv"))
    assert "tried on Linux only; going on with Plan9" in told.stderr


def test_an_unknown_benchmark_is_told_with_those_that_exist(bin_folder: Path) -> None:
    told = run(bin_folder, "scripts/bench.sh", sys.executable, "nothing_of_that_name")
    assert told.returncode == 2
    assert "there is no benchmark named nothing_of_that_name; there are: " in told.stderr


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_help_lists_what_there_is() -> None:
    told = subprocess.run(
        ["make", "help"], cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=True
    )
    listed = {line.split()[1] for line in told.stdout.splitlines()}
    assert listed >= {"help", "demo", "test", "check", "bench", "torture", "lock", "clean"}
