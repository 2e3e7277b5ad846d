"""Columns as Parquet keeps them, and back, so that what is read equals what was written in every bit.

Most Arrow types lie in Parquet as they are. Those that do not:

    encoding   Arrow type                       in Parquet
    words      a dictionary of plain values     the values; the dictionary stands in the file's sample
    span       month_day_nano_interval          struct of `months`, `days`, `nanoseconds`
    seconds    timestamp[s]                     int64, seconds since 1970
    opaque     whatever else                    binary: an Arrow IPC stream of the column in the first row of
                                                each batch, NULL in the others
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

PLAIN, WORDS, SPAN, SECONDS, OPAQUE = "plain", "words", "span", "seconds", "opaque"
_SPAN = pa.struct([("months", pa.int32()), ("days", pa.int32()), ("nanoseconds", pa.int64())])
_SPAN_BITS = np.dtype([("months", "<i4"), ("days", "<i4"), ("nanoseconds", "<i8")])


def encoding_of(kind: pa.DataType) -> str:
    """Return how a column of that type is kept."""
    if pa.types.is_dictionary(kind):
        return WORDS if _is_plain(kind.value_type) and not pa.types.is_nested(kind.value_type) else OPAQUE
    if kind == pa.month_day_nano_interval():
        return SPAN
    if pa.types.is_timestamp(kind) and kind.unit == "s":
        return SECONDS
    return PLAIN if _is_plain(kind) else OPAQUE


def _is_plain(kind: pa.DataType) -> bool:
    types = pa.types
    if types.is_struct(kind):
        return kind.num_fields > 0 and all(_is_plain(kind.field(at).type) for at in range(kind.num_fields))
    if types.is_map(kind):
        return _is_plain(kind.key_type) and _is_plain(kind.item_type)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _is_plain(kind.value_type)
    if types.is_timestamp(kind):
        return bool(kind.unit != "s")
    return bool(
        types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind)
        or types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind)
        or types.is_large_binary(kind) or types.is_fixed_size_binary(kind) or types.is_date32(kind)
        or types.is_time(kind) or types.is_duration(kind) or types.is_null(kind)
    )  # fmt: skip


def stored_type(kind: pa.DataType, encoding: str) -> pa.DataType:
    """Return the Arrow type that goes to Parquet."""
    if encoding == WORDS:
        return kind.value_type
    return {SPAN: _SPAN, SECONDS: pa.int64(), OPAQUE: pa.binary()}.get(encoding, kind)


def to_stored(column: pa.Array, encoding: str) -> pa.Array:
    """Return a column as it goes to Parquet."""
    if encoding == WORDS:
        return column.dictionary_decode()
    if encoding == SPAN:
        return _from_span(column)
    if encoding == SECONDS:
        return column.view(pa.int64())
    return _opaque(column) if encoding == OPAQUE else column


def from_stored(column: pa.Array, encoding: str, sample: pa.Array) -> pa.Array:
    """Return the column that `to_stored` was given; `sample` is an empty one, with its dictionary."""
    if encoding == WORDS:
        places = pc.index_in(column, sample.dictionary).cast(sample.type.index_type)
        return pa.DictionaryArray.from_arrays(places, sample.dictionary, ordered=sample.type.ordered)
    if encoding == SPAN:
        return _to_span(column)
    if encoding == SECONDS:
        return column.view(sample.type)
    if encoding == OPAQUE:
        return _clear(column, sample)
    return column if column.type.equals(sample.type) else column.cast(sample.type)


def _from_span(column: pa.Array) -> pa.Array:
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    bits = np.frombuffer(column.buffers()[1], dtype=_SPAN_BITS)[column.offset : column.offset + len(column)]
    parts = [pa.array(np.ascontiguousarray(bits[field.name])) for field in _SPAN]
    return pa.StructArray.from_arrays(parts, fields=list(_SPAN), mask=pa.array(~valid))


def _to_span(column: pa.StructArray) -> pa.Array:
    valid = column.is_valid()
    bits = np.zeros(len(column), dtype=_SPAN_BITS)
    for at, field in enumerate(_SPAN):
        bits[field.name] = pc.fill_null(column.field(at), 0).to_numpy(zero_copy_only=False)
    packed = np.packbits(valid.to_numpy(zero_copy_only=False), bitorder="little")
    buffers = [pa.py_buffer(packed.tobytes()), pa.py_buffer(bits.tobytes())]
    return pa.Array.from_buffers(pa.month_day_nano_interval(), len(column), buffers)


def _opaque(column: pa.Array) -> pa.Array:
    if not len(column):
        return pa.nulls(0, pa.binary())
    batch = pa.RecordBatch.from_arrays([column], names=["x"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return pa.concat_arrays(
        [pa.array([sink.getvalue().to_pybytes()], pa.binary()), pa.nulls(len(column) - 1, pa.binary())]
    )


def _clear(column: pa.Array, sample: pa.Array) -> pa.Array:
    parts = [sample]
    for blob in column.drop_null():
        with pa.ipc.open_stream(blob.as_buffer()) as reader:
            parts += [batch.column(0) for batch in reader]
    return pa.concat_arrays(parts)


def sample_of(rows: pa.RecordBatch) -> bytes:
    """Return no rows of a batch as an Arrow IPC stream: schema and dictionaries."""
    sink = pa.BufferOutputStream()
    empty = rows.slice(0, 0)
    with pa.ipc.new_stream(sink, empty.schema) as writer:
        writer.write_batch(empty)
    return bytes(sink.getvalue().to_pybytes())


def read_sample(data: bytes) -> pa.RecordBatch:
    """Return the batch that `sample_of` wrote."""
    with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
        batch: pa.RecordBatch = reader.read_next_batch()
    return batch


def encodings_of(schema: pa.Schema) -> dict[str, str]:
    """Return the columns that are not kept as they are, with their encodings."""
    found = {field.name: encoding_of(field.type) for field in schema}
    return {name: encoding for name, encoding in found.items() if encoding != PLAIN}


def stored_schema(schema: pa.Schema, encodings: Mapping[str, str]) -> pa.Schema:
    """Return the schema that goes to Parquet, every column nullable."""
    return pa.schema(
        [pa.field(field.name, stored_type(field.type, encodings.get(field.name, PLAIN))) for field in schema]
    )
