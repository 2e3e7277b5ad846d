"""Records as bytes, and back.

A step or a declaration is a JSON object. A commit is

    length of the header u32, zero u32, header (JSON), zeros to a multiple of 8, one body per relation

where a body is a complete Arrow IPC stream (schema, one record batch, end) of the relation's rows with
their weight in a last column `_weight`, padded to a multiple of 8. A reader needs nothing but the payload.
Rows are written as they lie in memory: a segment is soon sealed into Parquet, which is compressed, and LZ4
takes more CPU than all the rest of an append. Only commits so large that they might not fit into a frame are
compressed with it. Times are microseconds since 1970 in UTC.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from headrace.change import WEIGHT, Change, as_batch
from headrace.errors import DeclarationError, StorageError
from headrace.log.frames import COMMIT, DECLARED, PAYLOAD_BYTES_MAX, STEP
from headrace.log.records import Commit, Declared, Record, Step

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
COMPRESS_FROM_BYTES = 256 << 20
UNCOPIED_FROM_BYTES = 1 << 20
"""From this size on rows go to the file from where they lie, without being copied together before."""
SCHEMAS_KEPT_MAX = 4096
_LENGTHS = struct.Struct("<II")
_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
_ONES = pa.array(np.ones(4096, dtype=np.int64))


def to_us(moment: datetime) -> int:
    """Return microseconds since 1970 in UTC; a naive moment is taken as UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - EPOCH) // MICROSECOND


def from_us(moment_us: int) -> datetime:
    """Return the UTC moment that `to_us` gave."""
    return EPOCH + timedelta(microseconds=moment_us)


Bytes = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Encoded:
    """A record as a frame's payload: its kind, the number of its commit or version, the bytes in parts."""

    kind: int
    number: int
    parts: tuple[Bytes, ...]

    @property
    def size_bytes(self) -> int:
        """Length of the payload."""
        return sum(map(len, self.parts))

    @property
    def payload(self) -> bytes:
        """The payload in one piece."""
        return b"".join(self.parts)


@dataclass(frozen=True, slots=True)
class _Shape:
    """A relation's schema, with the weight, and its IPC message."""

    rows: pa.Schema
    weighted: pa.Schema
    message: bytes
    has_dictionary: bool


def _has_dictionary(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return True
    return any(_has_dictionary(kind.field(i).type) for i in range(kind.num_fields))


def has_dictionary(schema: pa.Schema) -> bool:
    """Return whether a schema has a dictionary in it, at any depth: it then does not say all."""
    return any(_has_dictionary(kind) for kind in schema.types)


def _shape(rows: pa.Schema) -> _Shape:
    weighted = rows.append(pa.field(WEIGHT, pa.int64()))
    message = weighted.serialize().to_pybytes()
    return _Shape(rows, weighted, message, has_dictionary(rows))


class _Parts:
    """A file for Arrow to write to, which keeps what it is given, and copies nothing."""

    closed = False

    def __init__(self) -> None:
        self.taken: list[Bytes] = []

    def write(self, data: bytes | pa.Buffer) -> int:
        self.taken.append(memoryview(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""


class Encoder:
    """Turns records into payloads; remembers each relation's schema message, so a small commit stays cheap.

    Not thread-safe: its owner calls it under a lock.
    """

    def __init__(self) -> None:
        self._shapes: dict[str, _Shape] = {}

    def encode(self, record: Record) -> Encoded:
        """Return the record's payload.

        Raises:
            DeclarationError: a position or declaration that JSON cannot carry.
            StorageError: a commit too large for one frame (2 GiB).
        """
        match record:
            case Commit():
                return Encoded(COMMIT, record.number, self._commit(record))
            case Step():
                return Encoded(STEP, record.version, (_json(step_json(record)),))
            case Declared():
                return Encoded(DECLARED, 0, (_json(record.declarations),))

    def _commit(self, commit: Commit) -> tuple[Bytes, ...]:
        is_large = sum(change.rows.nbytes for change in commit.changes.values()) >= COMPRESS_FROM_BYTES
        bodies: list[Bytes] = []
        relations: list[list[Any]] = []
        size = 0
        for name, change in commit.changes.items():
            body = self._body(name, change, _COMPRESSED if is_large else None)
            length = sum(map(len, body))
            relations.append([name, len(change), length])
            bodies += [*body, bytes(-length % 8)]
            size += length
        header = _json(commit_json(commit, relations))
        if size + len(header) > PAYLOAD_BYTES_MAX - 8 * len(relations) - 16:
            raise StorageError(
                f"one commit of {size:,} bytes",
                where=", ".join(commit.changes),
                expected=f"at most {PAYLOAD_BYTES_MAX:,} bytes",
                hint="send the rows in several calls",
            )
        return (_LENGTHS.pack(len(header), 0) + header + bytes(-len(header) % 8), *bodies)

    def _body(self, name: str, change: Change, options: pa.ipc.IpcWriteOptions | None) -> list[Bytes]:
        shape = self._shapes.get(name)
        if shape is None or not shape.rows.equals(change.rows.schema, check_metadata=True):
            shape = self._shapes[name] = _shape(change.rows.schema)
        weights = _weights(change)
        batch = pa.RecordBatch.from_arrays([*change.rows.columns, weights], schema=shape.weighted)
        if shape.has_dictionary or options is not None:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, shape.weighted, options=options) as writer:
                writer.write_batch(batch)
            return [memoryview(sink.getvalue())]
        if batch.nbytes >= UNCOPIED_FROM_BYTES:
            parts = _Parts()
            with pa.ipc.new_stream(pa.PythonFile(parts, mode="w"), shape.weighted) as writer:
                writer.write_batch(batch)
            return parts.taken
        return [shape.message, memoryview(batch.serialize()), _END_OF_STREAM]


def _weights(change: Change) -> pa.Array:
    weights = change.weights
    if len(weights) <= len(_ONES) and bool((weights == 1).all()):
        return _ONES.slice(0, len(weights))
    return pa.array(weights, type=pa.int64())


def _json(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError as error:
        raise DeclarationError(
            f"a value that JSON cannot carry: {error}",
            expected="strings, numbers, true, false, null, lists and objects",
        ) from error


def commit_json(commit: Commit, relations: list[list[Any]]) -> dict[str, Any]:
    """Return a commit's header; `relations` holds name, rows and body bytes of each."""
    header: dict[str, Any] = {"number": commit.number, "clock": to_us(commit.clock), "relations": relations}
    if commit.watermarks:
        header["watermarks"] = {name: to_us(moment) for name, moment in commit.watermarks.items()}
    if commit.idempotency_key is not None:
        header["key"] = commit.idempotency_key
        header["answer"] = commit.answer
    if commit.source is not None:
        header["source"] = commit.source
        header["position"] = commit.position
    return header


def commit_from_json(header: dict[str, Any], changes: dict[str, Change]) -> Commit:
    """Return the commit whose header `commit_json` wrote."""
    return Commit(
        number=header["number"],
        clock=from_us(header["clock"]),
        changes=changes,
        watermarks=_moments(header.get("watermarks")),
        idempotency_key=header.get("key"),
        answer=header.get("answer"),
        source=header.get("source"),
        position=header.get("position"),
    )


def commit_clock_us(payload: bytes) -> int:
    """Return the append clock of a commit's payload without decoding its rows."""
    header, _ = _header(payload)
    return int(header["clock"])


def step_json(step: Step) -> dict[str, Any]:
    """Return a step as JSON."""
    facts = {
        "version": step.version,
        "last_commit": step.last_commit,
        "clock": to_us(step.clock),
        "watermarks": {name: to_us(moment) for name, moment in step.watermarks.items()},
    }
    return {**facts, "held": list(step.held)} if step.held else facts


def step_from_json(value: dict[str, Any]) -> Step:
    """Return the step that `step_json` wrote."""
    return Step(
        value["version"], value["last_commit"], from_us(value["clock"]), _moments(value.get("watermarks")),
        tuple(value.get("held", ())),
    )  # fmt: skip


def _moments(value: dict[str, int] | None) -> dict[str, datetime]:
    return {name: from_us(moment_us) for name, moment_us in (value or {}).items()}


class Decoder:
    """Turns payloads back into records; remembers schemas by their message, so many small commits read fast.

    Safe to share between threads: a lost race parses one schema twice.
    """

    def __init__(self) -> None:
        self._schemas: dict[bytes, _Shape] = {}

    def decode(self, kind: int, payload: bytes) -> Record:
        """Return the record of a payload."""
        if kind == STEP:
            return step_from_json(orjson.loads(payload))
        if kind == DECLARED:
            return Declared(orjson.loads(payload))
        header, at = _header(payload)
        changes: dict[str, Change] = {}
        for name, _rows, length in header["relations"]:
            changes[name] = self._change(pa.py_buffer(payload).slice(at, length))
            at += length + -length % 8
        return commit_from_json(header, changes)

    def relation(self, payload: bytes, relation: str) -> Change | None:
        """Return one relation's change of a commit without decoding the others, or None."""
        header, at = _header(payload)
        for name, _rows, length in header["relations"]:
            if name == relation:
                return self._change(pa.py_buffer(payload).slice(at, length))
            at += length + -length % 8
        return None

    def _change(self, body: pa.Buffer) -> Change:
        view = memoryview(body)
        message_end = 8 + int.from_bytes(view[4:8], "little")
        message = bytes(view[:message_end])
        shape = self._schemas.get(message)
        if shape is None:
            shape = self._learn(message)
        if shape.has_dictionary:
            with pa.ipc.open_stream(body) as reader:
                batch = as_batch(reader.read_all())
        else:
            batch = pa.ipc.read_record_batch(body.slice(message_end), shape.weighted)
        columns = batch.columns
        rows = (
            pa.RecordBatch.from_arrays(columns[:-1], schema=shape.rows)
            if len(columns) > 1
            else batch.select([])
        )
        return Change(rows, columns[-1].to_numpy(zero_copy_only=True))

    def _learn(self, message: bytes) -> _Shape:
        if len(self._schemas) >= SCHEMAS_KEPT_MAX:
            self._schemas.clear()
        weighted = pa.ipc.read_schema(pa.py_buffer(message))
        rows = weighted.remove(len(weighted) - 1)
        shape = self._schemas[message] = _Shape(rows, weighted, message, has_dictionary(rows))
        return shape


def _header(payload: bytes) -> tuple[dict[str, Any], int]:
    length, _ = _LENGTHS.unpack_from(payload)
    header: dict[str, Any] = orjson.loads(memoryview(payload)[8 : 8 + length])
    return header, 8 + length + -length % 8
