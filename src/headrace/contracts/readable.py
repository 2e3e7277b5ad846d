"""Arrow tables in a form that DuckDB reads."""

from __future__ import annotations

from functools import lru_cache

import pyarrow as pa


def readable(table: pa.Table) -> pa.Table:
    """Return a table whose lists, structs and maps hold enums as text: DuckDB cannot read empty lists of
    dictionary-encoded values. Where the SQL type is told, a cast gives it back.
    """
    plain = pa.schema([field.with_type(_without_dictionaries(field.type)) for field in table.schema])
    return table if plain.equals(table.schema) else table.cast(plain)


@lru_cache(maxsize=1024)
def _without_dictionaries(kind: pa.DataType, *, inside: bool = False) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return kind.value_type if inside else kind
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_without_dictionaries(kind.value_type, inside=True), kind.list_size)
    if pa.types.is_list(kind):
        return pa.list_(_without_dictionaries(kind.value_type, inside=True))
    if pa.types.is_map(kind):
        key, item = (_without_dictionaries(part, inside=True) for part in (kind.key_type, kind.item_type))
        return pa.map_(key, item)
    if pa.types.is_struct(kind):
        fields = [kind.field(at) for at in range(kind.num_fields)]
        return pa.struct(
            [field.with_type(_without_dictionaries(field.type, inside=True)) for field in fields]
        )
    return kind
