"""The intake as a whole: commits over several relations, strictness, failing disks, threads, recovery."""

from __future__ import annotations

import errno
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from tests.intake.samples import (
    BAG,
    KEYED,
    ORDERS,
    START,
    STREAMS,
    TABLES,
    Clock,
    call,
    event,
    row,
    total,
)
from tests.log.faulty import FaultyFiles

from headrace.errors import (
    Closed,
    DeclarationError,
    IdempotencyConflict,
    RowsRejected,
    StorageError,
    UnknownName,
)
from headrace.intake import Call, Intake, side_schemas
from headrace.intake.intake import _Draft, _take_back
from headrace.intake.rowstore import RowStore
from headrace.log import Commit, Log, Record, Step
from headrace.results import RowStatus

ACCEPTED, REPEATED, LATE, REJECTED = RowStatus


@pytest.fixture
def log() -> Log:
    return Log.open(None)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def intake(log: Log, clock: Clock) -> Intake:
    return Intake(STREAMS, TABLES, log, clock)


def test_several_calls_make_one_commit(intake: Intake, log: Log) -> None:
    results = intake.submit(
        [
            call("append", "orders", [event(1), event(None)]),
            call("upsert", "keyed", [row(1)]),
            call("append", "orders", [event(2), event(1)]),
            call("upsert", "bag", [row(1), row(1)]),
        ],
        source="file",
        position={"line": 12},
    )
    assert [result.commit for result in results] == [1, 1, 1, 1]
    assert [result.statuses.tolist() for result in results] == [[0, 3], [0], [0, 1], [0, 0]]
    commit = log.commit(1)
    assert commit is not None
    assert {name: len(change) for name, change in commit.changes.items()} == {
        "orders": 2,
        "orders__rejected": 1,
        "keyed": 1,
        "bag": 2,
    }
    assert (commit.source, commit.position) == ("file", {"line": 12})
    assert intake.position("file") == {"line": 12}
    assert intake.position("other") is None


def test_a_source_position_is_kept_even_without_rows(intake: Intake, log: Log) -> None:
    intake.submit([], source="file", position=7)
    assert log.last_commit == 1
    assert intake.position("file") == 7


def test_names_are_found_without_regard_to_case(intake: Intake, log: Log) -> None:
    assert intake.submit([call("append", "orders", [event(1)])])[0].accepted == 1
    renamed = call("append", "orders", [event(2)])
    result = intake.submit([type(renamed)("append", "ORDERS", renamed.rows)])[0]
    assert result.accepted == 1
    change = total(log, "orders")
    assert change is not None
    assert len(change) == 2


def test_unknown_names_are_told_with_what_was_meant(intake: Intake) -> None:
    orders = call("append", "orders", [event(1)])
    with pytest.raises(UnknownName, match="did you mean 'orders'"):
        intake.submit([type(orders)("append", "order", orders.rows)])
    with pytest.raises(UnknownName, match="no stream named 'keyed'"):
        intake.submit([type(orders)("append", "keyed", orders.rows)])
    with pytest.raises(UnknownName, match="no table named 'orders'"):
        intake.submit([type(orders)("upsert", "orders", orders.rows)])
    with pytest.raises(UnknownName):
        intake.contents("orders")
    with pytest.raises(DeclarationError, match="on_reject"):
        intake.submit([orders], on_reject="ignore")


def test_strictness_keeps_nothing_of_the_whole_commit(intake: Intake, log: Log) -> None:
    calls = [
        call("append", "orders", [event(1)]),
        call("upsert", "keyed", [row(1)]),
        call("upsert", "bag", [row(1)]),
        call("append", "orders", [event(2), event(1, word="other")]),
    ]
    with pytest.raises(RowsRejected) as caught:
        intake.submit(calls, on_reject="raise", idempotency_key="k", source="s", position=1)
    assert "row 1, id = 1: the event id was used before with other content" in str(caught.value)
    assert caught.value.details["rejections"][0]["index"] == 1
    assert log.last_commit == 0
    assert intake.contents("keyed").num_rows == 0
    assert intake.contents("bag").num_rows == 0
    assert intake.watermarks == {}
    assert intake.position("s") is None
    results = intake.submit(calls[:3], on_reject="raise", idempotency_key="k")
    assert [result.statuses.tolist() for result in results] == [[ACCEPTED]] * 3


def test_a_value_that_cannot_be_written_undoes_its_commit(tmp_path: Path) -> None:
    with Log.open(tmp_path) as log:
        intake = Intake(STREAMS, TABLES, log, Clock())
        with pytest.raises(DeclarationError, match="JSON"):
            intake.submit([call("append", "orders", [event(1)])], source="s", position={1, 2})
        assert intake.submit([call("append", "orders", [event(1)])])[0].statuses.tolist() == [ACCEPTED]


def test_the_append_clock_never_goes_back(intake: Intake, log: Log, clock: Clock) -> None:
    moments = []
    for seconds in (0, 10, -3600, 5):
        clock.forward(seconds)
        intake.submit([call("append", "plain", [event(1)])])
        commit = log.commit(log.last_commit)
        assert commit is not None
        moments.append((commit.clock - START) // timedelta(seconds=1))
    assert moments == [0, 10, 10, 10]
    intake.tick(START + timedelta(days=1))
    assert intake.clock == START + timedelta(days=1)


def test_recovery_starts_from_the_clock_of_the_last_step(log: Log) -> None:
    step = Step(1, 0, START + timedelta(hours=2), {"orders": START + timedelta(hours=1)})
    intake = Intake(STREAMS, TABLES, log, Clock())
    intake.recover(Commit(1, START, {}, {"orders": START}))
    intake.recover(step)
    assert intake.clock == step.clock


def test_after_a_failed_fsync_nothing_of_the_call_is_left_and_the_next_goes_in(tmp_path: Path) -> None:
    files = FaultyFiles()
    with Log.open(tmp_path, files=files) as log:
        intake = Intake(STREAMS, TABLES, log, Clock())
        calls = [
            call("append", "orders", [event(1), event(2, 100)]),
            call("upsert", "keyed", [row(1), row(2)]),
            call("upsert", "bag", [row(1), row(1)]),
        ]
        for operation in ("sync", "write", "sync"):
            files.failing[operation] = errno.EIO
            for _ in range(2):
                with pytest.raises(StorageError):
                    intake.submit(calls)
            files.failing.clear()
        intake.heal()
        assert log.failure is None
        assert intake.contents("keyed").num_rows == 0
        assert intake.watermarks == {}
        results = intake.submit(calls)
        assert [result.statuses.tolist() for result in results] == [[0, 0]] * 3
        assert [result.commit for result in results] == [1, 1, 1]


def test_a_repeat_of_a_row_that_is_not_durable_waits_for_it(tmp_path: Path) -> None:
    """Several threads send one row; if the first cannot be written, no other is told *repeated*."""
    gate, release = threading.Event(), threading.Event()

    class SlowFiles(FaultyFiles):
        def sync(self, descriptor: int) -> None:
            if gate.is_set():
                release.wait(60)
            super().sync(descriptor)

    files = SlowFiles()
    with Log.open(tmp_path, files=files) as log:
        intake = Intake(STREAMS, TABLES, log, Clock())
        gate.set()
        outcomes: list[str] = []

        def work() -> None:
            try:
                outcomes.append(
                    str(intake.submit([call("append", "orders", [event(1)])])[0].statuses.tolist())
                )
            except StorageError:
                outcomes.append("failed")

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        while intake._lock.locked() or not intake._pending:
            threading.Event().wait(0.001)
        files.failing["sync"] = errno.EIO
        release.set()
        for thread in threads:
            thread.join()
        assert "failed" in outcomes
        assert "[1]" not in outcomes
        files.failing.clear()
        assert intake.submit([call("append", "orders", [event(1)])])[0].statuses.tolist() in ([0], [1])
        change = total(log, "orders")
        assert change is not None
        assert len(change) == 1


def test_many_threads_and_a_failing_disk_lose_and_double_nothing(tmp_path: Path) -> None:
    """Each thread sends its rows until they are accepted or known; now and then an fsync fails."""

    class MoodyFiles(FaultyFiles):
        count = 0

        def sync(self, descriptor: int) -> None:
            super().sync(descriptor)
            self.count += 1
            if self.count % 7 == 0:
                self.broken.add(descriptor)
                raise OSError(errno.EIO, "injected")

    files = MoodyFiles()
    failures: list[int] = []
    with Log.open(tmp_path, files=files, segment_bytes=20_000) as log:
        intake = Intake(STREAMS, TABLES, log, Clock())

        def work(worker: int) -> None:
            for turn in range(30):
                number = worker * 1000 + turn
                calls = [call("append", "orders", [event(number)]), call("upsert", "keyed", [row(number)])]
                for _ in range(1000):
                    try:
                        intake.submit(calls)
                        break
                    except StorageError:
                        failures.append(number)

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        while log.failure is not None:
            with suppress(StorageError):
                intake.heal()
    assert failures
    assert not files.synced_after_failure
    expected = sorted(worker * 1000 + turn for worker in range(6) for turn in range(30))
    with Log.open(tmp_path) as log:
        for relation, column in (("orders", "id"), ("keyed", "a")):
            change = total(log, relation)
            assert change is not None
            assert sorted(change.rows.column(column).to_pylist()) == expected
        numbers = [record.number for record in log.records() if isinstance(record, Commit)]
        assert numbers == list(range(1, log.last_commit + 1))


def test_recovery_in_bulk_is_the_same_as_one_by_one(
    log: Log, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    intake = Intake(STREAMS, TABLES, log, clock)
    for turn in range(40):
        clock.forward(7)
        intake.submit(
            [
                call(
                    "append",
                    "orders",
                    [event(turn * 3 + at, turn * 7 + at - 20 * (at % 2)) for at in range(5)],
                ),
                call("upsert", "keyed", [row(turn % 11, word=str(turn))]),
                call("upsert", "sequenced", [row(turn % 5, seq=turn * 7 % 13)]),
                call("upsert", "bag", [row(turn % 3)]),
                call("delete", "keyed", [row(turn % 7)]),
                call("delete", "sequenced", [row(turn % 4)]),
                call("delete", "bag", [row((turn + 1) % 3)]),
            ],
            idempotency_key=f"k{turn}",
        )
    recovered = []
    for rows_at_once in (1, 37, 1 << 16):
        monkeypatch.setattr("headrace.intake.recovery.ROWS_AT_ONCE", rows_at_once)
        again = Intake(STREAMS, TABLES, log, clock)
        for record in log.records():
            again.recover(record)
        recovered.append(again)
    probes = [
        call("append", "orders", [event(at, 250) for at in range(130)]),
        call("upsert", "keyed", [row(at, word="35") for at in range(12)]),
        call("upsert", "sequenced", [row(at, seq=6) for at in range(6)]),
        call("delete", "bag", [row(at % 3) for at in range(12)]),
    ]
    for other in recovered:
        for name in TABLES:
            left = intake.contents(name).sort_by(
                [(column, "ascending") for column in ("a", "b", "seq", "word")]
            )
            right = other.contents(name).sort_by(
                [(column, "ascending") for column in ("a", "b", "seq", "word")]
            )
            assert left == right
        assert other.watermarks == intake.watermarks
        assert decided(other, probes) == decided(intake, probes)
        with pytest.raises(IdempotencyConflict):
            other.submit([call("append", "orders", [event(0)])], idempotency_key="k3")


def decided(intake: Intake, calls: list[Call]) -> list[list[int]]:
    """Return what would be decided; nothing is kept."""
    with intake._lock:
        intake._settle()
        draft = _Draft(intake._memory.clock_us)
        for one in calls:
            intake._decide_call(one, draft, "keep")
        _take_back(draft.undo)
    return [result.statuses.tolist() for _, result in draft.results]


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize("place", ["before", "amid", "after"])
def test_an_interrupt_at_any_point_leaves_the_intake_in_step_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], place: str
) -> None:
    """Out of memory half-way through a change, or Ctrl-C once the commit is already queued."""
    with Log.open(tmp_path) as log:
        intake = Intake(STREAMS, TABLES, log, Clock())
        intake.submit([call("upsert", "keyed", [row(1, word="a")])])
        calls = [
            call("append", "orders", [event(1)]),
            call("upsert", "keyed", [row(1, word="b"), row(2)]),
        ]
        append, store = log.append, RowStore.append

        def fail_before(*_: object) -> None:
            raise error

        def fail_after(record: Record) -> None:
            append(record)
            raise error

        def fail_amid(self: RowStore, *rows: object) -> None:
            store(self, *rows)  # type: ignore[arg-type]
            raise error

        with monkeypatch.context() as patch:
            if place == "amid":
                patch.setattr(RowStore, "append", fail_amid)
            else:
                patch.setattr(log, "append", fail_before if place == "before" else fail_after)
            with pytest.raises(error):
                intake.submit(calls)
        written = place == "after"
        assert intake.contents("keyed").num_rows == (2 if written else 1)
        results = intake.submit(calls)
        assert [result.repeated for result in results] == ([1, 2] if written else [0, 0])
        assert log.last_commit == 2


def test_a_closed_log_refuses(tmp_path: Path) -> None:
    log = Log.open(tmp_path)
    intake = Intake(STREAMS, TABLES, log, Clock())
    log.close()
    with pytest.raises(Closed):
        intake.submit([call("append", "plain", [event(1)])])


def test_side_tables_have_the_schemas_that_their_changes_have(intake: Intake, log: Log) -> None:
    intake.submit([call("append", "orders", [event(1, 100), event(None)])])
    intake.submit([call("append", "orders", [event(2, 0)]), call("delete", "keyed", [row(1)])])
    schemas = side_schemas(ORDERS) | side_schemas(KEYED) | side_schemas(BAG)
    assert set(schemas) == {"orders__rejected", "orders__late", "keyed__rejected", "bag__rejected"}
    for name in ("orders__rejected", "orders__late", "keyed__rejected"):
        change = total(log, name)
        assert change is not None
        assert change.rows.schema == schemas[name].arrow
    late = total(log, "orders__late")
    assert late is not None
    assert late.rows.column("_watermark").cast(pa.timestamp("us", "UTC")).to_pylist() == [
        datetime(2026, 1, 1, 0, 1, 30, tzinfo=UTC)
    ]


def test_contents_are_a_snapshot(intake: Intake) -> None:
    intake.submit([call("upsert", "keyed", [row(1, word="a")])])
    before = intake.contents("KEYED")
    intake.submit([call("upsert", "keyed", [row(1, word="b"), row(2)])])
    assert before.column("word").to_pylist() == ["a"]
    assert intake.contents("keyed").num_rows == 2
