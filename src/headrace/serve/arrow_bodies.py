"""Arrow from strangers: read without trust in its offsets, and measured before few bytes become many.

An IPC stream can grow on reading in three ways: compressed buffers, dictionaries (one long value, millions of
indices) and views (millions of references to one long value). The first is refused before it is read, the
others are measured before anything expands them.
"""

from __future__ import annotations

import struct

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from headrace.errors import BadRequest, BodyTooLarge, UnsupportedBody

_RECORD_BATCH = 3
_MESSAGE_HEADER_TYPE, _MESSAGE_HEADER = 1, 2
_BATCH_COMPRESSION = 3
"""Field numbers of Arrow's `Message.fbs`."""
_UNTOLD = (pt.is_run_end_encoded, pt.is_list_view, pt.is_large_list_view, pt.is_union)
_UNREADABLE = (pa.ArrowException, OSError, ValueError, TypeError, IndexError, KeyError, MemoryError)


def arrow_rows(body: bytes, bytes_max: int) -> pa.Table:
    """Return the table of an Arrow IPC stream, checked through and through.

    Args:
        body: the stream.
        bytes_max: of the data once everything is expanded.

    Raises:
        BadRequest: it is no such stream.
        BodyTooLarge: it expands to more.
        UnsupportedBody: it is compressed inside.
    """
    try:
        refuse_compression(body)
        return _read(body, bytes_max)
    except (*_UNREADABLE, struct.error) as error:
        raise BadRequest(f"the body is not an Arrow IPC stream: {error}"[:500]) from None


def _read(body: bytes, bytes_max: int) -> pa.Table:
    batches = []
    size = 0
    with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
        for batch in reader:
            batch.validate(full=True)
            size += sum(expanded_bytes(column) for column in batch.columns)
            if size > bytes_max:
                raise BodyTooLarge(
                    "the Arrow data is too large",
                    expected=f"at most {bytes_max:,} bytes",
                    hint="send it in parts",
                )
            batches.append(batch)
        return pa.Table.from_batches(batches, schema=reader.schema)


def expanded_bytes(array: pa.Array) -> int:
    """Return the bytes that an array takes once dictionaries and views are written out.

    Raises:
        UnsupportedBody: a type whose size cannot be told without expanding it.
    """
    kind = array.type
    if pt.is_dictionary(kind):
        return _dictionary_bytes(array)
    if pt.is_string_view(kind) or pt.is_binary_view(kind):
        return _view_bytes(array)
    if pt.is_struct(kind):
        return sum(expanded_bytes(array.field(number)) for number in range(kind.num_fields))
    if pt.is_map(kind):
        return expanded_bytes(array.keys) + expanded_bytes(array.items) + 4 * len(array)
    if pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind):
        return expanded_bytes(array.values) + 8 * len(array)
    if (
        pt.is_run_end_encoded(kind)
        or pt.is_list_view(kind)
        or pt.is_large_list_view(kind)
        or pt.is_union(kind)
    ):
        raise UnsupportedBody(f"the Arrow type {kind} is not taken", hint="cast it to a plain type")
    if isinstance(array, pa.ExtensionArray):
        return expanded_bytes(array.storage)
    return int(array.nbytes)


def _view_bytes(array: pa.Array) -> int:
    """Return the bytes that views refer to; each view begins with its length."""
    if len(array) == 0:
        return 0
    words = np.frombuffer(array.buffers()[1], dtype="<i4")[
        4 * array.offset : 4 * (array.offset + len(array)) : 4
    ]
    present = array.is_valid().to_numpy(zero_copy_only=False)
    return int(words[present].astype(np.int64).sum()) + 16 * len(array)


def _dictionary_bytes(array: pa.DictionaryArray) -> int:
    values = array.dictionary
    if pt.is_nested(values.type) or pt.is_dictionary(values.type):
        raise UnsupportedBody(f"the Arrow type {array.type} is not taken", hint="cast it to a plain type")
    if pt.is_string_view(values.type) or pt.is_binary_view(values.type):
        return (_view_bytes(values) + 8) * len(array)
    longest = 16
    if len(values) and not pt.is_primitive(values.type):
        longest = int(pc.max(pc.binary_length(values)).as_py() or 0) + 8
    return longest * len(array)


def refuse_compression(body: bytes) -> None:
    """Refuse a stream with compressed buffers: a megabyte of them may unpack to all memory there is.

    Raises:
        UnsupportedBody: there are some.
        struct.error, ValueError: it is no IPC stream.
    """
    at = 0
    while at + 8 <= len(body):
        marker, length = struct.unpack_from("<Ii", body, at)
        if marker != 0xFFFFFFFF:
            length, start = marker, at + 4
        else:
            start = at + 8
        if length <= 0:
            return
        metadata = body[start : start + length]
        message = _Table(metadata, struct.unpack_from("<I", metadata, 0)[0])
        if message.byte(_MESSAGE_HEADER_TYPE) == _RECORD_BATCH:
            batch = message.table(_MESSAGE_HEADER)
            if batch is not None and batch.has(_BATCH_COMPRESSION):
                raise UnsupportedBody(
                    "compressed Arrow buffers are not taken",
                    expected="an uncompressed IPC stream",
                    hint="compress the whole body instead: Content-Encoding: gzip",
                )
        at = start + length + message.long(3)


class _Table:
    """A table of a flatbuffer; every read is within the buffer, or raises."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at
        self._vtable = at - struct.unpack_from("<i", data, at)[0]
        if not 0 <= self._vtable < len(data):
            raise ValueError("a table without a layout")
        self._size = struct.unpack_from("<H", data, self._vtable)[0]

    def _field(self, number: int) -> int:
        slot = 4 + 2 * number
        if slot + 2 > self._size:
            return 0
        return int(struct.unpack_from("<H", self._data, self._vtable + slot)[0])

    def has(self, number: int) -> bool:
        """Whether the field is set."""
        return self._field(number) != 0

    def byte(self, number: int) -> int:
        """Return a one-byte field, 0 where it is not set."""
        offset = self._field(number)
        return int(self._data[self._at + offset]) if offset else 0

    def long(self, number: int) -> int:
        """Return an eight-byte field, 0 where it is not set."""
        offset = self._field(number)
        found = int(struct.unpack_from("<q", self._data, self._at + offset)[0]) if offset else 0
        if found < 0:
            raise ValueError("a negative length")
        return found

    def table(self, number: int) -> _Table | None:
        """Return a table that a field refers to."""
        offset = self._field(number)
        if not offset:
            return None
        at = self._at + offset
        return _Table(self._data, at + struct.unpack_from("<I", self._data, at)[0])
