"""`backup`, `restore` and `fsck`: a copy of a folder in use is a beginning of it, and damage is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.cli.conftest import Invoke
from tests.cli.test_run import running, until

import headrace as hr
from headrace.cli.project import load_project


@pytest.fixture
def loaded(project: Path, invoke: Invoke) -> Path:
    """A project whose data folder holds two orders, one rejected row and a checkpoint."""
    assert invoke("replay", "orders.csv", "--stream", "orders").code == 0
    with load_project(project).app.open(project / "data") as run:
        run.advance()
        run.checkpoint()
    return project


def orders(folder: Path, project: Path) -> list[dict[str, Any]]:
    with load_project(project).app.open(folder) as run:
        run.advance()
        rows: list[dict[str, Any]] = run.query("SELECT orders FROM gmv").to_pylist()
        return rows


def test_there_and_back(loaded: Path, invoke: Invoke, tmp_path: Path) -> None:
    told = json.loads(invoke("backup", str(tmp_path / "copy"), "--json").out)
    assert told["last_commit"] >= 1
    shutil.rmtree(loaded / "data")
    assert invoke("restore", str(tmp_path / "copy")).code == 0
    assert orders(loaded / "data", loaded) == [{"orders": 2}]


def test_a_copy_of_a_folder_in_use_holds_what_was_acknowledged(
    loaded: Path, invoke: Invoke, tmp_path: Path
) -> None:
    with running(loaded) as (_, url):
        until(lambda: httpx.get(f"{url}/readyz").status_code == 200)
        for number in range(10, 60):
            row = {"order_id": number, "product": "tea", "amount": "1.00"}
            httpx.post(f"{url}/v1/streams/orders", json=[row]).raise_for_status()
        assert invoke("backup", str(tmp_path / "copy")).code == 0
        assert invoke("fsck").code == 4
    assert orders(tmp_path / "copy", loaded) == [{"orders": 52}]


def test_nothing_is_overwritten(loaded: Path, invoke: Invoke, tmp_path: Path) -> None:
    assert invoke("backup", str(tmp_path / "copy")).code == 0
    again = invoke("backup", str(tmp_path / "copy"))
    assert (again.code, "not empty" in again.err) == (4, True)
    onto = invoke("restore", str(tmp_path / "copy"))
    assert (onto.code, "not empty" in onto.err) == (4, True)
    assert invoke("restore", str(tmp_path / "nowhere")).code == 3
    assert invoke("backup", str(tmp_path / "new"), "--data", str(tmp_path / "nowhere")).code == 3


def test_a_sound_folder_is_found_so(loaded: Path, invoke: Invoke) -> None:
    told = invoke("fsck")
    assert told.code == 0, told.out
    assert "ok   gmv: 1 rows, as the log gives them" in told.out
    assert "1 whole" in told.out


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def test_a_damaged_log_is_named_with_its_place(loaded: Path, invoke: Invoke) -> None:
    segment = next((loaded / "data" / "log").glob("*.seg"))
    flip(segment, 700)
    told = invoke("fsck")
    assert told.code == 1
    assert "FAIL log" in told.out
    assert segment.name in told.out


def test_a_damaged_checkpoint_is_named_and_the_views_are_right(loaded: Path, invoke: Invoke) -> None:
    flip(next((loaded / "data" / "state").glob("*.pack")), 10)
    told = invoke("fsck")
    assert told.code == 1
    assert "FAIL checkpoints" in told.out
    assert "ok   gmv" in told.out


def test_a_view_that_has_drifted_is_named(loaded: Path, invoke: Invoke, monkeypatch: Any) -> None:
    restore = hr.engine.engine.Engine.restore

    def drifted(engine: Any, state: Any, history: Any) -> None:
        restore(engine, state, history)
        view = engine._views["gmv"]
        snapshot = view.store.snapshot()
        view.store.apply(hr.change.Change.inserts(snapshot.to_batches()[0]).negated())

    monkeypatch.setattr(hr.engine.engine.Engine, "restore", drifted)
    told = invoke("fsck")
    assert told.code == 1
    assert "FAIL gmv: 0 rows are there and should not be, 1 are missing" in told.out
