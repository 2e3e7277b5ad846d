"""The keys of groups as they were written by the rows that began them.

Only for keys of which two can be equal without being the same, which are intervals: 30 days and one month.
"""

from __future__ import annotations

import pyarrow as pa

from headrace.engine.aggregates.answers import Answers
from headrace.engine.columns import I64, Bools
from headrace.engine.normal import has_intervals


class KeyRows:
    """The key of each slot."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._kept = Answers(schema)

    @classmethod
    def where_needed(cls, schema: pa.Schema) -> KeyRows | None:
        """Return a keeper of such keys, None where equal keys are always the same."""
        return cls(schema) if any(has_intervals(kind) for kind in schema.types) else None

    def settled(self, slots: I64, keys: list[pa.Array], begins: Bools, size: int) -> list[pa.Array]:
        """Return the key of each slot as it was first written; those that begin are written now.

        Args:
            slots: each once.
            keys: what a row of this change says.
            begins: which of the slots had no rows before.
            size: number of slots known.
        """
        if begins.any():
            rows = pa.RecordBatch.from_arrays(keys, schema=self._schema)
            self._kept.put(slots[begins], rows.filter(pa.array(begins)), size)
        found = self._kept.get(slots, size)
        return keys if found is None else list(found.columns)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._kept.nbytes
