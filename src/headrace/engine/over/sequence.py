"""Rows of some stretches of partitions in order, and the frames that lie around each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from headrace.engine.columns import I64, Bools, equal, nonzero, validity, values, view
from headrace.sql.plan import Frame, OrderKey

_EDGE = np.iinfo(np.int64).max
_DAY_US = 86_400_000_000
_UNIT_US = {"s": 1_000_000, "ms": 1_000, "us": 1}


class RowsInOrder:
    """Rows by segment and order.

    Attributes:
        rows: the input's columns.
        segments: the number of each row's segment, ascending.
        first: per row the position of the first row of its segment.
        last: the same of the last.
        own: whether a running call takes the row itself in; not so the rows before the first changed one.
        carriers: the last row of each segment that is not taken in: it stands for all before it.
        stored: what was answered for the carriers: columns by name.
    """

    def __init__(self, rows: pa.RecordBatch, segments: I64, own: Bools, order: Sequence[OrderKey]) -> None:
        self.rows = rows
        self.segments = segments
        self.own = own
        self.stored = rows.slice(0, 0)
        self._order = order
        count = len(segments)
        changes = np.ones(count, dtype=np.bool_)
        changes[1:] = segments[1:] != segments[:-1]
        starts = nonzero(changes)
        lengths = np.diff(np.append(starts, count))
        self.first = np.repeat(starts, lengths)
        self.last = np.repeat(starts + lengths - 1, lengths)
        here = np.arange(count)
        self.carriers = nonzero(~own & (here < self.last) & np.append(own[1:], False)) if count else starts
        self._peers: dict[int, tuple[I64, I64]] = {}

    def __len__(self) -> int:
        return len(self.segments)

    def peers(self, keys: int) -> tuple[I64, I64]:
        """Return the first and the last peer of each row, by so many order columns."""
        if keys not in self._peers:
            fresh = np.ones(len(self), dtype=np.bool_)
            fresh[1:] = self.segments[1:] != self.segments[:-1]
            at = np.arange(1, len(self), dtype=np.int64)
            for key in self._order[:keys]:
                column = view(self.rows.column(key.column), exact=False)
                fresh[1:] |= ~equal(column, at, column, at - 1)
            starts = nonzero(fresh)
            lengths = np.diff(np.append(starts, len(self)))
            self._peers[keys] = np.repeat(starts, lengths), np.repeat(starts + lengths - 1, lengths)
        return self._peers[keys]

    def frame(self, frame: Frame, peers: int) -> tuple[I64, I64]:
        """Return the positions of the first and last row of each frame; last < first where it is empty."""
        here = np.arange(len(self), dtype=np.int64)
        if frame.unit == "rows":
            low = self.first if frame.start is None else np.maximum(here + frame.start, self.first)
            high = self.last if frame.end is None else np.minimum(here + frame.end, self.last)
            return low, high
        first_peer, last_peer = self.peers(peers)
        if frame.start in (None, 0) and frame.end in (None, 0):
            return self.first if frame.start is None else first_peer, last_peer
        return self._by_distance(frame, first_peer, last_peer)

    def _by_distance(self, frame: Frame, first_peer: I64, last_peer: I64) -> tuple[I64, I64]:
        """Look frames up by the values of the order column; rows without one are each other's frame."""
        column = self.rows.column(self._order[0].column)
        keys, valid = key_values(column), validity(column)
        known = np.ones(len(self), dtype=np.bool_) if valid is None else valid
        rank = np.cumsum(known)
        floor, ceiling = self.first.copy(), self.last.copy()
        if not known.all():
            totals = np.append(0, rank)
            missing = (self.last - self.first + 1) - (totals[self.last + 1] - totals[self.first])
            at_front = ~known[self.first] if len(self) else known
            floor += np.where(at_front, missing, 0)
            ceiling -= np.where(at_front, 0, missing)
        low, high = first_peer, last_peer
        if frame.start:
            low = _search(keys, floor, ceiling, _moved(keys, frame.start), beyond=False)
        if frame.end:
            high = _search(keys, floor, ceiling, _moved(keys, frame.end), beyond=True) - 1
        return np.where(known, low, first_peer), np.where(known, high, last_peer)


def key_values(column: pa.Array) -> I64:
    """Return an order column as integers in the unit of its distances: microseconds for times."""
    raw = values(column)
    kind = column.type
    edge = np.iinfo(raw.dtype).max
    numbers = raw.astype(np.int64)
    if pa.types.is_integer(kind):
        return numbers
    scale = _DAY_US if pa.types.is_date(kind) else _UNIT_US[kind.unit]
    scaled = numbers * scale
    scaled[raw == edge] = _EDGE
    scaled[raw == -edge] = -_EDGE
    return scaled


def _moved(keys: I64, distance: int) -> I64:
    """Return values moved by a distance; infinities and what would leave 64 bits stay at the edge."""
    if distance >= 0:
        return np.where(keys > _EDGE - distance, _EDGE, keys + np.where(keys > _EDGE - distance, 0, distance))
    low = -_EDGE - distance
    return np.where(
        np.abs(keys) == _EDGE, keys, np.where(keys < low, -_EDGE, np.maximum(keys, low) + distance)
    )


def _search(keys: I64, floor: I64, ceiling: I64, wanted: I64, *, beyond: bool) -> I64:
    """Return per row the first position from floor to ceiling whose key is not below (or beyond) one."""
    low, high = floor.copy(), ceiling + 1
    open_ = nonzero(low < high)
    while len(open_):
        middle = (low[open_] + high[open_]) >> 1
        here, there = keys[middle], wanted[open_]
        before = here <= there if beyond else here < there
        low[open_[before]] = middle[before] + 1
        high[open_[~before]] = middle[~before]
        open_ = open_[low[open_] < high[open_]]
    return low
