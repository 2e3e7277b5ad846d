"""A project folder: `app.py` with an `hr.App`, beside it `views/*.sql` and `dashboards/*.yaml`."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from headrace.cli.exits import not_found
from headrace.errors import HeadraceError, ProjectError

if TYPE_CHECKING:
    from headrace.app import App
    from headrace.dashboards import Dashboard

APP_FILE = "app.py"
DASHBOARDS_FOLDER = "dashboards"
MODULE_NAME = "headrace_project_app"


@dataclass(frozen=True)
class Project:
    """A loaded project.

    Attributes:
        folder: where `app.py` stands.
        app: what it declares.
        dashboards: the pages that it declares, and those of `dashboards/`.
    """

    folder: Path
    app: App
    dashboards: tuple[Dashboard, ...]


def data_folder(project: Path, data: Path | None) -> Path:
    """Return the data folder: as given, else `data` in the project."""
    return data if data is not None else project / "data"


def has_project(folder: Path) -> bool:
    """Tell whether the folder holds an `app.py`."""
    return (folder / APP_FILE).is_file()


def load_project(folder: Path) -> Project:
    """Run the folder's `app.py` and return what it declares; running it again reads changed files anew.

    Raises:
        ProjectError: there is no `app.py`, it raises, or it holds no app.
        DeclarationError, SqlError: a declaration is wrong.
    """
    path = folder / APP_FILE
    if not path.is_file():
        raise not_found(
            f"there is no {APP_FILE}",
            where=str(folder),
            hint="go to a project folder, name it with --project, or make one: headrace init shop",
        )
    module = _run_module(path)
    app = _app_of(module, path)
    return Project(folder, app, tuple(_pages(app, folder / DASHBOARDS_FOLDER)))


def _pages(app: App, folder: Path) -> list[Dashboard]:
    """Return the pages that the app declares, and those of `dashboards/`, each name once."""
    from headrace.dashboards import load_dashboard, load_dashboards

    found: list[Dashboard] = []
    for what in app.dashboards:
        if isinstance(what, Path):
            found += load_dashboards(what) if what.is_dir() else [load_dashboard(what)]
        else:
            found.append(what)
    names = {page.name for page in found}
    beside = load_dashboards(folder) if folder.is_dir() else []
    return found + [page for page in beside if page.name not in names]


def _run_module(path: Path) -> ModuleType:
    folder = str(path.parent.resolve())
    _forget_apps_of_last()
    _forget_modules_below(path.parent.resolve())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(MODULE_NAME, path)
    if spec is None or spec.loader is None:
        raise ProjectError("the file cannot be loaded as Python", where=str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE_NAME] = module
    try:
        spec.loader.exec_module(module)
    except HeadraceError:
        raise
    except Exception as error:
        raise ProjectError(
            f"{type(error).__name__}: {error}",
            where=_place(error, path),
            expected="a file that runs without an error",
            hint="the same command with --debug shows the whole traceback",
        ) from error
    return module


def _forget_modules_below(folder: Path) -> None:
    """Drop the project's own modules, so that a second load sees what is on disk now."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and folder in Path(file).parents and "site-packages" not in file and ".venv" not in file:
            del sys.modules[name]


def _forget_apps_of_last() -> None:
    """Drop the modules that hold an app of the last load, such as that of a solution, to which the project
    has added views of its own: the next load begins with the app as it is declared.
    """
    from headrace.app import App

    last = vars(sys.modules[MODULE_NAME]) if MODULE_NAME in sys.modules else {}
    apps = {id(value) for value in last.values() if isinstance(value, App)}
    for name, module in list(sys.modules.items()):
        held = getattr(module, "__dict__", {}) if apps and name != "__main__" else {}
        if any(id(value) in apps for value in list(held.values())):
            del sys.modules[name]


def _place(error: Exception, path: Path) -> str:
    """Return file and line of the error, the deepest in the project's own files."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    folder = path.parent.resolve()
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if folder in Path(frame.filename).parents]
    return f"{own[-1].filename}, line {own[-1].lineno}" if own else str(path)


def _app_of(module: ModuleType, path: Path) -> App:
    from headrace.app import App

    named = getattr(module, "app", None)
    if isinstance(named, App):
        return named
    found = [value for value in vars(module).values() if isinstance(value, App)]
    if len(found) == 1:
        return found[0]
    raise ProjectError(
        "the file declares no app" if not found else f"the file declares {len(found)} apps",
        where=str(path),
        expected='one hr.App in a variable named app: app = hr.App("shop")',
    )
