"""The ledger of the kills: which calls a writer may make again."""

from __future__ import annotations

from typing import Any

from tests.faults.ledger import Writer

TAG = {"w": 0, "shop": "s0", "tag": "a"}
UNTAG = [["delete", "tags", [TAG]]]


def killed(writer: Writer, *, came_in: bool) -> None:
    """End the life in which a call was on its way, and begin the next one."""
    assert writer.open is not None
    if came_in:
        writer.take(writer.open)
    writer.again, writer.open = writer.open, None


def holding_a_tag() -> Writer:
    """Return a writer with one row of the bag."""
    writer = Writer()
    writer.begin(0, [["upsert", "tags", [TAG]]])
    writer.take(0)
    writer.open = None
    return writer


def test_a_call_that_came_to_nothing_is_not_made_again_after_another_one() -> None:
    """Else two calls delete one row: the bag rightly refuses the second."""
    writer = holding_a_tag()
    writer.begin(1, UNTAG)
    killed(writer, came_in=False)
    assert writer.unanswered == 1
    writer.begin(2, UNTAG)
    assert writer.unanswered == 2
    killed(writer, came_in=False)
    writer.begin(3, UNTAG)
    writer.open = None
    assert writer.unanswered is None


def test_a_call_that_is_in_may_be_made_again_after_another_one() -> None:
    writer = holding_a_tag()
    writer.begin(1, UNTAG)
    killed(writer, came_in=True)
    other: list[Any] = ["append", "events", []]
    writer.begin(2, [other])
    writer.open = None
    assert writer.unanswered == 1
