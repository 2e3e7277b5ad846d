"""What the intake promises, written down once more in plain Python: lists and dicts, one row at a time.

Nothing here is shared with the code under test, and nothing is fast.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
ACCEPTED, REPEATED, LATE, REJECTED = range(4)


def told(row: Row) -> str:
    """A row as one hashable text."""
    return json.dumps(row, sort_keys=True, default=str)


@dataclass
class ModelStream:
    """A stream with columns id, at (microseconds) and word."""

    lateness_us: int
    idle_after_us: int
    max_ahead_us: int
    window_us: int
    base_us: int | None = None
    heard_us: int = 0
    floor_us: int | None = None
    ids: dict[int, tuple[str, int]] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    late: list[Row] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)

    def watermark(self, clock_us: int) -> int | None:
        if self.base_us is None:
            return None
        moved = self.base_us + max(0, clock_us - self.heard_us - self.idle_after_us)
        return moved if self.floor_us is None else max(moved, self.floor_us)

    def append(self, rows: list[Row], clock_us: int, before_us: int | None) -> list[int]:
        return [self._one(row, clock_us, before_us) for row in rows]

    def _one(self, row: Row, clock_us: int, before_us: int | None) -> int:
        if row["at"] is None or row["at"] > clock_us + self.max_ahead_us or row["id"] is None:
            self.rejected.append(told(row))
            return REJECTED
        content, seen_us = self.ids.get(row["id"], ("", 0))
        if content and seen_us > clock_us - self.window_us:
            if content == told(row):
                return REPEATED
            self.rejected.append(told(row))
            return REJECTED
        self.ids[row["id"]] = (told(row), clock_us)
        if before_us is not None and row["at"] < before_us:
            self.late.append(row | {"_watermark": before_us})
            return LATE
        self.rows.append(row)
        return ACCEPTED

    def hear(self, clock_us: int, rows: list[Row], statuses: list[int]) -> None:
        """Move the watermark after all appends of a commit."""
        accepted = [row["at"] for row, status in zip(rows, statuses, strict=True) if status == ACCEPTED]
        if not accepted and LATE not in statuses:
            return
        moved = self.watermark(clock_us)
        reached = [max(accepted) - self.lateness_us] if accepted else []
        self.base_us = max(([moved] if moved is not None else []) + reached)
        self.heard_us = clock_us


@dataclass
class ModelTable:
    """A table with key columns a and b, a sequence seq (if `sequenced`), and a word."""

    sequenced: bool
    held: dict[tuple[Any, Any], Row] = field(default_factory=dict)
    gone: dict[tuple[Any, Any], int] = field(default_factory=dict)
    rejected: list[str] = field(default_factory=list)
    changes: int = 0

    def _sequence(self, key: tuple[Any, Any]) -> int | None:
        if not self.sequenced:
            return None
        return self.held[key]["seq"] if key in self.held else self.gone.get(key)

    def upsert(self, rows: list[Row]) -> list[int]:
        statuses: list[int] = []
        running: dict[tuple[Any, Any], int | None] = {}
        last: dict[tuple[Any, Any], int] = {}
        for at, row in enumerate(rows):
            key = (row["a"], row["b"])
            if None in key or (self.sequenced and row["seq"] is None):
                statuses.append(REJECTED)
                self.rejected.append(told(row))
                continue
            newest = running.get(key, self._sequence(key))
            if self.sequenced and newest is not None and row["seq"] < newest:
                statuses.append(REPEATED)
                continue
            running[key], last[key] = row["seq"], at
            statuses.append(ACCEPTED)
        for key, at in last.items():
            if self.held.get(key) == rows[at]:
                statuses[at] = REPEATED
            else:
                self.held[key] = rows[at]
                self.changes += 1
        return statuses

    def delete(self, rows: list[Row]) -> list[int]:
        statuses = []
        for row in rows:
            key = (row["a"], row["b"])
            if None in key or key not in self.held:
                statuses.append(REJECTED)
                self.rejected.append(told({"a": row["a"], "b": row["b"]}))
            else:
                self.gone[key] = self.held.pop(key)["seq"]
                self.changes += 1
                statuses.append(ACCEPTED)
        return statuses


@dataclass
class ModelBag:
    """A bag with the columns of the table."""

    held: Counter[str] = field(default_factory=Counter)
    rejected: list[str] = field(default_factory=list)
    changes: int = 0

    def upsert(self, rows: list[Row]) -> list[int]:
        self.held.update(told(row) for row in rows)
        self.changes += len(rows)
        return [ACCEPTED] * len(rows)

    def delete(self, rows: list[Row]) -> list[int]:
        statuses = []
        for row in rows:
            if self.held[told(row)]:
                self.held[told(row)] -= 1
                self.changes += 1
                statuses.append(ACCEPTED)
            else:
                self.rejected.append(told(row))
                statuses.append(REJECTED)
        return statuses
