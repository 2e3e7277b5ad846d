"""`compact` makes a folder smaller and says so; `fsck` says which views it cannot compare after that."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.cli.conftest import Invoke

import headrace as hr
from headrace.cli.project import load_project
from headrace.runtime import Run

APP = """
import headrace as hr

app = hr.App("shop")
app.stream("visits", "customer BIGINT", retention="2d")
app.table("customers", "id BIGINT, name VARCHAR", key="id")
app.view("visitors", "SELECT customer, count(*) AS n FROM visits GROUP BY 1", history_from="kept")
app.view("names", "SELECT count(*) AS n FROM customers")
"""


@pytest.fixture
def aged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose rows came over ten days that end today."""
    (tmp_path / "app.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    began = datetime.now(UTC) - timedelta(days=9)
    clock = {"now": began}
    with Run(load_project(tmp_path).app, tmp_path / "data", clock=lambda: clock["now"]) as run:
        for day in range(10):
            clock["now"] = began + timedelta(days=day)
            run.append("visits", [{"customer": day % 2}] * 3)
            run.upsert("customers", [{"id": number, "name": f"{day}"} for number in range(5)])
            run.advance()
            run._log.seal()
        run.checkpoint()
    return tmp_path


def test_it_says_what_it_did_and_the_views_go_on(aged: Path, invoke: Invoke) -> None:
    assert invoke("fsck").code == 0
    told = json.loads(invoke("compact", "--json").out)
    assert told["bytes_after"] < told["bytes_before"]
    assert set(told["relations"]) == {"visits", "customers"}
    assert list(told["history_from"]) == ["visits"]
    again = invoke("compact")
    assert again.code == 0
    assert "MB now" in again.out
    with load_project(aged).app.open(aged / "data") as run:
        assert sum(row["n"] for row in run.query("SELECT n FROM visitors").to_pylist()) == 30
        assert run.query("SELECT n FROM names").to_pylist() == [{"n": 5}]
        assert run.query("SELECT count(*) AS n FROM visits").to_pylist()[0]["n"] < 30
        assert isinstance(run.answer("SELECT * FROM visitors").history_from, datetime)


def test_fsck_says_what_it_cannot_compare(aged: Path, invoke: Invoke) -> None:
    assert invoke("compact").code == 0
    found = {one["check"]: one for one in json.loads(invoke("fsck", "--json").out)}
    assert all(one["problem"] is None for one in found.values())
    assert "no longer kept" in found["visitors"]["found"]
    assert "as the log gives them" in found["names"]["found"]
    assert "as the log gives them" in found["customers"]["found"]


def test_damage_in_a_sealed_file_is_found(aged: Path, invoke: Invoke) -> None:
    assert invoke("compact").code == 0
    (path,) = (aged / "data" / "log" / "parquet" / "customers").glob("base-*.parquet")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    done = invoke("fsck")
    assert done.code == 1
    assert "checksum" in done.out
    assert path.name in done.out


def test_a_backup_of_a_compacted_folder_is_whole(aged: Path, invoke: Invoke, tmp_path: Path) -> None:
    assert invoke("compact").code == 0
    assert invoke("backup", str(tmp_path / "copy")).code == 0
    with load_project(aged).app.open(tmp_path / "copy") as run:
        assert run.query("SELECT n FROM names").to_pylist() == [{"n": 5}]
        with pytest.raises(hr.VersionGone):
            run.query("SELECT * FROM visits", as_of=1)


def test_there_is_nothing_to_compact(tmp_path: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke("compact").code != 0
