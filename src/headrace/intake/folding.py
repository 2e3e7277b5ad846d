"""Folding a table's history: one change that leads to the same rows, and to the same decisions from there on.

For a table with a `sequence` that is the rows that stand, and for each key that was deleted its last row,
once coming and once going: nothing of it is left in a view, and the door still knows how far the key's
sequence had come.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from headrace.change import Change, as_batch
from headrace.declarations import TableDecl
from headrace.intake.bags import BagTable
from headrace.intake.digest import Hasher
from headrace.intake.tables import KeyedTable


def folded(decl: TableDecl, changes: Iterator[Change]) -> Change | None:
    """Return the change that stands for all of a table's changes so far.

    Args:
        decl: the table.
        changes: all of them, in order.

    Returns:
        None where the table is to be kept as it is: it keeps the history of its rows, or its columns have
        changed meanwhile.
    """
    if decl.effective is not None:
        return None
    hasher = Hasher()
    table = BagTable(decl, hasher) if decl.key is None else KeyedTable(decl, hasher)
    gone = KeyedTable(decl, hasher) if decl.sequence is not None else None
    for change in changes:
        if not change.schema.equals(decl.schema.arrow):
            return None
        if not len(change):
            continue
        table.recover(change)
        if gone is not None:
            gone.recover(Change.inserts(change.filter(change.weights < 0).rows))
    rows = as_batch(table.contents())
    if gone is None or not isinstance(table, KeyedTable):
        return Change.inserts(rows)
    left = as_batch(gone.contents())
    left = left.filter(pa.array(~table.holds(left)))
    both = pa.concat_batches([rows, left, left])
    weights = np.ones(both.num_rows, dtype=np.int64)
    weights[rows.num_rows + left.num_rows :] = -1
    return Change(both, weights)
