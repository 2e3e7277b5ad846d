"""Appends that share a commit, compared with what each sender would be told alone.

A gate holds the first append back, so that the requests behind it are sure to form one group. The sharing out
is compared with a plain reading of the rows: every status and every reason under the sender's own index.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import headrace as hr
from headrace.errors import BadRequest, Busy, StorageError
from headrace.results import AppendResult, Rejection, RowStatus
from headrace.serve import groups as groups_module
from headrace.serve.groups import Groups, shared_out
from headrace.turns import Turns

A, P, L, R = (int(status) for status in RowStatus)


def result(statuses: list[int], rejected: list[int], commit: int | None = 7) -> AppendResult:
    reasons = tuple(Rejection(index, "x", str(index), "is bad") for index in rejected)
    return AppendResult(commit, np.array(statuses, dtype=np.uint8), reasons)


def test_each_sender_is_told_about_its_own_rows_by_its_own_indexes() -> None:
    joint = result([A, R, A, P, P, L, R, R], [1, 6, 7])
    parts = shared_out(joint, [2, 0, 1, 2, 3])
    assert [part.statuses.tolist() for part in parts] == [[A, R], [], [A], [P, P], [L, R, R]]
    assert [[(r.index, r.value) for r in part.rejections] for part in parts] == [
        [(1, "1")],
        [],
        [],
        [],
        [(1, "6"), (2, "7")],
    ]


def test_a_sender_whose_rows_were_all_repeated_has_no_commit() -> None:
    parts = shared_out(result([A, P, P, R], [3]), [1, 2, 1, 0])
    assert [part.commit for part in parts] == [7, None, 7, None]


class Door:
    """An append that waits until it is let go, and remembers what it was given."""

    def __init__(self, *, failing: Exception | None = None) -> None:
        self.calls: list[tuple[str, list[Any]]] = []
        self.open = threading.Event()
        self.failing = failing

    def begin(self, stream: str, rows: list[Any]) -> Callable[[], AppendResult]:
        self.calls.append((stream, rows))
        return partial(self.finish, len(rows))

    def finish(self, count: int) -> AppendResult:
        assert self.open.wait(100)
        if self.failing is not None:
            raise self.failing
        return result([A] * count, [])


async def sent(groups: Groups, door: Door, requests: list[tuple[str, list[Any]]]) -> list[Any]:
    """Send two requests that block both threads, then all others, then open the door."""
    blockers = [asyncio.create_task(one(groups, f"block {n}", [n])) for n in range(2)]
    while len(door.calls) < 2:
        await asyncio.sleep(0.001)
    others = [asyncio.create_task(one(groups, stream, rows)) for stream, rows in requests]
    await asyncio.sleep(0.01)
    door.open.set()
    answers = await asyncio.gather(*others, return_exceptions=True)
    await asyncio.gather(*blockers, return_exceptions=True)
    return answers


async def one(groups: Groups, stream: str, rows: list[Any] | Exception) -> int:
    def read() -> list[Any]:
        if isinstance(rows, Exception):
            raise rows
        return rows

    return await groups.append(stream, 10, read, lambda part: len(part.statuses))


def test_what_waits_for_one_stream_becomes_one_append() -> None:
    door = Door()
    groups = Groups(door.begin, Turns(), 100)
    answers = asyncio.run(sent(groups, door, [("a", [1]), ("b", [2]), ("A", [3, 4]), ("a", []), ("b", [5])]))
    assert answers == [1, 1, 2, 0, 1]
    assert sorted(door.calls[2:]) == [("a", [1, 3, 4]), ("b", [2, 5])]
    groups.close()


async def sent_behind(turns: Turns, groups: Groups, requests: list[list[Any]]) -> list[Any]:
    """Send requests while somebody else has the turn, and let go of it when all are in the queue."""
    with turns.turn(60):
        waiting = [asyncio.create_task(one(groups, "a", rows)) for rows in requests]
        await asyncio.sleep(0)  # each has run up to where it waits for its answer
    return await asyncio.gather(*waiting)


def test_what_comes_while_others_have_their_turn_becomes_one_append(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups_module, "TURN_WAIT_S", 60.0)
    door, turns = Door(), Turns()
    door.open.set()
    groups = Groups(door.begin, turns, 100)
    assert asyncio.run(sent_behind(turns, groups, [[1], [2, 3], [4]])) == [1, 2, 1]
    assert door.calls == [("a", [1, 2, 3, 4])]
    groups.close()


def test_a_body_that_does_not_parse_is_its_senders_alone() -> None:
    door = Door()
    groups = Groups(door.begin, Turns(), 100)
    bad: Any = BadRequest("not JSON")
    answers = asyncio.run(sent(groups, door, [("a", [1]), ("a", bad), ("a", [2])]))
    assert answers == [1, bad, 1]
    assert door.calls[2:] == [("a", [1, 2])]
    groups.close()


def test_a_full_disk_is_told_to_all_and_tried_once() -> None:
    door = Door(failing=StorageError("full"))
    groups = Groups(door.begin, Turns(), 100)
    answers = asyncio.run(sent(groups, door, [("a", [1]), ("a", [2])]))
    assert [type(answer) for answer in answers] == [StorageError, StorageError]
    assert len(door.calls) == 3
    groups.close()


def test_what_is_wrong_with_one_is_told_to_one() -> None:
    class Picky(Door):
        def begin(self, stream: str, rows: list[Any]) -> Callable[[], AppendResult]:
            if 2 in rows:
                raise ValueError("two")
            return super().begin(stream, rows)

    door = Picky()
    groups = Groups(door.begin, Turns(), 100)
    answers = asyncio.run(sent(groups, door, [("a", [1]), ("a", [2]), ("a", [3])]))
    assert answers[0] == answers[2] == 1
    assert isinstance(answers[1], ValueError)
    groups.close()


def test_nobody_waits_for_an_answer_that_could_not_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, the thread ended with it, and all that came after waited for ever."""

    def starved(*_: Any) -> list[AppendResult]:
        raise MemoryError

    monkeypatch.setattr(groups_module, "shared_out", starved)
    door = Door()
    groups = Groups(door.begin, Turns(), 100)

    async def both() -> tuple[list[Any], int]:
        told = await sent(groups, door, [("a", [1]), ("a", [2])])
        monkeypatch.undo()
        return told, await one(groups, "a", [3])

    told, after = asyncio.run(both())
    assert [type(answer) for answer in told] == [MemoryError, MemoryError]
    assert after == 1
    groups.close()


def test_a_full_queue_is_told_to_come_back() -> None:
    door = Door()
    groups = Groups(door.begin, Turns(), 3)
    answers = asyncio.run(sent(groups, door, [("a", [n]) for n in range(5)]))
    assert answers[:3] == [1, 1, 1]
    assert [type(answer) for answer in answers[3:]] == [Busy, Busy]
    groups.close()


def itself(part: AppendResult) -> AppendResult:
    return part


@pytest.mark.parametrize("rows", [1, 30])
def test_rows_of_many_senders_arrive_once_each(rows: int) -> None:
    app = hr.App("shop")
    app.stream("orders", "id BIGINT, name TEXT NOT NULL", event_id="id")
    app.view("n", "SELECT count(*) AS n, count(DISTINCT id) AS ids FROM orders")

    async def send_all(groups: Groups) -> list[AppendResult]:
        def body(sender: int) -> list[Any]:
            return [{"id": sender * 5 + n, "name": None if n == 3 else "x"} for n in range(rows)]

        return await asyncio.gather(
            *(groups.append("orders", 10, partial(body, s), itself) for s in range(40))
        )

    with app.open(None) as run:
        groups = Groups(run.begin_append, run.turns, 1_000)
        results = asyncio.run(send_all(groups))
        groups.close()
        run.advance()
        counted = run.query("SELECT * FROM n").to_pylist()[0]
    accepted = sum(part.accepted for part in results)
    assert counted["n"] == counted["ids"] == accepted
    assert all(part.rejected == (1 if rows > 3 else 0) for part in results)
    assert all([r.index for r in part.rejections] == ([3] if rows > 3 else []) for part in results)
