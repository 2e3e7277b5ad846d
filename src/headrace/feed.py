"""The recent changes of every view, in memory: readers follow from a version they have seen, and the past is
read out of it.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.change import VERSION, Change
from headrace.errors import VersionGone
from headrace.log.codec import to_us
from headrace.results import Version

HELD_TIMES_MAX = 4
"""What is not on disk yet is held up to so many times the bounds; then it goes, and the past has a gap."""
BYTES_MAX = 128 << 20
"""Bytes of changes that are kept; wide rows reach it before the bound on rows."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One version as it was published.

    Attributes:
        version: the version.
        changes: per view that changed, by lower-case name, its consolidated change.
        errors: per view without an answer at that version, by lower-case name, why.
    """

    version: Version
    changes: Mapping[str, Change]
    errors: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows of all changes together."""
        return sum(len(change) for change in self.changes.values())

    @property
    def nbytes(self) -> int:
        """Bytes of all changes together."""
        return sum(int(change.rows.nbytes) + change.weights.nbytes for change in self.changes.values())


class Feed:
    """A bounded window of the latest changes, all views together. Versions in it follow each other.

    Args:
        rows_max: rows kept over all views; the oldest versions go first.
        versions_max: versions kept.
        bytes_max: bytes kept over all views.
    """

    def __init__(
        self, *, rows_max: int = 1_000_000, versions_max: int = 10_000, bytes_max: int = BYTES_MAX
    ) -> None:
        self._rows_max = rows_max
        self._versions_max = versions_max
        self._bytes_max = bytes_max
        self._entries: deque[Entry] = deque()
        self._sizes: deque[int] = deque()
        self._rows = self._bytes = 0
        self._begun = Entry(Version(0), {})
        self._latest = 0
        self._held: int | None = None
        self._held_rows = 0
        self._moved = threading.Condition()

    def start_at(self, version: Version, errors: Mapping[str, str] | None = None) -> None:
        """Say that nothing before or at `version` is kept, as after a restart; `errors` are those of then."""
        with self._moved:
            self._entries.clear()
            self._sizes.clear()
            self._rows = self._bytes = 0
            self._begun, self._latest = Entry(version, {}, errors or {}), version.number
            if self._held is not None:
                self._held, self._held_rows = version.number, 0

    def push(
        self, version: Version, changes: Mapping[str, Change], errors: Mapping[str, str] | None = None
    ) -> None:
        """Add the changes of a version and wake the readers that follow."""
        kept = {name.lower(): change for name, change in changes.items() if len(change)}
        entry = Entry(version, kept, errors or {})
        with self._moved:
            self._entries.append(entry)
            self._sizes.append(entry.nbytes)
            self._rows += entry.rows
            self._bytes += self._sizes[-1]
            self._held_rows += entry.rows
            self._latest = version.number
            self._let_go()
            self._moved.notify_all()

    def _let_go(self) -> None:
        times = 1
        while self._entries:
            times = (
                1 if self._held is None or self._entries[0].version.number <= self._held else HELD_TIMES_MAX
            )
            if (
                self._rows <= self._rows_max * times
                and len(self._entries) <= self._versions_max * times
                and self._bytes <= self._bytes_max * times
            ):
                return
            gone = self._entries.popleft()
            self._rows -= gone.rows
            self._bytes -= self._sizes.popleft()
            self._begun = Entry(gone.version, {}, gone.errors)

    # --- what is not on disk yet ------------------------------------------------------------------
    def hold(self, version: int) -> None:
        """Keep what comes after `version`, beyond the bounds if need be: it is nowhere else yet."""
        with self._moved:
            self._held = version
            self._held_rows = sum(entry.rows for entry in self._after(version))
            self._let_go()

    @property
    def held(self) -> tuple[int, int]:
        """Versions and rows that are nowhere else yet."""
        with self._moved:
            after = self._begun.version.number if self._held is None else self._held
            return self._latest - max(after, self._begun.version.number), self._held_rows

    # --- reading ----------------------------------------------------------------------------------
    @property
    def begun(self) -> Version:
        """The version that the window starts from: its own changes are not in it, all later ones are."""
        return self._begun.version

    def window(self) -> tuple[Entry, list[Entry]]:
        """Return the version that the window starts from, without changes, and all entries, oldest first."""
        with self._moved:
            return self._begun, list(self._entries)

    def _after(self, version: int) -> list[Entry]:
        skipped = max(0, version - self._begun.version.number)
        return list(islice(self._entries, skipped, None))

    def version(self, number: int) -> Version | None:
        """Return a version of the window, or None where it is not in it."""
        with self._moved:
            begun = self._begun.version
            if number == begun.number:
                return begun
            at = number - begun.number - 1
            return self._entries[at].version if 0 <= at < len(self._entries) else None

    def newest_at(self, clock_us: int) -> Version | None:
        """Return the newest version of the window that is not younger, or None where all of them are."""
        with self._moved:
            versions = [self._begun.version, *(entry.version for entry in self._entries)]
        at = bisect_right(versions, clock_us, key=clock_us_of)
        return versions[at - 1] if at else None

    def since(self, view: str, version: int) -> tuple[int, list[pa.Table]]:
        """Return the latest version and the changes after `version`, with `_weight` and `_version` columns.

        Raises:
            VersionGone: when changes right after `version` are no longer in the window.
        """
        with self._moved:
            if version < self._begun.version.number:
                raise VersionGone(
                    f"changes since version {version} are no longer kept",
                    where=view,
                    expected=f"a version of {self._begun.version.number} or later (now: {self._latest})",
                    hint="start again with since=None, which begins with all rows",
                )
            found = [entry for entry in self._after(version) if view in entry.changes]
            latest = self._latest
        return latest, [with_version(entry.changes[view], entry.version.number) for entry in found]

    def wait_beyond(self, version: int, timeout_s: float) -> int:
        """Block until a version after `version` exists or the time is up; return the latest version."""
        with self._moved:
            self._moved.wait_for(lambda: self._latest > version, timeout_s)
            return self._latest

    def wake(self) -> None:
        """Wake all waiting readers, as at closing."""
        with self._moved:
            self._moved.notify_all()


def clock_us_of(version: Version) -> int:
    """Return a version's clock as microseconds since 1970; the empty state is older than everything."""
    return -(1 << 62) if version.clock is None else to_us(version.clock)


def with_version(change: Change, version: int | npt.NDArray[np.int64]) -> pa.Table:
    """Return the change as an Arrow table with `_weight` and `_version` as its last columns.

    Args:
        change: of one version, or of several.
        version: its number, or one for each row.
    """
    table = change.to_table()
    numbers = pa.array(np.broadcast_to(np.asarray(version, dtype=np.int64), table.num_rows))
    return table.append_column(pa.field(VERSION, pa.int64()), numbers)
