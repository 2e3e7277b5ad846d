"""Loading of a project folder: each way in which an `app.py` can be wrong has a message of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.cli.project import load_project
from headrace.errors import DeclarationError, HeadraceError, ProjectError


def test_a_project_is_its_app_and_its_pages(project: Path) -> None:
    (project / "dashboards").mkdir()
    (project / "dashboards" / "wall.yaml").write_text("panels: [{type: tile, view: gmv, value: gmv}]")
    loaded = load_project(project)
    assert loaded.app.name == "shop"
    assert list(loaded.app.view_decls) == ["gmv"]
    assert [page.name for page in loaded.dashboards] == ["wall"]


def test_a_page_that_the_app_declares_is_not_loaded_twice(project: Path) -> None:
    (project / "dashboards").mkdir()
    (project / "dashboards" / "wall.yaml").write_text("panels: [{type: tile, view: gmv, value: gmv}]")
    with (project / "app.py").open("a") as file:
        file.write('app.dashboard("dashboards")\n')
    assert [page.name for page in load_project(project).dashboards] == ["wall"]


def test_a_second_load_sees_what_is_on_disk_now(project: Path) -> None:
    (project / "names.py").write_text('NAME = "one"\n')
    (project / "app.py").write_text("import headrace as hr\nfrom names import NAME\napp = hr.App(NAME)\n")
    assert load_project(project).app.name == "one"
    (project / "names.py").write_text('NAME = "second"\n')
    assert load_project(project).app.name == "second"


def test_a_second_load_adds_to_a_library_s_app_as_it_was(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A project that adds a metric to a solution's app is loaded anew by each `plan` and `apply`."""
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "sold.py").write_text('import headrace as hr\napp = hr.App("sold")\n')
    monkeypatch.syspath_prepend(tmp_path / "library")
    adds = 'from sold import app\napp.stream("{0}", "id BIGINT")\n__all__ = ["app"]\n'
    (project / "app.py").write_text(adds.format("first"))
    running = load_project(project).app
    (project / "app.py").write_text(adds.format("second"))
    assert [list(load_project(project).app.streams) for _ in range(2)] == [["second"], ["second"]]
    assert list(running.streams) == ["first"]


def test_the_only_app_may_have_any_name(project: Path) -> None:
    (project / "app.py").write_text('import headrace as hr\nshop = hr.App("shop")\n')
    assert load_project(project).app.name == "shop"


WRONG = [
    ("x = 1\n", "declares no app"),
    ('import headrace as hr\na, b = hr.App("a"), hr.App("b")\n', "declares 2 apps"),
    ("import nothing_of_that_name\n", "ModuleNotFoundError"),
    ("def broken(:\n", "SyntaxError"),
    ("1 / 0\n", "ZeroDivisionError"),
]


@pytest.mark.parametrize(("text", "problem"), WRONG)
def test_what_is_wrong_with_a_file_is_told_with_its_place(project: Path, text: str, problem: str) -> None:
    (project / "app.py").write_text(text)
    with pytest.raises(ProjectError) as told:
        load_project(project)
    assert problem in told.value.problem
    assert "app.py" in (told.value.where or "")


def test_the_place_is_told_from_within_the_folder_too(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "app.py").write_text("\n1 / 0\n")
    monkeypatch.chdir(project)
    with pytest.raises(ProjectError) as told:
        load_project(Path())
    assert told.value.where == f"{project.resolve() / 'app.py'}, line 2"


def test_the_line_of_an_error_is_told(project: Path) -> None:
    (project / "helper.py").write_text("\n\n1 / 0\n")
    (project / "app.py").write_text("import helper\n")
    with pytest.raises(ProjectError) as told:
        load_project(project)
    assert "helper.py, line 3" in (told.value.where or "")


def test_a_wrong_page_is_told(project: Path) -> None:
    (project / "dashboards").mkdir()
    (project / "dashboards" / "wall.yaml").write_text("panels: [{type: pie}]")
    with pytest.raises(DeclarationError, match="pie"):
        load_project(project)


def test_no_project_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(HeadraceError) as told:
        load_project(tmp_path)
    assert told.value.details["missing"] is True
    assert "headrace init" in (told.value.hint or "")
