"""Batches whose texts are kept once where they repeat, as Arrow's dictionaries; read as if they were plain.

    EUR USD EUR EUR   →   0 1 0 0  and  EUR USD

A batch of few rows is left as it is, and so is a column of texts of which most stand once; that is decided
when a batch becomes large, and holds for what it is merged into.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

ROWS_MIN = 8_192
"""Batches of fewer rows are left as they are."""
_REPEATS = 2
"""Each text stands so often at least, on average."""
_SAMPLE = 2_048
"""Of so many rows one in ten at least repeats a text, or it is not looked further."""


def packed(batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    """Return batches, packed or not, one after the other; `schema` is that of plain rows."""
    columns = []
    for at, field in enumerate(schema):
        arrays = [batch.column(at) for batch in batches]
        if _may_repeat(field.type):
            columns.append(_texts(arrays))
        else:
            columns.append(arrays[0] if len(arrays) == 1 else pa.concat_arrays(arrays))
    if not any(map(_is_packed, columns, schema)):
        return pa.RecordBatch.from_arrays(columns, schema=schema)
    fields = [field.with_type(column.type) for column, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def _texts(arrays: list[pa.Array]) -> pa.Array:
    """Return texts one after the other, each once where that is worth its while."""
    sizes = [len(array) for array in arrays]
    is_any = any(_is_numbered(array) for array in arrays)
    if not is_any and (sum(sizes) < ROWS_MIN or (len(arrays) > 1 and max(sizes) >= ROWS_MIN)):
        return arrays[0] if len(arrays) == 1 else pa.concat_arrays(arrays)
    if not is_any and not _repeats(arrays[int(np.argmax(sizes))]):
        return arrays[0] if len(arrays) == 1 else pa.concat_arrays(arrays)
    each = [array if _is_numbered(array) else array.dictionary_encode() for array in arrays]
    joined = each[0] if len(each) == 1 else pa.concat_arrays(each)
    if _REPEATS * len(joined.dictionary) <= len(joined):
        return joined
    plain = [_plain(array) for array in arrays]
    whole = plain[0] if len(plain) == 1 else pa.concat_arrays(plain)
    if not is_any:
        return whole
    fresh = whole.dictionary_encode()  # what its rows had is gone from it since
    return fresh if _REPEATS * len(fresh.dictionary) <= len(fresh) else whole


def _repeats(array: pa.Array) -> bool:
    sample = array.slice(0, _SAMPLE)
    return 10 * len(sample.unique()) <= 9 * len(sample)


def plain(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch with all texts written out; `schema` is that of plain rows."""
    columns = [
        _plain(column) if _is_packed(column, field) else column
        for column, field in zip(batch.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def is_packed(batch: pa.RecordBatch, schema: pa.Schema) -> bool:
    """Whether some column of a batch is packed; `schema` is that of plain rows, which may have ENUMs."""
    return not batch.schema.equals(schema) and any(map(_is_packed, batch.columns, schema))


def _is_packed(array: pa.Array, field: pa.Field) -> bool:
    return _is_numbered(array) and not pa.types.is_dictionary(field.type)


def _is_numbered(array: pa.Array) -> bool:
    return isinstance(array, pa.DictionaryArray)


def _plain(array: pa.Array) -> pa.Array:
    return array.dictionary.take(array.indices) if _is_numbered(array) else array


def _may_repeat(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_large_binary(kind)
    )
