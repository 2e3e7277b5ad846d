"""The recent changes of every view, in memory, so that readers can follow from a version they have seen."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa

from headrace.change import VERSION, Change
from headrace.errors import VersionGone


class Feed:
    """A bounded window of the latest changes, all views together.

    Args:
        rows_max: rows kept over all views; the oldest versions go first.
        versions_max: versions kept.
    """

    def __init__(self, *, rows_max: int = 1_000_000, versions_max: int = 10_000) -> None:
        self._rows_max = rows_max
        self._versions_max = versions_max
        self._entries: deque[tuple[int, dict[str, Change]]] = deque()
        self._rows = 0
        self._floor = 0
        self._latest = 0
        self._floors: dict[str, int] = {}
        self._moved = threading.Condition()

    def start_at(self, version: int) -> None:
        """Say that nothing before or at `version` is kept, as after a restart."""
        with self._moved:
            self._entries.clear()
            self._rows = 0
            self._floor = self._latest = version

    def push(self, version: int, changes: Mapping[str, Change]) -> None:
        """Add the changes of a version and wake the readers that follow."""
        with self._moved:
            kept = {name: change for name, change in changes.items() if len(change)}
            self._entries.append((version, kept))
            self._rows += sum(len(change) for change in kept.values())
            self._latest = version
            while self._entries and (self._rows > self._rows_max or len(self._entries) > self._versions_max):
                gone, dropped = self._entries.popleft()
                self._rows -= sum(len(change) for change in dropped.values())
                self._floor = gone
            self._moved.notify_all()

    def restart(self, views: Iterable[str], version: int) -> None:
        """Say that no changes lead to `version` of some views: they have other columns there, or are new."""
        with self._moved:
            for view in views:
                self._floors[view.lower()] = version
            for _, changes in self._entries:
                for view in [name for name in changes if self._floors.get(name.lower()) == version]:
                    self._rows -= len(changes.pop(view))

    def since(self, view: str, version: int) -> tuple[int, list[pa.Table]]:
        """Return the latest version and the changes after `version`, with `_weight` and `_version` columns.

        Raises:
            VersionGone: when changes right after `version` are no longer kept.
        """
        with self._moved:
            floor = max(self._floor, self._floors.get(view.lower(), 0))
            if version < floor:
                raise VersionGone(
                    f"changes since version {version} are no longer kept",
                    where=view,
                    expected=f"a version of {floor} or later (now: {self._latest})",
                    hint="start again with since=None, which begins with all rows",
                )
            found = [(n, changes[view]) for n, changes in self._entries if n > version and view in changes]
            latest = self._latest
        return latest, [with_version(change, number) for number, change in found]

    def wait_beyond(self, version: int, timeout_s: float) -> int:
        """Block until a version after `version` exists or the time is up; return the latest version."""
        with self._moved:
            self._moved.wait_for(lambda: self._latest > version, timeout_s)
            return self._latest

    def wake(self) -> None:
        """Wake all waiting readers, as at closing."""
        with self._moved:
            self._moved.notify_all()


def with_version(change: Change, version: int) -> pa.Table:
    """Return the change as an Arrow table with `_weight` and `_version` as its last columns."""
    table = change.to_table()
    numbers = pa.array(np.full(table.num_rows, version, dtype=np.int64))
    return table.append_column(pa.field(VERSION, pa.int64()), numbers)
