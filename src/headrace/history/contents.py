"""The content of a view at a version: a content that is known, and the changes that lie between.

    content(n) = content(b) + Δ(b, n]        for b before n
    content(n) = content(b) − Δ(n, b]        for b after n

Only rows that the changes name are touched; all others are passed on as they lie.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from headrace.change import Change
from headrace.engine.columns import nonzero, views
from headrace.engine.hashing import hash_views
from headrace.engine.heap import expand
from headrace.engine.zset import consolidate
from headrace.errors import StorageError

FEW = 8
"""Changes of less than an eighth of the rows are looked up in them; otherwise all rows are added up."""


def shifted(content: pa.Table, change: Change, *, where: str) -> pa.Table:
    """Return a content after a change.

    Args:
        content: the rows, each as often as it counts.
        change: rows with weights; not consolidated.
        where: the view, for the error.

    Raises:
        StorageError: a row goes that the content does not hold.
    """
    change = consolidate(change)
    if len(change) == 0:
        return content
    if len(change) * FEW > content.num_rows:
        touched, kept = content.to_batches(), list[pa.RecordBatch]()
    else:
        touched, kept = _apart(content, change)
    parts = [Change.inserts(batch) for batch in touched if batch.num_rows]
    moved = consolidate(Change.concat([Change.empty(content.schema), *parts, _as(change, content.schema)]))
    if not moved.is_append_only:
        raise StorageError(
            "what is kept of the past does not add up", where=where,
            hint="the present is not concerned; please report this with the folder's `history`",
        )  # fmt: skip
    return pa.Table.from_batches([*kept, expand(moved.rows, moved.weights)], schema=content.schema)


def _as(change: Change, schema: pa.Schema) -> Change:
    return Change(pa.RecordBatch.from_arrays(change.rows.columns, schema=schema), change.weights)


def _apart(content: pa.Table, change: Change) -> tuple[list[pa.RecordBatch], list[pa.RecordBatch]]:
    """Return the rows that the change may name, and all others."""
    wanted = np.sort(hash_views(views(change.rows.columns, exact=True), len(change)))
    size = 1 << min(24, max(10, (len(wanted) * 32).bit_length()))
    flags, mask = np.zeros(size, dtype=np.bool_), np.uint64(size - 1)
    flags[wanted & mask] = True
    touched, kept = [], []
    for batch in content.to_batches():
        hashes = hash_views(views(batch.columns, exact=True), batch.num_rows)
        named = flags[hashes & mask]
        few = nonzero(named)
        at = np.minimum(np.searchsorted(wanted, hashes[few]), len(wanted) - 1)
        named[few] = wanted[at] == hashes[few]
        if named.any():
            touched.append(batch.filter(pa.array(named)))
            kept.append(batch.filter(pa.array(~named)))
        else:
            kept.append(batch)
    return touched, kept


def apart(before: pa.Table, after: pa.Table) -> Change:
    """Return the change that leads from one content to another of the same columns."""
    parts = [Change.inserts(batch) for batch in after.to_batches()]
    parts += [_as(Change.inserts(batch), after.schema).negated() for batch in before.to_batches()]
    return consolidate(Change.concat([Change.empty(after.schema), *parts]))
