"""What the log holds: commits (outcomes, already decided) and steps (which version saw which commit)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from headrace.change import Change


@dataclass(frozen=True, slots=True)
class Commit:
    """One atomic set of changes to any number of relations, as decided at the door.

    Replaying commits never decides again: the changes are final. `changes` may name side tables
    (`orders__late`, `orders__rejected`) and, for tables, holds the -1 rows of what an upsert replaced.

    Attributes:
        number: 1, 2, 3, … over all relations.
        clock: append clock, UTC, never going back.
        changes: per relation; a relation appears once.
        watermarks: of the streams whose watermark moved with this commit.
        idempotency_key: the caller's, or None; `answer` is then what was told, so that a repeat gets the
            same.
        source: name of a source whose `position` this commit carries, or None.
        position: opaque JSON value of that source.
    """

    number: int
    clock: datetime
    changes: dict[str, Change]
    watermarks: dict[str, datetime] = field(default_factory=dict)
    idempotency_key: str | None = None
    answer: dict[str, Any] | None = None
    source: str | None = None
    position: Any = None


@dataclass(frozen=True, slots=True)
class Step:
    """One published version: which commits it contains. Written before anybody sees the version.

    Attributes:
        version: its number.
        last_commit: the last commit in it.
        clock: the engine's clock, UTC.
        watermarks: of streams, UTC.
        held: commits up to `last_commit` that are not in it; a later version has them.
    """

    version: int
    last_commit: int
    clock: datetime
    watermarks: dict[str, datetime] = field(default_factory=dict)
    held: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Declared:
    """The declarations in force from here on, as `App.fingerprint()` gives them (JSON)."""

    declarations: dict[str, Any]


Record = Commit | Step | Declared


def rows_of(commit: Commit) -> int:
    """Return the number of changed rows in a commit."""
    return sum(len(change) for change in commit.changes.values())


def merged(commits: Iterable[Commit]) -> dict[str, Change]:
    """Return the sum of the commits' changes per relation, in commit order."""
    parts: dict[str, list[Change]] = {}
    for commit in commits:
        for relation, change in commit.changes.items():
            parts.setdefault(relation, []).append(change)
    return {relation: Change.concat(changes) for relation, changes in parts.items()}
