"""The window of recent changes is bounded in rows, versions and bytes; what is nowhere else stays longer."""

from __future__ import annotations

import pyarrow as pa
import pytest

from headrace.change import Change
from headrace.errors import VersionGone
from headrace.feed import HELD_TIMES_MAX, Feed
from headrace.results import Version

WIDE = Change.inserts(pa.record_batch({"x": ["w" * 1_000] * 10}))
"""Ten rows of about ten thousand bytes."""


def test_wide_rows_reach_the_bound_in_bytes() -> None:
    feed = Feed(bytes_max=5 * 10_500)
    for number in range(1, 9):
        feed.push(Version(number), {"V": WIDE})
    assert feed.begun.number == 3
    assert [table.num_rows for table in feed.since("v", 3)[1]] == [10] * 5
    with pytest.raises(VersionGone):
        feed.since("v", 2)


def test_what_is_not_on_disk_is_kept_longer() -> None:
    feed = Feed(bytes_max=2 * 10_500)
    feed.hold(0)
    for number in range(1, 2 * HELD_TIMES_MAX + 4):
        feed.push(Version(number), {"v": WIDE})
    assert feed.begun.number == 3
    feed.hold(9)
    assert feed.begun.number == 9
    assert feed.held == (2, 20)
