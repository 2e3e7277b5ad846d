"""What an append promises: one test for each row of the table in docs/concepts/durability.md.

Each row is tried with what would break it: the call again, the call again after a restart, and the power
failing at the n-th operation of the disk.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.intake.samples import ORDERS, START, STREAM, Clock, checked, event
from tests.log.faulty import FaultyFiles, PowerCutFiles, QuickFiles

import headrace as hr
from headrace.declarations import StreamDecl
from headrace.errors import DeclarationError, StorageError
from headrace.intake import Call, Intake
from headrace.log import Log
from headrace.log.files import Files

DAY = timedelta(days=1)
PLAIN = StreamDecl("plain", STREAM)
AGAIN = StreamDecl("again", STREAM, event_id="id", delivery="at_least_once", event_id_window=DAY)
LOOSE = StreamDecl("loose", STREAM, delivery="at_most_once")
DECLARED = {decl.name: decl for decl in (ORDERS, PLAIN, AGAIN, LOOSE)}


def call(stream: str, rows: list[dict[str, Any]]) -> Call:
    return Call("append", stream, checked(STREAM, rows))


class Door:
    """An intake on a folder that can be opened again."""

    def __init__(
        self, folder: Path, files: Files | None = None, streams: dict[str, StreamDecl] | None = None
    ):
        self.clock = Clock()
        self.log = Log.open(folder, files=files or QuickFiles())
        self.intake = Intake(streams or DECLARED, {}, self.log, self.clock)
        for record in self.log.records():
            self.intake.recover(record)

    def ids(self, stream: str) -> list[int]:
        return [i for c in self.log.history(stream) for i in c.rows.column("id").to_pylist()]

    def __enter__(self) -> Door:
        return self

    def __exit__(self, *_: object) -> None:
        self.log.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def statuses(door: Door, stream: str, *rows: dict[str, object], **options: object) -> list[int]:
    (result,) = door.intake.submit([call(stream, list(rows))], **options)  # type: ignore[arg-type]
    assert result.delivery == DECLARED[stream].delivery
    return list(result.statuses.tolist())


def test_exactly_once_by_event_id(folder: Path) -> None:
    with Door(folder) as door:
        assert statuses(door, "orders", event(1), event(1)) == [0, 1]
        assert statuses(door, "orders", event(1) | {"word": None}) == [3]
    with Door(folder) as door:
        assert statuses(door, "orders", event(1), event(2)) == [1, 0]
        assert door.ids("orders") == [1, 2]


def test_exactly_once_by_idempotency_key(folder: Path) -> None:
    with Door(folder) as door:
        assert statuses(door, "plain", event(1), idempotency_key="a") == [0]
        assert statuses(door, "plain", event(1), idempotency_key="a") == [0]
    with Door(folder) as door:
        (result,) = door.intake.submit([call("plain", [event(1)])], idempotency_key="a")
        assert result.replayed
        assert door.ids("plain") == [1]


def test_exactly_once_by_the_position_of_a_source(folder: Path) -> None:
    """Rows and position are one commit: who resumes behind the position loses and repeats nothing."""
    for seed in range(12):
        place = folder / str(seed)
        for life in range(3):
            files = PowerCutFiles(9 + seed + 4 * life, seed)
            try:
                with Door(place, files) as door:
                    at = door.intake.position("file") or 0
                    while True:
                        door.intake.submit([call("plain", [event(at)])], source="file", position=at + 1)
                        at += 1
            except StorageError:
                assert files.is_off
            files.settle()
        with Door(place) as door:
            reached = door.intake.position("file") or 0
            assert door.ids("plain") == list(range(reached))


def test_without_any_of_them_a_call_that_is_sent_again_counts_again(folder: Path) -> None:
    with Door(folder) as door:
        assert statuses(door, "plain", event(1)) == [0]
        assert statuses(door, "plain", event(1)) == [0]
        assert door.ids("plain") == [1, 1]


def test_at_least_once_an_id_counts_once_within_its_window_whatever_its_row_says(folder: Path) -> None:
    other = event(1) | {"word": None}
    with Door(folder) as door:
        assert statuses(door, "again", event(1), other) == [0, 1]
    with Door(folder) as door:
        assert statuses(door, "again", other) == [1]
        door.clock.now = START + 2 * DAY
        assert statuses(door, "again", event(2)) == [0]
        door.clock.now = START + 2 * DAY + timedelta(seconds=1)
        assert statuses(door, "again", other) == [0]
        assert door.ids("again") == [1, 2, 1]


def test_at_most_once_returns_before_the_disk_does(folder: Path) -> None:
    class SlowFiles(QuickFiles):
        go = threading.Event()

        def sync(self, descriptor: int) -> None:
            self.go.wait(100)

    files = SlowFiles()
    files.go.set()
    with Door(folder, files) as door:
        files.go.clear()
        assert statuses(door, "loose", event(1)) == [0]
        assert door.ids("loose") == []
        finish = door.intake.begin([call("loose", [event(2)]), call("plain", [event(2)])])
        waiting = threading.Thread(target=finish, daemon=True)
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()  # what is durable beside it makes it durable
        files.go.set()
        waiting.join(30)
        assert door.ids("loose") == [1, 2]
        keyed = door.intake.submit([call("loose", [event(3)])], idempotency_key="a")
        assert keyed[0].commit == door.log.last_commit


@pytest.mark.parametrize("seed", range(20))
def test_at_most_once_a_crash_loses_the_end_and_repeats_nothing(folder: Path, seed: int) -> None:
    kept: list[int] = []
    sent = 0
    for life in range(3):
        files = PowerCutFiles(7 + seed * 5 % 31 + 3 * life, seed)
        try:
            with Door(folder, files) as door:
                assert door.ids("loose")[: len(kept)] == kept
                for _ in range(200):
                    assert statuses(door, "loose", event(sent)) == [0]
                    sent += 1
        except StorageError:
            assert files.is_off
        files.settle()
        with Door(folder) as door:
            found = door.ids("loose")
        assert found[: len(kept)] == kept
        new = found[len(kept) :]
        assert new == list(range(new[0], new[0] + len(new))) if new else not new
        assert len(set(found)) == len(found)
        kept = found


def test_a_failed_disk_is_told_to_the_next_append(folder: Path) -> None:
    files = FaultyFiles()
    with Door(folder, files) as door:
        files.failing["write"] = 28
        assert statuses(door, "loose", event(1)) == [0]
        with suppress(StorageError):
            door.log.flush()
        with pytest.raises(StorageError, match="full"):
            statuses(door, "loose", event(2))
        files.failing.clear()
        assert statuses(door, "loose", event(5)) == [0]
        door.log.flush()
        assert door.ids("loose") == [5]


def test_another_delivery_may_be_declared_at_any_time(folder: Path) -> None:
    strict, easy = replace(AGAIN, delivery="exactly_once"), AGAIN
    with Door(folder, streams={"again": easy}) as door:
        row, other = event(1), event(1) | {"word": None}
        submit = door.intake.submit
        assert submit([call("again", [row])])[0].accepted == 1
        door.intake.redeclare({"again": strict}, {})
        assert submit([call("again", [row])])[0].repeated == 1
        assert submit([call("again", [event(2)])])[0].accepted == 1
        assert submit([call("again", [event(2) | {"word": None}])])[0].rejected == 1
        door.intake.redeclare({"again": easy}, {})
        assert submit([call("again", [other, event(2) | {"word": None}])])[0].repeated == 2


def test_what_makes_no_sense_is_refused() -> None:
    app = hr.App("x")
    with pytest.raises(DeclarationError, match="at_least_once' without event_id"):
        app.stream("a", "id INT", delivery="at_least_once")
    with pytest.raises(DeclarationError, match="delivery is 'twice'"):
        app.stream("a", "id INT", delivery="twice")
    with pytest.raises(DeclarationError, match="event ids are remembered for 30 days"):
        app.stream("a", "id INT", event_id="id", retention="7d")
    with pytest.raises(DeclarationError, match="retention"):
        app.stream("a", "id INT", retention="0 GB")
    with pytest.raises(DeclarationError, match="history_from is 'now'"):
        app.view("v", "SELECT 1", history_from="now")
    kept = app.stream("a", "id INT", event_id="id", retention="7d", event_id_window="7d")
    sized = app.stream("b", "id INT", retention="1.5 GB")
    assert kept.retention is not None
    assert kept.retention.age == timedelta(days=7)
    assert sized.retention is not None
    assert sized.retention.size_bytes == 1_500_000_000
    again = app._as_declared(app.fingerprint())
    assert again.fingerprint() == app.fingerprint()
