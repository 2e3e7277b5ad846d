"""Recovery by replay: the log from its start, in large steps, to the last recorded version.

The versions whose changes are on no disk yet are steps of their own, so that their changes come out as they
were.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from headrace.change import Change
from headrace.log.log import Log
from headrace.log.records import Commit, Declared, Record, Step, merged, rows_of
from headrace.results import Version

REPLAY_ROWS_MAX = 200_000
"""Rows that one step takes while the log is replayed."""


class Steps(Protocol):
    """What replay needs of the engine."""

    def step(self, changes: dict[str, Change], clock: datetime, watermarks: dict[str, datetime]) -> object:
        """Run the circuit once."""


@dataclass(slots=True)
class Replay:
    """One pass over the log.

    Attributes:
        version: the last recorded version, once `run` has returned.
        declared_last: whether the declarations in force were recorded after the last version.
        waiting: commits that no recorded version contains, in order.
        fed: the last commit that the engine has seen.
        held: commits up to there that it has not: they were held back.
    """

    log: Log
    engine: Steps
    decide: Callable[[Record], None]
    """Rebuilds the door's memory (ids, keys, watermarks) from a record."""
    version: Version = field(default_factory=lambda: Version(0))
    decided: int = 0
    """The last commit that the door knows already, from a checkpoint; `version` then begins there too."""
    exact_after: int | None = None
    """From the version after this one on, every version is a step of its own; None: no version is."""
    begin: Callable[[Version], None] = lambda _: None
    """Called once, with the version from which on steps are exact; at the end where none is."""
    told: Callable[[Version, Any], None] = lambda _, __: None
    """Called with every version that is a step of its own, and what the engine answered."""
    declared_last: bool = False
    waiting: list[Commit] = field(default_factory=list)
    fed: int = 0
    held: tuple[int, ...] = ()
    _covered: list[Commit] = field(default_factory=list)
    _rows: int = 0
    _stepped: int = 0
    _is_exact: bool = False

    def run(self) -> None:
        """Replay everything; commits after the last recorded version are left in `waiting`."""
        begun = self.version
        self.fed, self.held, self._stepped = begun.commit, begun.held, begun.number
        for record in self.log.records(max(1, min(begun.whole_commit, self.decided))):
            if not isinstance(record, Commit) or record.number > self.decided:
                self.decide(record)
            if isinstance(record, Commit):
                if not begun.has(record.number):
                    self.waiting.append(record)
            elif isinstance(record, Step) and record.version > begun.number:
                self._cover(record)
            self.declared_last = isinstance(record, Declared) or (
                self.declared_last and not isinstance(record, Step)
            )
        self._flush()
        if not self._is_exact:
            self.begin(self.version)

    def _cover(self, step: Step) -> None:
        if self.exact_after is not None and step.version > self.exact_after and not self._is_exact:
            self._flush()
            self._is_exact = True
            self.begin(self.version)
        self.version = Version(step.version, step.last_commit, step.clock, step.watermarks, step.held)
        reached = [commit for commit in self.waiting if self.version.has(commit.number)]
        self.waiting = [commit for commit in self.waiting if not self.version.has(commit.number)]
        self._covered += reached
        self._rows += sum(rows_of(commit) for commit in reached)
        if self._is_exact or self._rows >= REPLAY_ROWS_MAX:
            self._flush()

    def _flush(self) -> None:
        """Feed the engine what has gathered, at the last version's clock, which alone may move rows."""
        clock = self.version.clock or (self._covered[-1].clock if self._covered else None)
        if clock is not None and (self._covered or self.version.number > self._stepped):
            output = self.engine.step(merged(self._covered), clock, self.version.watermarks)
            self._stepped = self.version.number
            if self._is_exact:
                self.told(self.version, output)
        if self._covered:
            self.fed, self.held = self.version.commit, self.version.held
        self._covered = []
        self._rows = 0
