"""What goes wrong between a shop and its platform: events sent twice, events that break the contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.solutions.promotions.catalogue import Ints


class Intent(IntEnum):
    """What the simulator knows about a row when it sends it; only the answer says whether it is late."""

    CLEAN = 0
    REPEATED = 1
    """The very row that the platform accepted before."""
    BROKEN = 2
    """Breaks the contract; must be rejected."""


@dataclass(frozen=True)
class Batch:
    """Rows of one stream, sent in one request.

    Attributes:
        stream: where they go.
        rows: typed columns; a broken row stands here as it was before it was broken.
        intents: one `Intent` per row, uint8.
    """

    stream: str
    rows: pa.RecordBatch
    intents: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.intents)

    def part(self, keep: npt.NDArray[np.bool_]) -> Batch:
        """Return the rows where `keep` holds."""
        return Batch(self.stream, self.rows.filter(pa.array(keep)), self.intents[keep])

    def slice(self, start: int, length: int) -> Batch:
        """Return `length` rows from `start` on."""
        return Batch(self.stream, self.rows.slice(start, length), self.intents[start : start + length])


JsonRow = dict[str, Any]
Break = Callable[[JsonRow], None]


def _without(column: str) -> Break:
    def breaks(row: JsonRow) -> None:
        del row[column]

    return breaks


def _with(column: str, value: Any) -> Break:
    def breaks(row: JsonRow) -> None:
        row[column] = value

    return breaks


def _far_ahead(column: str) -> Break:
    def breaks(row: JsonRow) -> None:
        row[column] = (datetime.now(UTC) + timedelta(days=2)).isoformat()

    return breaks


def _time_breaks(column: str) -> tuple[Break, ...]:
    return (_without(column), _with(column, None), _with(column, "yesterday"), _far_ahead(column))


BREAKS: Mapping[str, tuple[Break, ...]] = {
    "searches": (
        *_time_breaks("searched_at"),
        _without("query"),
        _with("results", -1),
        _with("results", "many"),
        _with("session_id", None),
    ),
    "product_views": (*_time_breaks("viewed_at"), _with("product_id", "P-17"), _without("session_id")),
    "orders": (
        *_time_breaks("occurred_at"),
        _with("quantity", -3),
        _with("quantity", 0),
        _with("quantity", "two"),
        _with("unit_price", "-1.00"),
        _with("unit_price", "12,50"),
        _with("kind", "gift"),
        _without("buyer_id"),
        _with("order_id", {"id": 7}),
    ),
    "requests": (
        *_time_breaks("requested_at"),
        _with("status", 42),
        _with("kind", "robot"),
        _with("duration_ms", "fast"),
        _without("ip"),
    ),
    "machine_metrics": (
        *_time_breaks("measured_at"),
        _with("cpu_pct", 180.0),
        _with("io_pct", -0.5),
        _with("memory_pct", "n/a"),
        _without("host"),
    ),
    "logs": (
        *_time_breaks("logged_at"),
        _with("level", "PANIC"),
        _with("message", None),
        _with("event_id", "e-1"),
    ),
}
"""Per stream, the ways in which a row can be broken."""


def break_row(stream: str, row: JsonRow, nth: int) -> None:
    """Break a row in the nth way of its stream."""
    ways = BREAKS[stream]
    ways[nth % len(ways)](row)


class Dirt:
    """Adds repeated and broken rows to batches.

    Args:
        seed: for the draw.
        repeated_share: repeated rows per clean row.
        broken_share: broken rows per clean row.
    """

    def __init__(self, seed: int, repeated_share: float, broken_share: float) -> None:
        self._draw = np.random.default_rng([seed, 4])
        self.repeated_share = repeated_share
        self.broken_share = broken_share
        self._accepted: dict[str, pa.RecordBatch] = {}

    def remember(self, stream: str, accepted: pa.RecordBatch) -> None:
        """Take note of rows that the platform accepted; they may be sent again."""
        if accepted.num_rows:
            self._accepted[stream] = accepted

    def add(self, stream: str, clean: pa.RecordBatch, fresh_ids: Callable[[int], Ints]) -> Batch:
        """Return the clean rows with some dirt among them."""
        parts, intents = [clean], [np.full(clean.num_rows, Intent.CLEAN, dtype=np.uint8)]
        for share, intent, source in (
            (self.repeated_share, Intent.REPEATED, self._accepted.get(stream)),
            (self.broken_share, Intent.BROKEN, clean),
        ):
            count = min(int(self._draw.binomial(clean.num_rows, share)), source.num_rows if source else 0)
            if count and source is not None:
                chosen = self._draw.choice(source.num_rows, size=count, replace=False)
                rows = source.take(pa.array(chosen))
                parts.append(_renumbered(rows, fresh_ids(count)) if intent is Intent.BROKEN else rows)
                intents.append(np.full(count, intent, dtype=np.uint8))
        if len(parts) == 1:
            return Batch(stream, clean, intents[0])
        order = self._draw.permutation(sum(len(part) for part in intents))
        return Batch(stream, pa.concat_batches(parts).take(pa.array(order)), np.concatenate(intents)[order])


def _renumbered(rows: pa.RecordBatch, ids: Ints) -> pa.RecordBatch:
    return rows.set_column(rows.schema.get_field_index("event_id"), "event_id", pa.array(ids))
