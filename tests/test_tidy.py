"""Style rules that are tests: sizes of modules and functions, banned spellings, docstrings of packages."""

from __future__ import annotations

import ast
import functools
import re
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "headrace"
MODULE_LINES_MAX = 800
MODULE_LINES_MEDIAN_MAX = 200
FUNCTION_LINES_MAX = 70
FUNCTION_LINES_MEDIAN_MAX = 15
SLEEP_REASON = "# sleeps:"
"""A call of `time.sleep` in the source carries this comment and the reason on its line."""

# Spelled in pieces, so that this file does not find itself.
BANNED = {
    "unfinished work": re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b"),
    "a path of one machine": re.compile(r"/(ho" + r"me|Us" + r"ers|ro" + r"ot|wo" + r"rk)/[a-z]+[/\s]"),
    "a package index": re.compile(
        r"(py" + r"pi\.org/simple|files\.python" + r"hosted|index-" + r"url\s*=|extra-index" + r"-url)"
    ),
    "a merge conflict": re.compile(r"^(<{7}|>{7}) ", re.MULTILINE),
    "a debugger": re.compile(r"\b(break" + r"point\(\)|pdb\.set_" + r"trace)"),
}
TEXT = {".py", ".md", ".toml", ".lock", ".yaml", ".yml", ".sql", ".sh", ".html", ".css", ".js", ".txt", ""}


def project_files() -> list[Path]:
    """Every text file that is, or is about to be, part of the project."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / line for line in listed.stdout.splitlines()]
    return [path for path in paths if path.suffix in TEXT and path.is_file()]


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def line_count(path: Path) -> int:
    return len(path.read_text().splitlines())


@functools.cache
def tree(path: Path) -> ast.Module:
    """The module as a tree, read once for all rules."""
    return ast.parse(path.read_text())


def functions(path: Path) -> list[tuple[str, int]]:
    """Name and length of every function; the length is that of its body without the docstring."""
    found = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            lines = (node.end_lineno or 0) - first.lineno + 1
            found.append((f"{name_of(path)}:{node.lineno} {node.name}", lines))
    return found


def test_no_module_is_too_long() -> None:
    long = {name_of(path): line_count(path) for path in modules()}
    assert {name: lines for name, lines in long.items() if lines > MODULE_LINES_MAX} == {}


def test_the_median_module_is_short() -> None:
    assert statistics.median(line_count(path) for path in modules()) < MODULE_LINES_MEDIAN_MAX


def test_no_function_is_too_long() -> None:
    everything = [entry for path in modules() for entry in functions(path)]
    assert [(name, lines) for name, lines in everything if lines > FUNCTION_LINES_MAX] == []


def test_the_median_function_is_short() -> None:
    lengths = [lines for path in modules() for _, lines in functions(path)]
    assert statistics.median(lengths) <= FUNCTION_LINES_MEDIAN_MAX


@pytest.mark.parametrize("what", BANNED)
def test_nothing_banned_is_spelled(what: str) -> None:
    found = []
    for path in project_files():
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
            if BANNED[what].search(line):
                found.append(f"{name_of(path)}:{number}: {line.strip()[:100]}")
    assert found == [], what


def test_only_the_command_line_prints() -> None:
    found: list[str] = []
    for path in modules():
        if "cli" in path.relative_to(SOURCE).parts or path.relative_to(SOURCE).parts[0] == "solutions":
            continue
        calls = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call)]
        prints = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]
        found.extend(f"{name_of(path)}:{call.lineno}" for call in prints)
    assert found == []


def test_the_source_sleeps_only_with_a_reason() -> None:
    found = []
    for path in modules():
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines, start=1):
            if re.search(r"\btime\.sleep\(", line) and SLEEP_REASON not in line:
                found.append(f"{name_of(path)}:{number}")
    assert found == [], f"say why on the line: {SLEEP_REASON} …"


def test_every_module_says_what_it_is() -> None:
    silent = [name_of(path) for path in modules() if not ast.get_docstring(tree(path))]
    assert silent == []


def test_every_folder_of_source_is_a_package() -> None:
    folders = {path.parent for path in modules()}
    assert [name_of(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_the_lock_is_exact_and_names_no_index() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    assert lines
    assert [line for line in lines if not re.match(r"[a-z0-9-]+==[^ ]+( ;.*)?$", line)] == []


DISTRIBUTIONS = {"vl-convert": "vl-convert-python", "yaml": "pyyaml"}
"""Import names that differ from the names of their packages."""


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_every_package_that_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = {re.split(r"[^A-Za-z0-9-]", text)[0].lower() for text in project["project"]["dependencies"]}
    found = set().union(*(imported(path) for path in modules())) - set(sys.stdlib_module_names) - {"headrace"}
    names = {name.replace("_", "-").lower() for name in found}
    assert {DISTRIBUTIONS.get(name, name) for name in names} - declared == set()


def test_the_lock_holds_every_declared_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    names = {re.split(r"[^A-Za-z0-9-]", text.replace("_", "-"))[0].lower() for text in wanted}
    locked = {line.split("==")[0] for line in (ROOT / "requirements.lock").read_text().splitlines()}
    assert names - locked == set()
