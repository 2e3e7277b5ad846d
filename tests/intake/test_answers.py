"""Idempotency keys: one key, one effect, one answer; in a process, across restarts, between threads."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.intake.samples import STREAM, STREAMS, TABLES, Checked, Clock, call, checked, event, row, total
from tests.log.faulty import FaultyFiles

from headrace.errors import IdempotencyConflict, StorageError
from headrace.intake import Call, Intake
from headrace.intake.answers import content_digest
from headrace.log import Log
from headrace.results import AppendResult


def same(left: AppendResult, right: AppendResult) -> bool:
    return (
        left.commit == right.commit
        and left.statuses.tolist() == right.statuses.tolist()
        and left.rejections == right.rejections
    )


CALLS = [
    call("append", "orders", [event(1), event(1), event(None), event(2, 50)], bad=[3]),
    call("upsert", "keyed", [row(1), row(None)]),
    call("delete", "bag", []),
]


def test_a_repeat_gets_the_first_answer_and_does_nothing() -> None:
    log = Log.open(None)
    intake = Intake(STREAMS, TABLES, log, Clock())
    first = intake.submit(CALLS, idempotency_key="k")
    again = intake.submit(CALLS, idempotency_key="k")
    assert [result.replayed for result in [*first, *again]] == [False] * 3 + [True] * 3
    assert all(same(left, right) for left, right in zip(first, again, strict=True))
    assert log.last_commit == 1


def test_a_repeat_after_a_restart_gets_the_first_answer(tmp_path: Path) -> None:
    with Log.open(tmp_path) as log:
        first = Intake(STREAMS, TABLES, log, Clock()).submit(CALLS, idempotency_key="k")
    with Log.open(tmp_path) as log:
        intake = Intake(STREAMS, TABLES, log, Clock())
        for record in log.records():
            intake.recover(record)
        again = intake.submit(CALLS, idempotency_key="k")
        assert all(same(left, right) for left, right in zip(first, again, strict=True))
        with pytest.raises(IdempotencyConflict, match="'k'"):
            intake.submit(CALLS[:2], idempotency_key="k")
        assert log.last_commit == 1


def test_a_key_is_remembered_even_if_there_was_nothing_to_write() -> None:
    log = Log.open(None)
    intake = Intake(STREAMS, TABLES, log, Clock())
    assert intake.submit([call("append", "plain", [])], idempotency_key="k")[0].commit == 1
    with pytest.raises(IdempotencyConflict):
        intake.submit([call("append", "plain", [event(1)])], idempotency_key="k")
    assert total(log, "plain") is None


def test_a_key_is_free_again_after_a_day() -> None:
    clock = Clock()
    intake = Intake(STREAMS, TABLES, Log.open(None), clock)
    rows = [call("append", "plain", [event(1)])]
    assert intake.submit(rows, idempotency_key="k")[0].commit == 1
    clock.forward(86_399)
    intake.tick()
    assert intake.submit(rows, idempotency_key="k")[0].replayed
    clock.forward(1)
    assert intake.submit(rows, idempotency_key="k")[0].commit == 2
    assert intake.submit(rows, idempotency_key="k")[0].commit == 2


def test_a_call_that_failed_leaves_its_key_free(tmp_path: Path) -> None:
    files = FaultyFiles()
    with Log.open(tmp_path, files=files) as log:
        intake = Intake(STREAMS, TABLES, log, Clock())
        files.failing["sync"] = 5
        with pytest.raises(StorageError):
            intake.submit(CALLS, idempotency_key="k")
        files.failing.clear()
        assert not intake.submit(CALLS[:1], idempotency_key="k")[0].replayed


def test_one_key_from_many_threads_has_one_effect(tmp_path: Path) -> None:
    results: list[AppendResult] = []
    with Log.open(tmp_path) as log:
        intake = Intake(STREAMS, TABLES, log, Clock())
        barrier = threading.Barrier(8)

        def work() -> None:
            barrier.wait()
            results.extend(intake.submit([call("append", "plain", [event(1)])], idempotency_key="k"))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {result.commit for result in results} == {1}
        assert sorted(result.replayed for result in results) == [False] + [True] * 7
        assert log.last_commit == 1


def digest(rows: pa.RecordBatch) -> str:
    checked_rows = Checked(rows, np.arange(rows.num_rows), (), [], rows.num_rows)
    return content_digest([Call("append", "plain", checked_rows)], None, None)


def test_the_content_is_told_by_values_not_by_how_they_lie_in_memory() -> None:
    rows = checked(STREAM, [event(1), event(None, None, "x"), event(3)]).batch
    longer = checked(STREAM, [event(9), event(1), event(None, None, "x"), event(3), event(8)]).batch
    assert digest(rows) == digest(longer.slice(1, 3))
    junk = pa.array(np.array([1, 77, 3]), mask=np.array([False, True, False]))
    assert digest(rows) == digest(rows.set_column(0, STREAM.arrow.field(0), junk))


@pytest.mark.parametrize(
    "other",
    [
        [call("append", "plain", [event(2)])],
        [call("append", "plain", [event(1), event(1)])],
        [call("append", "orders", [event(1)])],
        [call("append", "plain", [event(1)], bad=[0])],
        [call("append", "plain", [event(None)])],
        [call("append", "plain", [event(1)])] * 2,
        [],
    ],
)
def test_every_other_content_has_another_digest(other: list[Call]) -> None:
    one = [call("append", "plain", [event(1)])]
    assert content_digest(one, None, None) != content_digest(other, None, None)
    assert content_digest(one, "s", 1) != content_digest(one, "s", 2)
    assert content_digest(one, None, None) == content_digest(one, None, None)


def test_the_digest_of_every_type_is_steady() -> None:
    """The same values, built twice."""

    def build() -> pa.RecordBatch:
        return pa.RecordBatch.from_pydict(
            {
                "flag": [True, None],
                "list": [[1], None],
                "when": [datetime(2026, 1, 1, tzinfo=UTC), None],
                "word": pa.array(["a", None]).dictionary_encode(),
                "bytes": [b"\x00", None],
                "float": [float("nan"), None],
            }
        )

    assert digest(build()) == digest(build())
