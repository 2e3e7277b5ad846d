"""The page for whoever is called at night is true: every file it should name it names, every command runs.

The files are those that an app leaves and passes through while it does everything; the commands are run on a
small project in the state in which the page tells to run them.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Invoke, Told, invoke, project
from tests.cli.test_folder import flip
from tests.cli.test_run import running
from tests.conftest import ROOT

import headrace as hr
from headrace.cli.project import load_project
from headrace.log.log import Log
from headrace.runtime import Run, open_run
from headrace.testing import CrashOnCue, ManualClock

__all__ = ["invoke", "project"]

PAGE = (ROOT / "docs" / "operating" / "on-call.md").read_text(encoding="utf-8")
FILES = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
COMMANDS = {
    line.strip() for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()
}


# --- files --------------------------------------------------------------------------------------------
def pattern(name: str) -> re.Pattern[str]:
    """Return what a name of the table stands for."""
    text = (
        re.escape(name).replace("N", r"\d+(?:\.[\w-]+|-\d+)?").replace(r"\d+(?:\.[\w-]+|-\d+)?AME", r"[^/]+")
    )
    return re.compile(text)


class Noted(CrashOnCue):
    """Notes the path of every file that is made or renamed."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.names: set[str] = set()
        create, rename = self.files.create, self.files.rename

        def created(path: Path) -> int:
            self.names.add(str(path.relative_to(folder)))
            return create(path)

        def renamed(source: Path, target: Path) -> None:
            self.names.add(str(target.relative_to(folder)))
            rename(source, target)

        self.files.create = created  # type: ignore[method-assign]
        self.files.rename = renamed  # type: ignore[method-assign]


def everything(run: Run) -> None:
    """Do what leaves files."""
    for first in range(0, 400, 20):
        run.append("orders", [{"id": n, "note": "x" * 200} for n in range(first, first + 20)])
        run.upsert("shops", [{"shop": f"s{first % 3}", "country": "DK"}])
        run.advance()
        run.checkpoint()
    changed = shop()
    changed.view("more", "SELECT max(id) AS last FROM orders")
    run.apply(changed)
    run.checkpoint()
    run._log.seal()


def shop() -> hr.App:
    app = hr.App("shop")
    app.stream("orders", "id BIGINT, note TEXT", event_id="id")
    app.table("shops", "shop TEXT, country TEXT", key="shop")
    app.view("counted", "SELECT count(*) AS n FROM orders")
    return app


def test_every_file_of_a_data_folder_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project: Path, invoke: Invoke
) -> None:
    noted = Noted(tmp_path / "data")
    defaults = Log.open.__func__.__kwdefaults__  # type: ignore[attr-defined]
    monkeypatch.setitem(defaults, "segment_bytes", 4_000)
    monkeypatch.setitem(defaults, "seal_bytes", 8_000)
    with open_run(shop(), tmp_path / "data", clock=ManualClock(), files=noted.files) as run:
        everything(run)
    found = noted.names | {
        str(path.relative_to(tmp_path / "data")) for path in (tmp_path / "data").rglob("*") if path.is_file()
    }
    with running(project):
        found |= {path.name for path in (project / "data").iterdir() if path.is_file()}
    patterns = {name: pattern(name) for name in FILES}
    unexplained = {name for name in found if not any(one.fullmatch(name) for one in patterns.values())}
    assert unexplained == set()
    kinds = {name for name, one in patterns.items() if any(one.fullmatch(path) for path in found)}
    assert kinds >= {
        "lock", "server.json", "log/N.seg", "log/sealed/N.json", "log/records/N.parquet",
        "log/parquet/NAME/N.parquet", "state/N.json", "state/N.pack", "state/N.json.tmp", "history/N-N.past",
    }  # fmt: skip


# --- commands -----------------------------------------------------------------------------------------
@pytest.fixture
def loaded(project: Path, invoke: Invoke) -> Path:
    """A project with rows and a checkpoint."""
    assert invoke("replay", "orders.csv", "--stream", "orders").code == 0
    with load_project(project).app.open(project / "data") as run:
        run.advance()
        run.checkpoint()
    return project


class Shell:
    """Runs lines of the page in the project's folder, and remembers which."""

    def __init__(self, invoke: Invoke, backup: Path) -> None:
        self._invoke = invoke
        self._backup = backup

    def __call__(self, line: str) -> Told:
        assert line in COMMANDS, f"the page does not say {line!r}"
        verb, *words = shlex.split(line)
        if verb == "headrace":
            return self._invoke(*[str(self._backup) if word == "/backup/shop" else word for word in words])
        if verb == "mv":
            shutil.move(words[0], words[1])
        elif verb == "rm":
            assert words[0] == "-r"
            shutil.rmtree(words[1])
        else:
            assert verb == "du"
            assert all(Path(word).is_dir() for word in words[1:])
        return Told(0, "", "")


def full(shell: Shell, loaded: Path) -> list[str]:
    """The disk is full: what takes the space, and what may go."""
    lines = [
        "du -sh data/log data/state data/history",
        "headrace doctor",
        "headrace compact",
        "rm -r data/state",
    ]
    for line in lines:
        assert shell(line).code == 0, line
    assert orders(loaded) == 2
    return lines


def damaged(shell: Shell, loaded: Path) -> list[str]:
    """A segment is damaged: fsck says so, and the backup is whole."""
    (segment,) = (loaded / "data" / "log").glob("*.seg")
    flip(segment, 700)
    assert segment.name in shell("headrace fsck").out
    assert shell("mv data data.damaged").code == 0
    assert shell("headrace restore /backup/shop").code == 0
    assert shell("headrace fsck").code == 0
    assert orders(loaded) == 2
    return ["headrace fsck", "mv data data.damaged", "headrace restore /backup/shop"]


def asked(shell: Shell, loaded: Path) -> list[str]:
    """A server has the folder: the verbs ask it."""
    with running(loaded):
        assert "alive" in shell('headrace query "SELECT 1 AS alive"').out
        assert shell("headrace explain gmv").code == 0
    return ['headrace query "SELECT 1 AS alive"', "headrace explain gmv"]


def in_error(shell: Shell, loaded: Path) -> list[str]:
    """A view is in error until its definition is another."""
    view = loaded / "views" / "gmv.sql"
    sound = view.read_text()
    view.write_text("SELECT CAST(product AS INTEGER) AS number FROM orders\n")
    opened_anew(loaded).close()
    told = shell('headrace query "SELECT * FROM gmv"')
    assert told.code != 0
    assert "tea" in told.err
    view.write_text(sound)
    assert "gmv" in shell("headrace plan").out
    assert shell("headrace apply").code == 0
    assert shell('headrace query "SELECT * FROM gmv"').code == 0
    return ['headrace query "SELECT * FROM gmv"', "headrace plan", "headrace apply"]


def opened_anew(loaded: Path) -> Run:
    """Start a folder anew under the project's files."""
    shutil.rmtree(loaded / "data")
    run = load_project(loaded).app.open(loaded / "data")
    run.append("orders", [{"order_id": 1, "product": "tea", "amount": "4.90"}])
    run.advance()
    return run


def stuck(shell: Shell, loaded: Path) -> list[str]:
    """A change that is on its way is given up; one in force is taken back."""
    view = loaded / "views" / "gmv.sql"
    with running(loaded):
        view.write_text(view.read_text().replace("sum(amount)", "2 * sum(amount)"))
        assert "gmv" in shell("headrace plan").out
        assert shell("headrace apply").code == 0
        assert shell("headrace rollback").code == 0
        cancelled = shell("headrace apply --cancel")
        assert cancelled.code in (0, 1), cancelled.err
    return ["headrace plan", "headrace apply --cancel", "headrace rollback"]


SCENES: list[Callable[[Shell, Path], list[str]]] = [full, damaged, asked, in_error, stuck]


def orders(loaded: Path) -> int:
    with load_project(loaded).app.open(loaded / "data") as run:
        run.advance()
        return int(run.query("SELECT orders FROM gmv").to_pylist()[0]["orders"])


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: str(scene.__name__))
def test_what_the_page_tells_to_do_works(
    scene: Callable[[Shell, Path], list[str]], loaded: Path, invoke: Invoke, tmp_path: Path
) -> None:
    assert invoke("backup", str(tmp_path / "backup")).code == 0
    scene(Shell(invoke, tmp_path / "backup"), loaded)


def test_every_command_of_the_page_belongs_to_a_scene() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert len(COMMANDS) > 10
    assert {line for line in COMMANDS if f'"{line}"' not in source and f"'{line}'" not in source} == set()
