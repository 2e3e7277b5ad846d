"""What the methods of a run answer: versions, per-row outcomes, freshness."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum

import numpy as np
import numpy.typing as npt


class RowStatus(IntEnum):
    """What became of one row of a call."""

    ACCEPTED = 0
    REPEATED = 1
    LATE = 2
    REJECTED = 3


_ACCEPTED, _REPEATED, _LATE, _REJECTED = (bytes([status]) for status in RowStatus)


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why one row was rejected: its index in the call, the field, the offending value, the reason."""

    index: int
    field: str | None
    value: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class AppendResult:
    """The answer to `append`, `upsert` and `delete`: durable when it is returned, but for `at_most_once`.

    Attributes:
        commit: number of the commit that holds the rows, or None when nothing had to be written.
        statuses: one `RowStatus` per row of the call, as uint8, in the order of the call.
        rejections: the reasons, for the rejected rows only.
        replayed: True when an idempotency key had been seen and this is the first answer again.
        delivery: what the stream promises: `exactly_once`, `at_least_once`, or `at_most_once`; with the last,
            the rows need not be durable yet.
    """

    commit: int | None
    statuses: npt.NDArray[np.uint8]
    rejections: tuple[Rejection, ...] = ()
    replayed: bool = False
    delivery: str = "exactly_once"

    def _count(self, status: bytes) -> int:
        return self.statuses.tobytes().count(status)

    @property
    def accepted(self) -> int:
        """Rows that entered the stream or table."""
        return self._count(_ACCEPTED)

    @property
    def repeated(self) -> int:
        """Rows whose event id was accepted before with the same content, or upserts that change nothing."""
        return self._count(_REPEATED)

    @property
    def late(self) -> int:
        """Rows below the watermark; they are kept in `<stream>__late`."""
        return self._count(_LATE)

    @property
    def rejected(self) -> int:
        """Rows that broke the contract; they are kept in `<stream>__rejected`."""
        return self._count(_REJECTED)


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """One published state of all views; versions compare by number.

    Attributes:
        number: grows by one with every step that had something to do; 0 is the empty state.
        commit: the last commit it contains.
        clock: the engine's clock at the step, UTC.
        watermarks: per stream with event time, the largest accepted time less the lateness, UTC.
        held: commits up to `commit` that it does not contain yet: they derive much anew, and are computed
            aside.
    """

    number: int
    commit: int = field(compare=False, default=0)
    clock: datetime | None = field(compare=False, default=None)
    watermarks: dict[str, datetime] = field(compare=False, default_factory=dict)
    held: tuple[int, ...] = field(compare=False, default=())

    def has(self, commit: int) -> bool:
        """Whether it contains a commit."""
        return commit <= self.commit and commit not in self.held

    def has_all(self, commit: int) -> bool:
        """Whether it contains all commits up to one."""
        return commit <= self.commit and all(number > commit for number in self.held)

    @property
    def whole_commit(self) -> int:
        """The last commit up to which it contains all."""
        return min(self.commit, *(number - 1 for number in self.held)) if self.held else self.commit

    def __int__(self) -> int:
        return self.number

    def __index__(self) -> int:
        return self.number


@dataclass(frozen=True, slots=True)
class HeldChange:
    """A commit that reaches too many rows for a step, and is computed aside.

    Attributes:
        commit: its number.
        tables: that it changes.
        rows: that it reaches, about; 0: it follows another change of the same key.
        age_ms: since it was acknowledged.
        state: `computing`, or `waiting` for those before it.
    """

    commit: int
    tables: tuple[str, ...]
    rows: int
    age_ms: float
    state: str


@dataclass(frozen=True, slots=True)
class SinkStatus:
    """Where a sink stands.

    Attributes:
        name: of the sink.
        view: what it takes.
        url: where it goes, without a password.
        guarantee: `exactly once`, `idempotent` or `at least once`.
        state: `starting`, `delivering`, `up to date`, `down` (it is tried again) or `stopped`.
        version: the last version that it holds; None: not known yet.
        versions_behind: how many versions it lacks.
        lag_ms: age of the oldest version with changes for it that it lacks; 0: it lacks none.
        rows: rows handed over since the run was opened.
        deliveries: how often, since the run was opened.
        failures: how often it failed, since the run was opened.
        error: why it is down, or None.
    """

    name: str
    view: str
    url: str
    guarantee: str
    state: str
    version: int | None
    versions_behind: int
    lag_ms: float
    rows: int = 0
    deliveries: int = 0
    failures: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old an answer is.

    Attributes:
        freshness_ms: age of the oldest acknowledged commit not in the answered version; 0: none waits.
        pending_commits: acknowledged commits that are not in the version yet.
    """

    freshness_ms: float
    pending_commits: int

    @property
    def quiet(self) -> bool:
        """True when nothing waits to be computed."""
        return self.pending_commits == 0
