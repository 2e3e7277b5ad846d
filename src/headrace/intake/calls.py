"""What the intake is given: calls with rows that have passed the contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.results import Rejection

Kind = Literal["append", "upsert", "delete"]


class CheckedRows(Protocol):
    """Rows that a contract has checked, as `headrace.contracts.validate` gives them.

    Attributes:
        batch: the good rows, in the declared schema (for a delete by key, the key columns suffice).
        positions: int64, per good row its index in the call, ascending.
        rejections: why the other rows were refused, one each.
        rejected_rows: those rows as JSON text, beside `rejections`.
        total: rows in the call.
    """

    @property
    def batch(self) -> pa.RecordBatch:
        """The good rows."""
        ...

    @property
    def positions(self) -> npt.NDArray[np.int64]:
        """Their indexes in the call."""
        ...

    @property
    def rejections(self) -> tuple[Rejection, ...]:
        """Why the others were refused."""
        ...

    @property
    def rejected_rows(self) -> Sequence[str]:
        """The others as JSON text."""
        ...

    @property
    def total(self) -> int:
        """Rows in the call."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """One `append`, `upsert` or `delete` of a stream or table."""

    kind: Kind
    relation: str
    rows: CheckedRows
