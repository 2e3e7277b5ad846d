"""Idempotency keys: what a call with a key was told, so that a repeat gets the same answer and does nothing.

The answer stands in the log, in the commit that the call made; in memory there are a digest, a commit
number and a clock for each key, for 24 hours.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.intake.calls import Call
from headrace.intake.event_ids import EventIds, NewIds, Undo
from headrace.results import AppendResult, Rejection

KEPT_US = 24 * 3600 * 1_000_000


class Answers:
    """Which keys were used within the last 24 hours, and in which commit."""

    def __init__(self) -> None:
        self._keys = EventIds(KEPT_US)

    def find(self, key: str | None, clock_us: int) -> int | None:
        """Return the commit that answered the key, or None, also where there is no key."""
        if key is None:
            return None
        found = self._keys.find(*_digest(key), clock_us)
        return int(found.contents[0]) if found.known[0] else None

    def add(self, key: str, commit: int, clock_us: int, undo: Undo | None = None) -> None:
        """Remember a key that `find` does not know."""
        hi, lo = _digest(key)
        entries = self._keys.find(hi, lo, clock_us).entries
        number, clock = np.array([commit], dtype=np.uint64), np.array([clock_us], dtype=np.int64)
        self._keys.add(NewIds(hi, lo, number, clock, entries), undo)

    def add_many(self, keys: Sequence[tuple[str, int, int]]) -> None:
        """Remember keys with their commits and clocks; of a key that comes again the last one counts."""
        last = {key: (commit, clock_us) for key, commit, clock_us in keys}
        halves = np.concatenate([np.stack(_digest(key), axis=1) for key in last])
        hi, lo = halves[:, 0].copy(), halves[:, 1].copy()
        numbers = np.array([commit for commit, _ in last.values()], dtype=np.uint64)
        clocks = np.array([clock_us for _, clock_us in last.values()], dtype=np.int64)
        self._keys.add(NewIds(hi, lo, numbers, clocks, self._keys.find(hi, lo, 0).entries))

    def forget_old(self, clock_us: int) -> None:
        """Free keys older than 24 hours."""
        self._keys.forget_old(clock_us)


def _digest(key: str) -> tuple[Any, Any]:
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    halves = np.frombuffer(digest, dtype=np.uint64)
    return halves[:1].copy(), halves[1:].copy()


def content_digest(calls: Sequence[Call], source: str | None, position: Any) -> str:
    """Return what tells one content of a keyed request from another; the same in every process."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((source, position, len(calls))).encode("utf-8", "surrogatepass"))
    for call in calls:
        rows = call.rows
        head = (call.kind, call.relation.lower(), rows.total, rows.batch.num_rows, list(rows.rejected_rows))
        digest.update(repr(head).encode("utf-8", "surrogatepass"))
        digest.update(np.ascontiguousarray(rows.positions, dtype=np.int64).tobytes())
        for field, column in zip(rows.batch.schema, rows.batch.columns, strict=True):
            digest.update(f"\0{field.name}\0{field.type}\0".encode("utf-8", "surrogatepass"))
            _update(digest, column)
    return digest.hexdigest()


def _update(digest: Any, column: pa.Array) -> None:
    """Feed a column's values, without what lies unused in the slots of NULLs."""
    kind = column.type
    if pa.types.is_nested(kind) or pa.types.is_dictionary(kind) or pa.types.is_interval(kind):
        digest.update(repr(column.to_pylist()).encode("utf-8", "surrogatepass"))
        return
    digest.update(np.packbits(column.is_valid().to_numpy(zero_copy_only=False)).tobytes())
    values = column.drop_null()
    if pa.types.is_boolean(kind):
        values = values.cast(pa.uint8())
    if pa.types.is_primitive(kind) or pa.types.is_decimal(kind) or pa.types.is_fixed_size_binary(kind):
        width = values.type.bit_width // 8
        _feed(digest, values.buffers()[1], values.offset * width, len(values) * width)
    elif len(values):
        values = values.cast(pa.large_binary())
        lengths = pc.binary_length(values).to_numpy(zero_copy_only=False)
        starts = np.frombuffer(values.buffers()[1], dtype=np.int64)
        digest.update(lengths.tobytes())
        _feed(digest, values.buffers()[2], int(starts[values.offset]), int(lengths.sum()))


def _feed(digest: Any, buffer: pa.Buffer | None, start: int, length: int) -> None:
    if buffer is not None and length:
        digest.update(memoryview(buffer)[start : start + length])


def answer_json(content: str, results: Sequence[tuple[str, AppendResult]]) -> dict[str, Any]:
    """Return what the log keeps of the answers to a keyed request."""
    told = [[name, *_packed(result), _reasons(result.rejections)] for name, result in results]
    return {"content": content, "calls": told}


def _packed(result: AppendResult) -> tuple[int, int | str]:
    statuses = result.statuses
    if len(statuses) and bool((statuses == statuses[0]).all()):
        return len(statuses), int(statuses[0])
    return len(statuses), base64.b64encode(zlib.compress(statuses.tobytes(), 1)).decode()


def _reasons(rejections: Sequence[Rejection]) -> list[list[Any]]:
    return [[given.index, given.field, given.value, given.reason] for given in rejections]


def results_again(answer: dict[str, Any], commit: int) -> tuple[AppendResult, ...]:
    """Return the results that `answer_json` wrote, marked as replayed."""
    results = []
    for _, count, packed, reasons in answer["calls"]:
        if isinstance(packed, int):
            statuses = np.full(count, packed, dtype=np.uint8)
        else:
            statuses = np.frombuffer(zlib.decompress(base64.b64decode(packed)), dtype=np.uint8)
        rejections = tuple(Rejection(*reason) for reason in reasons)
        results.append(AppendResult(commit, statuses, rejections, replayed=True))
    return tuple(results)
