"""A copy of a data folder opens as the folder would have, from its checkpoint and with its past.

Folders are copied with rows that retention has let go, with damaged checkpoints, and while a run takes rows,
checkpoints, writes the past and seals; what has been copied is opened, read at old versions too, and copied
once more. A copy of a folder in use must be the folder as it was at some commit.
"""

from __future__ import annotations

import logging
import shutil
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.test_retention import aged, content, fill, opened, trimmed

import headrace as hr
from headrace.errors import StorageError
from headrace.history import copies
from headrace.history.copies import copy_folder
from headrace.intake import Intake
from headrace.log.copies import copy_log
from headrace.state.checkpoint import Checkpoints


def seen(run: hr.Run, versions: list[int]) -> list[list[dict[str, Any]]]:
    return [run.query("FROM visitors ORDER BY ALL", as_of=version).to_pylist() for version in versions]


def test_what_retention_has_let_go_stays_counted(tmp_path: Path) -> None:
    clock, before = aged(tmp_path / "data")
    trimmed(tmp_path / "data", clock.now)
    with opened(tmp_path / "data", clock) as run:
        versions = list(range(3, run.version.number + 1))
        past = seen(run, versions)
    found = copy_folder(tmp_path / "data", tmp_path / "copy")
    assert found.version is not None
    assert found.past > 0
    shutil.rmtree(tmp_path / "data")
    assert copy_folder(tmp_path / "copy", tmp_path / "data").version == found.version
    with opened(tmp_path / "data", clock) as run:
        assert content(run) == before
        assert seen(run, versions) == past
        fill(run, clock, 10, 11)
        run.checkpoint()
        after = content(run)
    with opened(tmp_path / "data", clock) as run:
        assert content(run) == after


def test_a_copy_opens_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, before = aged(tmp_path / "data")
    copy_folder(tmp_path / "data", tmp_path / "copy")
    decided: list[int] = []
    recover = Intake.recover

    def counted(intake: Any, record: Any) -> None:
        decided.append(getattr(record, "number", 0))
        recover(intake, record)

    monkeypatch.setattr(Intake, "recover", counted)
    with opened(tmp_path / "copy", clock) as run:
        assert content(run) == before
    assert not any(decided)


def damaged(folder: Path, newest: int) -> None:
    for path in sorted((folder / "state").glob("*.json"))[-newest:]:
        data = bytearray(path.read_bytes())
        data[100] ^= 1
        path.write_bytes(data)


@pytest.mark.parametrize(("newest", "version"), [(1, 10), (2, None)])
def test_the_newest_whole_checkpoint_is_copied(
    tmp_path: Path, newest: int, version: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    clock, _ = aged(tmp_path / "data")
    with opened(tmp_path / "data", clock) as run:
        assert run.version.number == 10
        fill(run, clock, 10, 11)
        run.checkpoint()
        before = content(run)
    damaged(tmp_path / "data", newest)
    with caplog.at_level(logging.WARNING, "headrace"):
        assert copy_folder(tmp_path / "data", tmp_path / "copy").version == version
    assert "not copied" in caplog.text
    with opened(tmp_path / "copy", clock) as run:
        assert content(run) == before


def test_damaged_blocks_are_not_copied_as_whole_ones(tmp_path: Path) -> None:
    aged(tmp_path / "data")
    for pack in (tmp_path / "data" / "state").glob("*.pack"):
        pack.write_bytes(bytes(len(pack.read_bytes())))
    assert copy_folder(tmp_path / "data", tmp_path / "copy").version is None
    assert list((tmp_path / "copy" / "state").iterdir()) == []


def test_rows_that_go_between_make_the_copy_begin_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the log is copied, the checkpoint is two checkpoints old, and rows behind it are gone."""
    clock, _ = aged(tmp_path / "data")
    met = [0]

    def meanwhile(*arguments: Any) -> Any:
        if not met[0]:
            with opened(tmp_path / "data", clock) as run:
                for number in range(10, 16):
                    fill(run, clock, number, number + 1)
                    run._log.seal()
                    run.checkpoint()
            trimmed(tmp_path / "data", clock.now)
        met[0] += 1
        return copy_log(*arguments)

    monkeypatch.setattr(copies, "copy_log", meanwhile)
    found = copy_folder(tmp_path / "data", tmp_path / "copy")
    assert met == [2]
    with opened(tmp_path / "data", clock) as run:
        before = content(run)
        assert found.version == run.version.number
    with opened(tmp_path / "copy", clock) as run:
        assert content(run) == before


def test_a_copy_of_a_folder_in_use_is_the_folder_at_a_commit(tmp_path: Path) -> None:
    app = hr.App("busy")
    app.stream("orders", "id BIGINT, shop BIGINT", event_id="id")
    app.view("per_shop", "SELECT shop, count(*) AS n, sum(id) AS ids FROM orders GROUP BY shop")
    ended = threading.Event()
    with app.open(tmp_path / "data", auto=True) as run:

        def feed() -> None:
            call = 0
            while not ended.is_set():
                run.append("orders", [{"id": call * 10 + n, "shop": n % 3} for n in range(10)])
                if call % 3 == 0:
                    run.checkpoint()
                if call % 7 == 0:
                    run._log.seal()
                call += 1

        feeder = threading.Thread(target=feed)
        feeder.start()
        found = []
        try:
            for at in range(4):
                run.wait_for(10 * at + 5, None)
                acknowledged = run._log.last_commit
                found.append(copy_folder(tmp_path / "data", tmp_path / f"copy {at}"))
                assert found[-1].last_commit >= acknowledged
        finally:
            ended.set()
            feeder.join()
    for at, copied in enumerate(found):
        with app.open(tmp_path / f"copy {at}") as run:
            run.advance()
            rows = run.query("SELECT sum(n) AS n, sum(ids) AS ids FROM per_shop").to_pylist()[0]
            count = copied.last_commit * 10
            assert rows == {"n": count, "ids": count * (count - 1) // 2}
            first = run.query("SELECT sum(n) AS n FROM per_shop", as_of=1).to_pylist()[0]
            assert first["n"] % 10 == 0
            assert copied.version is not None


def test_what_is_not_there_is_not_copied(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no log to copy"):
        copy_folder(tmp_path / "nothing", tmp_path / "copy")
    clock, _ = aged(tmp_path / "data", checkpoints=False)
    shutil.rmtree(tmp_path / "data" / "history")
    found = copy_folder(tmp_path / "data", tmp_path / "copy")
    assert (found.version, found.past) == (None, 0)
    with pytest.raises(StorageError, match="not empty"):
        copy_folder(tmp_path / "data", tmp_path / "copy")
    assert Checkpoints(tmp_path / "copy").needed_from() is None
    clock.now += timedelta(days=1)
    with opened(tmp_path / "copy", clock) as run:
        assert run.version.number == 10
