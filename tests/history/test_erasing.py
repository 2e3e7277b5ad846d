"""A person who is erased is in no file of the data folder that anything is read from: not only in the log.

A shop is filled so that her name is in rows, in views, in their state and in the past; then she is erased,
also by a call that was cut short and made again, and the folder is searched and opened.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import headrace as hr
from headrace.errors import FolderLocked, VersionGone
from headrace.history.erasing import erase
from headrace.log.log import Log
from headrace.testing import ManualClock

HER = "Ada-of-the-needle"


def shop() -> hr.App:
    app = hr.App("shop")
    app.stream("orders", "id BIGINT, name TEXT, amount BIGINT", event_id="id")
    app.view("by_name", "SELECT name, sum(amount) AS amount, count(*) AS n FROM orders GROUP BY name")
    return app


def without_her(rows: pa.RecordBatch) -> pa.RecordBatch:
    hit = pc.fill_null(pc.equal(rows.column("name"), HER), False)
    name = pc.if_else(hit, pa.scalar(None, pa.string()), rows.column("name"))
    return pa.RecordBatch.from_arrays(
        [rows.column("id"), name.cast(rows.schema.field("name").type), rows.column("amount")],
        schema=rows.schema,
    )


def filled(folder: Path) -> None:
    with shop().open(folder, clock=ManualClock()) as run:
        for call in range(6):
            run.append(
                "orders",
                [{"id": call * 2, "name": HER, "amount": 1}, {"id": call * 2 + 1, "name": "Bo", "amount": 2}],
            )
            run.advance()
            run.checkpoint()


def told(folder: Path) -> set[str]:
    """Return the folders of the data folder in which she is found as she was written."""
    hits = [path for path in folder.rglob("*") if path.is_file() and HER.encode() in path.read_bytes()]
    return {path.relative_to(folder).parts[0] for path in hits}


def check(folder: Path) -> None:
    with shop().open(folder, clock=ManualClock()) as run:
        rows = run.query("SELECT name, amount, n FROM by_name ORDER BY n, name").to_pylist()
        assert rows == [{"name": "Bo", "amount": 12, "n": 6}, {"name": None, "amount": 6, "n": 6}]
        with pytest.raises(VersionGone):
            run.query("FROM by_name", as_of=2)
        assert run.append("orders", [{"id": 0, "name": None, "amount": 1}]).repeated == 1
        run.checkpoint()
    assert told(folder) == set()
    with shop().open(folder, clock=ManualClock()) as run:
        assert run.query("SELECT count(*) AS n FROM orders WHERE name IS NULL").to_pylist() == [{"n": 6}]


def test_she_is_in_no_checkpoint_and_not_in_the_past(tmp_path: Path) -> None:
    filled(tmp_path)
    assert {"log", "state"} <= told(tmp_path)
    assert list((tmp_path / "history").glob("*.past"))
    assert erase(tmp_path, "orders", without_her, note={"why": "she asked"}).rows == 12
    assert told(tmp_path) == set()
    assert list((tmp_path / "state").iterdir()) == []
    assert list((tmp_path / "history").iterdir()) == []
    check(tmp_path)
    with Log.open(tmp_path) as log:
        assert [one["why"] for one in log.rewrites()] == ["she asked"]


def test_a_call_that_was_cut_short_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(Log, "rewrite", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            erase(tmp_path, "orders", without_her, note={})
    with shop().open(tmp_path, clock=ManualClock()) as run:
        run.checkpoint()
    assert "state" in told(tmp_path)
    erase(tmp_path, "orders", without_her, note={})
    check(tmp_path)


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    filled(tmp_path)
    with shop().open(tmp_path), pytest.raises(FolderLocked):
        erase(tmp_path, "orders", without_her, note={})
    assert "state" in told(tmp_path)
