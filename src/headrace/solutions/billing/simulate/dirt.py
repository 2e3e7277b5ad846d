"""Disorder on the way: rows that come late, early or twice. None of it may change a number."""

from __future__ import annotations

from random import Random

import numpy as np
import pyarrow as pa

SAFE = ("subscriptions", "discounts", "invoices", "payments", "refunds", "prices", "invoice_lines")
"""Tables of which nothing is deleted: a row of theirs may come at any time."""
LATE_SHARE = 0.03
REPEATED_SHARE = 0.01


def disordered(name: str, rows: pa.Table, seed: int) -> pa.Table:
    """Return the rows of a table, some of them moved to another place, some there twice."""
    if name not in SAFE:
        return rows
    draw = np.random.default_rng([seed, len(name)])
    order = np.arange(rows.num_rows)
    moved = np.flatnonzero(draw.random(rows.num_rows) < LATE_SHARE)
    order[moved] = draw.permutation(order[moved])
    again = np.flatnonzero(draw.random(rows.num_rows) < REPEATED_SHARE)
    places = np.sort(draw.integers(0, rows.num_rows + 1, len(again)))
    return rows.take(pa.array(np.insert(order, places, again)))


class Delayed:
    """Keeps some rows for a later delivery and sends some once more, as networks do."""

    def __init__(self, seed: int) -> None:
        self._draw = Random(f"{seed}/dirt")
        self._kept: dict[str, list[pa.Table]] = {}
        self.late = 0
        self.repeated = 0

    def pass_on(self, name: str, rows: pa.Table) -> pa.Table:
        """Return what goes out now: these rows without those kept, and with those kept before."""
        if name not in SAFE:
            return rows
        out = self._kept.pop(name, [])
        keep = [self._draw.random() < LATE_SHARE for _ in range(rows.num_rows)]
        if any(keep):
            mask = pa.array(keep)
            self._kept[name] = [rows.filter(mask)]
            self.late += sum(keep)
            rows = rows.filter(pa.array([not one for one in keep]))
        again = [n for n in range(rows.num_rows) if self._draw.random() < REPEATED_SHARE]
        self.repeated += len(again)
        return pa.concat_tables([rows, rows.take(pa.array(again, pa.int64())), *out])

    def rest(self) -> dict[str, pa.Table]:
        """Return what is still kept, and forget it."""
        kept = {name: pa.concat_tables(parts) for name, parts in self._kept.items()}
        self._kept.clear()
        return kept
