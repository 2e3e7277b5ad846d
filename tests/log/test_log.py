"""The log as its users see it: order, durability, groups, reading while writing, the lock, closing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.log.samples import START, commit, rows, same

from headrace.change import Change
from headrace.errors import Closed, FolderLocked, StorageError
from headrace.log import Commit, Declared, Log, Record, Step, file_store


@pytest.fixture(params=["memory", "files"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    """A log of each kind; the one on disk rolls its segments all the time."""
    folder = tmp_path if request.param == "files" else None
    with Log.open(folder, segment_bytes=5_000) as opened:
        yield opened


def numbers(log: Log, start: int = 1) -> list[int]:
    return [record.number for record in log.records(start) if isinstance(record, Commit)]


def test_records_come_back_in_order_and_whole(log: Log) -> None:
    written: list[Record] = [Declared({"streams": []})]
    for number in range(1, 21):
        written.append(commit(number))
        written.append(Step(number, number, START, {"orders": START + timedelta(seconds=number)}))
    for ticket in [log.append(record) for record in written]:
        ticket.wait(60)
    read = list(log.records())
    assert len(read) == len(written)
    for record, expected in zip(read, written, strict=True):
        if isinstance(record, Commit) and isinstance(expected, Commit):
            assert same(record, expected)
        else:
            assert record == expected
    assert log.last_commit == 20
    assert log.last_step == written[-1]


@pytest.mark.parametrize("start", [1, 2, 7, 20, 21])
def test_reading_starts_at_a_commit(log: Log, start: int) -> None:
    for number in range(1, 21):
        log.append(commit(number))
    log.flush(10)
    assert numbers(log, start) == list(range(start, 21))


def test_listeners_hear_every_record_in_order_before_its_ticket(log: Log) -> None:
    heard: list[int] = []
    known_at_ticket: list[bool] = []
    remove = log.on_durable(lambda record: heard.append(getattr(record, "number", 0)))
    for number in range(1, 101):
        ticket = log.append(commit(number, 1))
        if number % 10 == 0:
            ticket.wait(60)
            known_at_ticket.append(heard[-1] >= number)
    log.flush(10)
    assert heard == list(range(1, 101))
    assert all(known_at_ticket)
    remove()
    log.append(commit(101)).wait(60)
    assert heard[-1] == 100


def test_a_failing_listener_does_not_stop_the_log(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    def fail(record: Record) -> None:
        raise RuntimeError("not the log's fault")

    log.on_durable(fail)
    log.append(commit(1)).wait(60)
    log.append(commit(2)).wait(60)
    assert log.last_commit == 2
    assert "a listener of the log failed" in caplog.text


def test_a_commit_out_of_turn_is_a_defect_of_the_caller(log: Log) -> None:
    log.append(commit(1))
    for wrong in (1, 3):
        with pytest.raises(ValueError, match="2 is next"):
            log.append(commit(wrong))
    log.append(commit(2)).wait(60)


def test_many_threads_share_groups(tmp_path: Path) -> None:
    with Log.open(tmp_path) as log:
        turn = threading.Lock()
        upcoming = iter(range(1, 401))

        def work() -> None:
            while True:
                with turn:
                    number = next(upcoming, None)
                    if number is None:
                        return
                    ticket = log.append(commit(number, 1))
                ticket.wait(60)

        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert numbers(log) == list(range(1, 401))
        assert log.stats()["groups"] < 400


def test_one_commit_is_found_by_number(log: Log) -> None:
    for number in range(1, 31):
        log.append(commit(number))
    log.flush(10)
    for number in (1, 2, 15, 30):
        found = log.commit(number)
        assert found is not None
        assert same(found, commit(number))
    assert log.commit(0) is None
    assert log.commit(31) is None


def test_history_gathers_one_relation_up_to_a_commit(log: Log) -> None:
    for number in range(1, 31):
        log.append(commit(number, 10, "orders" if number % 2 else "clicks"))
    log.flush(10)
    parts = list(log.history("orders", 20, batch_rows=35))
    assert [len(part) for part in parts] == [40, 40, 20]
    whole = Change.concat(parts)
    expected = Change.concat([commit(number, 10).changes["orders"] for number in range(1, 21, 2)])
    assert whole.rows.equals(expected.rows)
    assert np.array_equal(whole.weights, expected.weights)
    assert sum(len(part) for part in log.history("clicks")) == 150
    assert list(log.history("unknown")) == []


def test_history_is_read_while_the_log_grows(log: Log) -> None:
    for number in range(1, 11):
        log.append(commit(number))
    log.flush(10)
    reading = log.records()
    seen = [next(reading)]
    for number in range(11, 41):
        log.append(commit(number))
    log.flush(10)
    seen.extend(reading)
    assert [record.number for record in seen if isinstance(record, Commit)][:10] == list(range(1, 11))
    assert numbers(log) == list(range(1, 41))


def test_a_large_commit_is_written_and_read(tmp_path: Path) -> None:
    big = Commit(1, START, {"orders": Change.inserts(rows(0, 300_000))})
    with Log.open(tmp_path) as log:
        log.append(big).wait(100)
    with Log.open(tmp_path) as log:
        (read,) = log.records()
        assert isinstance(read, Commit)
        assert same(read, big)


def test_large_parts_are_written_by_themselves_and_read_in_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_store, "WHOLE_BYTES", 100)
    written = [commit(number, number % 3 * 40) for number in range(1, 10)]
    with Log.open(tmp_path) as log:
        for ticket in [log.append(record) for record in written]:
            ticket.wait(60)
    with Log.open(tmp_path) as log:
        read = [record for record in log.records() if isinstance(record, Commit)]
    assert len(read) == len(written)
    assert all(same(record, expected) for record, expected in zip(read, written, strict=True))


def test_a_folder_has_one_owner(tmp_path: Path) -> None:
    import os

    with Log.open(tmp_path) as log:
        with pytest.raises(FolderLocked) as caught:
            Log.open(tmp_path)
        assert str(os.getpid()) in str(caught.value)
        log.append(commit(1)).wait(60)
    with Log.open(tmp_path) as log:
        assert log.last_commit == 1


def test_opening_and_closing_leaves_no_trace(tmp_path: Path) -> None:
    with Log.open(tmp_path) as log:
        log.append(commit(1)).wait(60)
    (path,) = (tmp_path / "log").glob("*.seg")
    before = path.read_bytes()
    for _ in range(3):
        Log.open(tmp_path).close()
    assert path.read_bytes() == before


def test_closing_writes_what_is_queued_and_then_refuses(tmp_path: Path) -> None:
    log = Log.open(tmp_path)
    tickets = [log.append(commit(number)) for number in range(1, 51)]
    log.close()
    log.close()
    for ticket in tickets:
        ticket.wait(0)
    with pytest.raises(Closed):
        log.append(commit(51))
    with Log.open(tmp_path) as again:
        assert again.last_commit == 50


def test_a_log_goes_on_where_it_ended(tmp_path: Path) -> None:
    for start in range(1, 40, 13):
        with Log.open(tmp_path, segment_bytes=4_000) as log:
            assert log.last_commit == start - 1
            for number in range(start, start + 13):
                log.append(commit(number))
            log.append(Step(start, start + 12, START))
    with Log.open(tmp_path) as log:
        assert numbers(log) == list(range(1, 40))
        assert log.last_step == Step(27, 39, START)
        assert log.stats()["segments"] > 1


def test_the_last_step_is_known_even_if_its_segment_is_sealed(tmp_path: Path) -> None:
    with Log.open(tmp_path, segment_bytes=2_000) as log:
        log.append(commit(1)).wait(60)
        log.append(Step(1, 1, START)).wait(60)
        for number in range(2, 8):
            log.append(commit(number)).wait(60)
    with Log.open(tmp_path) as log:
        assert log.last_step == Step(1, 1, START)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be opened"):
        Log.open(tmp_path / "file" / "data")


def test_waiting_has_an_end(tmp_path: Path) -> None:
    with Log.open(None) as log:
        held = threading.Event()
        log.on_durable(lambda _: (held.wait(60), None)[1])
        ticket = log.append(commit(1))
        with pytest.raises(StorageError, match="not durable after"):
            ticket.wait(0.01)
        held.set()
        ticket.wait(60)
