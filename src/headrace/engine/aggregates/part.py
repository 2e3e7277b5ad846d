"""What a part of an aggregate is, and the batch that it sees."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from headrace.engine.columns import I64, Bools, nonzero, validity
from headrace.engine.duck import Duck
from headrace.sql.plan import AggCall


@dataclass(frozen=True, slots=True)
class GroupBatch:
    """A change whose rows are already assigned to groups.

    Attributes:
        rows: the input columns.
        weights: one per row.
        slots: the group of each row.
        touched: every group in `slots` once.
        size: number of groups known.
        duck: for what kernels cannot.
    """

    rows: pa.RecordBatch
    weights: I64
    slots: I64
    touched: I64
    size: int
    duck: Duck

    def chosen(self, call: AggCall) -> tuple[I64 | slice, I64, I64]:
        """Return which rows a call counts (filter TRUE, arguments not NULL), with their slots and weights."""
        keep: Bools | None = None
        if call.filter is not None:
            flags = pc.fill_null(self.rows.column(call.filter), False)
            keep = flags.to_numpy(zero_copy_only=False)
        for name in call.args:
            valid = validity(self.rows.column(name))
            if valid is not None:
                keep = valid if keep is None else keep & valid
        if keep is None or keep.all():
            return slice(None), self.slots, self.weights
        rows = nonzero(keep)
        return rows, self.slots[rows], self.weights[rows]


@dataclass(frozen=True, slots=True)
class Result:
    """The values of a call for some groups.

    Attributes:
        values: one per group.
        failed: groups for which DuckDB would answer with an error, or None.
        message: what DuckDB would say.
    """

    values: pa.Array
    failed: Bools | None = None
    message: str | None = None


class Part(ABC):
    """State of one or more calls, by group slot."""

    rule: str = "accumulators"
    reason: str | None = None
    recycles: bool = False
    """Whether `release` gives groups up; where one part does not, the aggregate keeps all its groups."""

    merges: bool = False
    """Whether `merge` adds groups up, where rows only come."""

    @abstractmethod
    def update(self, batch: GroupBatch) -> None:
        """Take in a change."""

    @abstractmethod
    def results(self, batch: GroupBatch) -> list[Result]:
        """Return, per call of the part, the values of the touched groups."""

    def release(self, slots: I64, dead: Bools) -> None:
        """Give up all that is kept for some groups, so that others may take their slots.

        Args:
            slots: the groups, ascending.
            dead: a mask of them over all slots known.
        """
        raise NotImplementedError

    def merge(self, into: I64, slots: I64) -> None:
        """Add what is kept for some groups (`slots`, each once) to others, pair by pair; it stays as well."""
        raise NotImplementedError

    @property
    def state_rows(self) -> int:
        """Rows kept beside one accumulator per group."""
        return 0

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes kept."""
