"""What exists is documented, and what is documented exists: names, verbs, settings, links, examples."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import typer.main

import headrace
import headrace.testing
from headrace.app import App
from headrace.cli.main import app as command_line
from headrace.errors import HeadraceError
from headrace.panels import PANELS
from headrace.runtime import Run
from headrace.serve.filters import OPERATORS
from headrace.serve.operations import OPERATIONS, Operation
from headrace.serve.settings import ServerSettings
from headrace.sources.registry import formats

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
RUNNABLE = "python run"


def page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


# --- names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", headrace.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    text = page("errors.md") + page("python.md")
    assert f"`{name}`" in text or f"hr.{name}" in text


@pytest.mark.parametrize("name", headrace.testing.__all__)
def test_every_name_for_tests_is_documented(name: str) -> None:
    assert f"`{name}`" in page("python.md")


def methods(cls: type) -> list[str]:
    return [name for name, value in vars(cls).items() if not name.startswith("_") and is_offered(value)]


def is_offered(value: Any) -> bool:
    return inspect.isfunction(value) or isinstance(value, property)


@pytest.mark.parametrize("name", methods(App))
def test_every_method_of_an_app_is_documented(name: str) -> None:
    assert re.search(rf"`app\.{name}\b", page("python.md")), f"app.{name}"


@pytest.mark.parametrize("name", methods(Run))
def test_every_method_of_a_run_is_documented(name: str) -> None:
    assert re.search(rf"`run\.{name}\b", page("python.md")), f"run.{name}"


def error_classes() -> list[type[HeadraceError]]:
    found = [HeadraceError]
    for cls in found:
        found.extend(cls.__subclasses__())
    return found


@pytest.mark.parametrize("error", error_classes(), ids=lambda cls: cls.__name__)
def test_every_error_is_documented_with_code_and_status(error: type[HeadraceError]) -> None:
    rows = [line for line in page("errors.md").splitlines() if f"| `{error.__name__}` |" in line]
    assert len(rows) == 1, error.__name__
    assert f"| `{error.code}` |" in rows[0]
    assert f"| {error.http_status} |" in rows[0]


# --- the command line and settings --------------------------------------------------------------------


def commands() -> dict[str, Any]:
    group: Any = typer.main.get_command(command_line)
    return dict(group.commands)


@pytest.mark.parametrize("verb", commands())
def test_every_verb_and_option_is_documented(verb: str) -> None:
    sections = re.split(r"^## ", page("cli.md"), flags=re.MULTILINE)
    section = next((text for text in sections if text.startswith(f"`headrace {verb}")), None)
    assert section is not None, f"cli.md has no section for {verb}"
    options = [option for parameter in commands()[verb].params for option in parameter.opts]
    missing = [option for option in options if option.startswith("--") and option not in section]
    assert [option for option in missing if option != "--help"] == []


def environment_variables() -> set[str]:
    names: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        names |= set(re.findall(r"\bHEADRACE_[A-Z0-9_]*[A-Z0-9]\b", path.read_text(encoding="utf-8")))
    return names | {f"HEADRACE_{field.upper()}" for field in ServerSettings.model_fields}


@pytest.mark.parametrize("name", sorted(environment_variables()))
def test_every_setting_is_documented(name: str) -> None:
    assert f"`{name}`" in page("settings.md")


def test_no_setting_is_documented_that_does_not_exist() -> None:
    told = set(re.findall(r"`(HEADRACE_[A-Z0-9_]+)`", page("settings.md")))
    assert told - environment_variables() == set()


@pytest.mark.parametrize("name", sorted(formats()))
def test_every_file_format_is_documented_with_its_endings(name: str) -> None:
    rows = [line for line in page("formats.md").splitlines() if line.startswith(f"| `{name}` |")]
    assert len(rows) == 1
    assert [ending for ending in formats()[name].suffixes if f"`{ending}`" not in rows[0]] == []


@pytest.mark.parametrize("kind", PANELS)
def test_every_panel_and_field_is_documented(kind: str) -> None:
    text = page("dashboards.md")
    assert f"`{kind}`" in text
    assert [field for field in PANELS[kind].model_fields if f"`{field}`" not in text] == []


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_every_operation_and_parameter_of_the_api_is_documented(operation: Operation) -> None:
    text = page("http.md")
    assert f"| `{operation.method} {operation.path}` |" in text
    assert [item.name for item in operation.parameters if f"| `{item.name}` |" not in text] == []


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_filter_is_documented(operator: str) -> None:
    assert f"`{operator}`" in page("http.md")


# --- pages --------------------------------------------------------------------------------------------


def slug(heading: str) -> str:
    text = re.sub(r"[`*]", "", heading.strip().lower())
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(path: Path) -> set[str]:
    bare = FENCE.sub("", path.read_text(encoding="utf-8"))
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", bare, re.MULTILINE)}


@pytest.mark.parametrize("path", PAGES, ids=label)
def test_every_link_leads_somewhere(path: Path) -> None:
    bare = FENCE.sub("", path.read_text(encoding="utf-8"))
    broken = []
    for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", bare):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        aim = (path.parent / file).resolve() if file else path
        if not aim.exists() or (anchor and aim.suffix == ".md" and anchor not in anchors(aim)):
            broken.append(target)
    assert broken == []


def test_every_page_of_the_docs_is_reached_from_their_index() -> None:
    reached: set[Path] = set()
    waiting = [DOCS / "README.md"]
    while waiting:
        path = waiting.pop()
        if path in reached or path.suffix != ".md" or not path.exists():
            continue
        reached.add(path)
        targets = re.findall(r"\]\(([^)\s#]+)", path.read_text(encoding="utf-8"))
        waiting += [(path.parent / aim).resolve() for aim in targets if not re.match(r"[a-z]+:", aim)]
    assert {label(path) for path in DOCS.rglob("*.md")} - {label(p) for p in reached} == set()


@pytest.mark.parametrize("path", PAGES, ids=label)
def test_every_make_target_and_verb_that_is_named_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    code = "\n".join([*(match["body"] for match in FENCE.finditer(text)), *re.findall(r"`([^`\n]+)`", text)])
    named = set(re.findall(r"(?:^|\$ )make ([a-z]+)", code, re.MULTILINE))
    assert named - targets == set()
    verbs = set(re.findall(r"(?:^|\$ )headrace ([a-z]+)", code, re.MULTILINE))
    assert verbs - set(commands()) == set()


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = sorted(int(path.name[:4]) for path in (DOCS / "decisions").glob("[0-9]*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


# --- examples -----------------------------------------------------------------------------------------


def examples() -> list[Any]:
    found = []
    for path in PAGES:
        fences = FENCE.finditer(path.read_text(encoding="utf-8"))
        bodies = [fence["body"] for fence in fences if fence["info"].strip() == RUNNABLE]
        found += [pytest.param(body, id=f"{label(path)}-{n}") for n, body in enumerate(bodies, start=1)]
    return found


@pytest.mark.parametrize("source", examples())
def test_every_example_runs(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(source, "example", "exec", dont_inherit=True), {"__name__": "__main__"})


def test_there_are_examples_that_run() -> None:
    assert len(examples()) >= 3
