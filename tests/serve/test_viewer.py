"""One reader's queue: every way a message can meet a position, and what a full queue does.

The table of positions is the heart: a change covers the versions `first` to `version`, and the view did not
change between `previous` and `first`. A reader anywhere from `previous` to before `first` takes it, one at or
beyond `version` has it already, any other has a gap or an overlap and must begin anew. Losing a queue while a
snapshot is being taken once left a reader one change behind for ever; the floor is for that.
"""

from __future__ import annotations

import asyncio

import pytest

from headrace.serve.messages import Message
from headrace.serve.viewer import Viewer


def change(first: int, version: int, previous: int, size: int = 10) -> Message:
    return Message("change", version, "x" * size, None, first, previous)


@pytest.mark.parametrize(
    ("at", "first", "version", "previous", "fate"),
    [
        (5, 6, 6, 5, "taken"),
        (5, 8, 8, 5, "taken"),
        (7, 8, 8, 5, "taken"),
        (5, 6, 9, 5, "taken"),
        (5, 5, 5, 4, "known"),
        (9, 6, 8, 5, "known"),
        (4, 6, 6, 5, "lost"),
        (7, 6, 9, 5, "lost"),
        (6, 6, 9, 5, "lost"),
        (0, 8, 9, 7, "lost"),
    ],
)
def test_a_change_is_taken_known_or_a_gap(
    at: int, first: int, version: int, previous: int, fate: str
) -> None:
    viewer = Viewer(1_000, 0)
    assert viewer.begin_at(at)
    viewer.offer(change(first, version, previous))
    message = viewer.next_message()
    assert (message is not None) == (fate == "taken")
    assert viewer.wants_snapshot == (fate == "lost")
    assert viewer.version == {"taken": version, "known": at, "lost": None}[fate]


def test_changes_wait_for_the_snapshot() -> None:
    viewer = Viewer(1_000, 3)
    viewer.offer(change(4, 4, 3))
    viewer.offer(change(5, 5, 4))
    assert viewer.next_message() is None
    assert not viewer.begin_at(2)
    assert viewer.begin_at(4)
    following = viewer.next_message()
    assert following is not None
    assert following.version == 5


def test_a_full_queue_is_dropped_and_only_a_later_snapshot_helps() -> None:
    viewer = Viewer(25, 0)
    viewer.begin_at(1)
    for version in (2, 3, 4):
        viewer.offer(change(version, version, version - 1))
    assert viewer.wants_snapshot
    assert viewer.losses == 1
    assert not viewer.begin_at(3)
    assert viewer.begin_at(4)
    viewer.offer(change(5, 5, 4))
    assert viewer.next_message() is not None


def test_a_message_larger_than_the_queue_is_a_loss_too() -> None:
    viewer = Viewer(25, 0)
    viewer.begin_at(1)
    viewer.offer(change(2, 2, 1, size=100))
    assert viewer.wants_snapshot
    assert viewer.floor == 2


def test_only_the_newest_heartbeat_is_kept_and_after_the_changes() -> None:
    viewer = Viewer(1_000, 0)
    viewer.begin_at(1)
    viewer.offer(Message("heartbeat", 1, "old"))
    viewer.offer(change(2, 2, 1))
    viewer.offer(Message("heartbeat", 2, "new"))
    first, second = viewer.next_message(), viewer.next_message()
    assert first is not None
    assert second is not None
    assert (first.kind, second.text) == ("change", "new")
    assert viewer.next_message() is None


def test_waking() -> None:
    async def main() -> None:
        viewer = Viewer(1_000, 0)
        waiting = asyncio.create_task(viewer.wake())
        await asyncio.sleep(0)
        assert not waiting.done()
        viewer.offer(Message("heartbeat", 1, ""))
        await waiting
        viewer.close()
        await viewer.wake()
        assert viewer.closed

    asyncio.run(main())
