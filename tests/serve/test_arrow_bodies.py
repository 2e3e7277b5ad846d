"""Arrow bodies that lie or explode: each is refused, none is believed, none takes the process down.

Every byte of a small stream is flipped once, because a wrong offset in a buffer is a read of foreign memory
if nobody checks it. The bombs are streams of kilobytes that expand to gigabytes where they are believed.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from headrace.errors import BadRequest, BodyTooLarge, UnsupportedBody
from headrace.serve.arrow_bodies import arrow_rows, expanded_bytes

MIB = 1 << 20
EXTENT = 50_000


def ipc(table: pa.Table | Sequence[pa.RecordBatch], **options: Any) -> bytes:
    """An IPC stream."""
    sink = io.BytesIO()
    batches = table.to_batches() if isinstance(table, pa.Table) else table
    with pa.ipc.new_stream(sink, batches[0].schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue()


PLAIN = pa.table(
    {
        "a": ["x", None, "zzz"],
        "b": [1, 2, 3],
        "c": pa.array([Decimal("1.50"), None, Decimal("2")], pa.decimal128(9, 2)),
        "d": [[1, 2], [], None],
        "e": [{"x": 1, "y": "q"}, None, {"x": None, "y": ""}],
        "f": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
        "g": pa.array(["u", "v", "u"]).dictionary_encode(),
        "h": pa.array(["some longer text here", None, "w"], pa.string_view()),
    }
)


def test_plain_streams_are_read() -> None:
    assert arrow_rows(ipc(PLAIN), MIB).equals(PLAIN)
    two = [*PLAIN.to_batches(), *PLAIN.to_batches()]
    assert arrow_rows(ipc(two), MIB).num_rows == 6
    empty = PLAIN.slice(0, 0)
    assert arrow_rows(ipc([pa.RecordBatch.from_pylist([], schema=empty.schema)]), MIB).num_rows == 0


def test_tampered_streams_never_crash() -> None:
    whole = ipc(PLAIN)
    refused = 0
    for at in range(len(whole)):
        torn = bytearray(whole)
        torn[at] ^= 0xFF
        try:
            arrow_rows(bytes(torn), MIB)
        except (BadRequest, BodyTooLarge):
            refused += 1
    assert refused > len(whole) // 10


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 100, 1_000])
def test_torn_streams(length: int) -> None:
    with pytest.raises(BadRequest):
        arrow_rows(b"?" + ipc(PLAIN)[1:length], MIB)


@pytest.mark.parametrize(
    "body", [b"ARROW1\0\0" + b"\0" * 100, b"\xff" * 200, b"\xff\xff\xff\xff\xff\xff\xff\x7f", b"{}"]
)
def test_what_is_no_stream(body: bytes) -> None:
    with pytest.raises(BadRequest):
        arrow_rows(body, MIB)


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_compressed_buffers_are_refused_unread(codec: str) -> None:
    bomb = ipc(pa.table({"a": pa.array([0] * 1_000_000)}), compression=codec)
    assert len(bomb) < MIB
    with pytest.raises(UnsupportedBody, match="compressed"):
        arrow_rows(bomb, 1 << 40)


def test_a_dictionary_bomb() -> None:
    long = pa.DictionaryArray.from_arrays(pa.array([0] * EXTENT, pa.int8()), pa.array(["x" * 100_000]))
    body = ipc(pa.table({"a": long}))
    assert len(body) < MIB
    with pytest.raises(BodyTooLarge):
        arrow_rows(body, 1 << 30)
    nested = pa.table({"a": pa.StructArray.from_arrays([long], ["x"])})
    with pytest.raises(BodyTooLarge):
        arrow_rows(ipc(nested), 1 << 30)


def test_a_view_bomb() -> None:
    one = pa.array(["x" * 100_000], pa.string_view())
    _, _, data = one.buffers()
    view = bytes(one.buffers()[1])[:16]
    many = pa.Array.from_buffers(pa.string_view(), EXTENT, [None, pa.py_buffer(view * EXTENT), data])
    body = ipc(pa.table({"a": many}))
    assert len(body) < 2 * MIB
    with pytest.raises(BodyTooLarge):
        arrow_rows(body, 1 << 30)


def test_a_bomb_in_many_batches() -> None:
    batch = pa.record_batch({"a": pa.array(["x" * 1_000] * 100)})
    with pytest.raises(BodyTooLarge):
        arrow_rows(ipc([batch] * 20), MIB)


@pytest.mark.parametrize(
    "array",
    [
        pa.RunEndEncodedArray.from_arrays(pa.array([1_000_000], pa.int32()), pa.array(["x"])),
        pa.array([[1], [2]], pa.list_view(pa.int64())),
    ],
    ids=["run-end", "list-view"],
)
def test_types_whose_size_cannot_be_told(array: pa.Array) -> None:
    with pytest.raises(UnsupportedBody):
        expanded_bytes(array)


def test_sizes_of_plain_columns_are_about_their_bytes() -> None:
    for column in PLAIN.columns:
        size = expanded_bytes(column.chunk(0))
        assert 0 < size <= 4 * column.nbytes + 200
