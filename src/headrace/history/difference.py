"""The difference of a view between two moments, cause by cause, as it is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, localcontext
from math import fsum
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from headrace.change import WEIGHT, Change
from headrace.contracts.schema import Column, Schema
from headrace.contracts.types import sql_type
from headrace.engine.zset import consolidate
from headrace.results import Version

CAUSE = "_cause"
"""Name of the column that says why."""
COMMIT = "_commit"
"""Name of the column that says with which commit a row came."""


@dataclass(frozen=True, slots=True)
class CauseTotal:
    """What one cause did to a view.

    Attributes:
        cause: `late data`, `correction`, `new data`, one that the caller named, `time` (rows that came or
            went because the clock or the watermarks moved on), `definition`, or `other` (what no cause
            explains, such as a view that refreshes apart).
        rows_come: rows that it brought.
        rows_gone: rows that it took away.
        sums: per numeric column, by how much it moved the sum: exact for integers and decimals.
    """

    cause: str
    rows_come: int
    rows_gone: int
    sums: Mapping[str, int | Decimal | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of a view between two moments.

    Attributes:
        view: the view.
        since: the first version.
        until: the second version.
        schema: the view's columns; those of both moments where they are others.
        table: the rows that differ: `_cause`, `_weight` (+1: it came, −1: it went) and the view's columns.
            The changes of all causes add up to the whole difference, row by row.
        totals: per cause, in the order in which the causes were played.
        whole: the same over all causes together.
        inputs: per stream or table, the rows behind `late data` and `correction`: `_cause`, `_commit`,
            `_weight` and its columns.
        inputs_cut: whether there were more of them than are told.
        rows_played: rows of input that were computed to tell the causes apart; 0: there was one cause only.
    """

    view: str
    since: Version
    until: Version
    schema: Schema
    table: pa.Table
    totals: tuple[CauseTotal, ...]
    whole: CauseTotal
    inputs: Mapping[str, pa.Table] = field(default_factory=dict)
    inputs_cut: bool = False
    rows_played: int = 0

    def change(self, cause: str) -> pa.Table:
        """Return the rows of one cause, without `_cause`."""
        chosen = self.table.filter(pc.equal(self.table.column(CAUSE), cause))
        return chosen.drop_columns([CAUSE])

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values; decimals, and integers, are text."""
        return {
            "view": self.view,
            "columns": [{"name": column.name, "type": column.sql_type} for column in self.schema],
            "since": _version_dict(self.since),
            "until": _version_dict(self.until),
            "whole": _total_dict(self.whole),
            "totals": [_total_dict(total) for total in self.totals],
            "inputs_cut": self.inputs_cut,
            "rows_played": self.rows_played,
            "rows": [_plain(row) for row in self.table.to_pylist()],
            "inputs": {name: [_plain(row) for row in t.to_pylist()] for name, t in self.inputs.items()},
        }

    def text(self) -> str:
        """Return the totals for people, a line per cause."""
        lines = [f"{self.view}: version {self.since.number} to {self.until.number}"]
        for total in (*self.totals, self.whole):
            moved = ", ".join(f"{name} {value:+}" for name, value in total.sums.items() if value)
            rows = f"{total.rows_come:,} rows come, {total.rows_gone:,} go"
            lines.append(f"    {total.cause}: {rows}{'; ' + moved if moved else ''}")
        return "\n".join(lines)


def _version_dict(version: Version) -> dict[str, Any]:
    clock = None if version.clock is None else version.clock.isoformat()
    return {"version": version.number, "commit": version.commit, "clock": clock}


def _total_dict(total: CauseTotal) -> dict[str, Any]:
    sums = {name: value if isinstance(value, float) else str(value) for name, value in total.sums.items()}
    return {
        "cause": total.cause, "rows_come": total.rows_come, "rows_gone": total.rows_gone, "sums": sums
    }  # fmt: skip


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _value(value) for name, value in row.items()}


def _value(value: Any) -> Any:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 1 << 53:
        return str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if value is None or isinstance(value, str | int | float | bool | list | dict):
        return value
    return str(value)


WHOLE = "whole"


def difference_of(
    view: str, since: Version, until: Version, schema: Schema, changes: Sequence[tuple[str, Change]],
    inputs: Mapping[str, pa.Table], *, inputs_cut: bool, rows_played: int,
) -> Difference:  # fmt: skip
    """Return the difference that consolidated changes of one schema, cause by cause, make up."""
    kept = [(cause, change) for cause, change in changes if len(change)]
    shown = pa.schema([pa.field(CAUSE, pa.string()), pa.field(WEIGHT, pa.int64()), *schema.arrow])
    tables = [_table(cause, change, shown) for cause, change in kept]
    whole = Change.concat([Change.empty(schema.arrow), *(change for _, change in kept)])
    return Difference(
        view, since, until, schema, pa.concat_tables([shown.empty_table(), *tables]),
        tuple(total_of(cause, change) for cause, change in kept), total_of(WHOLE, consolidate(whole)),
        inputs, inputs_cut, rows_played,
    )  # fmt: skip


def _table(cause: str, change: Change, schema: pa.Schema) -> pa.Table:
    causes = pa.array([cause] * len(change), pa.string())
    return pa.Table.from_arrays([causes, pa.array(change.weights), *change.rows.columns], schema=schema)


def total_of(cause: str, change: Change) -> CauseTotal:
    """Return rows and sums of a consolidated change."""
    come = int(change.weights[change.weights > 0].sum())
    gone = -int(change.weights[change.weights < 0].sum())
    sums = {
        column.name: _sum(change.rows.column(at), change.weights)
        for at, column in enumerate(change.schema)
        if _is_number(column.type)
    }
    return CauseTotal(cause, come, gone, sums)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _sum(column: pa.Array, weights: Any) -> int | Decimal | float:
    """Return the weighted sum of a column; exact, and for doubles rounded once."""
    if pa.types.is_floating(column.type):
        values = column.fill_null(0.0).to_numpy(zero_copy_only=False).astype(np.float64)
        return fsum((values * weights).tolist())
    is_decimal = pa.types.is_decimal(column.type)
    exact = column if is_decimal else column.cast(pa.decimal128(38, 0))
    total = Decimal(0)
    with localcontext(prec=100):
        for weight in np.unique(weights):
            part = pc.sum(exact.filter(pa.array(weights == weight))).as_py()
            total += int(weight) * (part or Decimal(0))
    return total if is_decimal and column.type.scale else int(total)


# --- on its way ------------------------------------------------------------------------------------
_FACTS = b"difference"
_INPUT = b"input:"


def to_arrow(found: Difference) -> bytes:
    """Return a difference as an Arrow IPC stream: its table, with all else in the schema's metadata."""
    facts = {name: value for name, value in found.as_dict().items() if name not in ("rows", "inputs")}
    inputs = {_INPUT + name.encode(): _ipc(table) for name, table in found.inputs.items()}
    return _ipc(found.table.replace_schema_metadata({_FACTS: orjson.dumps(facts), **inputs}))


def from_arrow(data: bytes) -> Difference:
    """Return the difference that `to_arrow` wrote.

    Raises:
        ValueError, KeyError: it is none.
    """
    table = _table_of(data)
    metadata: Mapping[bytes, bytes] = table.schema.metadata or {}
    facts = orjson.loads(metadata[_FACTS])
    plain = table.replace_schema_metadata(None)
    schema = Schema.of(_column_of(item) for item in facts["columns"])
    return Difference(
        facts["view"], _version_of(facts["since"]), _version_of(facts["until"]), schema, plain,
        tuple(_total_of(item, plain.schema) for item in facts["totals"]),
        _total_of(facts["whole"], plain.schema),
        {
            name.removeprefix(_INPUT).decode(): _table_of(value)
            for name, value in metadata.items()
            if name.startswith(_INPUT)
        },
        facts["inputs_cut"], facts["rows_played"],
    )  # fmt: skip


def _ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _table_of(data: bytes) -> pa.Table:
    with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
        return reader.read_all()


def _column_of(facts: Mapping[str, str]) -> Column:
    known = sql_type(facts["type"])
    return Column(facts["name"], known.sql, known.arrow)


def _version_of(facts: Mapping[str, Any]) -> Version:
    clock = facts["clock"]
    return Version(
        facts["version"], facts["commit"], None if clock is None else datetime.fromisoformat(clock)
    )  # fmt: skip


def _total_of(facts: Mapping[str, Any], schema: pa.Schema) -> CauseTotal:
    sums = {name: _number(value, schema.field(name).type) for name, value in facts["sums"].items()}
    return CauseTotal(facts["cause"], facts["rows_come"], facts["rows_gone"], sums)


def _number(value: Any, kind: pa.DataType) -> int | Decimal | float:
    if isinstance(value, float | int):
        return float(value)
    return Decimal(value) if pa.types.is_decimal(kind) and kind.scale else int(value)
