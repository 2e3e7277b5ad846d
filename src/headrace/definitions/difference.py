"""The old and the new content of a view side by side: how many rows differ, sums, the largest changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import duckdb
import pyarrow as pa

from headrace.contracts.readable import readable
from headrace.contracts.schema import Schema
from headrace.contracts.scratch import scratch

LARGEST_MAX = 10
_NUMBERS = (
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
    "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ColumnSums:
    """The sum of a numeric column, as text: old, new; None where a side has no such column."""

    column: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class ViewDifference:
    """What a switch does to one view.

    Attributes:
        name: the view.
        rows_old: rows under the old definition; None: there is no old one.
        rows_new: rows under the new definition; None: the view goes.
        rows_gone: rows of the old content that the new one does not have.
        rows_come: rows of the new content that the old one does not have.
        sums: per numeric column.
        largest: the rows whose numbers move most, where both contents have the same key: the key, the column,
            old, new and delta, as text.
        error: why the new definition has no answer at present.
    """

    name: str
    rows_old: int | None
    rows_new: int | None
    rows_gone: int = 0
    rows_come: int = 0
    sums: tuple[ColumnSums, ...] = ()
    largest: tuple[dict[str, Any], ...] = field(default_factory=tuple)
    error: str | None = None

    @property
    def is_same(self) -> bool:
        """Whether both contents are equal."""
        return not self.rows_gone and not self.rows_come and self.rows_old == self.rows_new

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    def text(self) -> str:
        """Return it for people."""
        if self.error is not None:
            return f"{self.name}: in error under the new definition: {self.error}"
        if self.rows_old is None:
            return f"{self.name}: new, {self.rows_new:,} rows"
        if self.rows_new is None:
            return f"{self.name}: goes, {self.rows_old:,} rows"
        if self.is_same:
            return f"{self.name}: the same {self.rows_new:,} row{'' if self.rows_new == 1 else 's'}"
        rows = f"{self.rows_old:,} rows become {self.rows_new:,}"
        lines = [f"{self.name}: {rows}; {self.rows_gone:,} go, {self.rows_come:,} come"]
        lines += [
            f"    sum of {s.column}: {s.old or 'nothing'} becomes {s.new or 'nothing'}"
            for s in self.sums
            if s.old != s.new
        ]
        for row in self.largest:
            key = ", ".join(f"{name} {value}" for name, value in row["key"].items())
            lines.append(f"    {key}: {row['column']} {row['old']} becomes {row['new']} ({row['delta']})")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Content:
    """A view's rows at one version."""

    table: pa.Table
    schema: Schema
    key: tuple[str, ...] | None


def view_difference(name: str, old: Content | None, new: Content | None) -> ViewDifference:
    """Return the difference of two contents of one view."""
    if old is None or new is None:
        return ViewDifference(
            name, None if old is None else old.table.num_rows, None if new is None else new.table.num_rows
        )
    with scratch() as con:
        con.register("old_rows", readable(old.table))
        con.register("new_rows", readable(new.table))
        gone, come = _moved(con, old.schema, new.schema)
        return ViewDifference(
            name, old.table.num_rows, new.table.num_rows, gone, come,
            _sums(con, old.schema, new.schema), _largest(con, old, new),
        )  # fmt: skip


def _moved(con: duckdb.DuckDBPyConnection, old: Schema, new: Schema) -> tuple[int, int]:
    if old.arrow != new.arrow:
        return _count(con, "old_rows"), _count(con, "new_rows")
    gone = _count(con, "(SELECT * FROM old_rows EXCEPT ALL SELECT * FROM new_rows)")
    come = _count(con, "(SELECT * FROM new_rows EXCEPT ALL SELECT * FROM old_rows)")
    return gone, come


def _count(con: duckdb.DuckDBPyConnection, source: str) -> int:
    found = con.execute(f"SELECT count(*) FROM {source}").fetchone()
    assert found is not None
    return int(found[0])


def _numbers(schema: Schema) -> list[str]:
    kinds = [(column.name, column.sql_type) for column in schema]
    return [name for name, kind in kinds if kind.split("(")[0] in _NUMBERS and not kind.endswith("]")]


def _sums(con: duckdb.DuckDBPyConnection, old: Schema, new: Schema) -> tuple[ColumnSums, ...]:
    before, after = _sums_of(con, "old_rows", old), _sums_of(con, "new_rows", new)
    names = list(dict.fromkeys([*before, *after]))
    return tuple(ColumnSums(name, before.get(name), after.get(name)) for name in names)


def _sums_of(con: duckdb.DuckDBPyConnection, table: str, schema: Schema) -> dict[str, str | None]:
    names = _numbers(schema)
    if not names:
        return {}
    try:
        found = con.execute(f"SELECT {_texts_of_sums(names)} FROM {table}").fetchone()
    except duckdb.OutOfRangeException:
        found = con.execute(f"SELECT {_texts_of_sums(names, '::DOUBLE')} FROM {table}").fetchone()
    assert found is not None
    return dict(zip(names, found, strict=True))


def _texts_of_sums(names: Sequence[str], cast: str = "") -> str:
    return ", ".join(f"CAST(sum({_quoted(name)}{cast}) AS VARCHAR)" for name in names)


def _largest(con: duckdb.DuckDBPyConnection, old: Content, new: Content) -> tuple[dict[str, Any], ...]:
    key = new.key or ()
    if not key or old.key != new.key or not _comparable(old.schema, new.schema, key):
        return ()
    columns = [name for name in _numbers(new.schema) if name in _numbers(old.schema) and name not in key]
    found: list[tuple[Any, ...]] = []
    for column in columns:
        found += con.execute(_moves_sql(key, column)).fetchall()
    found.sort(key=lambda row: -abs(row[-1]))
    return tuple(_move(key, row) for row in found[:LARGEST_MAX])


def _comparable(old: Schema, new: Schema, key: Sequence[str]) -> bool:
    """Return whether rows of both can have the same key: its columns are of one type, or numbers in both."""
    kinds = [{column.name: column.sql_type for column in schema} for schema in (old, new)]
    numbers = set(_numbers(old)) & set(_numbers(new))
    return all(kinds[0][name] == kinds[1][name] or name in numbers for name in key)


def _moves_sql(key: Sequence[str], column: str) -> str:
    keys = ", ".join(f"CAST(coalesce(n.{_quoted(k)}, o.{_quoted(k)}) AS VARCHAR)" for k in key)
    on = " AND ".join(f"o.{_quoted(k)} IS NOT DISTINCT FROM n.{_quoted(k)}" for k in key)
    name, value = column.replace("'", "''"), _quoted(column)
    move = f"coalesce(CAST(n.{value} AS DOUBLE), 0) - coalesce(CAST(o.{value} AS DOUBLE), 0)"
    return (
        f"SELECT {keys}, '{name}', CAST(o.{value} AS VARCHAR), CAST(n.{value} AS VARCHAR), {move} AS move "
        f"FROM old_rows o FULL JOIN new_rows n ON {on} WHERE o.{value} IS DISTINCT FROM n.{value} "
        f"ORDER BY abs(move) DESC LIMIT {LARGEST_MAX}"
    )


def _move(key: Sequence[str], row: tuple[Any, ...]) -> dict[str, Any]:
    *values, column, old, new, move = row
    return {
        "key": dict(zip(key, values, strict=True)), "column": column, "old": old, "new": new,
        "delta": f"{move:+,.6g}",
    }  # fmt: skip


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
