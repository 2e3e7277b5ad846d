"""What a sink is given: the changes of one or several versions of a view, or its whole content."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from headrace.change import VERSION, WEIGHT, Change
from headrace.contracts.schema import Schema
from headrace.engine.zset import consolidate


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """How far a sink is.

    Attributes:
        history: names the data folder (or the run in memory) whose versions these are.
        version: the last version that the sink holds.
    """

    history: str
    version: int


@dataclass(frozen=True, slots=True)
class Shipment:
    """What brings a sink from one version of a view to a later one.

    Attributes:
        view: the view's name.
        schema: its columns.
        key: the columns that identify a row, or None where the plan promises none.
        rows: Arrow table of the view's columns, then `_weight` (+1 a row comes, -1 a row goes) and
            `_version`, in the order of versions; within a version no row stands twice. It may be empty: then
            only the position moves.
        position: what the sink holds once it has taken this.
        is_whole: `rows` is the whole content of the view at `position`: whatever else the sink holds must go.
            So it begins: with a new sink, with other columns, or after a pause so long that the changes since
            are no longer kept.
    """

    view: str
    schema: Schema
    key: tuple[str, ...] | None
    rows: pa.Table
    position: Position
    is_whole: bool = False

    def net(self) -> Change:
        """Return what all its versions add up to, without `_version`."""
        return net(self.rows)


def by_version(rows: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    """Yield each version and its rows, oldest first."""
    numbers = rows.column(VERSION)
    for number in sorted(numbers.unique().to_pylist()):
        yield number, rows.filter(pc.equal(numbers, number))


def net(rows: pa.Table) -> Change:
    """Return what rows with `_weight` and `_version` add up to."""
    return consolidate(Change.from_table(rows.drop_columns([VERSION])))


def stamped(change: Change, version: int) -> pa.Table:
    """Return a change as `Shipment.rows` has it."""
    table = change.to_table()
    return table.append_column(
        pa.field(VERSION, pa.int64()), pa.array([version] * table.num_rows, pa.int64())
    )


def leading(held: pa.Table, whole: pa.Table, schema: Schema, version: int) -> pa.Table:
    """Return the rows, with `_weight` and `_version`, that lead from what a sink holds to a whole content.

    Args:
        held: what the sink holds, with the view's columns.
        whole: `Shipment.rows` of a shipment that is whole.
        schema: the view's columns.
        version: of the content.
    """
    wanted = Change.from_table(whole.drop_columns([VERSION]))
    parts = [wanted, *(Change.inserts(batch).negated() for batch in held.cast(schema.arrow).to_batches())]
    return stamped(consolidate(Change.concat(parts)), version)


def summed(con: duckdb.DuckDBPyConnection, source: str, schema: Schema) -> pa.Table:
    """Return the rows that changes add up to; what was delivered twice counts once.

    Args:
        con: where `source` can be read.
        source: a FROM clause with the view's columns, `_weight` and `_version`.
        schema: the view's columns.
    """
    names = ", ".join(quoted(name) for name in schema.names)
    once = f"SELECT DISTINCT {names}, {WEIGHT}, {VERSION} FROM {source}"
    total = f"SELECT {names}, sum({WEIGHT}) AS _headrace_n FROM ({once}) GROUP BY ALL HAVING _headrace_n > 0"
    copies = f"SELECT {names} FROM ({total}) t, range(CAST(t._headrace_n AS BIGINT))"
    return con.sql(copies).to_arrow_table()


def quoted(name: str) -> str:
    """Return a name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def rows_by_key(change: Change, key: tuple[str, ...]) -> tuple[dict[Any, int], dict[Any, int]]:
    """Return, by key, the position of the row that comes, and of the row that goes where none comes.

    Raises:
        ValueError: two rows come under one key.
    """
    columns = [change.rows.column(change.rows.schema.get_field_index(name)).to_pylist() for name in key]
    keys = list(zip(*columns, strict=True))
    weights = change.weights.tolist()
    come = {at: number for number, at in enumerate(keys) if weights[number] > 0}
    counts = Counter(at for number, at in enumerate(keys) if weights[number] > 0)
    if any(count > 1 for count in counts.values()):
        raise ValueError(f"{', '.join(key)} does not identify a row: {counts.most_common(1)[0][0]}")
    gone = {at: number for number, at in enumerate(keys) if weights[number] < 0 and at not in come}
    return come, gone
