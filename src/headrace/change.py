"""A change: rows with integer weights, +1 a row appears, -1 a row goes.

A view is the sum of its changes. (Budiu et al., DBSP, VLDB 2023, arXiv 2203.16684.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Weights = npt.NDArray[np.int64]
WEIGHT = "_weight"
"""Name of the weight column where a change travels as one Arrow table."""
SHARED_ROWS_MAX = 10_000
"""A stretch of a change of so many rows may share the memory of the whole."""
VERSION = "_version"
"""Name of the version column in `run.changes`."""


@dataclass(frozen=True, slots=True)
class Change:
    """A Z-set of rows: `rows.num_rows == len(weights)`; a row may stand in it more than once.

    Attributes:
        rows: the columns, without the weight.
        weights: int64, one per row, not zero once consolidated.
        ids: where the maker can tell, a small integer per row that names it: a row goes under the id that it
            came under, so that it is found without a search. None where nobody can tell.
        hashes: of whole rows, told apart by bits, where the change was consolidated and they were worked out
            for that; some rows of such a change, each once, are consolidated too.
    """

    rows: pa.RecordBatch
    weights: Weights
    ids: npt.NDArray[np.int64] | None = None
    hashes: npt.NDArray[np.uint64] | None = None

    @classmethod
    def inserts(cls, rows: pa.RecordBatch) -> Change:
        """Return the change in which every row appears once."""
        return cls(rows, np.ones(rows.num_rows, dtype=np.int64))

    @classmethod
    def empty(cls, schema: pa.Schema) -> Change:
        """Return the change of no rows."""
        return cls(empty_rows(schema), np.empty(0, dtype=np.int64))

    @classmethod
    def concat(cls, changes: Sequence[Change]) -> Change:
        """Return the sum of changes of one schema, not consolidated; at least one change is needed."""
        if len(changes) == 1:
            return changes[0]
        return cls(
            pa.concat_batches([change.rows for change in changes]),
            np.concatenate([change.weights for change in changes]),
        )

    @classmethod
    def from_table(cls, table: pa.Table) -> Change:
        """Return the change that `to_table` wrote."""
        weights = table.column(WEIGHT).to_numpy(zero_copy_only=False).astype(np.int64)
        rest = table.drop_columns([WEIGHT]).combine_chunks()
        return cls(as_batch(rest), weights)

    def to_table(self) -> pa.Table:
        """Return the rows as an Arrow table with the weight in a last column `_weight`."""
        table = pa.Table.from_batches([self.rows])
        return table.append_column(pa.field(WEIGHT, pa.int64()), pa.array(self.weights))

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the rows."""
        return self.rows.schema

    def negated(self) -> Change:
        """Return the change that takes this one back."""
        return Change(self.rows, -self.weights, self.ids, self.hashes)

    def take(self, positions: npt.NDArray[np.int64]) -> Change:
        """Return the rows at those positions, each at most once, in that order."""
        ids = None if self.ids is None else self.ids[positions]
        hashes = None if self.hashes is None else self.hashes[positions]
        return Change(self.rows.take(pa.array(positions)), self.weights[positions], ids, hashes)

    def filter(self, keep: npt.NDArray[np.bool_]) -> Change:
        """Return the rows where `keep` is True; a few that follow each other are shared, not copied."""
        if len(keep) <= SHARED_ROWS_MAX:
            at = np.flatnonzero(keep)
            first, last = (int(at[0]), int(at[-1]) + 1) if len(at) else (0, 0)
            if last - first == len(at):
                ids = None if self.ids is None else self.ids[first:last]
                hashes = None if self.hashes is None else self.hashes[first:last]
                return Change(self.rows.slice(first, last - first), self.weights[first:last], ids, hashes)
        ids = None if self.ids is None else self.ids[keep]
        hashes = None if self.hashes is None else self.hashes[keep]
        return Change(self.rows.filter(pa.array(keep)), self.weights[keep], ids, hashes)

    @property
    def is_append_only(self) -> bool:
        """Whether no row goes."""
        return bool(len(self.weights) == 0 or self.weights.min() > 0)


_EMPTY_MAX = 4_096
_empty: dict[int, tuple[pa.Schema, pa.RecordBatch]] = {}


def empty_rows(schema: pa.Schema) -> pa.RecordBatch:
    """Return the batch of no rows.

    It is remembered by which schema it is, not by what is in it: to hash one of many columns takes longer
    than all else that an operator does where nothing comes.
    """
    found = _empty.get(id(schema))
    if found is None:
        if len(_empty) >= _EMPTY_MAX:
            _empty.clear()
        found = _empty[id(schema)] = schema, pa.RecordBatch.from_pylist([], schema=schema)
    return found[1]


def as_batch(table: pa.Table) -> pa.RecordBatch:
    """Return a table as one contiguous record batch, also when it is empty."""
    combined = table.combine_chunks()
    batches = combined.to_batches()
    if len(batches) == 1:
        return batches[0]
    return pa.RecordBatch.from_pylist([], schema=table.schema) if not batches else pa.concat_batches(batches)


def total(changes: Iterable[Change]) -> int:
    """Return the number of rows in all changes together."""
    return sum(len(change) for change in changes)
